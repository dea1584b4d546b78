"""tools/make_tasks: right answers, the same files for the same seed, disjoint sides."""

import json
import re
import unittest
from collections import Counter
from random import Random

from tests.tools.support import ToolTest, run_tool


def check_arithmetic(question, answer):
    a, b = map(int, re.findall(r"\d+", question))
    return str(a + b) == answer


def check_sorting(question, answer):
    digits = question.split(": ")[1].split()
    return answer.split() == sorted(digits, reverse="descending" in question)


def check_editing(question, answer):
    what, text = question.split(": ")
    letters = text.split()
    edited = {
        "Reverse the letters": letters[::-1],
        "Put in capitals": text.upper().split(),
        "Drop the first letter": letters[1:],
    }
    return answer.split() == edited[what]


IN_SMALL_UNITS = {
    "mm": 1, "cm": 10, "m": 1000, "km": 10**6, "g": 1, "kg": 1000, "ml": 1, "litres": 1000,
    "cents": 1, "euros": 100,
}  # fmt: skip


def check_conversion(question, answer):
    number, unit, other = re.fullmatch(r"Convert (\d+) (\w+) to (\w+)\.", question).groups()
    wanted, answer_unit = answer.split()
    return answer_unit == other and (
        int(number) * IN_SMALL_UNITS[unit] == int(wanted) * IN_SMALL_UNITS[other]
    )


CHECKS = {
    "arithmetic": check_arithmetic,
    "sorting": check_sorting,
    "editing": check_editing,
    "conversion": check_conversion,
}


def canonical(family, question):
    """What two wordings of one problem have in common."""
    if family == "conversion":
        number, unit, other = re.fullmatch(r"Convert (\d+) (\w+) to (\w+)\.", question).groups()
        small = min(unit, other, key=IN_SMALL_UNITS.get)
        return int(number) * IN_SMALL_UNITS[unit], frozenset((unit, other)), small
    if family == "editing":
        return question.split(": ")[1]
    return tuple(sorted(re.findall(r"\d+", question)))


class MakeTasks(ToolTest):
    def make(self, folder, *options):
        done = run_tool("make_tasks", "--out", self.folder / folder, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {
            path.name: [json.loads(line) for line in path.read_text().splitlines()]
            for path in sorted((self.folder / folder).iterdir())
        }

    def test_answers_are_right_and_end_the_completion(self):
        for name, rows in self.make("a", "--train", 300, "--heldout", 100).items():
            family, part, _ = name.split(".")
            self.assertEqual(len(rows), 300 if part == "train" else 100)
            for row in rows:
                question, completion = (message["content"] for message in row["messages"])
                self.assertEqual(row["family"], family)
                self.assertTrue(CHECKS[family](question, row["answer"]), row)
                self.assertTrue(completion.endswith(f"#### {row['answer']}"), row)

    def test_train_and_heldout_are_disjoint_for_different_seeds_too(self):
        trained = self.make("a", "--train", 1500, "--heldout", 10, "--seed", 1)
        heldout = self.make("b", "--train", 10, "--heldout", 150, "--seed", 2)
        for family in CHECKS:
            seen = {
                canonical(family, row["messages"][0]["content"])
                for row in trained[f"{family}.train.jsonl"]
            }
            for row in heldout[f"{family}.heldout.jsonl"]:
                self.assertNotIn(canonical(family, row["messages"][0]["content"]), seen)

    def test_ids_and_questions_are_unique(self):
        files = self.make("a", "--train", 300, "--heldout", 50)
        rows = [row for rows in files.values() for row in rows]
        self.assertEqual(max(Counter(row["id"] for row in rows).values()), 1)
        questions = Counter(row["messages"][0]["content"] for row in rows)
        self.assertEqual(max(questions.values()), 1)

    def test_the_seed_decides_everything(self):
        options = ("--train", 50, "--heldout", 20)
        self.assertEqual(self.make("a", *options), self.make("b", *options))
        self.assertNotEqual(self.make("c", *options, "--seed", 2), self.make("d", *options))

    def test_more_than_there_is_is_refused(self):
        done = run_tool("make_tasks", "--out", self.folder / "a", "--train", 1, "--heldout", 90000)
        self.assertEqual(done.returncode, 2)
        self.assertIn("arithmetic: only", done.stderr)

    def test_a_question_tells_its_problem(self):
        from rondo_tools.tasks import FAMILIES, key_of

        random = Random(5)
        for family, draw in FAMILIES.items():
            for _ in range(300):
                problem = draw(random)
                self.assertEqual(key_of(family, problem.question), problem.key)
            self.assertIsNone(key_of(family, "What is the capital of France?"))

    def test_check_passes_disjoint_files(self):
        self.make("a", "--train", 300, "--heldout", 50)
        done = run_tool("make_tasks", "--check", self.folder / "a")
        self.assertEqual(done.returncode, 0, done.stderr)
        for family in CHECKS:
            self.assertRegex(done.stdout, f"{family}: \\d+ problems in train, .*, 0 in both")

    def test_check_finds_a_problem_that_is_trained_in_another_wording(self):
        self.make("a", "--train", 300, "--heldout", 50)
        other_wording = {
            "arithmetic": lambda q: "Add {1} and {0}.".format(*re.findall(r"\d+", q)),
            "sorting": lambda q: "Sort in ascending order: " + q.split(": ")[1][::-1],
            "editing": lambda q: "Put in capitals: " + q.split(": ")[1],
            "conversion": lambda q: q,
        }
        for family, reworded in other_wording.items():
            heldout = self.folder / "a" / f"{family}.heldout.jsonl"
            trained = self.folder / "a" / f"{family}.train.jsonl"
            before = trained.read_text()
            row = json.loads(heldout.read_text().splitlines()[7])
            row["messages"][0]["content"] = reworded(row["messages"][0]["content"])
            row["id"] = "leak"
            trained.write_text(before + json.dumps(row) + "\n")
            done = run_tool("make_tasks", "--check", self.folder / "a")
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(f"{family}-heldout-7 is leak", done.stderr)
            trained.write_text(before)

    def test_check_refuses_what_it_cannot_judge(self):
        self.make("a", "--train", 30, "--heldout", 5)
        path = self.folder / "a" / "sorting.train.jsonl"
        row = {"messages": [{"role": "user", "content": "Sort these: 1 2"}]}
        path.write_text(path.read_text() + json.dumps(row) + "\n")
        done = run_tool("make_tasks", "--check", self.folder / "a")
        self.assertEqual(done.returncode, 2)
        self.assertIn("sorting.train.jsonl: row 31 asks 'Sort these: 1 2'", done.stderr)
        path.unlink()
        done = run_tool("make_tasks", "--check", self.folder / "a")
        self.assertEqual(done.returncode, 2)
        self.assertIn("sorting.train.jsonl: no such file", done.stderr)

    def test_working_of_a_sum_carries(self):
        from rondo_tools.tasks import arithmetic

        random = Random(3)
        for _ in range(300):
            problem = arithmetic(random)
            for left, right in re.findall(r"([\d +]+) = (\d+)", problem.working):
                self.assertEqual(sum(map(int, left.split("+"))), int(right), problem)


if __name__ == "__main__":
    unittest.main()
