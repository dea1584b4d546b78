"""bf16 weights and activations in the whole program: near to fp32, the same bits stopped and
resumed and on any number of ranks in reproducible mode; and a device that is not there."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness


class PrecisionTest(harness.RunTest):
    def recipe_of(self, name, **changes):
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 150))
        held = harness.write_tokenized(self.folder / "h.h5", harness.counting(2, 20))
        config = {
            "precision": "bf16",
            "batch": {"packs": 8, "micro_packs": 1},
            "checkpoint": {"every": 3},
            "evaluate": {"every": 5},
            "sources": {"a": {"train": str(train), "heldout": str(held)}},
            "rounds": [{"name": "first", "data": {"a": 1}, "steps": 12}],
        }
        return self.recipe(name, **harness.merged(config, changes))

    def digest(self, name):
        return self.ledger(name)[-1]["result_digest"]

    def losses(self, name):
        return [line["loss"] for line in self.metrics(name) if "loss" in line]

    def test_bf16_is_near_to_fp32_and_another(self):
        out = self.train(self.recipe_of("rounded"))
        self.assertIn("CPU, bf16", out.stdout)
        out = self.train(self.recipe_of("exact", precision="auto"))
        self.assertIn("CPU, fp32", out.stdout)
        rounded, exact = self.losses("rounded"), self.losses("exact")
        self.assertEqual(len(rounded), 12)
        for a, b in zip(rounded, exact, strict=True):
            self.assertLess(abs(a / b - 1), 0.01)
        self.assertNotEqual(rounded, exact)

        # What is evaluated afterwards is what was evaluated in the run: the rounded weights.
        events = harness.json_lines(self.run_folder("rounded") / "events.jsonl")
        rows = [event["evaluate"] for event in events if event["event"] == "evaluated"]
        for precision, same in (("bf16", True), ("fp32", False)):
            config = self.recipe_of("rounded", precision=precision)
            done = harness.rondo("eval", config)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])[0]["heldout"]
            self.assertEqual(found == rows[-1], same, (precision, found, rows[-1]))

    def test_stopped_and_resumed_is_the_uninterrupted_run(self):
        self.train(self.recipe_of("straight", moments="bf16"), ranks=2)
        resumed = self.recipe_of("resumed", moments="bf16")
        self.train(resumed, "run.max_steps=5", ranks=2)
        # The weights of float32 decide what a run is: another precision is another run.
        refused = harness.rondo("train", resumed, "precision=fp32", ranks=2)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("precision", refused.stderr)
        refused = harness.rondo("train", resumed, "moments=fp32", ranks=2)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.train(resumed, ranks=2)
        self.assertEqual(self.losses("resumed"), self.losses("straight"))
        self.assertEqual(self.digest("resumed"), self.digest("straight"))

    def test_reproducible_runs_are_the_same_to_the_bit(self):
        parallel = {"reproducible": True, "reduction_lanes": 4}
        self.train(self.recipe_of("one", parallel=parallel))
        for ranks, zero in ((2, 3), (4, 2)):
            name = f"on-{ranks}"
            self.train(self.recipe_of(name, parallel=parallel | {"zero": zero}), ranks=ranks)
            self.assertEqual(self.losses(name), self.losses("one"), name)
            self.assertEqual(self.digest(name), self.digest("one"), name)

    def test_tensor_ranks_train_in_bf16(self):
        self.train(self.recipe_of("one"))
        self.train(self.recipe_of("two", parallel={"tensor": 2}), ranks=2)
        for a, b in zip(self.losses("one"), self.losses("two"), strict=True):
            self.assertLess(abs(a / b - 1), 0.01)

    def test_a_device_that_is_not_there(self):
        config = self.recipe_of("gpus", device="cuda")
        done = harness.rondo("train", config, ranks=2, environment={"CUDA_VISIBLE_DEVICES": ""})
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("device is cuda, but"), 1, done.stderr)
        self.assertIn("device: cpu", done.stderr)
        self.assertFalse(self.run_folder("gpus").exists())


if __name__ == "__main__":
    harness.unittest.main()
