"""A run that makes no progress ends by itself, wherever its ranks are stuck, and says which rank
holds up the others."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

RANKS = 3
LEAST_S = 3
# The reports of the others, the end of the processes.
END_S = 5
# The same where nothing is measured, on a loaded machine.
LOADED_S = 20


class Hang(harness.RunTest):
    def job(self, launcher=True, fault="", **changes):
        """Ranks in a long round whose collectives wait for ever."""
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 150))
        config = self.recipe(
            "run",
            batch={"packs": 6, "micro_packs": 1},
            run={"print_every": 4},
            parallel={"deadline_s": 0},
            watchdog={"factor": 10, "least_s": LEAST_S, "first_s": 30},
            sources={"a": {"train": str(train)}},
            rounds=[{"name": "first", "data": {"a": 1}, "steps": 1_000_000}],
            **changes,
        )
        job = harness.Job(
            "train", config, ranks=RANKS, launcher=launcher, environment={"RONDO_FAULT": fault}
        )
        self.addCleanup(job.kill)
        self.assertTrue(job.read_until("first 4/"), job.output)
        return job

    def ranks_of(self, job):
        """Process numbers of the ranks, in their order."""
        return [harness.process_of_rank(job.process.pid, rank) for rank in range(RANKS)]

    def expect_end(self, job, code=3):
        """The job ends within its budget and some seconds, with all its processes."""
        everything = harness.descendants(job.process.pid)
        begin = time.monotonic()
        self.assertEqual(job.finish(), code, job.output)
        seconds = time.monotonic() - begin
        self.assertLess(seconds, LEAST_S + LOADED_S, job.output)
        for process in everything:
            self.expect_gone(process)
        print(f"after {seconds:.1f} s, budget {LEAST_S} s", end=" ... ", file=sys.stderr)
        return seconds

    def expect_gone(self, process):
        until = time.monotonic() + LOADED_S
        while Path(f"/proc/{process}").exists():
            self.assertLess(time.monotonic(), until, f"process {process} is still there")
            time.sleep(0.1)

    def reports(self):
        """By rank, of the one hang of the run."""
        (folder,) = (self.run_folder() / "hangs").iterdir()
        self.assertIn("no progress", (folder / "summary.txt").read_text())
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
        return {report["rank"]: report for report in found}

    def test_a_rank_that_stops_is_named(self):
        job = self.job()
        stopped = self.ranks_of(job)[1]
        os.kill(stopped, signal.SIGSTOP)
        seconds = self.expect_end(job)
        # Whole seconds: the steps before were longer than a tenth of LEAST_S, perhaps.
        budget_s = int(re.search(r"longer than its budget of (\d+) s", job.output)[1])
        self.assertLess(seconds, budget_s + 0.5 + END_S, job.output)
        self.assertEqual(job.output.count("no progress"), 1, job.output)
        self.assertRegex(job.output, rf"rank 1 \(\S+, pid {stopped}\) has made no report")
        self.assertRegex(job.output, r"waits? for it in group \w+, operation \d+: \w+ of")
        reports = self.reports()
        for rank in (0, 2):
            report = reports[rank]
            waiting = [
                operation
                for group in report["groups"]
                for operation in group["operations"]
                if operation["state"] == "waiting"
            ]
            self.assertEqual(len(waiting), 1, report)

    def test_a_rank_that_is_stuck_in_its_own_work_is_named_with_its_phase(self):
        job = self.job(fault="step_begun:1:6:delay=600")
        self.expect_end(job)
        self.assertRegex(job.output, r"rank 1 \(.*\) is in no collective: phase 'step 6' for \d+ s")
        self.assertRegex(job.output, r"waits? for it in group \w+, operation \d+: \w+ of")
        reports = self.reports()
        self.assertEqual(sorted(reports), [0, 1, 2])
        self.assertEqual({report["step"] for report in reports.values()}, {6})

    def test_no_rank_needs_a_launcher_to_end(self):
        """Where mpirun is stuck as well: who runs ends, and the rest as soon as it runs again."""
        job = self.job(launcher=False)
        ranks = self.ranks_of(job)
        os.kill(job.process.pid, signal.SIGSTOP)
        os.kill(ranks[0], signal.SIGSTOP)
        for rank in (1, 2):
            self.expect_ended(ranks[rank])
        os.kill(ranks[0], signal.SIGCONT)
        self.expect_ended(ranks[0])
        os.kill(job.process.pid, signal.SIGCONT)
        self.expect_end(job)
        self.assertEqual(job.output.count("no progress"), 1, job.output)
        self.assertRegex(job.output, rf"rank 0 \(\S+, pid {ranks[0]}\) has made no report")
        self.assertRegex(job.output, r"waits? for it in group \w+, operation \d+: \w+ of")
        # The late one comes in addition.
        self.assertEqual(sorted(self.reports()), [0, 1, 2])

    def expect_ended(self, process):
        """It may be left to its parent, which is stopped, to be buried."""
        until = time.monotonic() + LEAST_S + LOADED_S
        while harness.is_there(process):
            self.assertLess(time.monotonic(), until, f"process {process} has not ended")
            time.sleep(0.1)

    def test_a_job_that_is_suspended_goes_on(self):
        """And the budgets are no false alarm where there is progress."""
        job = self.job()
        ranks = self.ranks_of(job)
        for process in ranks:
            os.kill(process, signal.SIGSTOP)
        time.sleep(2 * LEAST_S)
        for process in ranks:
            os.kill(process, signal.SIGCONT)
        self.assertTrue(job.read_until("first ", times=20), job.output)
        job.signal(signal.SIGTERM)
        self.assertEqual(job.finish(), 75, job.output)
        self.assertNotIn("no progress", job.output)
        self.assertFalse((self.run_folder() / "hangs").exists())

    def test_a_healthy_run_with_all_phases_is_left_alone(self):
        train = harness.write_tokenized(self.folder / "a.h5", harness.counting(1, 40))
        config = self.recipe(
            "run",
            watchdog={"factor": 10, "least_s": LEAST_S, "first_s": 30},
            checkpoint={"every": 3},
            evaluate={"every": 2},
            sources={"a": {"train": str(train), "heldout": {"split": 8}}},
            rounds=[
                {"name": "first", "data": {"a": 1}, "steps": 8},
                {"name": "second", "data": {"a": 1}, "steps": 8},
            ],
        )
        done = self.train(config, ranks=2)
        self.assertNotIn("no progress", done.stdout + done.stderr)
        self.assertFalse((self.run_folder() / "hangs").exists())


if __name__ == "__main__":
    harness.unittest.main()
