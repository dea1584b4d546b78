"""tools/compare/transformers_gpu runs the same step on both sides; here without a GPU."""

import json
import os
import re
import subprocess
import unittest

import torch

from tests.tools.support import ROOT, run_script

BINARY = os.environ.get("RONDO_BINARY", ROOT / "build" / "release" / "rondo")


class CompareTransformersGpu(unittest.TestCase):
    def test_it_ends_with_the_figures_of_both_sides(self):
        done = run_script(
            "compare/transformers_gpu", "--device", "cpu", "--shape", "small", "--layers", 1,
            "--seq-len", 32, "--packs", 2, "--micro-packs", 1, "--steps", 1, "--binary", BINARY,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        self.assertGreater(found["rondo"], 0)
        self.assertAlmostEqual(found["ratio"], found["rondo"] / found["peer"], places=2)
        self.assertEqual((found["seq_len"], found["torch"]), (32, torch.__version__))
        # The tokens of a step come again in the next: both get below the logarithm of 8192 ids.
        for loss in (found["rondo_loss"], found["peer_loss"]):
            self.assertTrue(5 < loss < 9.3, found)

    def test_every_shape_is_one_that_rondo_knows(self):
        from rondo_tools.compare import known_shapes

        done = subprocess.run(
            [BINARY, "bench", "step", "--shape", "none"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 2, done.stdout)
        listed = re.search(r"Give one of (.*)\.", done.stderr).group(1).split(", ")
        self.assertEqual(sorted(listed), sorted(known_shapes.SHAPES))

    def test_packs_that_do_not_divide_are_named(self):
        done = run_script("compare/transformers_gpu", "--packs", 3, "--binary", BINARY)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--packs 3", done.stderr)


if __name__ == "__main__":
    unittest.main()
