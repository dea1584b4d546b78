"""tools/bench_tokenize prints both speeds and their ratio."""

import json
import unittest

from tests.tools.support import ToolTest, conversation, run_script, write_jsonl


class BenchTokenize(ToolTest):
    def test_it_prints_both_speeds_and_their_ratio(self):
        rows = write_jsonl(self.folder / "rows.jsonl", [conversation("Say hello", "Hello!")] * 9)
        done = run_script(
            "bench_tokenize", "--input", rows, "--tokenizer", self.tokenizer, "--workers", 1,
            "--passes", 2, "--repeats", 1,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["rows"], 9)
        speed = found["tokenize_tokens_per_s"] / found["encode_batch_tokens_per_s"]
        self.assertAlmostEqual(found["ratio"], speed, places=2)


if __name__ == "__main__":
    unittest.main()
