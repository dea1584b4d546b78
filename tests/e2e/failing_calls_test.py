"""Calls to the file system that fail, or write half: nothing is lost, and it is said."""

import errno
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faults_test
import harness

SHIM = Path(os.environ["RONDO_BINARY"]).parent / "libfailing_calls.so"


class FailingCalls(faults_test.FaultTest):
    def setUp(self):
        super().setUp()
        self.straight(2, rounds=2)

    def failing(self, call, number, how, path, rank=None):
        """A run with a failing call; what it returned, and the calls that failed."""
        name = "failing"
        log = self.folder / "shim.log"
        environment = {
            "LD_PRELOAD": str(SHIM),
            "RONDO_SHIM": f"{call}:{number}:{how}",
            "RONDO_SHIM_PATH": path,
            "RONDO_SHIM_LOG": str(log),
        }
        if rank is not None:
            environment["RONDO_SHIM_RANK"] = str(rank)
        config = self.short_rounds(name, rounds=2)
        done = harness.rondo("train", config, ranks=2, environment=environment)
        failed = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        self.assertNotEqual(failed, [], f"no {call} of {path} was met\n{done.stdout}")
        return config, done

    def expect_nothing_lost(self, config, done):
        """Whatever came of it, another start ends as the run without failures."""
        self.assertIn(done.returncode, (0, 3), done.stdout + done.stderr)
        if done.returncode == 3:
            self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
            again = harness.rondo("train", config, ranks=2)
            self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        self.expect_same_runs("failing", "straight")
        self.expect_no_temporaries("failing")
        harness.shutil.rmtree(self.run_folder("failing"))

    def test_one_in_a_save_is_a_warning_and_the_run_goes_on(self):
        for call, how, path, rank in (
            ("pwrite", errno.EIO, "shard-", 1),
            ("pwrite", errno.ENOSPC, "shard-", 0),
            ("fsync", errno.EIO, "shard-", 1),
            ("fsync", errno.EDQUOT, "MANIFEST", 0),
            ("close", errno.EIO, "shard-", 1),
            ("rename", errno.EIO, "checkpoints/step-00000001", 0),
        ):
            with self.subTest(call=call, how=errno.errorcode[how], path=path):
                config, done = self.failing(call, 1, how, path, rank)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("was not saved", done.stderr)
                self.assertIn(os.strerror(how), done.stderr)
                self.expect_nothing_lost(config, done)

    def test_of_all_saves_the_run_ends_with_one_error(self):
        config, done = self.failing("pwrite", "1+", errno.ENOSPC, "shard-", 1)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn(os.strerror(errno.ENOSPC), done.stderr)
        self.expect_nothing_lost(config, done)

    def test_short_writes_are_gone_on_with(self):
        config, done = self.failing("pwrite", "1+", "short", "checkpoints/")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.expect_nothing_lost(config, done)

    def test_anywhere_in_the_run_folder_are_one_error(self):
        for call, number, how, path in (
            ("fsync", 1, errno.EIO, "events.jsonl"),
            ("rename", 1, errno.EIO, "metrics.jsonl"),
            ("pwrite", 3, errno.ENOSPC, "metrics.jsonl"),
            ("pwrite", 1, errno.ENOSPC, "ledger.jsonl"),
            ("rename", 1, errno.EIO, "rounds/r0/model"),
        ):
            with self.subTest(call=call, path=path):
                config, done = self.failing(call, number, how, path)
                self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
                self.expect_nothing_lost(config, done)


class FailingOutput(faults_test.FaultTest):
    """What is printed is for people: a run does not need it, a result that is asked for does."""

    def rondo_to(self, stream, *arguments):
        return subprocess.run(
            harness.command(arguments),
            env=harness.ONE_THREAD | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            timeout=harness.TIMEOUT_S,
            check=False,
        ).returncode

    def test_a_run_goes_on_where_nobody_takes_its_lines(self):
        self.straight(1, rounds=2)
        with open("/dev/full", "w") as full:
            self.assertEqual(self.rondo_to(full, "train", self.short_rounds("full", rounds=2)), 0)
        self.expect_same_runs("full", "straight")
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        self.assertEqual(self.rondo_to(writer, "train", self.short_rounds("gone", rounds=2)), 0)
        self.expect_same_runs("gone", "straight")

    def test_exit_codes_still_tell(self):
        config = self.short_rounds("run", rounds=1)
        with open("/dev/full", "w") as full:
            self.assertEqual(self.rondo_to(full, "train", self.folder / "nowhere.yaml"), 2)
            self.assertEqual(self.rondo_to(full, "plan", config), 3)


if __name__ == "__main__":
    harness.unittest.main()
