"""Row faults on both sides of --max-rejected; wrong files; the same bytes for any workers."""

import json
import os
import unittest

from tests.tools.support import MARKED_TEMPLATE, ToolTest, conversation, run_tool, write_jsonl

GOOD = conversation("What is two plus two?", "It is four.")


def calls(name, arguments):
    """An assistant's turn that calls a tool."""
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


FAULTS = {
    "not JSON": '{"messages": [',
    "not an object": "[1, 2]",
    "wrong type": {"texts": []},
    "wrong type ": {"messages": "hello"},
    "wrong role": {"messages": [{"role": "robot", "content": "hello"}]},
    "two user turns running": {"messages": [GOOD["messages"][0], *GOOD["messages"]]},
    "two assistant turns running": {"messages": [*GOOD["messages"], GOOD["messages"][1]]},
    "empty answer": conversation("Say hello", "  \n"),
    "empty user turn": conversation("", "Hello"),
    "no trainable token": {"messages": GOOD["messages"][:1]},
    "control token in the text": conversation("Say <|im_end|>", "Hello"),
    "not valid Unicode": '{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "the chat template leaves out tools": {**GOOD, "tools": [{"name": "add"}]},
    "the chat template leaves out calls of tools": {
        "messages": [GOOD["messages"][0], calls("add", {"a": 1})]
    },
    "wrong type  ": {**GOOD, "tools": [{"function": "add"}]},
    "not a tool call": {"messages": [GOOD["messages"][0], calls("add", "{'a': 1}")]},
    "wrong role ": {"messages": [*GOOD["messages"], {"role": "tool", "content": "12"}]},
    "wrong role  ": {"messages": [GOOD["messages"][1], GOOD["messages"][0]]},
    "wrong weight": {"messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": -1}]},
    "wrong weight ": {
        "messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": 10**400}]
    },
    "wrong weight  ": {"messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": 1e-50}]},
    "control token in the text ": {
        "messages": [{**GOOD["messages"][0], "name": "x<|im_end|>"}, GOOD["messages"][1]]
    },
    "not valid Unicode ": '{"messages": [{"role": "user", "content": "a", "name": "\\ud800"},'
    ' {"role": "assistant", "content": "b"}]}',
    "no trainable token ": {
        "messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": 0}]
    },
}


class TokenizeFaults(ToolTest):
    def tokenise(self, rows, *options, out="out.h5"):
        path = write_jsonl(self.folder / "rows.jsonl", rows)
        return run_tool(
            "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out",
            self.folder / out, "--format", "messages", *options,
        )  # fmt: skip

    def test_every_fault_is_named_and_counted(self):
        from rondo_tools import sources
        from rondo_tools.row_encoder import RowEncoder, Rules

        encoder = RowEncoder(str(self.tokenizer), MARKED_TEMPLATE, Rules("messages", {}))
        path = write_jsonl(self.folder / "rows.jsonl", [GOOD, *FAULTS.values(), GOOD])
        results = encoder.encode([row for _, row in sources.rows(path)])
        reasons = [result.fault[0] if result.fault else None for result in results]
        expected = [name.strip() for name in FAULTS]
        self.assertEqual(reasons, [None, *expected, None])

    def test_under_the_limit_rows_are_left_out_and_listed(self):
        done = self.tokenise([GOOD] * 3 + ["{"], "--max-rejected", 0.25)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 examples", done.stdout)
        self.assertIn("1 rejected (not JSON: 1)", done.stdout)
        (entry,) = (self.folder / "out.h5.rejected.jsonl").read_text().splitlines()
        self.assertEqual(json.loads(entry)["line"], 4)
        self.assertIn("not JSON", json.loads(entry)["reason"])

    def test_over_the_limit_nothing_is_published(self):
        rejected = self.folder / "rejected.jsonl"
        rows = [GOOD] * 3 + [FAULTS["empty answer"]]
        done = self.tokenise(rows, "--max-rejected", 0.24, "--rejected", rejected)
        self.assertEqual(done.returncode, 2)
        self.assertFalse((self.folder / "out.h5").exists())
        self.assertIn("rows.jsonl:4: empty answer", done.stderr)
        self.assertIn("--max-rejected", done.stderr)
        self.assertIn("sources.NAME.max_rejected", done.stderr)
        self.assertEqual(len(rejected.read_text().splitlines()), 1)
        self.assertEqual(
            sorted(os.listdir(self.folder)), ["rejected.jsonl", "rows.jsonl"], "left-overs"
        )

    def test_the_same_bytes_for_any_number_of_workers(self):
        rows = [conversation(f"What is {n} + 1?", f"It is {n + 1}.") for n in range(700)]
        rows[300] = "{"
        contents = set()
        for workers in (1, 2, 3):
            done = self.tokenise(rows, "--workers", workers)
            self.assertEqual(done.returncode, 0, done.stderr)
            contents.add((self.folder / "out.h5").read_bytes())
        self.assertEqual(len(contents), 1)

    def test_wrong_files_are_named(self):
        lfs = self.folder / "lfs.jsonl"
        lfs.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        empty = self.folder / "empty.jsonl"
        empty.touch()
        array = self.folder / "array.json"
        array.write_text('[{"a": 1}')
        for path, text in (
            (lfs, "Git LFS pointer"),
            (empty, "is empty"),
            (array, "not a JSON array"),
            (self.folder / "none.jsonl", "no such file"),
            (self.folder, "is a folder"),
        ):
            out = self.folder / "out.h5"
            done = run_tool(
                "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out", out
            )
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(text, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_a_file_given_twice_is_named(self):
        path = write_jsonl(self.folder / "rows.jsonl", [GOOD])
        (self.folder / "link.jsonl").symlink_to(path)
        for inputs in (
            (path, path),
            (path, self.folder / "*.jsonl"),
            (self.folder / "r*", self.folder / "link.jsonl"),
        ):
            done = run_tool(
                "tokenize", "--input", *inputs, "--tokenizer", self.tokenizer, "--out",
                self.folder / "out.h5",
            )  # fmt: skip
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertRegex(done.stderr, "(rows|link).jsonl: is given twice, by")
            self.assertIn(f"by {inputs[1]}. Leave", done.stderr)

    def test_an_unknown_format_lists_the_columns_found(self):
        path = write_jsonl(self.folder / "rows.jsonl", [{"question": "a", "answer": "b"}])
        out = self.folder / "out.h5"
        done = run_tool("tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out", out)
        self.assertEqual(done.returncode, 2)
        self.assertIn("columns found: question, answer", done.stderr)
        self.assertIn("--columns", done.stderr)
        self.assertIn("sources.NAME.columns", done.stderr)

    def test_what_is_no_json_is_said_with_its_line(self):
        row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}
        expected = "expected one JSON object per line, or one JSON array"
        for content, text in (
            (b" \n\n", "rows.txt: no row"),
            (b"[]", "rows.txt: no row"),
            (b"\nquestion,answer\na,b\n", "rows.txt:2: not JSON"),
            (b"1,2\n", "rows.txt:1: not JSON"),
            (b"12\n", "rows.txt:1: not an object: the row is int"),
            ('{"prompt": "\u00e9"}\n'.encode("latin-1"), "rows.txt:1: not UTF-8"),
            (b"Some text.\nMore of it.\n", "rows.txt:1: not JSON"),
            (json.dumps(row, indent=1).encode(), "rows.txt:1: not JSON"),
            (b'{\n"list": [\n{"a": 1}\n]\n}\n', "rows.txt:1: not JSON"),
        ):
            with self.subTest(content):
                path = self.folder / "rows.txt"
                path.write_bytes(content)
                done = run_tool(
                    "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out",
                    self.folder / "out.h5",
                )  # fmt: skip
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(text, done.stderr)
                self.assertIn(expected, done.stderr)
                self.assertNotIn("--columns", done.stderr)


if __name__ == "__main__":
    unittest.main()
