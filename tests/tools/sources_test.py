"""Rows of JSON arrays, Parquet and gzip come out one by one, and damage is named."""

import gzip
import io
import json
import os
import unittest

from tests.tools.support import ToolTest, conversation, run_tool, write_jsonl

ROWS = [
    conversation("What is two plus two?", "It is four."),
    {**conversation("Say h\u00e9llo \U0001f600", "H\u00e9llo!"), "tags": ["greeting", "\u00e9"]},
    conversation("Say hello", "Hello there!", "Again?", "Hello."),
]


class ArrayElements(ToolTest):
    def elements(self, data, block):
        from rondo_tools import json_array

        json_array._BLOCK = block
        file = io.BytesIO(data)
        head = file.readline()
        return [json.loads(element) for _, element in json_array.elements(file, head)]

    def test_are_the_same_however_the_file_is_cut(self):
        values = [{"a": [1, "]", {"b": '\u00e9\U0001f600 \\" ,'}]}, 12345, "x", None, 1.5e3, [], {}]
        for indent in (None, 2):
            for ascii_only in (True, False):
                data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
                for block in (1, 2, 3, 7, 1000):
                    self.assertEqual(self.elements(b"[" + data[1:], block), values)
        self.assertEqual(self.elements(b"[ \n ] \n", 1), [])

    def test_damage_is_named_with_its_element(self):
        for data, text in (
            (b"[1, 2", "element 2: expected ',' or ']' behind it, found 'the end'"),
            (b"[1 2]", "element 1: expected ',' or ']' behind it, found '2'"),
            (b"[1, ]", "element 2"),
            (b'[{"a": 1}, {"b": ]', "element 2"),
            (b"[1]\n{}", "'{' follows the ']'"),
            (b'["\xff"]', "utf-8"),
            (b"[" * 100000, "element 1"),
        ):
            with (
                self.subTest(data[:20]),
                self.assertRaisesRegex(ValueError, text.replace("]", "\\]")),
            ):
                self.elements(data, 2)


class Sources(ToolTest):
    def tokenised(self, path, *options, code=0):
        out = self.folder / "out.h5"
        done = run_tool(
            "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--out", out, *options
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(out.exists(), code == 0)
        data = out.read_bytes() if code == 0 else done.stderr
        out.unlink(missing_ok=True)
        return data

    def arrays(self, path, *options):
        import h5py

        (self.folder / "out.h5").write_bytes(self.tokenised(path, *options))
        with h5py.File(self.folder / "out.h5") as file:
            names = ("tokens", "weights", "offsets", "words", "tags", "tag_offsets", "row")
            return {name: file[name][:].tolist() for name in names}, file.attrs["tag_names"]

    def parquet(self, rows, name="rows.parquet"):
        import pyarrow
        import pyarrow.parquet

        rows = [{name: row.get(name) for name in {**rows[0], **rows[1]}} for row in rows]
        path = self.folder / name
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path

    def test_every_kind_of_file_gives_the_same_examples(self):
        text = write_jsonl(self.folder / "rows.jsonl", ROWS)
        expected = self.arrays(text)
        array = self.folder / "rows.json"
        array.write_text(json.dumps(ROWS, indent=2))
        packed = self.folder / "rows.jsonl.gz"
        packed.write_bytes(gzip.compress(text.read_bytes()))
        for path in (array, packed, self.parquet(ROWS)):
            self.assertEqual(self.arrays(path), expected, path)
        self.assertEqual(json.loads(expected[1]), ["greeting", "\u00e9"])
        self.assertEqual(expected[0]["tag_offsets"], [0, 0, 2, 2])

    def test_parquet_fills_no_nulls_into_arguments(self):
        def asks(name, **arguments):
            call = {"function": {"name": name, "arguments": arguments}}
            user = {"role": "user", "content": "Do it."}
            return {"messages": [user, {"role": "assistant", "content": "", "tool_calls": [call]}]}

        rows = [asks("add", a=1, b=2), asks("place", city="Rome")]
        text = write_jsonl(self.folder / "rows.jsonl", rows)
        self.assertEqual(self.arrays(self.parquet(rows)), self.arrays(text))

    def test_damaged_files(self):
        text = write_jsonl(self.folder / "rows.jsonl", ROWS).read_bytes()
        cut = self.folder / "cut.jsonl.gz"
        cut.write_bytes(gzip.compress(text)[:-12])
        self.assertIn("is damaged gzip data", self.tokenised(cut, code=2))
        path = self.parquet(ROWS)
        path.write_bytes(path.read_bytes()[:-100])
        self.assertIn("is damaged Parquet", self.tokenised(path, code=2))

    def test_a_malformed_line_is_named_with_its_place(self):
        path = write_jsonl(self.folder / "rows.jsonl", [*ROWS, '{"messages": [}'])
        text = self.tokenised(path, code=2)
        self.assertIn("rows.jsonl:4: not JSON: ", text)
        self.assertIn("(char 14)", text)

    def test_a_file_that_changes_while_it_is_read(self):
        from rondo_tools import sources

        path = write_jsonl(self.folder / "rows.jsonl", ROWS)
        reading = sources.rows(path)
        next(reading)
        with open(path, "a", encoding="utf-8") as file:
            file.write("{}\n")
        with self.assertRaisesRegex(Exception, "changed while it was read"):
            list(reading)

    def test_a_file_that_changes_before_it_is_read(self):
        from rondo_tools.tokenize_job import Job, run

        path = write_jsonl(self.folder / "rows.jsonl", ROWS)
        job = Job([str(path)], str(self.tokenizer), str(self.folder / "out.h5"), workers=1)
        identity = job.identity()
        write_jsonl(path, ROWS[:2])
        with self.assertRaisesRegex(Exception, "changed while being read"):
            run(job, identity)
        self.assertEqual(os.listdir(self.folder).count("out.h5"), 0)


if __name__ == "__main__":
    unittest.main()
