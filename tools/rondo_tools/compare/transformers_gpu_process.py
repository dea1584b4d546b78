"""Trains a model of transformers on one GPU and times its steps.

A program of its own, so that rondo and PyTorch never share a GPU's memory. Writes figures as JSON
to --result. bf16 throughout, as fast as PyTorch does it without tricks of its own: weights, fused
AdamW and its moments in bf16, attention by SDPA over whole packs.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import transformers

from rondo_tools.compare import known_shapes

WARM_UP = 10


def make_model(options):
    kind, sizes = known_shapes.SHAPES[options.shape]
    if options.layers:
        sizes = {**sizes, "num_hidden_layers": options.layers}
    config_class, model_class = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }[kind]
    positions = max(2048, options.seq_len)
    config = config_class(**sizes, max_position_embeddings=positions, use_cache=False)
    config._attn_implementation = options.attention
    torch.manual_seed(1)
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    with torch.device(options.device):
        return model_class(config).to(dtype).train()


def wait(options):
    if options.device == "cuda":
        torch.cuda.synchronize()


class Trainer:
    def __init__(self, model, options):
        self.model = model
        self.options = options
        size = (options.packs, options.seq_len)
        tokens = torch.randint(model.config.vocab_size, size, device=options.device)
        self.micro_batches = tokens.split(options.micro_packs)
        self.forward = torch.compile(model) if options.compile else model
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True
        )

    def step(self):
        """The mean loss of the packs, before the update."""
        losses = []
        for tokens in self.micro_batches:
            loss = self.forward(input_ids=tokens, labels=tokens).loss / len(self.micro_batches)
            loss.backward()
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return sum(losses)


def measure(options):
    model = make_model(options)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trainer = Trainer(model, options)
    seconds = []
    loss = torch.zeros(())
    for _ in range((WARM_UP if options.device == "cuda" else 1) + options.steps):
        wait(options)
        begin = time.perf_counter()
        loss = trainer.step()
        wait(options)
        seconds.append(time.perf_counter() - begin)
    seconds = seconds[-options.steps :]
    on_gpu = options.device == "cuda"
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "parameters": parameters,
        "median_seconds": statistics.median_high(seconds),
        "tokens_per_s": options.packs * options.seq_len / statistics.median_high(seconds),
        "peak_device_bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
        "loss": float(loss),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", required=True)
    parser.add_argument("--attention", required=True)
    parser.add_argument("--device", required=True)
    for name in ("--layers", "--seq-len", "--packs", "--micro-packs", "--steps"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    options.result.write_text(json.dumps(measure(options)), encoding="ascii")


if __name__ == "__main__":
    main()
