"""Writes models/*.gguf (small random models) and models/*.logits: what `transformers` (PyPI) computes with them, in
double precision. The GGUF files are written by the `gguf` package, not by us.

    pip install torch transformers gguf && python3 make_models.py
"""
import pathlib

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

OUT = pathlib.Path(__file__).parent / "models"
VOCABULARY, TOKENS = 64, 40


def permute(weight, heads):
    """Rotated pairs (i, i + half) of transformers become adjacent pairs (2i, 2i + 1) of llama GGUF files."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write(name, arch, model, config, permuted):
    out = gguf.GGUFWriter(OUT / f"{name}.gguf", arch)
    out.add_name(name)
    out.add_block_count(config.num_hidden_layers)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_context_length(config.max_position_embeddings)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"])
    out.add_tokenizer_model("llama")
    out.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    out.add_token_scores([0.0] * VOCABULARY)
    weights = {k: v.detach().float().numpy() for k, v in model.state_dict().items()}
    add = lambda key, value: out.add_tensor(key, np.ascontiguousarray(value, dtype=np.float32))
    add("token_embd.weight", weights["model.embed_tokens.weight"])
    add("output_norm.weight", weights["model.norm.weight"])
    if not config.tie_word_embeddings:
        add("output.weight", weights["lm_head.weight"])
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for i in range(config.num_hidden_layers):
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                value = weights.get(f"model.layers.{i}.{theirs}.{kind}")
                if value is None:
                    continue
                if permuted and ours in ("attn_q", "attn_k"):
                    value = permute(value, config.num_attention_heads if ours == "attn_q" else config.num_key_value_heads)
                add(f"blk.{i}.{ours}.{kind}", value)
    if name == "llama_rope_scaling":
        rotary = model.model.rotary_emb
        plain = 1.0 / (500000.0 ** (np.arange(0, config.head_dim, 2) / config.head_dim))
        add("rope_freqs.weight", plain / rotary.inv_freq.double().numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def make(name, arch, config, model_class):
    torch.manual_seed(20261121)
    model = model_class(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(0, 0.15)
            if "norm" in key:
                value.add_(1.0)
    write(name, arch, model, config, arch == "llama")
    ids = torch.tensor([[(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]])
    with torch.no_grad():
        logits = model.double()(ids).logits[0]
    (OUT / f"{name}.logits").write_bytes(logits.float().numpy().tobytes())
    print(name, float(logits.abs().max()))


shape = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, attn_implementation="eager")
make("llama", "llama", LlamaConfig(**shape, tie_word_embeddings=False), LlamaForCausalLM)
make("llama_tied", "llama", LlamaConfig(**shape, tie_word_embeddings=True), LlamaForCausalLM)
scaled = dict(shape, num_attention_heads=2, num_key_value_heads=1)
make("llama_rope_scaling", "llama",
     LlamaConfig(**scaled, head_dim=16, tie_word_embeddings=False,
                 rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 16}), LlamaForCausalLM)
make("qwen2", "qwen2", Qwen2Config(**shape, tie_word_embeddings=False), Qwen2ForCausalLM)
