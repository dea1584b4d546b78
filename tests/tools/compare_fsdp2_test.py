"""tools/compare/fsdp2 measures both sides, and refuses a peer whose documents see one another."""

import json
import os
import unittest

import torch

from tests.tools.support import ROOT, run_script

BINARY = os.environ.get("RONDO_BINARY", ROOT / "build" / "release" / "rondo")


class CompareFsdp2(unittest.TestCase):
    def test_it_ends_with_the_figures_of_both_sides(self):
        done = run_script(
            "compare/fsdp2", "--layers", 1, "--steps", 1, "--repeats", 1, "--binary", BINARY
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        self.assertGreater(found["rondo"], 0)
        self.assertGreater(found["peer"], 0)
        self.assertAlmostEqual(found["ratio"], found["rondo"] / found["peer"], places=2)
        for side in ("rondo", "peer"):
            self.assertGreater(found[f"{side}_fraction_of_calibration"], 0)
        self.assertEqual(found["peer_name"], "fsdp2")
        self.assertEqual(
            [found[name] for name in ("ranks", "threads_per_rank", "layers", "steps", "repeats")],
            [2, 1, 1, 1, 1],
        )
        self.assertEqual(found["torch"], torch.__version__)
        self.assertIn("transformers", found)

    def test_a_missing_binary_is_to_be_built(self):
        done = run_script("compare/fsdp2", "--binary", "/nowhere/rondo")
        self.assertEqual(done.returncode, 2)
        self.assertIn("run launch/build", done.stderr)


class Packing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from rondo_tools.compare import peer_model

        cls.peer_model = peer_model
        cls.model = peer_model.make_model(layers=1)
        cls.inputs = peer_model.inputs_of(peer_model.make_tokens(2, seed=1))

    def assert_refused(self, **changed):
        from rondo_tools.errors import UserError

        with self.assertRaisesRegex(UserError, "documents see one another"):
            self.peer_model.check_packing(self.model, {**self.inputs, **changed})

    def test_documents_that_are_apart_pass(self):
        self.peer_model.check_packing(self.model, self.inputs)

    def test_an_attention_mask_of_ones_is_refused(self):
        self.assert_refused(attention_mask=torch.ones_like(self.inputs["input_ids"]))

    def test_a_cache_is_refused(self):
        self.assert_refused(use_cache=True)

    def test_positions_that_do_not_restart_are_refused(self):
        rows = self.inputs["input_ids"]
        self.assert_refused(position_ids=torch.arange(rows.shape[1]).expand_as(rows))

    def test_every_second_token_with_a_next_one_is_labelled(self):
        positions = self.peer_model.labelled_positions().tolist()
        self.assertEqual(len(positions), 3 * 85)
        self.assertEqual(positions[:2] + positions[84:86] + positions[-1:], [0, 2, 168, 170, 508])


if __name__ == "__main__":
    unittest.main()
