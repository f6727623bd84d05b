"""Writes models/gradients.txt: gradients of the small models of make_models.py, by PyTorch's autograd in double.

    pip install torch transformers && python3 make_gradients.py

A line per matrix or vector: MODEL NAME NORM FIRST SECOND, where FIRST and SECOND are the gradient's products with two
fixed vectors, cos(0.7391 (i + 1)) and cos(1.4782 (i + 1)). The loss is the mean over all tokens but the last. Lines of
MODEL+lora are of low-rank additions of rank 2 and scale 1.5 to q, k, v, o, gate, up and down.
"""
import pathlib

import numpy as np
import torch
import transformers as hf

FOLDER = pathlib.Path(__file__).parent / "models"
MODELS = ["llama", "llama_tied", "llama_rope_scaling", "mistral", "qwen2", "qwen3", "qwen3moe", "gemma2", "gemma3",
          "phi3", "smollm3", "granite", "olmo2"]
ADJACENT = ("llama", "llama_tied", "llama_rope_scaling", "mistral", "smollm3", "granite")
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
NORMS_BEHIND = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                "post_feedforward_layernorm": "post_ffw_norm"}
LORA = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def permute(value, heads):
    rows = value.shape[0]
    return value.reshape(heads, 2, rows // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def ours(name, config, key, gradient):
    """Yields our name of a parameter, or of its parts, with the gradient."""
    if key == "model.embed_tokens.weight":
        yield "token_embd.weight", gradient
    elif key == "model.norm.weight":
        yield "output_norm.weight", gradient
    elif key == "lm_head.weight":
        yield "output.weight", gradient
    else:
        _, _, layer, rest = key.split(".", 3)
        if rest.startswith("mlp.experts."):
            for e in range(config.num_experts):
                if rest == "mlp.experts.down_proj":
                    yield f"blk.{layer}.ffn_down.{e}.weight", gradient[e]
                else:
                    gate, up = np.split(gradient[e], 2)
                    yield f"blk.{layer}.ffn_gate.{e}.weight", gate
                    yield f"blk.{layer}.ffn_up.{e}.weight", up
            return
        place, kind = rest.rsplit(".", 1)
        if place == "mlp.gate_up_proj":
            gate, up = np.split(gradient, 2)
            yield f"blk.{layer}.ffn_gate.weight", gate
            yield f"blk.{layer}.ffn_up.weight", up
        elif place == "self_attn.qkv_proj":
            head = config.hidden_size // config.num_attention_heads
            q, kv = config.num_attention_heads * head, config.num_key_value_heads * head
            for part, rows in zip(("attn_q", "attn_k", "attn_v"), np.split(gradient, [q, q + kv])):
                yield f"blk.{layer}.{part}.weight", rows
        else:
            behind = NORMS_BEHIND if name.startswith("gemma") or name == "olmo2" else {}
            part = (NAMES | behind)[place]
            if name in ADJACENT and part in ("attn_q", "attn_k"):
                gradient = permute(gradient, config.num_attention_heads if part == "attn_q"
                                   else config.num_key_value_heads)
            yield f"blk.{layer}.{part}.{kind}", gradient


def line(name, key, gradient):
    flat = gradient.reshape(-1)
    angle = 0.7391 * np.arange(1, flat.size + 1)
    return f"{name} {key} {np.linalg.norm(flat):.9e} {flat @ np.cos(angle):.9e} {flat @ np.cos(2 * angle):.9e}"


def factors(rows, cols):
    index = lambda m, n: torch.arange(1, m * n + 1, dtype=torch.double).reshape(m, n)
    return 0.1 * torch.cos(0.37 * index(2, cols)), 0.1 * torch.cos(0.53 * index(rows, 2))


def loss_of(model, parameters, ids):
    logits = torch.func.functional_call(model, parameters, (ids,)).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])


lines = []
for name in MODELS:
    model = hf.AutoModelForCausalLM.from_pretrained(FOLDER / name, attn_implementation="eager",
                                                    dtype=torch.float32).double().eval()
    if name == "qwen3moe":
        model.set_experts_implementation("eager")
    ids = torch.tensor([[(7 * i * i + 3 * i + 1) % 64 for i in range(40)]])
    loss = loss_of(model, {}, ids)
    loss.backward()
    lines.append(f"{name} loss {loss.item():.9e} 0 0")
    for key, value in model.named_parameters():
        for our, gradient in ours(name, model.config, key, value.grad.numpy()):
            lines.append(line(name, our, gradient))
    if name in ADJACENT or name in ("phi3", "qwen3moe"):
        continue
    changed, added = {}, {}
    for key, value in model.named_parameters():
        for our, _ in ours(name, model.config, key, value.detach().numpy()):
            if any(our.endswith(f"{part}.weight") for part in LORA):
                a, b = (x.requires_grad_() for x in factors(*value.shape))
                added[our.removesuffix(".weight")] = (a, b)
                changed[key] = value.detach() + 1.5 * b @ a
    loss = loss_of(model, changed, ids)
    loss.backward()
    lines.append(f"{name}+lora loss {loss.item():.9e} 0 0")
    for our, (a, b) in added.items():
        lines.append(line(f"{name}+lora", our + ".weight.lora_a", a.grad.numpy()))
        lines.append(line(f"{name}+lora", our + ".weight.lora_b", b.grad.numpy()))
(FOLDER / "gradients.txt").write_text("\n".join(lines) + "\n")
