"""logical.h5 as Python users read it: whole tensors by name, wherever the folder lies."""

import json
import os
import shutil
import tempfile
import unittest

import h5py
import numpy

GOLDEN = os.path.join(os.environ["RONDO_SOURCE"], "tests/golden/checkpoint-v1/step-00000120")


class Logical(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rondo-logical-")
        self.folder = os.path.join(self.root, "moved")
        shutil.copytree(GOLDEN, self.folder)

    def tearDown(self):
        shutil.rmtree(self.root)

    def test_shows_whole_tensors(self):
        with open(os.path.join(self.folder, "MANIFEST.json"), encoding="utf-8") as text:
            manifest = json.load(text)
        self.assertEqual(len(manifest["shards"]), 2)
        with h5py.File(os.path.join(self.folder, "logical.h5"), "r") as logical:
            for t, tensor in enumerate(manifest["tensors"]):
                shape = tuple(tensor["shape"])
                count = int(numpy.prod(shape))
                expected = (t * 100 + numpy.arange(count) / 8).astype(numpy.float32)
                numpy.testing.assert_array_equal(
                    logical[tensor["name"]][...], expected.reshape(shape)
                )

    def test_a_missing_shard_reads_as_nan(self):
        os.remove(os.path.join(self.folder, "shard-0001.h5"))
        with h5py.File(os.path.join(self.folder, "logical.h5"), "r") as logical:
            values = logical["model.embed_tokens.weight"][...].ravel()
        self.assertFalse(numpy.isnan(values[:10]).any())
        self.assertTrue(numpy.isnan(values[10:]).all())


if __name__ == "__main__":
    unittest.main()
