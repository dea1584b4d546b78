"""Small random models of every family, made by transformers, with packed inputs and the truth.

The truth is computed without packing: each document alone through transformers in fp32 with
autograd, so that the packed C++ run is compared with separate documents.
"""

import json
import os

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 136,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 157,
    "max_position_embeddings": 96,
    "use_cache": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}

CASES = {
    "llama2": (LlamaConfig, LlamaForCausalLM, {"num_key_value_heads": 4, "rms_norm_eps": 1e-5}),
    "llama3": (LlamaConfig, LlamaForCausalLM, {"rope_theta": 500000.0, "rope_scaling": LLAMA3}),
    "smollm2": (
        LlamaConfig,
        LlamaForCausalLM,
        {"tie_word_embeddings": True, "num_attention_heads": 8, "num_key_value_heads": 1},
    ),
    "linear": (
        LlamaConfig,
        LlamaForCausalLM,
        {"rope_scaling": {"rope_type": "linear", "factor": 2.5}},
    ),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None, "head_dim": 24}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"rope_theta": 1000000.0}),
    "qwen2_tied": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen2_yarn": (Qwen2Config, Qwen2ForCausalLM, {"rope_scaling": YARN}),
    "qwen2_yarn_mscale": (
        Qwen2Config,
        Qwen2ForCausalLM,
        {"rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.4, "beta_fast": 16.0}},
    ),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 32}),
    "qwen3_tied": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "tie_word_embeddings": True}),
}


def build(name, folder, seed=7):
    """Writes the model's folder and returns the model, its norms and biases not at their
    defaults."""
    config_class, model_class, changes = CASES[name]
    torch.manual_seed(seed)
    config = config_class(**{**COMMON, **changes})
    config._attn_implementation = "eager"
    model = model_class(config).to(torch.float32).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(4)
    model.save_pretrained(folder)
    return model


def make_input(vocab, seed=3):
    """Packed rows: documents of unequal length, a gap of padding and padding at the end, weights
    on some rows only, one of them fractional."""
    generator = np.random.default_rng(seed)
    documents = [(0, 37), (37, 38), (40, 90), (90, 131)]
    total = 136
    tokens = generator.integers(0, vocab, total)
    rows, labels, weights = [], [], []
    for begin, end in documents:
        for row in range(begin, end - 1):
            if generator.random() < 0.6:
                rows.append(row)
                labels.append(tokens[row + 1])
                weights.append(generator.choice([1.0, 1.0, 0.25]))
    return {
        "tokens": tokens,
        "documents": np.array(documents),
        "rows": np.array(rows),
        "labels": np.array(labels),
        "weights": np.array(weights),
    }


def save_input(batch, path):
    save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in batch.items()}, path)


def truth(model, batch):
    """Logits of each document's rows, per-row losses, and gradients of the weighted mean loss."""
    model.zero_grad()
    logits = np.zeros((len(batch["tokens"]), model.config.vocab_size), dtype=np.float32)
    losses = np.zeros(len(batch["rows"]), dtype=np.float64)
    total_weight = float(batch["weights"].sum())
    for begin, end in batch["documents"]:
        ids = torch.tensor(batch["tokens"][begin:end])[None]
        out = model(input_ids=ids, position_ids=torch.arange(end - begin)[None]).logits[0]
        out = out.float()
        logits[begin:end] = out.detach().numpy()
        mine = np.flatnonzero((batch["rows"] >= begin) & (batch["rows"] < end))
        if len(mine) == 0:
            continue
        loss = torch.nn.functional.cross_entropy(
            out[torch.tensor(batch["rows"][mine] - begin)],
            torch.tensor(batch["labels"][mine]),
            reduction="none",
        )
        losses[mine] = loss.detach().numpy()
        weights = torch.tensor(batch["weights"][mine], dtype=torch.float32)
        ((loss * weights).sum() / total_weight).backward()
    gradients = {n: p.grad.float().numpy().copy() for n, p in model.named_parameters()}
    return {"logits": logits, "losses": losses, "gradients": gradients}


def downgrade_config(folder):
    """Rewrites config.json in the form that older versions of transformers wrote."""
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    with open(path, "w") as file:
        json.dump(config, file)
