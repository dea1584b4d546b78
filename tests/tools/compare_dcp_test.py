"""tools/compare/dcp measures both sides on the same tensors and says what each of them verifies."""

import json
import os
import tempfile
import unittest
from pathlib import Path

import torch

from tests.tools.support import ROOT, run_script

BINARY = os.environ.get("RONDO_BINARY", ROOT / "build" / "release" / "rondo")


class CompareDcp(unittest.TestCase):
    def test_it_ends_with_the_figures_of_both_sides_and_leaves_no_files(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run_script(
                "compare/dcp", "--bytes", 60_000_000, "--saves", 1, "--repeats", 1,
                "--folder", folder, "--binary", BINARY,
            )  # fmt: skip
            self.assertEqual(list(Path(folder).iterdir()), [])
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        for name in ("rondo", "peer", "rondo_load", "peer_load"):
            self.assertGreater(found[name], 0)
        self.assertAlmostEqual(found["ratio"], found["rondo"] / found["peer"], places=2)
        self.assertEqual((found["ranks"], found["saves"]), (2, 1))
        # Whole tensors of some megabytes.
        self.assertTrue(40_000_000 < found["bytes"] <= 60_000_000, found)
        self.assertEqual(found["torch"], torch.__version__)

    def test_a_folder_that_is_not_there_is_named(self):
        done = run_script("compare/dcp", "--folder", "/nowhere", "--binary", BINARY)
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nowhere is no folder", done.stderr)

    def test_a_missing_binary_is_to_be_built(self):
        done = run_script("compare/dcp", "--binary", "/nowhere/rondo")
        self.assertEqual(done.returncode, 2)
        self.assertIn("run launch/build", done.stderr)


if __name__ == "__main__":
    unittest.main()
