"""Overrides mean to the Python tools what they mean to rondo (tests/base/config_test.cpp)."""

import tempfile
import unittest
from pathlib import Path

import tests.tools.support  # noqa: F401, finds rondo_tools

TEXT = """
rounds:
  - {name: one, steps: 1}
  - {name: two, steps: 2, betas: [0.1, 0.2]}
batch:
sources: {a: {train: a.jsonl}}
"""


class Overrides(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.config = Path(folder.name) / "config.yaml"
        self.config.write_text(TEXT, encoding="utf-8")

    def load(self, *overrides):
        from rondo_tools import run_config

        return run_config.load(self.config, overrides)

    def test_items_of_a_list_with_or_without_brackets(self):
        for item in ("rounds[1]", "rounds.1"):
            self.assertEqual(self.load(f"{item}.steps=9")["rounds"][1]["steps"], "9")
        config = self.load("rounds[1].betas[0]=0.5", "rounds[0]={name: three}")
        self.assertEqual(config["rounds"][1]["betas"], ["0.5", "0.2"])
        self.assertEqual(config["rounds"][0], {"name": "three"})

    def test_sections_are_made_on_the_way(self):
        config = self.load("batch.packs=4", "optimizer.lr=1e-3", "sources.b={train: b.jsonl}")
        self.assertEqual(config["batch"], {"packs": "4"})
        self.assertEqual(config["optimizer"], {"lr": "1e-3"})
        self.assertEqual(config["sources"]["b"], {"train": "b.jsonl"})

    def test_what_cannot_be_set(self):
        from rondo_tools.errors import UserError

        for override in (
            "rounds.2.steps=1",
            "rounds[2].steps=1",
            "rounds.x.steps=1",
            "rounds.0.name.x=1",
            "rounds.0.name.x.y=1",
            "sources[0].train=1",
            "batch..packs=1",
            "batch.packs",
            "=1",
        ):
            with self.subTest(override), self.assertRaises(UserError):
                self.load(override)


if __name__ == "__main__":
    unittest.main()
