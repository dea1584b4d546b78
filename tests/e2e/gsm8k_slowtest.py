"""A model of 9.5 million parameters on GSM8K: held-out loss falls, and a run killed at random steps
and started again is the uninterrupted one to the last bit; on two ranks and on one."""

import random
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness
import resume_test

harness.TIMEOUT_S = 3600
PRINT_EVERY = 5
VOCAB = 8192
SHAPE = {
    "hidden": 256,
    "layers": 10,
    "heads": 8,
    "kv_heads": 4,
    "ffn": 704,
    "vocab": VOCAB,
    "max_seq": 512,
    "tied": True,
}


class Gsm8k(resume_test.ResumeTest):
    def gsm8k(self, name, tokenizer, length):
        return self.recipe(
            name,
            run={"print_every": PRINT_EVERY},
            model={"shape": SHAPE},
            tokenizer=str(tokenizer),
            batch={"seq_len": 512, "packs": 16, "micro_packs": 4},
            optimizer={"lr": 1e-3},
            schedule={"warmup": 0.05},
            checkpoint={"every": 20},
            evaluate={"every": "never", "max_examples": 400},
            sources={
                "gsm8k": {
                    "train": str(resume_test.GSM8K / "train.jsonl"),
                    "heldout": str(resume_test.GSM8K / "test.jsonl"),
                    "columns": {"prompt": "question", "completion": "answer"},
                }
            },
            rounds=[{"name": "only", "data": {"gsm8k": 1.0}} | length],
        )

    def compare(self, ranks, seed, at_once, length):
        """The uninterrupted run and the killed one, side by side where there is room for both."""
        tokenizer = self.folder / "tokenizer"
        source = resume_test.GSM8K / "train.jsonl"
        harness.tool("train_tokenizer", "--input", source, "--out", tokenizer, "--vocab", VOCAB)
        straight, killed = (self.gsm8k(name, tokenizer, length) for name in ("straight", "killed"))
        how = {"ranks": ranks, "launcher": True}
        choose = random.Random(seed)
        moments = [("loss", choose.randint(1, 9)) for _ in range(3)]
        with ThreadPoolExecutor(2 if at_once else 1) as pool:
            runs = [
                pool.submit(self.train, straight, **how),
                pool.submit(self.kill_until_done, killed, moments, seed, **how),
            ]
            for run in runs:
                run.result()
        self.expect_same_runs("killed", "straight")
        events = harness.json_lines(self.run_folder("straight") / "events.jsonl")
        rows = [event["evaluate"] for event in events if event["event"] == "evaluated"]
        base, after = rows[0][0], rows[-1][0]
        first, last = (self.metrics("straight")[i]["loss"] for i in (0, -1))
        print(
            f"{ranks} rank(s), seed {seed}, kills at {moments}: {len(self.metrics('straight'))} "
            f"steps, loss {first:.4f} to {last:.4f}, held-out {base['loss']:.4f} to "
            f"{after['loss']:.4f}, {self.ledger('straight')[-1]['result_digest']}",
            file=sys.stderr,
        )
        self.assertLess(after["loss"], base["loss"] - 1)

    def test_on_two_ranks(self):
        self.compare(ranks=2, seed=21, at_once=False, length={"steps": 60})

    def test_on_one_rank(self):
        self.compare(ranks=1, seed=22, at_once=True, length={"steps": 60})


if __name__ == "__main__":
    unittest.main()
