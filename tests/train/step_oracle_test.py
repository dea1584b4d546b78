"""Whole rounds of training against transformers and torch: losses, gradient norms, rates, weights.

Every epoch is one step, so that the step's examples are known without knowing their order. Three
rounds: the second carries the optimizer state and shares the first one's schedule, the third starts
from the base with a fresh state, a batch of its own and its own clipping.
"""

import json
import math
import os
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import h5py
import numpy as np
import torch
import transformers

from tests.support.tokenized_file import write_tokenized

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

VOCAB = 97
SEQ_LEN = 24
WEIGHT_TABLE = np.array([0.0, 1.0, 0.25], dtype=np.float32)
LR = 3e-3
BETAS = (0.9, 0.95)
EPS = 1e-6
DECAY = 0.1
CLIP = 0.7

CONFIG = """
run: {{name: oracle, dir: {dir}, seed: 3}}
model: {{from: {model}}}
batch: {{seq_len: 24, packs: 24, micro_packs: {micro_packs}}}
loss: {{average: {average}}}
clean: {{exact: off, near: off}}
optimizer: {{lr: 3.0e-3, betas: [0.9, 0.95], eps: 1.0e-6, weight_decay: 0.1, clip: 0.7}}
schedule: {{kind: cosine, warmup: 2, final: 0.1}}
export: {{rounds: false}}
sources:
  a: {{train: {dir}/a.h5}}
  b: {{train: {dir}/b.h5, heldout: {dir}/held.h5}}
rounds:
  - {{name: first, data: {{a: 1.0}}, epochs: 3}}
  - {{name: second, optimizer_state: carry, data: {{b: 1.0}}, epochs: 2}}
  - name: third
    init: base
    data: {{a: 1.0, b: 1.0}}
    batch: {{packs: 48}}
    optimizer: {{clip: 0}}
    schedule: {{kind: constant, warmup: 0}}
    epochs: 2
"""


def make_examples(seed, count):
    random = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        length = int(random.integers(2, SEQ_LEN + 1))
        prompt = int(random.integers(1, length))
        codes = np.zeros(length, dtype=np.uint8)
        codes[prompt:] = random.integers(1, 3, length - prompt)
        examples.append((random.integers(0, VOCAB, length).astype(np.int32), codes))
    return examples


def build_model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=52,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config)


def loss_of(model, examples, average):
    """Weighted mean over the examples, each a row of its own, padded at its end."""
    ids = torch.zeros(len(examples), SEQ_LEN, dtype=torch.long)
    weights = torch.zeros(len(examples), SEQ_LEN)
    for row, (tokens, codes) in enumerate(examples):
        ids[row, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
        weights[row, : len(codes)] = torch.from_numpy(WEIGHT_TABLE[codes])
    if average == "examples":
        weights /= weights.sum(1, keepdim=True)
    # Attention looks back only: what an example's padding holds does not reach it.
    logits = model(ids).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return (losses * weights[:, 1:]).sum() / weights.sum()


def new_optimizer(model):
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)


def train_step(model, optimizer, loss, lr, clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
    if 0 < clip < norm:
        for parameter in model.parameters():
            parameter.grad.mul_(clip / norm)
    optimizer.step()
    return {"loss": loss.item(), "grad_norm": norm, "lr": lr}


def cosine(step, total, warmup=2, final=0.1):
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup + 1) / (total - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def truth(folder, a, b, held, average):
    """What the three rounds of CONFIG compute: steps, held-out losses, weights by round."""

    def state():
        return {n: p.detach().numpy().copy() for n, p in model.named_parameters()}

    def held_loss():
        with torch.no_grad():
            return float(loss_of(model, held, average))

    model = transformers.LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
    optimizer = new_optimizer(model)
    heldout = {"base": held_loss()}
    steps, weights = [], {}
    for step in range(5):
        loss = loss_of(model, a if step < 3 else b, average)
        steps.append(train_step(model, optimizer, loss, LR * cosine(step, 5), CLIP))
        if step == 2:
            weights["first"], heldout["first"] = state(), held_loss()
    weights["second"], heldout["second"] = state(), held_loss()
    model = transformers.LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
    optimizer = new_optimizer(model)
    for _ in range(2):
        loss = loss_of(model, a + b, average)
        steps.append(train_step(model, optimizer, loss, LR, 0))
    weights["third"], heldout["third"] = state(), held_loss()
    return steps, heldout, weights


class StepOracle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = os.path.join(cls.temporary.name, "model")
        build_model().save_pretrained(cls.folder)
        cls.data = make_examples(1, 30), make_examples(2, 26), make_examples(3, 9)

    def rondo(self, ranks, micro_packs, average):
        folder = tempfile.mkdtemp(dir=self.temporary.name)
        for name, examples in zip(("a", "b", "held"), self.data, strict=True):
            path = os.path.join(folder, name + ".h5")
            write_tokenized(path, examples, vocab=VOCAB, table=WEIGHT_TABLE)
        config = os.path.join(folder, "config.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                CONFIG.format(
                    dir=folder, model=self.folder, micro_packs=micro_packs, average=average
                )
            )
        launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        done = subprocess.run(
            [*launcher, os.environ["RONDO_BINARY"], "train", config],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return os.path.join(folder, "oracle")

    def compare(self, ranks, micro_packs, average):
        run = self.rondo(ranks, micro_packs, average)
        steps, heldout, weights = truth(self.folder, *self.data, average)
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["step"] for line in lines], list(range(1, len(steps) + 1)))
        for line, step in zip(lines, steps, strict=True):
            for key, tolerance in (("loss", 1e-5), ("grad_norm", 1e-4), ("lr", 1e-12)):
                error = abs(line[key] - step[key]) / step[key]
                self.assertLess(error, tolerance, f"step {line['step']}: {key}")
        with open(os.path.join(run, "ledger.jsonl"), encoding="utf-8") as file:
            ledger = {line["round"]: line for line in map(json.loads, file)}
        worst = 0.0
        for i, (name, parameters) in enumerate(weights.items()):
            loss = ledger[name]["heldout"][0]["loss"]
            self.assertLess(abs(loss - heldout[name]) / heldout[name], 1e-5, name)
            path = os.path.join(run, "checkpoints", f"round-{i:02}-{name}", "logical.h5")
            with h5py.File(path) as file:
                for parameter, value in parameters.items():
                    ours = file[parameter][:].astype(np.float64)
                    error = np.linalg.norm(ours - value) / np.linalg.norm(value)
                    self.assertLess(error, 1e-4, f"{name}: {parameter}")
                    worst = max(worst, error)
        print(f"{ranks} ranks, {average}: worst weight error {worst:.1e}")

    def test_one_rank(self):
        self.compare(1, 8, "tokens")

    def test_two_ranks(self):
        self.compare(2, 3, "tokens")

    def test_three_ranks_average_over_examples(self):
        self.compare(3, 4, "examples")


if __name__ == "__main__":
    unittest.main()
