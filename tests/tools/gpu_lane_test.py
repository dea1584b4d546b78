"""tools/gpu-lane: a bundle runs where neither the build tree nor the system's Open MPI is, and says
what it lacks."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from tests.tools.support import run_script

BUILD = Path(os.environ["RONDO_BINARY"]).parent
SITE_PACKAGES = Path(importlib.util.find_spec("torch").origin).parents[1]
BASE_PYTHON = Path(sys.executable).resolve()  # that of the system, not of the virtual environment
TEST = "test_base"
OWN = ("libmpi.so", "libhdf5", "libyaml-cpp", "libopen-pal", "libfmt", "libxxhash")


def bundle(out, *options):
    return run_script("gpu-lane", "bundle", out, "--build", BUILD, *options)


class GpuLane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="rondo-lane-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        done = bundle(cls.folder / "b.tar.gz", "--tests", TEST)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        elsewhere = cls.folder / "elsewhere"
        elsewhere.mkdir()
        subprocess.run(["tar", "-xf", cls.folder / "b.tar.gz", "-C", elsewhere], check=True)
        cls.root = elsewhere / "rondo-lane"
        cls.packages = cls.folder / "packages"
        cls.packages.mkdir()
        for name in ("torch", "nvidia"):
            if (SITE_PACKAGES / name).exists():
                (cls.packages / name).symlink_to(SITE_PACKAGES / name)

    def lane(self, *arguments, packages=None, python=(), **variables):
        """The lane by a Python without packages, which is shown torch's and given nothing else of
        rondo: not its folders, nor any variable of Open MPI or of the tests."""
        environment = {
            "PATH": self.path_without_mpi(),
            "PYTHONPATH": str(packages or self.packages),
            "HOME": str(self.folder),
            **variables,
        }
        return subprocess.run(
            [BASE_PYTHON, *python, self.root / "lane", *arguments],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def path_without_mpi(self):
        """A folder of the few programs that a small target has: no ssh, no python3 by that name."""
        folder = self.folder / "programs"
        if not folder.exists():
            folder.mkdir()
            for name in ("bash", "env", "grep", "ldd", "setpriv", "sh", "true"):
                if found := shutil.which(name):
                    (folder / name).symlink_to(found)
        return str(folder)

    def passed(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def refused(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_the_program_and_its_tests_run_from_the_bundle_alone(self):
        self.assertIn("libtorch", self.passed(self.lane("exec", "--", "rondo", "--version")))
        output = self.passed(self.lane("exec", "--", TEST, "--gtest_brief=1"))
        self.assertRegex(output, r"\[  PASSED  \] \d+ tests")

    def test_libraries_come_from_the_bundle_and_torch_from_python(self):
        text = self.passed(self.lane("exec", "--", "ldd", self.root / "bin" / "rondo"))
        found = dict(re.findall(r"(\S+) => (\S+)", text))
        for name in OWN:
            paths = [path for library, path in found.items() if library.startswith(name)]
            self.assertTrue(paths, f"{name}: {text}")
            for path in paths:
                self.assertTrue(path.startswith(str(self.root)), path)
        torch = Path(found["libtorch_cpu.so"]).parents[2]
        self.assertEqual(torch, self.packages)

    def test_ranks_are_started_by_the_mpirun_of_the_bundle_with_its_plugins(self):
        words = ("mpirun", "-n", "2", "--oversubscribe", "sh", "-c")
        maps = "LD_DEBUG=files rondo --version 2>&1 | grep -o 'file=/[^ ]*mca_[^ ]*'"
        output = self.passed(self.lane("exec", "--", *words, maps))
        # Lines of two ranks may meet: one that another breaks into is left out.
        opened = re.findall(r"file=((?:(?!file=)\S)*mca_\w+\.so)", output)
        self.assertTrue(opened)
        for path in opened:  # of PMIx too
            self.assertTrue(path.startswith(f"{self.root}/lib/"), path)
        text = self.passed(self.lane("exec", "--", "ldd", self.root / "bin" / "mpirun"))
        for path in re.findall(r"libopen-\S+ => (\S+)", text):
            self.assertTrue(path.startswith(str(self.root)), path)

    def test_ranks_on_another_host_find_the_bundle(self):
        from rondo_tools import virtual_hosts

        if reason := virtual_hosts.missing_for_virtual_hosts():
            self.skipTest(reason)
        with virtual_hosts.VirtualHosts(2) as hosts:
            environment = hosts.environment()
            agent = self.folder / "agent"  # as ssh does, it hands no variables on but these
            kept = f"PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH={self.packages}"
            ssh = environment["OMPI_MCA_plm_rsh_agent"]
            agent.write_text(f'#!/bin/sh\nexec env -i {kept} {ssh} "$@"\n')
            agent.chmod(0o755)
            environment["OMPI_MCA_plm_rsh_agent"] = str(agent)
            lane = [BASE_PYTHON, self.root / "lane", "exec", "--"]
            words = ["mpirun", "-n", "2", "-H", "n1:1,n2:1", "sh", "-c"]
            script = f"hostname; ldd {self.root}/bin/rondo"
            command = hosts.command_on("n1", [*lane, *words, script])
            done = subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(self.packages), **environment},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        output = self.passed(done)
        self.assertLessEqual({"n1", "n2"}, set(output.split()))
        self.assertNotIn("not found", output)
        self.assertEqual(output.count(f"=> {self.root}/bin/../lib/libmpi.so"), 2, output)

    def test_a_run_of_the_lane_leaves_figures_and_a_page(self):
        out = self.folder / "out"
        options = ("--out", out, "--only", TEST, "--only", "train-2")
        self.passed(self.lane("run", *options, OMP_NUM_THREADS="1"))
        report = json.loads((out / "lane.json").read_text())
        test, training = report["items"]
        self.assertEqual((test["state"], test["return_code"]), ("passed", 0))
        self.assertGreater(test["figures"]["passed"], 10)
        self.assertGreater(training["figures"]["steps"], 10)
        self.assertLess(training["figures"]["last_loss"], training["figures"]["first_loss"])
        page = (out / "lane.md").read_text()
        for part in (report["bundle"]["commit"], report["begun_at"], "last_loss", TEST):
            self.assertIn(part, page)
        self.refused(self.lane("run", *options), "another lane run")

    def test_what_does_not_pass_is_told_and_the_rest_goes_on(self):
        out = self.folder / "short"
        options = ("--only", "bench-gemm", "--only", "version", "--minutes", "0")
        done = self.lane("run", "--out", out, *options)
        self.assertEqual(done.returncode, 1, done.stderr)
        states = [item["state"] for item in json.loads((out / "lane.json").read_text())["items"]]
        self.assertEqual(states, ["not run", "not run"])
        self.assertIn("the time of the lane was used up", (out / "lane.md").read_text())

    def test_a_gpu_for_which_nothing_is_carried_does_not_pass(self):
        path = self.path_without_mpi()
        smi = Path(path) / "nvidia-smi"
        self.addCleanup(smi.unlink)
        smi.write_text("#!/bin/sh\necho NVIDIA Card, 999.9, 81559 MiB\n")
        smi.chmod(0o755)
        self.assertRegex(self.passed(self.lane("list")), f"{TEST} +left out: a test for CPUs")
        out = self.folder / "gpu"
        done = self.lane("run", "--out", out, "--minutes", "0")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("-DRONDO_CUDA=ON", done.stdout)
        self.assertIn("NVIDIA Card, 81559 MiB, driver 999.9", (out / "lane.md").read_text())

    def test_a_library_that_is_too_old_gives_way_to_the_spare_one(self):
        name = "libstdc++.so.6"
        old = self.folder / "old"
        old.mkdir()
        shutil.copy(next((self.root / "lib").glob("libz.so*")), old / name)
        words = ("exec", "--", "ldd", self.root / "bin" / "rondo")
        text = self.passed(self.lane(*words, LD_LIBRARY_PATH=str(old)))
        self.assertIn(f"{name} => {self.root}/spare/{name}/{name}", text)
        self.assertNotIn("spare", self.passed(self.lane(*words)))

    def test_another_python_and_none_with_torch_are_refused(self):
        old = "import runpy, sys; sys.version_info = (3, 10, 2); runpy.run_path(sys.argv[1])"
        self.refused(self.lane("list", python=("-c", old)), "Python 3.10", "3.11 to 3.13")
        empty = self.folder / "empty"
        empty.mkdir()
        self.refused(self.lane("exec", "--", "true", packages=empty), "has no torch", "needs torch")

    def test_another_torch_is_refused(self):
        packages = self.folder / "other"
        (packages / "torch").mkdir(parents=True)
        (packages / "torch/__init__.py").touch()
        (packages / "torch/version.py").write_text("__version__ = '2.10.0+cpu'\n")
        done = self.lane("exec", "--", "rondo", "--version", packages=packages)
        self.refused(done, "torch 2.10.0+cpu", "needs torch 2.", "bundle it again")

    def test_a_damaged_bundle_is_refused(self):
        config = self.root / "configs" / "lane.yaml"
        text = config.read_text()
        self.addCleanup(config.write_text, text)
        config.write_text(text + "# changed\n")
        self.refused(self.lane("run", "--out", self.folder / "damaged"), "lane.yaml", "Unpack")

    def test_items_and_unknown_ones(self):
        self.assertIn(TEST, self.passed(self.lane("list")))
        done = self.lane("run", "--out", self.folder / "unknown", "--only", "test_nothing")
        self.refused(done, "--only test_nothing", "bench-gemm")

    def test_nothing_of_the_build_machine_is_where_libraries_are_looked_for(self):
        for path in [*(self.root / "bin").iterdir(), *(self.root / "lib").rglob("*.so*")]:
            text = subprocess.run(
                ["readelf", "--dynamic", path], capture_output=True, text=True, check=True
            ).stdout
            for found in re.findall(r"R(?:UN)?PATH\).*\[(.*)\]", text):
                self.assertTrue(found.startswith("$ORIGIN"), f"{path}: {found}")

    def test_every_file_is_in_the_manifest_and_libraries_have_notices(self):
        manifest = json.loads((self.root / "manifest.json").read_text())
        named = {entry["path"] for entry in manifest["files"]} | {"manifest.json"}
        files = {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        self.assertEqual(files, named)
        self.assertEqual(manifest["tests"], [TEST])
        if shutil.which("dpkg-query"):
            self.assertTrue(list((self.root / "notices").glob("libopenmpi*.copyright")))


class OneItem(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_script(self, script, limit_s):
        from rondo_tools.lane import items, running

        item = items.Item("it", ["sh", "-c", script], 60, lambda text: {"lines": text.count("\n")})
        here = SimpleNamespace(root=self.folder)
        return running.run(item, here, dict(os.environ), self.folder / "log", limit_s)

    def test_what_takes_too_long_is_ended_with_what_it_has_started(self):
        record = self.run_script("sleep 600 & echo $!; wait", 0.5)
        self.assertEqual((record["state"], record["return_code"]), ("timed out", None))
        self.assertEqual(record["figures"], {"lines": 1})
        child = Path("/proc", record["last_lines"][0], "stat")
        state = child.read_text().split()[2] if child.exists() else "Z"
        self.assertEqual(state, "Z")  # gone, or dead and not yet waited for

    def test_a_failure_keeps_its_code_and_its_last_lines(self):
        record = self.run_script("seq 100; exit 5", 60)
        self.assertEqual((record["state"], record["return_code"]), ("failed", 5))
        self.assertEqual(record["last_lines"], [str(number) for number in range(81, 101)])

    def test_losses_that_are_too_far_from_another_run_s_are_told(self):
        from rondo_tools.lane import figures

        def run(name, losses):
            folder = self.folder / name
            folder.mkdir()
            rows = [json.dumps({"step": i, "loss": loss}) for i, loss in enumerate(losses)]
            (folder / "metrics.jsonl").write_text("\n".join(rows))
            return folder

        wanted = run("train-1", [2.0, 1.0])
        self.assertEqual(figures.difference(wanted, run("near", [2.0, 1.009]), 0.01), "")
        self.assertIn("step 1", figures.difference(wanted, run("far", [2.0, 1.011]), 0.01))
        self.assertIn("step 0", figures.difference(wanted, run("nan", [float("nan"), 1]), 0.01))
        self.assertIn("1 steps", figures.difference(wanted, run("short", [2.0]), 0.01))
        self.assertIn("0 steps", figures.difference(wanted, self.folder / "none", 0.01))

    def test_figures_are_found_among_other_words(self):
        from rondo_tools.lane import figures

        text = "[  PASSED  ] 12 tests.\n[  SKIPPED ] 2 tests, listed below:\n[  FAILED  ] 1 test,\n"
        self.assertEqual(figures.of_tests(text), {"passed": 12, "failed": 1, "skipped": 2})
        text = 'run: said\n{\n "flops": 2.5, "parts": [1], "bench": "gemm"\n}\nmore\n'
        self.assertEqual(figures.of_bench(text), {"flops": 2.5, "bench": "gemm"})
        self.assertEqual(figures.of_bench("no figures {"), {})
        text = '{"benchmarks": [{"name": "a/8", "real_time": 1.23456, "time_unit": "ms"}]}'
        self.assertEqual(figures.of_kernels(text), {"a/8": "1.235 ms"})


class WrongInput(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def refused(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_bundle_that_is_too_large_is_not_left(self):
        done = bundle(self.folder / "b.tar.gz", "--tests", TEST, "--most-mb", "1")
        self.refused(done, "more than 1 MB", "--tests")

    def test_names_that_are_not_there(self):
        self.refused(bundle(self.folder / "b.zip"), "*.tar.gz or *.tar.zst")
        self.refused(bundle(self.folder / "b.tar.gz", "--tests", "test_none"), "test_none")
        done = run_script("gpu-lane", "bundle", self.folder / "b.tar.gz", "--build", "/nowhere")
        self.refused(done, "run launch/build")


if __name__ == "__main__":
    unittest.main()
