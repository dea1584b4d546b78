"""`rondo ledger`: lineage, edits found, runs compared, the same content after a kill."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness
from rounds_test import RoundTest

ONE = {"name": "one", "data": {"up": 1.0}, "steps": 3}
TWO = {"name": "two", "data": {"down": 1.0}, "steps": 3}
MEAN = {"name": "mean", "init": {"average": {"of": ["one", "two"]}}}


class LedgerTest(RoundTest):
    def ledger_command(self, *arguments, expect=0):
        done = harness.rondo("ledger", *arguments)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    def contents(self, name):
        return [line["content"] for line in self.ledger(name)]

    def test_shows_what_came_from_what(self):
        gate = {"on": "up", "max_loss_increase": -9.0, "otherwise": "rollback"}
        worse = dict(TWO, name="worse", gate=gate)
        self.train(self.rounds(ONE, worse, TWO, MEAN))
        lines = self.ledger_command(self.run_folder()).stdout.splitlines()
        self.assertEqual(lines[0], "base")
        self.assertEqual(
            [line.split()[0] for line in lines],
            ["base", "one", "worse", "two", "mean", "of"],
        )
        self.assertIn("[set_aside]", lines[2])
        self.assertIn("(one + two)", lines[5])
        told = self.ledger_command(self.run_folder(), "--of", "mean").stdout
        self.assertIn("round one: starts from base", told)
        self.assertIn("round mean: starts from (one + two)", told)
        self.assertIn(str(self.folder / "up.h5"), told)
        self.assertNotIn("worse", told)
        digest = self.ledger()[-1]["weights_digest"]
        self.assertEqual(self.ledger_command(self.run_folder(), "--of", digest).stdout, told)
        found = json.loads(self.ledger_command(self.run_folder(), "--json").stdout)
        self.assertEqual(found["wrong"], [])
        self.assertEqual(len(found["models"]), 4)

    def test_edits_and_changed_files_are_found(self):
        self.train(self.rounds(ONE, TWO))
        path = self.run_folder() / "ledger.jsonl"
        text = path.read_text()
        path.write_text(text.replace('"steps":3', '"steps":4', 1))
        done = self.ledger_command(self.run_folder(), expect=2)
        self.assertIn("line 1 (round one): is not as it was written", done.stderr)
        path.write_text(text.splitlines()[1] + "\n")
        done = self.ledger_command(self.run_folder(), expect=2)
        self.assertIn("does not follow what stands before it", done.stderr)
        path.write_text(text)
        self.ledger_command(self.run_folder())
        manifest = self.run_folder() / "checkpoints" / "round-01-two" / "MANIFEST.json"
        whole = manifest.read_text()
        digest = self.ledger()[1]["result_digest"]
        manifest.write_text(whole.replace(digest, digest[::-1]))
        done = self.ledger_command(self.run_folder(), expect=2)
        self.assertIn(f"the ledger says {digest}", done.stderr)
        manifest.write_text(whole)
        data = self.folder / "up.h5"
        data.write_bytes(data.read_bytes() + b"\0")
        done = self.ledger_command(self.run_folder(), expect=2)
        self.assertIn("have changed since", done.stderr)
        data.unlink()
        done = self.ledger_command(self.run_folder())
        self.assertIn("not checked", done.stdout)

    def test_a_killed_run_has_the_content_of_an_undisturbed_one(self):
        rounds = [ONE, TWO, MEAN]
        self.train(self.rounds(*rounds, name="calm"), ranks=2)
        for point in ("step_done:1:2", "ledger_written:0:3", "round_begun:0:3"):
            name = point.split(":")[0]
            config = self.rounds(*rounds, name=name, checkpoint={"every": 1})
            killed = harness.rondo(
                "train", config, ranks=2, environment={"RONDO_FAULT": f"{point}:kill"}
            )
            self.assertNotEqual(killed.returncode, 0)
            self.train(config, ranks=2)
            self.assertEqual(self.contents(name), self.contents("calm"))
            self.ledger_command(self.run_folder(name))
            self.ledger_command(self.run_folder(name), self.run_folder("calm"))

    def test_where_two_runs_part_is_named(self):
        self.train(self.rounds(ONE, TWO, name="a"))
        self.train(self.rounds(ONE, dict(TWO, seed=5), name="b"))
        done = self.ledger_command(self.run_folder("a"), self.run_folder("b"), expect=2)
        self.assertIn("line 2 (round two) and line 2 (round two)", done.stdout)
        self.assertIn("plan_hash", done.stdout)
        self.assertNotIn("time", done.stdout)

    def test_wrong_calls_are_told(self):
        self.train(self.rounds(ONE))
        done = self.ledger_command(self.folder, expect=2)
        self.assertIn("Give the run folder", done.stderr)
        done = self.ledger_command(self.run_folder(), "--of", "nothing", expect=2)
        self.assertIn("has no round", done.stderr)
