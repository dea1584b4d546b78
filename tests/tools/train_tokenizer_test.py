"""tools/train_tokenizer: a folder that transformers loads, the same each time."""

import json
import unittest

from tests.tools.support import TEXTS, ToolTest, conversation, run_tool, write_jsonl


class TrainTokenizer(ToolTest):
    def train(self, name, *options, rows=None):
        rows = rows or [{"text": TEXTS, "n": 3}, conversation(*TEXTS[:2])]
        path = write_jsonl(self.folder / "corpus.jsonl", rows)
        return run_tool("train_tokenizer", "--input", path, "--out", self.folder / name, *options)

    def files(self, name):
        return {path.name: path.read_bytes() for path in (self.folder / name).iterdir()}

    def test_the_same_folder_each_time(self):
        for name in ("a", "b"):
            done = self.train(name, "--vocab", 300)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files("a"), self.files("b"))
        self.assertEqual(
            sorted(self.files("a")),
            [
                "chat_template.jinja",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ],
        )

    def test_transformers_loads_it(self):
        from transformers import AutoTokenizer

        self.train("a", "--vocab", 300)
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "a")
        self.assertEqual(len(tokenizer), 300)
        self.assertEqual(tokenizer.eos_token, "<|im_end|>")
        self.assertEqual(tokenizer.pad_token, "<|endoftext|>")
        self.assertEqual(
            tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
            [0, 1, 2],
        )
        text = "Any text \u00e9\u4f60\n\n  with\tsigns \U0001f600 & 1234."
        self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)
        messages = conversation("Say hello", "Hello")["messages"]
        self.assertEqual(
            tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True),
            "<|im_start|>user\nSay hello<|im_end|>\n<|im_start|>assistant\n",
        )

    def test_digits_stand_alone_when_asked(self):
        from tokenizers import Tokenizer

        rows = [{"text": "1234 1234 1234 1234 "} for _ in range(10)]
        for options, pieces in ((("--digits",), ["1", "2", "3", "4"]), ((), ["1234"])):
            self.train("a", "--vocab", 280, *options, rows=rows)
            tokenizer = Tokenizer.from_file(str(self.folder / "a" / "tokenizer.json"))
            self.assertEqual(tokenizer.encode("1234").tokens, pieces)

    def test_what_cannot_be_is_refused(self):
        done = self.train("a", "--vocab", 200)
        self.assertEqual(done.returncode, 2)
        self.assertIn("at least 259", done.stderr)
        done = self.train("a", rows=["{"])
        self.assertEqual(done.returncode, 2)
        self.assertIn("corpus.jsonl:1: is not JSON", done.stderr)
        self.assertFalse((self.folder / "a").exists())

    def test_settings_name_the_end_of_turn(self):
        self.train("a", "--vocab", 300)
        config = json.loads(self.files("a")["tokenizer_config.json"])
        special = json.loads(self.files("a")["special_tokens_map.json"])
        self.assertEqual((config["eos_token"], special["eos_token"]), ("<|im_end|>",) * 2)


if __name__ == "__main__":
    unittest.main()
