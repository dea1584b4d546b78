"""A run whose ranks are killed at every point of its protocols ends as if it never had been."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

STEP_POINTS = ("step_begun", "step_done", "logged", "evaluated", "resumed")
SAVE_POINTS = (
    "reserved",
    "snapshot",
    "half_written",
    "shard_written",
    "voted",
    "manifest_written",
    "renamed",
    "latest_written",
)
ROUND_POINTS = ("round_saved", "exported", "ledger_written", "optimizer_dropped", "round_begun")
FIRST_RANK_POINTS = ("moved_away",)


class FaultTest(harness.RunTest):
    def short_rounds(self, name, rounds=12, **changes):
        """Many rounds of three steps, with a checkpoint and an evaluation after every step."""
        paths = {
            part: str(harness.write_tokenized(self.folder / f"{part}.h5", examples))
            for part, examples in (
                ("train", harness.counting(1, 40)),
                ("heldout", harness.counting(2, 4)),
            )
            if not (self.folder / f"{part}.h5").exists()
        }
        paths = {part: str(self.folder / f"{part}.h5") for part in ("train", "heldout")} | paths
        recipe = {
            "run": {"most_restarts": 0},
            "batch": {"packs": 6, "micro_packs": 1},
            "checkpoint": {"every": 1},
            "evaluate": {"every": 2},
            "sources": {"a": paths},
            "rounds": [
                {"name": f"r{i}", "optimizer_state": "carry" if i % 2 else "reset",
                 "data": {"a": 0.5}, "steps": 3}
                for i in range(rounds)
            ],
        }  # fmt: skip
        return self.recipe(name, **harness.merged(recipe, changes))

    def start(self, config, fault="", ranks=2):
        return harness.rondo("train", config, ranks=ranks, environment={"RONDO_FAULT": fault})

    def straight(self, ranks, **changes):
        done = self.start(self.short_rounds("straight", **changes), ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def expect_no_temporaries(self, name):
        left = [path.name for path in (self.run_folder(name) / "checkpoints").iterdir()]
        odd = [one for one in left if one.endswith(".tmp") or one.startswith(".")]
        self.assertEqual(odd, [])


class Killed(FaultTest):
    def kill_everywhere(self, ranks, points):
        self.straight(ranks)
        config = self.short_rounds("killed")
        # From here on there is a checkpoint, also where saves go on in the background.
        self.start(config, "step_begun:0:6:kill", ranks)
        for point in points:
            for rank in (0,) if point in FIRST_RANK_POINTS else range(ranks):
                done = self.start(config, f"{point}:{rank}:*:kill", ranks)
                self.assertNotEqual(
                    done.returncode, 0, f"{point} of rank {rank} was not reached\n{done.stdout}"
                )
        done = self.start(config, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.expect_same_runs("killed", "straight")
        self.expect_no_temporaries("killed")

    def test_in_a_step(self):
        self.kill_everywhere(2, STEP_POINTS)

    def test_in_a_save(self):
        self.kill_everywhere(2, SAVE_POINTS)

    def test_between_rounds(self):
        self.kill_everywhere(2, ROUND_POINTS + FIRST_RANK_POINTS)


class Thrown(FaultTest):
    def test_an_error_at_any_point_of_a_save_loses_nothing(self):
        """The first save of each start fails; the run goes on, and says so."""
        self.straight(2)
        config = self.short_rounds("thrown")
        for number, point in enumerate(SAVE_POINTS[:6]):
            step = 3 * number + 1
            done = self.start(config, f"{point}:1:{step}:throw")
            if number == 0:
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("was not saved", done.stderr)
                self.expect_same_runs("thrown", "straight")
            events = harness.json_lines(self.run_folder("thrown") / "events.jsonl")
            failed = [event for event in events if event["event"] == "save_failed"]
            self.assertEqual([event["step"] for event in failed], [step], done.stderr)
            harness.shutil.rmtree(self.run_folder("thrown"))


class Corrupted(FaultTest):
    def test_a_checkpoint_that_went_bad_is_named_and_the_one_before_is_used(self):
        self.straight(2)
        config = self.short_rounds("corrupted", checkpoint={"background": "off"})
        # Published, then changed on the disk: found at the next start.
        done = self.start(config, "latest_written:0:5:corrupt,step_begun:1:6:kill")
        self.assertNotEqual(done.returncode, 0)
        done = self.start(config)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"step-00000005.*CRC32C")
        self.assertIn("resumed from", done.stdout)
        bad = harness.json_lines(self.run_folder("corrupted") / "checkpoints" / "BAD")
        self.assertEqual([line["name"] for line in bad], ["step-00000005"])
        self.expect_same_runs("corrupted", "straight")

    def test_when_all_went_bad_the_run_ends_with_the_list(self):
        config = self.short_rounds("corrupted", rounds=1, checkpoint={"background": "off"})
        faults = ",".join(f"latest_written:0:{step}:corrupt" for step in (1, 2))
        self.start(config, f"{faults},step_begun:0:3:kill")
        weights = harness.tree(self.run_folder("corrupted") / "checkpoints")
        done = self.start(config)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        for name in ("step-00000001", "step-00000002", "none of the checkpoints can be used"):
            self.assertIn(name, done.stderr)
        after = harness.tree(self.run_folder("corrupted") / "checkpoints")
        self.assertEqual({**after, "BAD": 0}, {**weights, "BAD": 0}, "something was changed")


if __name__ == "__main__":
    harness.unittest.main()
