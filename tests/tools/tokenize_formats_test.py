"""Every input format gives the same conversations, tokens and weights; golden readouts."""

import gzip
import itertools
import json
import unittest

import h5py
from tokenizers import Tokenizer

from tests.tools.support import ToolTest, conversation, run_tool, write_jsonl

QUESTION, ANSWER = "What is two plus two?", "It is four."
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
WHOLE = f"{PROMPT}{ANSWER}<|im_end|>\n"


class TokenizeFormats(ToolTest):
    def tokenised(self, rows, *options, name="rows.jsonl"):
        """[(text of the whole example, text of its trained tokens)]."""
        path = self.folder / name
        if isinstance(rows, list):
            write_jsonl(path, rows)
        out = self.folder / "out.h5"
        done = run_tool(
            "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out", out,
            "--workers", 1, *options,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.read(out)

    def read(self, path):
        tokenizer = Tokenizer.from_file(str(self.tokenizer / "tokenizer.json"))

        def text(ids):
            return tokenizer.decode(list(ids), skip_special_tokens=False)

        with h5py.File(path) as file:
            tokens, weights, offsets = (file[n][:] for n in ("tokens", "weights", "offsets"))
            prompts = file["prompt_length"][:]
        examples = []
        for number, (begin, end) in enumerate(itertools.pairwise(offsets)):
            ids, codes = tokens[begin:end], weights[begin:end]
            self.assertEqual(prompts[number], codes.tolist().index(1))
            examples.append((text(ids), text(ids[codes == 1])))
        return examples

    def test_messages(self):
        expected = [(WHOLE, ANSWER + "<|im_end|>")]
        self.assertEqual(self.tokenised([conversation(QUESTION, ANSWER)]), expected)

    def test_messages_with_system_and_two_turns_and_text_parts(self):
        row = conversation(QUESTION, ANSWER, "And three plus three?", "That makes six.")
        row["messages"].insert(0, {"role": "system", "content": "You are a helpful assistant."})
        row["messages"][1]["content"] = [
            {"type": "text", "text": "What is "},
            {"type": "text", "text": "two plus two?"},
        ]
        ((whole, trained),) = self.tokenised([row])
        self.assertTrue(whole.startswith("<|im_start|>system\nYou are a helpful assistant."))
        self.assertEqual(trained, "It is four.<|im_end|>That makes six.<|im_end|>")

    def test_weights_of_nothing_and_empty_system_turns_are_as_if_absent(self):
        row = conversation(QUESTION, ANSWER)
        for message in row["messages"]:
            message["weight"] = None
        row["messages"][1]["weight"] = 1
        row["messages"].insert(0, {"role": "system", "content": " \n", "weight": None})
        self.assertEqual(self.tokenised([row]), [(WHOLE, ANSWER + "<|im_end|>")])

    def test_alpaca_with_and_without_input(self):
        rows = [
            {"instruction": QUESTION, "input": "", "output": ANSWER},
            {"instruction": "Translate to French:", "input": "good morning", "output": "Bonjour."},
        ]
        plain, with_input = self.tokenised(rows)
        self.assertEqual(plain, (WHOLE, ANSWER + "<|im_end|>"))
        self.assertIn("user\nTranslate to French:\n\ngood morning<|im_end|>", with_input[0])
        self.assertEqual(with_input[1], "Bonjour.<|im_end|>")

    def test_sharegpt_as_a_json_array(self):
        row = {
            "conversations": [
                {"from": "human", "value": QUESTION},
                {"from": "gpt", "value": ANSWER},
            ]
        }
        path = self.folder / "rows.json"
        path.write_text(json.dumps([row, row], indent=2), encoding="utf-8")
        expected = [(WHOLE, ANSWER + "<|im_end|>")] * 2
        self.assertEqual(self.tokenised(None, name="rows.json"), expected)

    def test_a_json_array_behind_blank_lines(self):
        row = conversation(QUESTION, ANSWER)
        path = self.folder / "rows.json"
        path.write_text("\ufeff\n \n" + json.dumps([row, row], indent=2), encoding="utf-8")
        expected = [(WHOLE, ANSWER + "<|im_end|>")] * 2
        self.assertEqual(self.tokenised(None, name="rows.json"), expected)

    def test_prompt_and_completion_as_texts_and_as_messages(self):
        messages = conversation(QUESTION, ANSWER)["messages"]
        rows = [
            {"prompt": QUESTION, "completion": ANSWER},
            {"prompt": messages[:1], "completion": messages[1:]},
        ]
        self.assertEqual(self.tokenised(rows), [(WHOLE, ANSWER + "<|im_end|>")] * 2)

    def test_column_map_and_gzip(self):
        row = {"question": QUESTION, "answer": ANSWER, "id": 7}
        with gzip.open(self.folder / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n\n")
        columns = ("--columns", "prompt=question,completion=answer")
        found = self.tokenised(None, *columns, name="rows.jsonl.gz")
        self.assertEqual(found, [(WHOLE, ANSWER + "<|im_end|>")])

    def test_the_column_map_decides_where_several_formats_would_fit(self):
        row = {**conversation("Say hello", "Hello there!"), "question": QUESTION, "answer": ANSWER}
        columns = ("--columns", "prompt=question,completion=answer")
        self.assertEqual(self.tokenised([row], *columns), [(WHOLE, ANSWER + "<|im_end|>")])
        self.assertEqual(self.tokenised([row])[0][1], "Hello there!<|im_end|>")

    def test_byte_order_mark_and_windows_line_ends(self):
        line = json.dumps(conversation(QUESTION, ANSWER))
        path = self.folder / "rows.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + f"{line}\r\n{line}\r\n".encode())
        expected = [(WHOLE, ANSWER + "<|im_end|>")] * 2
        self.assertEqual(self.tokenised(None), expected)

    def test_golden_tokens_weights_and_attributes(self):
        self.tokenised([conversation("48 + 24", "72")])
        tokenizer = Tokenizer.from_file(str(self.tokenizer / "tokenizer.json"))
        with h5py.File(self.folder / "out.h5") as file:
            pieces = [tokenizer.decode([i], skip_special_tokens=False) for i in file["tokens"]]
            weights = file["weights"][:].tolist()
            self.assertEqual(file.attrs["format"], b"rondo.tokenized")
            self.assertEqual(file.attrs["version"], 2)
            self.assertEqual(file.attrs["vocab_size"], tokenizer.get_vocab_size())
            self.assertEqual(file.attrs["end_of_turn_id"], tokenizer.token_to_id("<|im_end|>"))
            self.assertEqual(file["weight_table"][:].tolist(), [0.0, 1.0])
            kinds = {name: str(file[name].dtype) for name in file}
            self.assertTrue(all(file[name].chunks is None for name in file))
        self.assertEqual(
            kinds,
            {
                "tokens": "int32",
                "weights": "uint8",
                "weight_table": "float32",
                "offsets": "int64",
                "example_id": "uint64",
                "prompt_length": "int64",
                "words": "uint8",
                "word_offsets": "int64",
                "file": "uint16",
                "row": "int64",
                "tag_offsets": "int64",
                "tags": "uint16",
            },
        )
        answer = pieces.index("7")
        self.assertEqual(pieces[answer:], ["7", "2", "<|im_end|>", "\n"])
        self.assertEqual(weights, [0] * answer + [1, 1, 1, 0])


if __name__ == "__main__":
    unittest.main()
