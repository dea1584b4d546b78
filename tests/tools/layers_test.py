"""The layer rule holds for src/, and tools/layers finds what breaks it."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
LAYERS = SOURCE / "tools" / "layers"


def run(*arguments):
    return subprocess.run(
        [sys.executable, LAYERS, *arguments], check=False, capture_output=True, text=True
    )


class Layers(unittest.TestCase):
    def check_one(self, path, line):
        """Runs the check on a tree of one file with one line."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / path
            file.parent.mkdir(parents=True)
            file.write_text("#pragma once\n" + line + "\n")
            return run(folder)

    def assert_refused(self, path, line):
        result = self.check_one(path, line)
        self.assertEqual(result.returncode, 1, f"{path}: {line} was allowed")
        self.assertIn(f"{path}:2: ", result.stdout)

    def assert_allowed(self, path, line):
        result = self.check_one(path, line)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_our_sources_obey(self):
        result = run()
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_upward_and_sideways_includes_are_found(self):
        self.assert_refused("base/a.hpp", '#include "comm/group.hpp"')
        self.assert_refused("comm/a.cpp", '#include "train/step.hpp"')
        self.assert_refused("model/a.cpp", '  #  include "checkpoint/save.hpp"')
        self.assert_refused("train/a.cpp", '#include "app/main.hpp"')

    def test_data_sees_of_kernels_only_the_layout(self):
        self.assert_refused("data/a.cpp", '#include "kernels/kernels.hpp"')
        self.assert_allowed("data/a.cpp", '#include "kernels/packed_layout.hpp"')

    def test_foreign_headers_stay_in_their_folder(self):
        self.assert_refused("base/a.cpp", "#include <mpi.h>")
        self.assert_refused("base/a.cpp", "#include <ATen/ATen.h>")
        self.assert_refused("base/a.cpp", "#include <cuda_runtime_api.h>")
        self.assert_refused("plan/a.cpp", "#include <c10/core/ScalarType.h>")
        self.assert_refused("comm/a.cpp", "#include <hdf5.h>")
        self.assert_refused("model/a.cpp", "#include <hdf5.h>")
        self.assert_refused("train/a.cpp", "#include <mpi.h>")
        self.assert_refused("train/a.cpp", "#include <nccl.h>")

    def test_device_code_sees_no_tensors(self):
        self.assert_refused("kernels/a.cu", "#include <ATen/ATen.h>")
        self.assert_allowed("kernels/a.cu", "#include <cuda_bf16.h>")

    def test_downward_includes_are_allowed(self):
        self.assert_allowed("app/a.cpp", '#include "train/round.hpp"')
        self.assert_allowed("comm/a.cpp", "#include <mpi.h>")
        self.assert_allowed("storage/a.hpp", "#include <hdf5.h>")
        self.assert_allowed("model/a.cpp", '#include "model/llama.hpp"')

    def test_a_folder_without_a_layer_is_found(self):
        result = self.check_one("extra/a.hpp", "")
        self.assertEqual(result.returncode, 1)

    def test_a_folder_that_is_not_there_is_an_error_of_the_caller(self):
        self.assertEqual(run("/nonexistent").returncode, 2)


if __name__ == "__main__":
    unittest.main()
