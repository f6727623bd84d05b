"""Writes models/*.gguf and models/*/ (small random models, also as safetensors folders) and models/*.logits: what
`transformers` (PyPI) computes with them, in double precision. The GGUF files are written by the `gguf` package and the
folders by `transformers`, not by us.

    pip install torch transformers gguf && python3 make_models.py
"""
import copy
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers as hf

OUT = pathlib.Path(__file__).parent / "models"
VOCABULARY, TOKENS = 64, 40
ADJACENT = ("llama", "smollm3", "granite")  # architectures whose files hold rotated pairs side by side

NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "mlp.gate_up_proj": "ffn_up", "mlp.gate": "ffn_gate_inp"}
NORMS_BEHIND = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                "post_feedforward_layernorm": "post_ffw_norm"}  # of gemma and olmo2


def permute(weight, heads):
    """Rotated pairs (i, i + half) of transformers become adjacent pairs (2i, 2i + 1)."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def rope_base(config):
    parameters = config.rope_parameters
    return (parameters.get("full_attention") or parameters)["rope_theta"]


def write(name, arch, model, config, extra):
    out = gguf.GGUFWriter(OUT / f"{name}.gguf", arch, split_max_tensors=8 if name == "split" else 0)
    out.add_name(name)
    out.add_block_count(config.num_hidden_layers)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    out.add_key_length(head_dim)
    out.add_value_length(head_dim)
    out.add_context_length(config.max_position_embeddings)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(rope_base(config))
    for key, value in extra.items():
        (out.add_uint32 if isinstance(value, int) else out.add_string if isinstance(value, str) else out.add_float32)(
            f"{arch}.{key}", value)
    out.add_tokenizer_model("llama")
    out.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    out.add_token_scores([0.0] * VOCABULARY)
    weights = {k: v.detach().float().numpy() for k, v in model.state_dict().items()}
    gemma = arch.startswith("gemma")  # files hold 1 + weight
    add = lambda key, value: out.add_tensor(
        key, np.ascontiguousarray(value + 1 if gemma and "norm" in key else value, dtype=np.float32))
    add("token_embd.weight", weights["model.embed_tokens.weight"])
    add("output_norm.weight", weights["model.norm.weight"])
    if not config.tie_word_embeddings:
        add("output.weight", weights["lm_head.weight"])
    names = NAMES | (NORMS_BEHIND if gemma or arch == "olmo2" else {})
    for i in range(config.num_hidden_layers):
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                value = weights.get(f"model.layers.{i}.{theirs}.{kind}")
                if value is None:
                    continue
                if arch in ADJACENT and ours in ("attn_q", "attn_k"):
                    value = permute(value, config.num_attention_heads if ours == "attn_q" else config.num_key_value_heads)
                add(f"blk.{i}.{ours}.{kind}", value)
        experts = weights.get(f"model.layers.{i}.mlp.experts.gate_up_proj")
        if experts is not None:
            gate, up = np.split(experts, 2, axis=1)
            add(f"blk.{i}.ffn_gate_exps.weight", gate)
            add(f"blk.{i}.ffn_up_exps.weight", up)
            add(f"blk.{i}.ffn_down_exps.weight", weights[f"model.layers.{i}.mlp.experts.down_proj"])
    if name == "llama_rope_scaling":
        rotary = model.model.rotary_emb
        plain = 1.0 / (500000.0 ** (np.arange(0, config.head_dim, 2) / config.head_dim))
        add("rope_freqs.weight", plain / rotary.inv_freq.double().numpy())
    if name == "phi3":
        add("rope_factors_long.weight", np.array(config.rope_parameters["long_factor"]))
        add("rope_factors_short.weight", np.array(config.rope_parameters["short_factor"]))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def save_folder(name, model):
    model.save_pretrained(OUT / name, max_shard_size="20KB" if name == "llama" else "1GB")
    (OUT / name / "generation_config.json").unlink(missing_ok=True)
    words = {f"t{i}": i for i in range(VOCABULARY)}
    (OUT / name / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": words, "merges": []}}))


def save_logits(name, model):
    ids = torch.tensor([[(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]])
    with torch.no_grad():
        logits = model.double()(ids).logits[0]
    (OUT / f"{name}.logits").write_bytes(logits.float().numpy().tobytes())
    print(name, float(logits.abs().max()))


def make(name, arch, config, model_class, **extra):
    torch.manual_seed(20261121)
    model = model_class(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(0, 0.15)
            if "norm" in key and not arch.startswith("gemma"):
                value.add_(1.0)
    write(name, arch, model, config, {key.replace("__", "."): value for key, value in extra.items()})
    if name != "split":
        save_folder(name, model)
    save_logits(name, model)


shape = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, attn_implementation="eager",
             tie_word_embeddings=False, pad_token_id=None, bos_token_id=1, eos_token_id=2)
tied = dict(shape, tie_word_embeddings=True)
make("llama", "llama", hf.LlamaConfig(**shape), hf.LlamaForCausalLM)
make("llama_tied", "llama", hf.LlamaConfig(**tied), hf.LlamaForCausalLM)
make("split", "llama", hf.LlamaConfig(**shape), hf.LlamaForCausalLM)
scaled = dict(shape, num_attention_heads=2, num_key_value_heads=1)
make("llama_rope_scaling", "llama",
     hf.LlamaConfig(**scaled, head_dim=16,
                    rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                                     "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 16}), hf.LlamaForCausalLM)
yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32,
        "beta_fast": 4.0, "beta_slow": 0.5}
make("qwen3_yarn", "qwen3", hf.Qwen3Config(**shape, head_dim=16, rope_parameters=yarn), hf.Qwen3ForCausalLM,
     rope__scaling__type="yarn", rope__scaling__factor=4.0, rope__scaling__original_context_length=32,
     rope__scaling__yarn_beta_fast=4.0, rope__scaling__yarn_beta_slow=0.5)
make("mistral", "llama", hf.MistralConfig(**shape, sliding_window=12), hf.MistralForCausalLM,
     attention__sliding_window=12)
make("qwen2", "qwen2", hf.Qwen2Config(**shape), hf.Qwen2ForCausalLM)
make("qwen3", "qwen3", hf.Qwen3Config(**shape, head_dim=16), hf.Qwen3ForCausalLM)
make("qwen3moe", "qwen3moe",
     hf.Qwen3MoeConfig(**shape, head_dim=16, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24,
                       norm_topk_prob=True, decoder_sparse_step=1, experts_implementation="eager"), hf.Qwen3MoeForCausalLM,
     expert_count=6, expert_used_count=2, expert_feed_forward_length=24)
make("gemma2", "gemma2",
     hf.Gemma2Config(**tied, head_dim=16, query_pre_attn_scalar=16, sliding_window=12, attn_logit_softcapping=2.0,
                     final_logit_softcapping=3.0), hf.Gemma2ForCausalLM,
     attention__sliding_window=12, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
make("gemma3", "gemma3",
     hf.Gemma3TextConfig(**dict(tied, num_hidden_layers=7), head_dim=16, query_pre_attn_scalar=16, sliding_window=12,
                         rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                                          "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
     hf.Gemma3ForCausalLM, attention__sliding_window=12, rope__scaling__type="linear", rope__scaling__factor=8.0)
make("phi3", "phi3",
     hf.Phi3Config(**dict(shape, max_position_embeddings=128), original_max_position_embeddings=16, sliding_window=30,
                   rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
                                    "long_factor": [1.0, 1.5, 2.0, 4.0], "short_factor": [1.0, 1.1, 1.2, 1.3]}),
     hf.Phi3ForCausalLM, attention__sliding_window=30, rope__scaling__original_context_length=16,
     rope__scaling__attn_factor=float(np.sqrt(1 + np.log(128 / 16) / np.log(16))))
make("smollm3", "smollm3", hf.SmolLM3Config(**dict(tied, num_hidden_layers=4), no_rope_layer_interval=4),
     hf.SmolLM3ForCausalLM)
make("granite", "granite",
     hf.GraniteConfig(**tied, embedding_multiplier=3.0, attention_multiplier=0.4, residual_multiplier=0.3,
                      logits_scaling=2.0), hf.GraniteForCausalLM,
     embedding_scale=3.0, attention__scale=0.4, residual_scale=0.3, logit_scale=2.0)
make("olmo2", "olmo2", hf.Olmo2Config(**shape), hf.Olmo2ForCausalLM)

ENCODER = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
           "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
           "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
           "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
           "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}


def write_encoder(name, model, config):
    out = gguf.GGUFWriter(OUT / f"{name}.gguf", "bert")
    out.add_block_count(config.num_hidden_layers)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_context_length(config.max_position_embeddings)
    out.add_layer_norm_eps(config.layer_norm_eps)
    out.add_pooling_type(gguf.PoolingType.CLS)
    out.add_tokenizer_model("bert")
    out.add_token_list(["[UNK]", "[CLS]", "[SEP]"] + [f"\u2581t{i}" for i in range(3, VOCABULARY)])
    for key, value in model.state_dict().items():
        place, kind = key.rsplit(".", 1)
        layer = place.removeprefix("encoder.layer.").split(".", 1)
        ours = f"blk.{layer[0]}.{ENCODER[layer[1]]}" if len(layer) == 2 and layer[0].isdigit() else ENCODER[place]
        out.add_tensor(f"{ours}.{kind}", value.float().numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def make_encoder(name, config, model_class):
    """A folder that pools by the mean, and for bert a GGUF file that takes the first row; NAME.vectors has both."""
    torch.manual_seed(11)
    model = model_class(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(0, 0.3)
            if "LayerNorm.weight" in key:
                value.add_(1.0)
    save_folder(name, model)
    if name == "bert":
        write_encoder(name, model, config)
    ids = torch.tensor([[(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]])
    with torch.no_grad():
        first = config.pad_token_id + 1 if name == "roberta" else 0  # no token here is padding
        rows = model.double()(ids, position_ids=torch.arange(first, first + TOKENS)[None]).last_hidden_state[0]
    (OUT / f"{name}.vectors").write_bytes(torch.stack([rows.mean(0), rows[0]]).float().numpy().tobytes())
    print(name, float(rows.abs().max()))


encoder = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
               max_position_embeddings=64, attn_implementation="eager")
make_encoder("bert", hf.BertConfig(**encoder), hf.BertModel)
make_encoder("roberta", hf.RobertaConfig(**encoder, pad_token_id=1, type_vocab_size=1), hf.RobertaModel)

torch.manual_seed(7)  # weights in 16 bits, in a folder only
half = hf.Gemma2ForCausalLM(hf.Gemma2Config(**tied, head_dim=16, query_pre_attn_scalar=16, sliding_window=12)).eval()
with torch.no_grad():
    for value in half.parameters():
        value.normal_(0, 0.15).copy_(value.bfloat16().float())
save_folder("gemma2_bf16", copy.deepcopy(half).bfloat16())
save_logits("gemma2_bf16", half)
