"""tools/decode: token ids back to text, joined with the prompts."""

import json
import unittest

import h5py
import numpy as np
from tokenizers import Tokenizer

from tests.tools.support import ToolTest, run_tool, write_jsonl

TEXTS = ["It is four.", "", "Hello \u00e9\u4f60<|im_start|>"]


class Decode(ToolTest):
    def setUp(self):
        super().setUp()
        self.generated = self.folder / "generated.h5"
        tokenizer = Tokenizer.from_file(str(self.tokenizer / "tokenizer.json"))
        ids = [tokenizer.encode(text).ids for text in TEXTS]
        with h5py.File(self.generated, "w") as file:
            file.attrs["format"] = "rondo.generated"
            file.attrs["version"] = np.int64(1)
            file["tokens"] = np.concatenate([np.asarray(i, "<i4") for i in ids])
            file["offsets"] = np.cumsum([0, *map(len, ids)]).astype("<i8")
            file["example_id"] = np.asarray([1, 2, 2**64 - 1], "<u8")
            file["finished"] = np.asarray([1, 1, 0], "u1")

    def decode(self, *options):
        out = self.folder / "out" / "completions.jsonl"
        done = run_tool(
            "decode", "--generated", self.generated, "--tokenizer", self.tokenizer, "--out", out,
            *options,
        )  # fmt: skip
        if done.returncode:
            return done
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    def test_texts_come_back(self):
        rows = self.decode()
        self.assertEqual([row["completion"] for row in rows], TEXTS)
        self.assertEqual([row["finished"] for row in rows], [True, True, False])
        self.assertEqual(rows[2]["id"], "f" * 16)

    def test_prompts_are_joined_by_order(self):
        prompts = [{"id": f"p{n}", "answer": n, "completion": "old"} for n in range(3)]
        rows = self.decode("--prompts", write_jsonl(self.folder / "prompts.jsonl", prompts))
        self.assertEqual(rows[0], {"id": "p0", "answer": 0, "reference": "old",
                                   "completion": TEXTS[0], "finished": True})  # fmt: skip

    def test_the_first_prompts_are_taken_when_asked(self):
        path = write_jsonl(self.folder / "prompts.jsonl", [{"id": n} for n in range(9)])
        rows = self.decode("--prompts", path, "--max-examples", 3)
        self.assertEqual([row["id"] for row in rows], [0, 1, 2])

    def tokenised_with_a_rejected_row(self):
        """A prompts file whose second line no completion belongs to."""
        good = [{"id": n, "prompt": f"Say {n}", "completion": f"Hello {n}"} for n in range(4)]
        rows = [good[0], "", {**good[0], "id": "bad", "completion": " "}, *good[1:]]
        path = write_jsonl(self.folder / "prompts.jsonl", rows)
        tokenised = self.folder / "prompts.h5"
        done = run_tool(
            "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out", tokenised,
            "--max-rejected", 1, "--workers", 1,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        with h5py.File(self.generated, "a") as file:
            file.attrs["prompts"] = str(tokenised)
        return path

    def test_rows_rejected_at_tokenising_are_left_out(self):
        path = self.tokenised_with_a_rejected_row()
        rows = self.decode("--prompts", path, "--max-examples", 3)
        self.assertEqual([row["id"] for row in rows], [0, 1, 2])
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-1]) + "\n")
        rows = self.decode("--prompts", path)
        self.assertEqual([row["id"] for row in rows], [0, 1, 2])

    def test_the_list_of_rejected_rows_must_be_that_of_the_file(self):
        path = self.tokenised_with_a_rejected_row()
        (self.folder / "prompts.h5.rejected.jsonl").unlink()
        done = self.decode("--prompts", path, "--max-examples", 3)
        self.assertEqual(done.returncode, 2)
        self.assertIn("lists 0 rows", done.stderr)

    def test_another_number_of_prompts_is_refused(self):
        done = self.decode("--prompts", write_jsonl(self.folder / "prompts.jsonl", [{"id": 1}]))
        self.assertEqual(done.returncode, 2)
        self.assertIn("1 rows", done.stderr)

    def refused(self, text):
        done = self.decode()
        self.assertEqual(done.returncode, 2)
        self.assertIn(text, done.stderr)

    def test_another_format_is_refused(self):
        with h5py.File(self.generated, "a") as file:
            file.attrs["format"] = "rondo.tokenized"
        self.refused("expected rondo.generated version 1")

    def test_damaged_files_are_refused(self):
        with h5py.File(self.generated, "a") as file:
            file["offsets"][3] += 1
        self.refused("do not agree")
        with h5py.File(self.generated, "a") as file:
            del file["finished"]
        self.refused("cannot be read")
        self.generated.write_bytes(b"no HDF5")
        self.refused("cannot be read")


if __name__ == "__main__":
    unittest.main()
