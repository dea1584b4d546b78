"""Losses that jump or are no numbers: stopped, skipped, or gone back from, and nothing is lost."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import harness


class DivergenceTest(harness.RunTest):
    def noisy(self, name="run", **changes):
        """A round that learns little from noise, so that a small factor makes spikes of some."""
        random = np.random.default_rng(1)
        noise = [random.integers(2, harness.VOCAB, random.integers(6, 30)) for _ in range(60)]
        train = harness.write_tokenized(self.folder / "a.h5", noise)
        recipe = {
            "batch": {"packs": 2, "micro_packs": 1},
            "checkpoint": {"every": 3, "keep": 3},
            "optimizer": {"lr": 1e-4},
            "spike": {"grad_norm": 1.1, "window": 4, "limit": 100},
            "sources": {"a": {"train": str(train)}},
            "rounds": [{"name": "first", "data": {"a": 1}, "steps": 24}],
        }
        return self.recipe(name, **harness.merged(recipe, changes))

    def events(self, kind, name="run"):
        events = harness.json_lines(self.run_folder(name) / "events.jsonl")
        return [event for event in events if event["event"] == kind]


class Spikes(DivergenceTest):
    def test_stop_the_run_with_the_examples_named(self):
        done = self.train(self.noisy(), ranks=2, expect=3)
        self.assertEqual(done.stderr.count("set spike.action"), 1, done.stderr)
        (event,) = self.events("spike")
        self.assertGreater(event["example_count"], 0)
        self.assertEqual(len(event["examples"]), event["example_count"])
        last = max(line["step"] for line in self.metrics())
        self.assertEqual(event["step"], last + 1)

    def test_are_skipped_up_to_a_limit(self):
        self.train(self.noisy(spike={"action": "skip"}), ranks=2)
        skipped = [line["step"] for line in self.metrics() if not line["updated"]]
        self.assertEqual(skipped, [event["step"] for event in self.events("spike")])
        self.assertGreater(len(skipped), 1)
        done = self.train(self.noisy("few", spike={"action": "skip", "limit": 1}), expect=3)
        self.assertIn("more than spike.limit = 1", done.stderr)

    def test_are_gone_back_from_the_same_way_with_kills_and_without(self):
        spike = {"action": "rollback"}
        self.train(self.noisy("straight", spike=spike), ranks=2)
        left_out = [line["step"] for line in self.metrics("straight") if not line["updated"]]
        went_back = self.events("went_back", "straight")
        self.assertGreater(len(went_back), 0, "no spike; the test needs another factor")
        self.assertGreater(len(left_out), len(went_back) - 1)
        numbers = [line["step"] for line in self.metrics("straight")]
        self.assertEqual(numbers, list(range(1, 25)))
        config = self.noisy("killed", spike=spike, run={"most_restarts": 0})
        for step in range(2, 24, 3):
            environment = {"RONDO_FAULT": f"step_done:{step % 2}:{step}:kill"}
            harness.rondo("train", config, ranks=2, environment=environment)
        self.train(config, ranks=2)
        self.expect_same_runs("killed", "straight")


class NotFinite(DivergenceTest):
    def broken(self, **changes):
        """Weights that a learning rate makes useless in a few steps."""
        return self.noisy(spike=None, optimizer={"lr": 1e30}, **changes)

    def test_stops_and_leaves_the_checkpoint_before(self):
        done = self.train(self.broken(checkpoint={"every": 1}), ranks=2, expect=3)
        self.assertRegex(done.stderr, "not( all)? finite")
        names = [p.parent.name for p in self.run_folder().glob("checkpoints/*/MANIFEST.json")]
        again = harness.rondo("train", self.folder / "run.yaml", "run.max_steps=1")
        self.assertIn(again.returncode, (0, 3), again.stderr)
        for name in names:
            shown = harness.rondo("inspect", self.run_folder() / "checkpoints" / name)
            self.assertEqual(shown.returncode, 0, shown.stderr)

    def test_that_comes_back_ends_at_the_limit(self):
        for action in ("skip", "rollback"):
            with self.subTest(action=action):
                config = self.noisy(
                    action, spike=None, optimizer={"lr": 1e30},
                    non_finite={"action": action, "limit": 2}, checkpoint={"every": "never"},
                )  # fmt: skip
                done = self.train(config, ranks=2, expect=3)
                self.assertIn("more than non_finite.limit = 2", done.stderr)
                self.assertEqual(len(self.events("not_finite", action)), 3)


if __name__ == "__main__":
    harness.unittest.main()
