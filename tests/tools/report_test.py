"""tools/report makes one page of a run or of a packed set."""

import json
import unittest
from xml.etree import ElementTree

from tests.tools.support import ToolTest, run_tool

FIGURES = {
    "lengths": {"8": 3, "16": 1},
    "turns": {"2": 4},
    "scripts": {"ASCII": 30, "Han": 10},
    "tags": {"a<b": 2},
    "words": 9,
}
SOURCE = {
    "name": "one & only", "documents": 4, "examples": 5, "repeats": 0, "tokens": 60,
    "trained_tokens": 30, "over_long": 1, "cut": 0, "weight": 30.0, "figures": FIGURES,
}  # fmt: skip
PLAN = {
    "plan_hash": "f" * 32,
    "account": {
        "sources": [SOURCE], "documents": 4, "packs": 2, "seq_len": 32, "fill": 0.9375, "tokens": 60
    },
}  # fmt: skip


class Report(ToolTest):
    def pack(self, path):
        path.mkdir(parents=True)
        (path / "plan.json").write_text(json.dumps(PLAN))

    def page(self, folder):
        done = run_tool("report", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (folder / "report.html").read_text(encoding="utf-8")
        return text, ElementTree.fromstring(
            text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
        )

    def test_a_packed_set(self):
        self.pack(self.folder / "set")
        text, page = self.page(self.folder / "set")
        cells = [cell.text for cell in page.iter("td")]
        self.assertEqual(cells[:7], ["one & only", "4", "5", "0", "60", "30", "100.00%"])
        self.assertIn("over long", text)
        self.assertNotIn(">cut<", text)
        self.assertIn("a<b", cells)
        self.assertIn("Of those beyond ASCII: Han 100.00%", text)
        titles = [title.text for title in page.iter("title")]
        self.assertIn("8: 3", titles)
        self.assertIn("16: 1", titles)

    def test_a_run_with_its_losses(self):
        run = self.folder / "run"
        self.pack(run / "rounds" / "first" / "packed")
        self.pack(run / "heldout" / "one")
        metrics = [{"step": step, "loss": 4.0 - step / 1000} for step in range(1, 2001)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
        line = {"round": "first", "heldout": [{"source": "one", "loss": 2.0}]}
        (run / "ledger.jsonl").write_text(json.dumps(line) + "\n")
        text, page = self.page(run)
        self.assertIn("Data of round first", text)
        self.assertIn("Held out: one", text)
        self.assertIn("2.0000", [cell.text for cell in page.iter("td")])
        self.assertEqual(len([p for p in page.iter("path") if "L" in p.get("d")]), 1)

    def test_what_is_neither(self):
        done = run_tool("report", self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn("neither a run folder with packed data nor a packed set", done.stderr)


if __name__ == "__main__":
    unittest.main()
