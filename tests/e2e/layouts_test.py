"""The whole program on layouts of its ranks: the same losses, and in reproducible mode the same
bits on any number of ranks and stage, also when a run goes on with another number of them."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

STEP_FIELDS = re.compile(r'"step": (\d+), .*?"loss": ([^,]+), "grad_norm": ([^,]+),')
HELDOUT = re.compile(r'"evaluate": .*')


def steps(run_folder):
    """Step, loss and gradient norm of each line, as they stand in the file."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [STEP_FIELDS.search(line).groups() for line in lines]


def heldout(run_folder):
    """The held-out losses, as they stand in the file."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [found.group() for line in lines if (found := HELDOUT.search(line))]


class LayoutsTest(harness.RunTest):
    def recipe_of(self, name, **changes):
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 150))
        held = harness.write_tokenized(self.folder / "h.h5", harness.counting(2, 20))
        config = {
            "batch": {"packs": 8, "micro_packs": 1},
            "evaluate": {"every": 5},
            "sources": {"a": {"train": str(train), "heldout": str(held)}},
            "rounds": [{"name": "first", "data": {"a": 1}, "steps": 12}],
        }
        return self.recipe(name, **harness.merged(config, changes))

    def digest(self, name):
        return self.ledger(name)[-1]["result_digest"]

    def test_reproducible_runs_are_the_same_to_the_bit(self):
        parallel = {"reproducible": True, "reduction_lanes": 4}
        self.train(self.recipe_of("one", parallel=parallel))
        for ranks, more in ((2, {"zero": 3}), (4, {"replicate": 2, "zero": 2}), (2, {"zero": 0})):
            name = f"on-{ranks}-zero-{more['zero']}"
            self.train(self.recipe_of(name, parallel=parallel | more), ranks=ranks)
            self.assertEqual(steps(self.run_folder(name)), steps(self.run_folder("one")), name)
            self.assertEqual(heldout(self.run_folder(name)), heldout(self.run_folder("one")), name)
            self.assertEqual(self.digest(name), self.digest("one"), name)

        # From four ranks to two to one.
        config = self.recipe_of("moving", parallel=parallel | {"zero": 3})
        self.train(config, "run.max_steps=4", ranks=4)
        self.train(config, "run.max_steps=8", ranks=2)
        self.train(config)
        self.assertEqual(steps(self.run_folder("moving")), steps(self.run_folder("one")))
        self.assertEqual(self.digest("moving"), self.digest("one"))

    def test_tensor_parallel_runs_learn_the_same(self):
        self.train(self.recipe_of("plain"))
        plain = [float(loss) for _, loss, _ in steps(self.run_folder("plain"))]
        for ranks, parallel in (
            (2, {"tensor": 2}),
            (4, {"tensor": 2, "zero": 3}),
            (4, {"tensor": 4, "zero": 1}),
        ):
            name = f"tensor-{parallel['tensor']}-on-{ranks}"
            recompute = {"what": "block", "share": 0.5}
            done = self.train(
                self.recipe_of(name, parallel=parallel, recompute=recompute), ranks=ranks
            )
            self.assertIn(f"tensor {parallel['tensor']}, ZeRO-", done.stdout)
            for (_, loss, _), expected in zip(steps(self.run_folder(name)), plain, strict=True):
                self.assertLess(abs(float(loss) - expected), 1e-4 * expected, name)
            # Exported whole: plain ranks read it.
            model = self.run_folder(name) / "rounds" / "first" / "model"
            done = harness.rondo("inspect", model)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.train(self.recipe_of(f"after-{name}", model={"shape": None, "from": str(model)}))

    def test_plan_says_what_a_layout_needs(self):
        config = self.recipe_of("planned", parallel={"tensor": "auto", "zero": "auto"})
        done = harness.rondo("plan", config, "--ranks", 8, "--ranks-per-host", 4, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = json.loads(done.stdout)
        self.assertEqual((plan["shard"], plan["tensor"], plan["zero"]), (8, 1, 1))
        memory = plan["memory_per_rank"]
        self.assertEqual(
            memory["persistent"], memory["weights"] + memory["gradients"] + memory["moments"]
        )
        # Float32 weights and two moments, divided evenly.
        self.assertEqual(plan["snapshot_bytes_per_rank"], -(-12 * plan["parameters"] // 8))
        traffic = plan["rounds"][0]["step_traffic"]
        self.assertEqual([line["purpose"] for line in traffic], ["gradients", "weights"])
        said = harness.rondo("plan", config, "--ranks", 4).stdout
        self.assertIn("ZeRO-1", said)
        self.assertRegex(said, r"snapshot .* beside it, for saves in the background")
        done = harness.rondo("plan", config, "--ranks", 8, "--memory", 0.0001)
        self.assertEqual(done.returncode, 2)
        self.assertIn("Use more ranks, parallel.zero: 3", done.stderr)
        self.assertFalse((self.folder / "runs").exists(), "a plan writes nothing")

    def test_what_cannot_be_divided_is_refused_on_all_ranks(self):
        for parallel, ranks, text in (
            ({"tensor": 3}, 3, "does not divide the 4 attention heads"),
            ({"tensor": 2}, 3, "parallel.tensor = 2 does not divide the 3 ranks"),
            ({"shard": 2}, 4, "the ranks do not factor"),
            ({"reproducible": True, "reduction_lanes": 8}, 3, "do not divide over 3"),
        ):
            config = self.recipe_of("refused", parallel=parallel, batch={"packs": 24})
            done = harness.rondo("train", config, ranks=ranks)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    harness.unittest.main()
