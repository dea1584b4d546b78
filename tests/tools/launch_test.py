"""launch/run: arguments, exit codes, launchers and preparation, with a stand-in for the binary."""

import os
import subprocess
import sys
import unittest
from unittest import mock

from tests.tools.launch_case import SOURCE, SRUN, LaunchCase

sys.path.insert(0, str(SOURCE / "launch"))

from launcher import cores, notices, numerics  # noqa: E402


class LaunchRun(LaunchCase):
    def test_it_runs_from_anywhere_and_writes_nothing_beside_itself(self):
        run = self.copy_of_run()
        before = sorted(run.parent.rglob("*"))
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        for variables in ({}, {"PYTHONSAFEPATH": "1"}):
            done = subprocess.run(
                [run, "exit", "70"],
                cwd="/",
                env={**self.env, **variables},
                check=False,
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 70, done.stderr)
        self.assertEqual(sorted(run.parent.rglob("*")), before)

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

    def test_of_the_notices_of_mpirun_one_sentence_is_kept(self):
        rule = "-" * 74
        killed = (
            "mpirun noticed that process rank 3 with PID 0 on node b exited on signal 9 (Killed)."
        )
        text = (
            f"first\n{rule}\nPrimary job terminated, a non-zero exit code\n{rule}\n"
            f"{rule}\n{killed}\n{rule}\nsecond\n{rule}\nno slots\n{rule}\n"
            "[b:7] 2 more processes have sent help message help-mpi-api.txt / mpi-abort\n"
            f"{rule}\nend"
        ).encode()
        for piece in (1, 7, len(text)):
            here, there = os.pipe()
            copied = notices.Notices(here)
            seen = bytearray()
            write = mock.Mock(side_effect=lambda _, said, seen=seen: seen.extend(said) or len(said))
            with mock.patch("os.write", write):
                copied.start()
                with open(there, "wb", buffering=0) as pipe:
                    for begin in range(0, len(text), piece):
                        pipe.write(text[begin : begin + piece])
                copied.join()
            os.close(here)
            self.assertEqual(
                seen.decode(),
                "first\nrun: rank 3 on b was ended by SIGKILL\nsecond\n"
                f"{rule}\nno slots\n{rule}\n{rule}\nend",
            )

    def test_threads_share_the_cores(self):
        count = len(os.sched_getaffinity(0))
        result = self.run_it("-n", str(4 * count), "environment")
        path = numerics.strict_path(numerics.cpuinfo())
        self.assertEqual(result.stdout.count(f"threads=1 cbwr={path} "), 4 * count, result)
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
            self.assertEqual(numerics.strict_path(f"{processor}\n{processor}"), path)
        self.assertEqual(numerics.strict_path(""), "AVX2,STRICT")

    def in_slurm(self, *arguments, **variables):
        """Output of launch/run inside an allocation that offers srun with PMIx."""
        environment = {"SLURM_JOB_ID": "7", "PATH": self.tool("srun", SRUN), **variables}
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
        count = cores.local_cores()
        self.assertIn(f" --cpus-per-task={count} --cpu-bind=cores -n 1 ", output)
        self.assertIn(f"threads={count} ", output)

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

    def test_hosts_that_are_named_inside_slurm_are_for_mpirun(self):
        output = self.in_slurm("-n", "2", "-H", "a:1,b:1", "--dry-run", "exit", "0")
        self.assertIn("mpirun -n 2 -H a:1,b:1 ", output)

    def test_numbers_of_slurm_that_are_none_are_left_out(self):
        for tasks in ("0", "", "²", "many"):
            variables = {"SLURM_NTASKS": tasks, "SLURM_JOB_NUM_NODES": tasks}
            self.assertIn(" -n 1 ", self.in_slurm("environment", **variables))
            self.in_slurm("--mpirun", "-n", "2", "--dry-run", "exit", "0", **variables)

    def test_cpus_of_slurm_are_hardware_threads_or_cores(self):
        cores_of = cores.cores_of
        self.assertEqual(cores_of(8, on_node=32, threads=32, cores=16), 4)
        self.assertEqual(cores_of(8, on_node=16, threads=32, cores=16), 8)
        self.assertEqual(cores_of(8, on_node=0, threads=4, cores=2), 8)
        self.assertEqual(cores_of(1, on_node=32, threads=32, cores=16), 1)

    def test_a_file_is_no_terminal(self):
        for ranks in ("1", "2"):
            self.assertIn("terminal=0", self.run_it("-n", ranks, "environment").stdout)

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
            (("-n", "²", "exit", "0"), "whole number"),
            (("--nodes", "3", "exit", "0"), "unknown option --nodes"),
            (("-n", "2", "--hostfile", "/nonexistent", "exit", "0"), "/nonexistent"),
        ]:
            result = self.run_it(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(text, result.stderr)

    def test_a_check_that_cannot_be_done_is_no_fault_of_the_configuration(self):
        result = self.run_it("train", "crash")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, "rondo train was ended by SIGSEGV")
        (self.folder / "rondo").write_bytes(b"\x7fELF of another machine")
        result = self.run_it("train", "exit")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("could not be started", result.stderr)

    def test_a_missing_binary_says_how_to_build_it(self):
        result = self.run_it("exit", "0", RONDO_BINARY="/nonexistent/rondo")
        self.assertEqual(result.returncode, 2)
        self.assertIn("launch/build", result.stderr)


if __name__ == "__main__":
    unittest.main()
