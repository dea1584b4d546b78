"""launch/run: arguments, exit codes, signals and preparation, with a stand-in for the binary."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
RUN = SOURCE / "launch" / "run"
sys.path.insert(0, str(SOURCE / "launch"))

from launcher import cores, notices, numerics  # noqa: E402

# Commands: `exit N` ends with N, `environment` prints what it was given, `wait` handles requests to
# stop, says that it is ready and stays until there is one, then ends with 75, which rank 0 tells;
# `late` handles them only once MARK.go is there. With --check or under `hang` it stays for good,
# and so does a child of it. MPI is not needed: mpirun starts any program.
STAND_IN = r"""#!PYTHON -SE
import os, signal, subprocess, sys, time
from pathlib import Path

words = sys.argv[1:]
if "--check" in words:
    words = ["crash"] if words[1] == "crash" else ["hang", words[1]]
elif words[:1] == ["train"]:
    words = words[1:]
command, argument = words[0].lstrip("-"), words[-1]
stop = []

def mark(what, pid=os.getpid()):
    Path(f"{argument}.{what}.{pid}").touch()

if command == "exit":
    sys.exit(int(argument))
if command == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if command == "environment":
    print(*(f"{word}={os.environ[name]}" for word, name in (
        ("threads", "OMP_NUM_THREADS"), ("cbwr", "MKL_CBWR"), ("terminal", "RONDO_TERMINAL"))))
if command == "hang":
    mark("ready", subprocess.Popen(["sleep", "600"]).pid)
    mark("ready")
    time.sleep(600)
if command == "late":
    mark("ready")
    while not os.path.exists(argument + ".go"):
        time.sleep(0.01)
if command in ("wait", "late"):
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, _: stop.append(number))
    if command == "wait":
        mark("ready")
    while not stop:
        time.sleep(0.01)
    mark("stopped")
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0" and "RONDO_EXIT_FILE" in os.environ:
        Path(os.environ["RONDO_EXIT_FILE"]).write_text("75")
    os._exit(75)
""".replace("PYTHON", sys.executable)


# srun as launch/run uses it: says what it was given, and starts the program once.
SRUN = r"""#!/bin/bash
if [ "$1" = --mpi=list ]; then echo "MPI plugin types are... none pmix"; exit; fi
echo "srun $*"
while [[ $1 == -* ]]; do [ "$1" = -n ] && shift; shift; done
exec "$@"
"""


class LaunchRun(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        binary = self.folder / "rondo"
        binary.write_text(STAND_IN)
        binary.chmod(0o755)
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

    def copy_of_run(self):
        """launch/run and its parts elsewhere; returns its path."""
        folder = self.folder / "launch"
        shutil.copytree(SOURCE / "launch", folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder / "run"

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

    def start(self, *arguments, program=None, **environment):
        program = program or [sys.executable, RUN]
        process = subprocess.Popen(
            [*program, *arguments],
            env={**self.env, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(self.kill_all, process)
        return process

    def kill_all(self, process):
        if process.poll() is None:
            for pid in self.descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def marks(self, what):
        return [path.suffix[1:] for path in self.folder.glob(f"mark.{what}.*")]

    def expect_ready(self, process, count):
        while len(self.marks("ready")) < count:
            self.assertIsNone(process.poll(), "ended before it was ready")
            time.sleep(0.01)

    def start_waiting(self, ranks):
        for old in self.folder.glob("mark.*.*"):
            old.unlink()
        process = self.start("-n", str(ranks), "wait", self.mark)
        self.expect_ready(process, ranks)
        return process

    def expect_end(self, process, code, text=""):
        output = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, code, output)
        self.assertIn(text, output)
        self.assertNotIn("Traceback", output)
        return output

    def expect_all_gone(self, pids):
        deadline = time.monotonic() + 30
        while any(self.alive(pid) for pid in pids):
            self.assertLess(time.monotonic(), deadline, f"{pids} still run")
            time.sleep(0.01)

    def tool(self, name, text):
        """A program that launch/run finds before the real one; returns PATH."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
        return f"{tools}:{self.env['PATH']}"

    def test_requests_to_stop_become_a_soft_stop_on_every_rank(self):
        for ranks in (1, 2):
            for numbers in (
                [signal.SIGTERM],
                [signal.SIGINT],
                [signal.SIGUSR1],
                [signal.SIGTERM, signal.SIGUSR1],
                [signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1],
            ):
                process = self.start_waiting(ranks)
                for number in numbers:
                    process.send_signal(number)
                self.expect_end(process, 75)
                self.assertGreaterEqual(len(self.marks("stopped")), 1)

    def test_a_request_waits_for_ranks_that_cannot_handle_it_yet(self):
        for arguments, environment in (
            (["-n", "1"], {}),
            (["-n", "2"], {}),
            (["-n", "1"], {"SLURM_JOB_ID": "7", "PATH": self.tool("srun", SRUN)}),
        ):
            with self.subTest(arguments=arguments, environment=environment):
                for old in self.folder.glob("mark.*"):
                    old.unlink()
                process = self.start(*arguments, "late", self.mark, **environment)
                self.expect_ready(process, int(arguments[1]))
                process.send_signal(signal.SIGTERM)
                lines = iter(process.stdout.readline, "")
                self.assertTrue(any("saving a checkpoint first" in line for line in lines))
                (self.folder / "mark.go").touch()
                self.expect_end(process, 75)
                self.assertGreaterEqual(len(self.marks("stopped")), 1)

    def test_no_request_is_lost_while_mpirun_starts(self):
        real = shutil.which("mpirun")
        started = self.folder / "started"
        # The trial of the binding is not the start.
        path = self.tool(
            "mpirun",
            f'#!/bin/bash\n[[ "$*" == *" wait "* ]] && touch {started}\nexec {real} "$@"\n',
        )
        for delay in (0.005, 0.05, 0.2, 0.4):
            with self.subTest(delay=delay):
                started.unlink(missing_ok=True)
                process = self.start("-n", "2", "wait", self.mark, PATH=path)
                while not started.exists():
                    self.assertIsNone(process.poll())
                    time.sleep(0.001)
                time.sleep(delay)
                process.send_signal(signal.SIGTERM)
                self.expect_end(process, 75)

    def expect_a_request_ends_it(self, ready, *arguments, program=None, **environment):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            for old in self.folder.glob("mark.*.*"):
                old.unlink()
            process = self.start(*arguments, program=program, **environment)
            self.expect_ready(process, ready)
            process.send_signal(number)
            output = self.expect_end(process, 75)
            self.assertEqual(output, "run: asked to stop: nothing is to be saved yet\n")
            self.expect_all_gone(self.marks("ready"))

    def test_a_request_ends_the_check(self):
        self.expect_a_request_ends_it(2, "-n", "2", "train", self.mark)

    def test_a_request_ends_tokenising(self):
        run = self.copy_of_run()
        (self.folder / "tools").mkdir()
        (self.folder / "tools" / "prepare").write_text(
            f"import sys\nsys.argv[1:] = ['hang', '{self.mark}']\n{STAND_IN}"
        )
        checker = self.folder / "checker"
        checker.write_text("#!/bin/sh\n")
        checker.chmod(0o755)
        self.expect_a_request_ends_it(
            2, "train", "some.yaml", program=[sys.executable, run], RONDO_BINARY=str(checker)
        )

    def test_a_request_ends_the_trial_of_the_binding(self):
        path = self.tool(
            "mpirun",
            '#!/bin/bash\n[ "$1" = --version ] && echo "Open MPI" ||'
            f" exec {self.env['RONDO_BINARY']} hang {self.mark}\n",
        )
        self.expect_a_request_ends_it(2, "-n", "2", "exit", "0", PATH=path)

    def test_a_second_ctrl_c_ends_it_at_once(self):
        for ranks in (1, 2):
            for old in self.folder.glob("mark.*.*"):
                old.unlink()
            process = self.start("-n", str(ranks), "late", self.mark)
            self.expect_ready(process, ranks)
            process.send_signal(signal.SIGINT)
            lines = iter(process.stdout.readline, "")
            self.assertTrue(any("saving a checkpoint first" in line for line in lines))
            process.send_signal(signal.SIGINT)
            self.expect_end(process, 130, "stopping at once")
            self.expect_all_gone(self.marks("ready"))

    def test_a_stop_signal_for_every_process_is_one_request(self):
        # As under Slurm, where mpirun waits for long before it kills.
        self.env["OMPI_MCA_odls_base_sigkill_timeout"] = "60"
        process = self.start_waiting(2)
        for pid in self.descendants(process.pid):
            os.kill(pid, signal.SIGTERM)
        self.expect_end(process, 75, "saving a checkpoint first")
        self.assertEqual(len(self.marks("stopped")), 2)

    def test_the_exit_code_of_rondo_outlives_that_of_mpirun(self):
        # Of the default second, nothing is left for a rank once another has ended.
        self.env["OMPI_MCA_odls_base_sigkill_timeout"] = "3"
        process = self.start_waiting(2)
        launcher = self.descendants(process.pid)[1]
        os.kill(launcher, signal.SIGTERM)
        self.expect_end(process, 75)

    @staticmethod
    def descendants(pid):
        found = [pid]
        for parent in found:
            for path in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, path.read_text().split())
        return found

    def test_the_batch_script_stops_once_however_often_it_is_asked(self):
        path = self.tool("scontrol", f'#!/bin/bash\necho "$*" >> {self.folder}/scontrol\n')
        variables = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "here",
            "SLURM_NTASKS": "2",
            "RONDO_ROOT": str(SOURCE),
            "OMPI_MCA_odls_base_sigkill_timeout": "60",
            "PATH": path,
        }
        script = ["bash", str(SOURCE / "slurm" / "train.sbatch"), "--wait", self.mark]
        for everyone in (False, True):
            for old in (*self.folder.glob("mark.*.*"), *self.folder.glob("scontrol")):
                old.unlink()
            process = self.start(program=script, **variables)
            self.expect_ready(process, 2)
            for pid in self.descendants(process.pid) if everyone else [process.pid] * 2:
                os.kill(pid, signal.SIGTERM)
            process.send_signal(signal.SIGUSR1)
            self.expect_end(process, 75, "ended with exit code 75")
            self.assertEqual(len(self.marks("stopped")), 2)
            self.assertEqual((self.folder / "scontrol").read_text(), "requeue 7\n")

    def test_a_request_while_the_batch_script_starts_is_not_lost(self):
        variables = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "here",
            "SLURM_NTASKS": "1",
            "RONDO_ROOT": str(SOURCE),
            "PATH": self.tool("scontrol", "#!/bin/sh\n"),
        }
        script = ["bash", str(SOURCE / "slurm" / "train.sbatch"), "--wait", self.mark]
        for delay in (0, 0.001, 0.002, 0.03):
            process = self.start(program=script, **variables)
            self.assertIn("restart 0", process.stdout.readline())
            time.sleep(delay)
            process.send_signal(signal.SIGUSR1)
            self.expect_end(process, 75, "ended with exit code 75")

    def test_nothing_outlives_a_killed_launcher(self):
        for ranks in (1, 2):
            process = self.start_waiting(ranks)
            process.kill()
            process.wait()
            self.expect_all_gone(self.marks("ready"))

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
