"""A rank that stops or dies while the others wait for it in a collective."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

DEADLINE_S = 3
# A question to the ranks, their end by MPI, a loaded machine.
END_S = 30
# From the death of a rank to the end of all processes.
DEATH_S = 5


class LostRank(harness.RunTest):
    def job(self):
        """Three ranks in the middle of a long round."""
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 150))
        config = self.recipe(
            "run",
            run={"print_every": 20},
            batch={"packs": 6, "micro_packs": 1},
            parallel={"deadline_s": DEADLINE_S},
            sources={"a": {"train": str(train)}},
            rounds=[{"name": "first", "data": {"a": 1}, "steps": 1_000_000}],
        )
        job = harness.Job("train", config, ranks=3, launcher=True)
        self.addCleanup(job.kill)
        self.assertTrue(job.read_until("first 20/"), job.output)
        return job

    def expect_end(self, job, within_s):
        begin = time.monotonic()
        code = job.finish()
        self.assertLess(time.monotonic() - begin, within_s, job.output)
        self.assertNotEqual(code, 0, job.output)

    def expect_gone(self, process, within_s=END_S):
        until = time.monotonic() + within_s
        while harness.is_there(process):
            self.assertLess(time.monotonic(), until, f"process {process} is still there")
            time.sleep(0.1)

    def test_that_stops_is_named_after_the_deadline(self):
        job = self.job()
        stopped = harness.process_of_rank(job.process.pid, 1)
        os.kill(stopped, signal.SIGSTOP)
        self.expect_end(job, DEADLINE_S + END_S)
        self.assertRegex(job.output, "rank 1 has not come")
        self.expect_gone(stopped)

    def test_that_dies_ends_all_within_seconds_with_its_name(self):
        job = self.job()
        everything = harness.descendants(job.process.pid)
        lost = harness.process_of_rank(job.process.pid, 1)
        begin = time.monotonic()
        os.kill(lost, signal.SIGKILL)
        self.expect_end(job, DEATH_S)
        for process in everything:
            self.expect_gone(process, DEATH_S - (time.monotonic() - begin))
        print(f"all gone after {time.monotonic() - begin:.1f} s", end=" ... ", file=sys.stderr)
        self.assertRegex(job.output, "rank 1")


class OtherRank(harness.RunTest):
    """A rank that was started with something else than the others."""

    def start(self, first, second):
        """Standard error of two ranks with command lines of their own, which refuse to run."""
        words = ["mpirun", "-q", "-n", "1", *map(str, first), ":", "-n", "1", *map(str, second)]
        done = harness.run_command(words)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertFalse((self.run_folder() / "metrics.jsonl").exists())
        return done.stderr

    def setUp(self):
        super().setUp()
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 20))
        self.config = self.recipe(
            "run",
            sources={"a": {"train": str(train)}},
            rounds=[{"name": "first", "data": {"a": 1}, "steps": 2}],
        )

    def test_another_configuration_is_refused(self):
        command = [harness.RONDO, "train", self.config]
        said = self.start([*command, "optimizer.lr=1e-3"], [*command, "optimizer.lr=2e-3"])
        self.assertEqual(said.count("the configuration differs between ranks"), 1, said)

    def test_another_program_is_refused(self):
        version = harness.rondo("--version").stdout.split()[1].encode()
        other = self.folder / "other"
        program = Path(harness.RONDO).read_bytes()
        other.write_bytes(program.replace(version, b"x" * len(version)))
        other.chmod(0o755)
        said = self.start([harness.RONDO, "train", self.config], [other, "train", self.config])
        self.assertEqual(said.count("the program differs between ranks"), 1, said)


if __name__ == "__main__":
    harness.unittest.main()
