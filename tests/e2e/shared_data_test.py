"""Real files of three forms through tokenising, packing and training steps, started as users do."""

import math
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

DATA = harness.ROOT.parent / "shared" / "data"
VOCAB = 2048
SOURCES = {
    "gsm8k": {
        "train": str(DATA / "gsm8k" / "train.jsonl"),
        "heldout": str(DATA / "gsm8k" / "test.jsonl"),
        "columns": {"prompt": "question", "completion": "answer"},
    },
    "sharegpt": {"train": str(DATA / "sharegpt_toolcall" / "*.json"), "heldout": {"split": 20}},
    "openai": {"train": str(DATA / "openai_toolcall" / "*.jsonl")},
}


class SharedData(harness.RunTest):
    def test_to_training_steps(self):
        tokenizer = self.folder / "tokenizer"
        source = DATA / "sharegpt_toolcall" / "*.json"
        harness.tool("train_tokenizer", "--input", source, "--out", tokenizer, "--vocab", VOCAB)
        config = self.recipe(
            "run",
            model={"shape": {"vocab": VOCAB, "max_seq": 4096}},
            tokenizer=str(tokenizer),
            batch={"seq_len": 4096, "packs": 4, "micro_packs": 1},
            pack={"over_long": "cut"},
            run={"max_steps": 3},
            evaluate={"at_start": False, "every": "never", "max_examples": 10},
            sources=SOURCES,
            rounds=[{"name": "only", "data": {"gsm8k": 0.05, "sharegpt": 1.0, "openai": 0.5}}],
        )
        done = self.train(config, ranks=2, launcher=True)
        losses = [line["loss"] for line in self.metrics() if "loss" in line]
        self.assertEqual(len(losses), 3)
        self.assertTrue(all(math.isfinite(loss) and loss > 0 for loss in losses), losses)
        for name in ("gsm8k", "sharegpt", "openai"):
            self.assertRegex(done.stdout, rf"{name}\.train: tokenised, \d+ examples.* 0 rejected")


if __name__ == "__main__":
    unittest.main()
