"""Writes models/gradients.txt: gradients of the small models of make_models.py, by PyTorch's autograd in double.

    pip install torch transformers && python3 make_gradients.py

A line per matrix or vector: MODEL NAME NORM FIRST SECOND, where FIRST and SECOND are the gradient's products with two
fixed vectors, cos(0.7391 (i + 1)) and cos(1.4782 (i + 1)). The loss is the mean over all tokens but the last. Lines of
MODEL+lora are of low-rank additions of rank 2 and scale 1.5 to q, k, v, o, gate, up and down. Lines of MODEL+AGGREGATION
are of those and of a learned memory (H2MT, arXiv 2605.24930): a tree is read, a question is routed by it and answered.
Lines of MODEL+hmt are of a recurrent one (HMT, arXiv 2405.06067): a text is told segment by segment, and answered from.
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
AGGREGATIONS = ("mean", "self_weights", "cross_attention", "graph", "parent_token")
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


def unpermute(value, heads):
    rows = value.shape[0]
    return value.reshape(heads, rows // heads // 2, 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def with_additions(name, model):
    """The model's matrices with low-rank additions, and their factors by our names."""
    changed, added = {}, {}
    for key, value in model.named_parameters():
        sums = []
        for our, part in ours(name, model.config, key, value.detach().numpy()):
            kind = (our.split(".") + [""])[2]
            if kind not in LORA or not our.endswith(".weight"):
                continue
            a, b = (x.requires_grad_() for x in factors(*part.shape))
            added[our + ".lora_a"], added[our + ".lora_b"] = a, b
            if name in ADJACENT and kind in ("attn_q", "attn_k"):
                b = unpermute(b, model.config.num_attention_heads if kind == "attn_q"
                              else model.config.num_key_value_heads)
            sums.append(1.5 * b @ a)
        if sums:
            changed[key] = value.detach() + torch.cat(sums).reshape(value.shape)
    return changed, added


def loss_of(model, parameters, ids):
    logits = torch.func.functional_call(model, parameters, (ids,)).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])


PITCHES = {"e_write": 0.11, "e_read": 0.17, "w_q": 0.23, "w_k": 0.29, "parent_q": 0.31, "child_k": 0.41,
           "child_v": 0.43, "parent_token": 0.47, "slope_parent": 0.59, "slope_child": 0.61, "summary": 0.67,
           "first": 0.71}
ROUTING = 8  # width of projections
PARENTS = [-1, 0, 1, 1, 0, 4, 4, 6, 6]
LENGTHS = [0, 18, 20, 19, 0, 22, 0, 18, 21]
REACHED = [0, 1, 4, 7]


def text(salt, n):
    return [(37 * salt + 11 * i + i * i) % 64 for i in range(n)]


class Memory:
    """A learned memory on a model of transformers, from the paper's formulas; one text at a time."""

    def __init__(self, model, changed, aggregation):
        self.model, self.changed, self.kind = model, changed, aggregation
        d = model.config.hidden_size
        shapes = {"e_write": (1, d), "e_read": (1, d), "w_q": (ROUTING, d), "w_k": (ROUTING, d)}
        if aggregation == "hmt":
            shapes = {"summary": (1, d), "first": (1, d), "w_q": (ROUTING, d), "w_k": (ROUTING, d)}
        elif aggregation != "mean":
            shapes |= {"parent_q": (ROUTING, d), "child_k": (ROUTING, d)}
        if aggregation in ("graph", "parent_token"):
            shapes["child_v"] = (d, d)
        if aggregation == "parent_token":
            shapes["parent_token"] = (1, d)
        if aggregation == "graph":
            shapes |= {"slope_parent": (1, ROUTING), "slope_child": (1, ROUTING)}
        self.p = {key: (0.15 * torch.cos(PITCHES[key] * torch.arange(1, m * n + 1, dtype=torch.double)))
                  .reshape(m, n).requires_grad_() for key, (m, n) in shapes.items()}
        # What models multiply embeddings by behind the place where we hand ours in.
        self.factor = 1.0
        self.factor = self.run(torch.ones(1, d).double()).hidden_states[0].mean().item()
        table = self.embed(list(range(model.config.vocab_size))).detach()
        self.size = table.square().mean().sqrt()

    def run(self, rows):
        return torch.func.functional_call(self.model, self.changed, kwargs={
            "inputs_embeds": (rows / self.factor)[None], "output_hidden_states": True, "use_cache": False})

    def embed(self, tokens):
        return self.model.get_input_embeddings()(torch.tensor(tokens)).detach() * self.factor

    def entered(self, m):
        return m / (m.square().mean(-1, keepdim=True) + self.model.config.rms_norm_eps).sqrt() * self.size

    def read(self, rows):
        return self.run(torch.cat([self.p["e_write"], *rows, self.p["e_read"]])).hidden_states[-1][0, -1:]

    def shares(self, queries, keys):
        scores = (queries @ self.p["parent_q"].T) @ (keys @ self.p["child_k"].T).T / ROUTING ** 0.5
        return scores.softmax(-1)

    def aggregate(self, children, parent):
        if self.kind == "mean":
            return children.mean(0, keepdim=True)
        if self.kind == "self_weights":
            mass = self.shares(children, children).sum(0, keepdim=True)
            return mass / mass.sum() @ children
        if self.kind == "cross_attention":
            return self.shares(parent, children) @ children
        if self.kind == "graph":
            e = (parent @ self.p["parent_q"].T) @ self.p["slope_parent"].T \
                + (children @ self.p["child_k"].T) @ self.p["slope_child"].T
            shares = torch.nn.functional.leaky_relu(e, 0.2).softmax(0)
            return (shares * (children @ self.p["child_v"].T)).sum(0, keepdim=True)
        rows = torch.cat([self.p["parent_token"], children])
        return self.shares(self.p["parent_token"], rows) @ (rows @ self.p["child_v"].T)

    def build(self):
        memories = {}
        for node in reversed(range(len(PARENTS))):
            own = [self.embed(text(node, LENGTHS[node]))] if LENGTHS[node] else []
            below = [memories[i] for i in range(len(PARENTS)) if PARENTS[i] == node]
            if below:
                children = torch.cat(below)
                made = self.aggregate(children, self.read(own) if own else children.mean(0, keepdim=True))
                memories[node] = self.read([self.entered(made), *own]) if own else made
            else:
                memories[node] = self.read(own)
        return torch.cat([memories[i] for i in range(len(PARENTS))])

    def loss(self):
        memories = self.build()
        question, answer = text(9, 36), text(10, 4)
        query = self.read([self.embed(question[:18])])
        scores = (query @ self.p["w_q"].T) @ (memories @ self.p["w_k"].T).T / ROUTING ** 0.5
        rows = torch.cat([self.entered(memories[REACHED]), self.embed(question + answer)])
        logits = self.run(rows).logits[0, -len(answer) - 1:-1]
        return (torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum")
                - scores[0, [1, 4]].log_softmax(0)[0])


SEGMENT, SENSORY = 32, 3  # longer than where phi3 turns to other frequencies, summaries too


class Recurrent(Memory):
    """HMT's, from the paper's equations 1 to 5."""

    def __init__(self, model, changed):
        super().__init__(model, changed, "hmt")

    def ends(self, rows, behind):
        return self.run(torch.cat([*rows, behind]))

    def scores(self, tokens, memories):
        summary = self.ends([self.p["summary"], self.embed(tokens)], self.p["summary"]).hidden_states[-1][0, -1:]
        return (summary @ self.p["w_q"].T) @ (memories @ self.p["w_k"].T).T / ROUTING ** 0.5

    def loss(self):
        words, memories, told = text(3, 96), [], 0
        for begin in range(0, len(words), SEGMENT):
            segment = words[begin:begin + SEGMENT]
            start = self.p["first"]
            if memories:
                seen = torch.cat(memories)
                start = self.scores(segment[:(len(segment) + 1) // 2], seen).softmax(-1) @ seen
            start = self.entered(start)
            read = words[max(0, begin - SENSORY):begin + SEGMENT]
            out = self.ends([start, self.embed(read)], start)
            memories.append(out.hidden_states[-1][0, -1:])
            told = told + torch.nn.functional.cross_entropy(out.logits[0, -2 - len(segment):-2], torch.tensor(segment),
                                                            reduction="sum")
        memories = torch.cat(memories)
        question, answer = text(9, 36), text(10, 4)
        scores = self.scores(question[:18], memories)
        given = self.entered(scores.softmax(-1) @ memories)
        logits = self.run(torch.cat([given, self.embed(words[-SENSORY:] + question + answer)])).logits[0]
        return (told / len(words) - scores.log_softmax(-1)[0, 1]
                + torch.nn.functional.cross_entropy(logits[-len(answer) - 1:-1], torch.tensor(answer), reduction="sum"))


def lines_of(name, loss, parameters):
    loss.backward()
    return [f"{name} loss {loss.item():.9e} 0 0"] + [line(name, key, p.grad.numpy()) for key, p in parameters.items()]


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
    changed, added = with_additions(name, model)
    lines += lines_of(f"{name}+lora", loss_of(model, changed, ids), added)
    for aggregation in AGGREGATIONS if name == "qwen3" else ["graph"]:
        changed, added = with_additions(name, model)
        memory = Memory(model, changed, aggregation)
        lines += lines_of(f"{name}+{aggregation}", memory.loss(),
                          added | {f"h2mt.{key}": p for key, p in memory.p.items()})
    changed, added = with_additions(name, model)
    memory = Recurrent(model, changed)
    lines += lines_of(f"{name}+hmt", memory.loss(), added | {f"hmt.{key}": p for key, p in memory.p.items()})
(FOLDER / "gradients.txt").write_text("\n".join(lines) + "\n")
