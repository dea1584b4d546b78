"""launch/run: arguments, exit codes, signals and preparation, with a stand-in for the binary."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
RUN = SOURCE / "launch" / "run"

# Commands: `exit N` ends with N, `environment` prints what it was given, `wait` stays until USR1
# and then ends with 75. MPI is not needed: mpirun starts any program.
STAND_IN = r"""#!/bin/bash
case $1 in
  exit) exit "$2" ;;
  crash) kill -SEGV $$ ;;
  environment) echo "threads=$OMP_NUM_THREADS cbwr=$MKL_CBWR terminal=$RONDO_TERMINAL" ;;
  wait)
    trap 'touch "$2.stopped.$$"; exit 75' USR1
    touch "$2.ready.$$"
    while :; do read -r -t 1 <>"$2.pipe"; done ;;
esac
"""


# srun as launch/run uses it: says what it was given, and starts the program once.
SRUN = r"""#!/bin/bash
if [ "$1" = --mpi=list ]; then echo "MPI plugin types are... none pmix"; exit; fi
echo "srun $*"
while [[ $1 == -* ]]; do [ "$1" = -n ] && shift; shift; done
exec "$@"
"""


def launch_run():
    """launch/run as a module."""
    loader = SourceFileLoader("launch_run", str(RUN))
    module = module_from_spec(spec_from_loader("launch_run", loader))
    loader.exec_module(module)
    return module


class LaunchRun(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        binary = self.folder / "rondo"
        binary.write_text(STAND_IN)
        binary.chmod(0o755)
        os.mkfifo(self.folder / "mark.pipe")
        self.mark = str(self.folder / "mark")
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "OMPI_", "OMP_", "MKL_"))
        }
        self.env["RONDO_BINARY"] = str(binary)

    def run_it(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, RUN, *arguments],
            check=False,
            env={**self.env, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def test_exit_codes_pass_through(self):
        for ranks in ("1", "3"):
            for code in (0, 2, 3, 70, 75, 93):
                result = self.run_it("-n", ranks, "exit", str(code))
                self.assertEqual(result.returncode, code, result.stderr)

    def test_the_launcher_adds_no_noise_to_an_error(self):
        result = self.run_it("-n", "2", "exit", "2")
        self.assertNotIn("aborted", result.stdout + result.stderr)
        self.assertNotIn("-----", result.stdout + result.stderr)

    def test_a_crash_is_named(self):
        for ranks in ("1", "2"):
            result = self.run_it("-n", ranks, "crash")
            self.assertEqual(result.returncode, 139, result.stderr)
            self.assertIn("SIGSEGV", result.stderr)

    def test_threads_share_the_cores(self):
        cores = len(os.sched_getaffinity(0))
        result = self.run_it("-n", str(4 * cores), "environment")
        module = launch_run()
        path = module.strict_path(module.cpuinfo())
        self.assertEqual(result.stdout.count(f"threads=1 cbwr={path} "), 4 * cores, result)
        result = self.run_it("-n", "2", "environment", OMP_NUM_THREADS="7")
        self.assertEqual(result.stdout.count("threads=7"), 2)

    def test_the_path_of_mkl_suits_the_processor(self):
        avx512 = "fpu avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
        for vendor, flags, path in (
            ("GenuineIntel", avx512, "AVX512,STRICT"),
            ("GenuineIntel", "fpu avx avx2", "AVX2,STRICT"),
            ("GenuineIntel", "fpu avx avx2 avx512f avx512cd avx512er avx512pf", "AVX2,STRICT"),
            ("AuthenticAMD", avx512, "AVX2,STRICT"),
        ):
            processor = f"vendor_id\t: {vendor}\nmodel name\t: One\nflags\t\t: {flags}\nbugs\t\t:\n"
            self.assertEqual(launch_run().strict_path(f"{processor}\n{processor}"), path)
        self.assertEqual(launch_run().strict_path(""), "AVX2,STRICT")

    def in_slurm(self, *arguments, **variables):
        """Output of launch/run inside an allocation that offers srun with PMIx."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "srun").write_text(SRUN)
        (tools / "srun").chmod(0o755)
        environment = {"SLURM_JOB_ID": "7", "PATH": f"{tools}:{self.env['PATH']}", **variables}
        result = self.run_it(*arguments, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_srun_gives_each_rank_its_cpus(self):
        nodes = {"SLURM_NTASKS": "8", "SLURM_JOB_NUM_NODES": "2"}
        for variables, cpus in (
            ({"SLURM_CPUS_PER_TASK": "6"}, 6),
            ({"SLURM_CPUS_PER_TASK": "6", "SLURM_JOB_CPUS_PER_NODE": "96(x2)"}, 6),
            ({"SLURM_JOB_CPUS_PER_NODE": "64(x2)"}, 16),
            ({"SLURM_JOB_CPUS_PER_NODE": "64,13"}, 3),
            ({"SLURM_JOB_CPUS_PER_NODE": "2(x2)"}, 1),
        ):
            output = self.in_slurm("environment", **nodes, **variables)
            self.assertIn(f" --cpus-per-task={cpus} --cpu-bind=cores -n 8 ", output)
            self.assertIn(f"threads={cpus} ", output)
        output = self.in_slurm("-n", "1", "environment")
        cores = launch_run().local_cores()
        self.assertIn(f" --cpus-per-task={cores} --cpu-bind=cores -n 1 ", output)
        self.assertIn(f"threads={cores} ", output)

    def test_threads_that_the_user_chose_leave_the_cpus_of_srun_alone(self):
        variables = {"SLURM_CPUS_PER_TASK": "6", "OMP_NUM_THREADS": "2"}
        output = self.in_slurm("-n", "2", "environment", **variables)
        self.assertIn(" --cpus-per-task=6 ", output)
        self.assertIn("threads=2 ", output)

    def test_mpirun_inside_slurm_gives_each_rank_its_cpus(self):
        # Two nodes: then mpirun is not tried out first.
        variables = {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "5"}
        output = self.in_slurm("--mpirun", "-n", "2", "--dry-run", "exit", "0", **variables)
        self.assertIn("OMP_NUM_THREADS=5 ", output)
        self.assertIn(" --map-by slot:PE=5 --bind-to core ", output)

    def test_cpus_of_slurm_are_hardware_threads_or_cores(self):
        cores_of = launch_run().cores_of
        self.assertEqual(cores_of(8, on_node=32, threads=32, cores=16), 4)
        self.assertEqual(cores_of(8, on_node=16, threads=32, cores=16), 8)
        self.assertEqual(cores_of(8, on_node=0, threads=4, cores=2), 8)
        self.assertEqual(cores_of(1, on_node=32, threads=32, cores=16), 1)

    def test_a_file_is_no_terminal(self):
        for ranks in ("1", "2"):
            self.assertIn("terminal=0", self.run_it("-n", ranks, "environment").stdout)

    def start_waiting(self, ranks):
        process = subprocess.Popen(
            [sys.executable, RUN, "-n", str(ranks), "wait", self.mark],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.stderr.close)
        while len(list(self.folder.glob("mark.ready.*"))) < ranks:
            self.assertIsNone(process.poll(), "ended before it was ready")
            os.sched_yield()
        return process

    def test_requests_to_stop_become_a_soft_stop_on_every_rank(self):
        for ranks in (1, 2):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                for old in self.folder.glob("mark.*.*"):
                    old.unlink()
                process = self.start_waiting(ranks)
                process.send_signal(number)
                self.assertEqual(process.wait(timeout=60), 75)
                self.assertGreaterEqual(len(list(self.folder.glob("mark.stopped.*"))), 1)

    def test_nothing_outlives_a_killed_launcher(self):
        for ranks in (1, 2):
            for old in self.folder.glob("mark.*.*"):
                old.unlink()
            process = self.start_waiting(ranks)
            pids = [path.suffix[1:] for path in self.folder.glob("mark.ready.*")]
            process.kill()
            process.wait()
            deadline = time.monotonic() + 30
            while any(self.alive(pid) for pid in pids):
                self.assertLess(time.monotonic(), deadline, f"{pids} still run")
                os.sched_yield()

    @staticmethod
    def alive(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_a_dry_run_prints_the_command_and_starts_nothing(self):
        result = self.run_it("-n", "2", "--dry-run", "wait", self.mark)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(" -n 2 ", result.stdout)
        self.assertIn(f"wait {self.mark}", result.stdout)
        self.assertEqual(list(self.folder.glob("mark.ready.*")), [])

    def test_hosts_are_handed_on(self):
        result = self.run_it("-n", "4", "-H", "a:2,b:2", "--dry-run", "exit", "0")
        self.assertIn("-H a:2,b:2", result.stdout)
        self.assertIn("-x OMP_NUM_THREADS", result.stdout)

    def test_wrong_arguments_say_what_is_wrong(self):
        for arguments, text in [
            ((), "no command given"),
            (("-n",), "needs a value"),
            (("-n", "two", "exit", "0"), "whole number"),
            (("-n", "0", "exit", "0"), "whole number"),
            (("--nodes", "3", "exit", "0"), "unknown option --nodes"),
            (("-n", "2", "--hostfile", "/nonexistent", "exit", "0"), "/nonexistent"),
        ]:
            result = self.run_it(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(text, result.stderr)

    def test_a_missing_binary_says_how_to_build_it(self):
        result = self.run_it("exit", "0", RONDO_BINARY="/nonexistent/rondo")
        self.assertEqual(result.returncode, 2)
        self.assertIn("launch/build", result.stderr)


if __name__ == "__main__":
    unittest.main()
