"""Writes tokenizers/*.json (small vocabularies, each with the steps of a real family) and tokenizers/*.ids: hashes of
what the `tokenizers` library (PyPI) makes of 10,000 random strings. strings.json says how the strings are made.

    pip install tokenizers sentencepiece protobuf && python3 make_tokenizers.py
    python3 make_tokenizers.py NAME TOKENIZER.json     # only NAME.ids, for a vocabulary that is not ours to publish
"""
import json
import pathlib
import sys
import tempfile

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parent / "tokenizers"
RECIPE = json.loads((OUT / "strings.json").read_text())
GROUP = 5  # strings that share a hash


def strings():
    state = RECIPE["seed"]

    def draw(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % n

    for _ in range(RECIPE["count"]):
        text = ""
        for _ in range(draw(RECIPE["parts"])):
            kind = RECIPE["kinds"][draw(len(RECIPE["kinds"]))]
            if isinstance(kind, str):
                text += kind
            else:
                first, count, longest = kind
                text += "".join(chr(first + draw(count)) for _ in range(1 + draw(longest)))
        yield text


def write_ids(name, tokenizer):
    out, value = bytearray(), 2166136261
    for i, text in enumerate(strings(), 1):
        for token in [*tokenizer.encode(text, add_special_tokens=False).ids, -1]:
            for byte in (token & 0xFFFFFFFF).to_bytes(4, "little"):
                value = (value ^ byte) * 16777619 % 2**32
        if i % GROUP == 0:
            out += value.to_bytes(4, "little")
            value = 2166136261
    (OUT / f"{name}.ids").write_bytes(out)


def make(name, tokenizer, trainer=None, special=()):
    corpus = list(strings())[:4000] + [(OUT / "../../../LICENSE").read_text()]
    if trainer:
        tokenizer.train_from_iterator(corpus, trainer)
    if special:
        tokenizer.add_special_tokens([hf.AddedToken(text, special=True, normalized=False, **flags) for text, flags in special])
    text = tokenizer.to_str()
    if name in ("llama3", "tekken"):  # looked up whole before merging
        data = json.loads(text)
        data["model"]["ignore_merges"] = True
        text = json.dumps(data)
        tokenizer = hf.Tokenizer.from_str(text)
    (OUT / f"{name}.json").write_text(json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")))
    write_ids(name, tokenizer)
    print(name, tokenizer.get_vocab_size())


SIZE = 700
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def byte_pairs(name, steps, normalizer=None, added=("<|endoftext|>", "<|im_end|>")):
    tokenizer = hf.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    make(name, tokenizer, trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=ALPHABET, show_progress=False),
         [(text, {"lstrip": name == "gpt2", "rstrip": name == "falcon", "single_word": name == "smollm"}) for text in added])


def isolate(pattern):
    return pre_tokenizers.Split(hf.Regex(pattern), "isolated")


def all_families():
    tail = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    cased = rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*"
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ruled = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_pairs("gpt2", [pre_tokenizers.ByteLevel(add_prefix_space=True)])
    byte_pairs("llama3", [isolate(words + r"|\p{N}{1,3}" + tail), plain])
    byte_pairs("qwen2", [isolate(words + r"|\p{N}" + tail), plain], normalizers.NFC())
    byte_pairs("smollm", [pre_tokenizers.Digits(individual_digits=True), ruled])
    byte_pairs("falcon", [pre_tokenizers.Punctuation("contiguous"), ruled, pre_tokenizers.Digits(),
                          isolate("[0-9][0-9][0-9]")])
    byte_pairs("tekken", [isolate(cased + r"|\p{N}" + tail.replace(r"[\r\n]*", r"[\r\n/]*")), plain])

    steps = hf.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    steps.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{b:02X}>" for b in range(256)]
    trainer = lambda tokens: trainers.BpeTrainer(vocab_size=SIZE, special_tokens=tokens, show_progress=False,
                                                 limit_alphabet=150)
    trained = hf.Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = steps.normalizer
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(list(strings())[:4000], trainer(special + fallback))
    data = json.loads(trained.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    data["pre_tokenizer"] = None
    data["model"].update(byte_fallback=True, fuse_unk=True)
    data["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                              {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                              {"Sequence": {"id": "B", "type_id": 1}}],
                              "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    make("llama2", hf.Tokenizer.from_str(json.dumps(data)))

    data["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    data["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    data["post_processor"] = None
    gemma = hf.Tokenizer.from_str(json.dumps(data))
    gemma.add_tokens([hf.AddedToken(text, normalized=False) for text in ("\n\n", "▁▁", "<td>")])
    make("gemma", gemma)

    for name, lower in (("bert", True), ("bert_cased", False)):
        bert = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        bert.normalizer = normalizers.BertNormalizer(lowercase=lower)
        bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        bert.train_from_iterator(list(strings())[:4000], trainers.WordPieceTrainer(
            vocab_size=SIZE, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], limit_alphabet=300,
            show_progress=False))
        bert.add_special_tokens([hf.AddedToken("[MASK]", lstrip=True, rstrip=True)])
        bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        make(name, bert)

    make_unigram("unigram")

    odd = hf.Tokenizer(models.BPE(unk_token="<unk>"))
    odd.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                           normalizers.Replace(hf.Regex(r"\s+"), " "), normalizers.Strip()])
    odd.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("merged_with_next")])
    make("steps", odd, trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"], limit_alphabet=200, show_progress=False),
         [("<s>", {"single_word": True}), ("[MASK]", {"lstrip": True})])


def make_unigram(name):
    import sentencepiece as spm
    from sentencepiece import sentencepiece_model_pb2 as proto
    rules = ["41\t61", "E9\t65", "65 301\t65", "FB01\t66 69", "1100 1161\tAC00", "A0\t20", "9\t20", "A\t20",
             "1F600\t3A 29"]
    with tempfile.TemporaryDirectory() as folder:
        corpus, table = pathlib.Path(folder) / "corpus.txt", pathlib.Path(folder) / "rules.tsv"
        corpus.write_text("\n".join(text.replace("\n", " ").replace("\r", " ") for text in strings() if max(text, default="x") < "\u0600"))
        table.write_text("\n".join(rules) + "\n")
        spm.SentencePieceTrainer.train(input=str(corpus), model_prefix=f"{folder}/m", vocab_size=900, model_type="unigram",
                                       character_coverage=0.98, minloglevel=2, hard_vocab_limit=False,
                                       normalization_rule_tsv=str(table))
        model = proto.ModelProto.FromString((pathlib.Path(folder) / "m.model").read_bytes())
    unigram = hf.Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], 0, False))
    unigram.normalizer = normalizers.Sequence([normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
                                               normalizers.Replace(hf.Regex(" {2,}"), " ")])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.add_special_tokens(["<unk>", "<s>", "</s>"])
    make(name, unigram)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_ids(sys.argv[1], hf.Tokenizer.from_file(sys.argv[2]))
    else:
        all_families()
