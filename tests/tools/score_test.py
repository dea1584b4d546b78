"""tools/score: what counts as the same answer, and what is refused."""

import json
import re
import unittest

from tests.tools.support import ToolTest, run_script, run_tool, write_jsonl


class Normalised(unittest.TestCase):
    def test_numbers_in_other_clothes_are_equal(self):
        from rondo_tools.score_command import normalised

        for text in ("1234.5", " 1,234.50 ", "$1,234.5", "$ 1234.500.", "+1234.5"):
            self.assertEqual(normalised(text), "1234.5", text)
        for text in ("72", "72.", "72.0", "0072", "$72.00"):
            self.assertEqual(normalised(text), "72", text)
        self.assertEqual(normalised("-3"), "-3")
        self.assertEqual(normalised("1000000"), normalised("1e6"))

    def test_other_texts_only_lose_space_and_full_stop(self):
        from rondo_tools.score_command import normalised

        self.assertEqual(normalised(" 3 5 8. "), "3 5 8")
        self.assertEqual(normalised("a, b"), "a, b")
        self.assertEqual(normalised("Infinity"), "Infinity")
        for text in ("1e1000000", "-1e1000000", "1e-1000000", "1e60", "1" * 60):
            self.assertEqual(normalised(text), text)
        self.assertNotEqual(normalised("1" * 40), normalised("1" * 39 + "2"))
        self.assertNotEqual(normalised("723 m"), normalised("723 cm"))

    def test_the_last_match_counts(self):
        from rondo_tools.score_command import extracted

        pattern = re.compile(r"####\s*(.+)")
        self.assertEqual(extracted("#### 1\nno\n####  2 \n", pattern), "2 ")
        self.assertEqual(extracted("number 5 and 6", re.compile(r"\d")), "6")
        self.assertIsNone(extracted("5", pattern))


class Score(ToolTest):
    def score(self, completions, references, *options, run=run_tool):
        done = run(
            "score",
            "--completions", write_jsonl(self.folder / "completions.jsonl", completions),
            "--references", write_jsonl(self.folder / "references.jsonl", references),
            *options,
        )  # fmt: skip
        return done

    def result(self, *arguments, **options):
        done = self.score(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_counts_and_shares_by_family(self):
        completions = [
            {"id": "a", "completion": "48/2 = 24. #### 72", "finished": True},
            {"id": "b", "completion": "#### 71", "finished": True},
            {"id": "c", "completion": "72", "finished": False},
        ]
        references = [
            {"id": "a", "answer": "long\n#### 72.0", "family": "sums"},
            {"id": "b", "answer": "72", "family": "sums"},
            {"id": "c", "answer": "72", "family": "others"},
        ]
        self.assertEqual(
            self.result(completions, references),
            {
                "examples": 3,
                "correct": 1,
                "without_answer": 1,
                "unfinished": 1,
                "share": 1 / 3,
                "families": {
                    "sums": {"examples": 2, "correct": 1, "share": 0.5},
                    "others": {"examples": 1, "correct": 0, "share": 0.0},
                },
            },
        )

    def test_exact_and_another_field_and_pattern(self):
        completions = [{"completion": " yes\n"}, {"completion": "Yes"}]
        references = [{"label": "yes"}, {"label": "yes"}]
        found = self.result(completions, references, "--exact", "--field", "label")
        self.assertEqual(found["correct"], 1)
        found = self.result(
            completions, references, "--pattern", "(?i)(y).*", "--field", "label", run=run_script
        )
        self.assertEqual(found["correct"], 1)

    def test_rows_joined_by_decode_are_their_own_references(self):
        rows = [{"id": 1, "completion": "#### 7", "answer": "7"}]
        path = write_jsonl(self.folder / "joined.jsonl", rows)
        done = run_tool("score", "--completions", path)
        self.assertEqual(json.loads(done.stdout)["correct"], 1)

    def test_completions_are_not_compared_with_themselves(self):
        rows = [{"completion": "#### 7", "reference": "#### 8"}]
        path = write_jsonl(self.folder / "joined.jsonl", rows)
        for options in ((), ("--references", self.folder / "." / "joined.jsonl")):
            done = run_tool("score", "--completions", path, "--field", "completion", *options)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn("--references", done.stderr)
        done = run_tool("score", "--completions", path, "--field", "reference")
        self.assertEqual(json.loads(done.stdout)["correct"], 0)

    def test_what_does_not_belong_together_is_refused(self):
        one, two = {"id": "a", "completion": "1"}, {"id": "b", "answer": "1"}
        for completions, references, options, text in (
            ([one], [two], (), "row 1 has id 'a', the reference has 'b'"),
            ([one, one], [two], (), "2 completions"),
            ([one], [{"answer": None}], (), "no text in the field 'answer'"),
            ([two], [two], (), "no text in the field 'completion'"),
            ([one], [two], ("--pattern", "("), "--pattern '('"),
            (["{"], [two], (), "completions.jsonl:1: is not JSON"),
        ):
            done = self.score(completions, references, *options)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
