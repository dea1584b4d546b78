"""launch/run: requests to stop, whenever they come and to whom, and what outlives whom."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from tests.tools.launch_case import RUN, SOURCE, SRUN, STAND_IN, LaunchCase


class LaunchStop(LaunchCase):
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


if __name__ == "__main__":
    unittest.main()
