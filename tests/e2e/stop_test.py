"""A run stops well for any reason, on any rank, at any moment, and is not started for nothing."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness


class StopTest(harness.RunTest):
    def long_round(self, name="run", heldout=4, **changes):
        sources = {
            part: str(harness.write_tokenized(self.folder / f"{part}.h5", examples))
            for part, examples in (
                ("train", harness.counting(1, 60)),
                ("heldout", harness.counting(2, heldout)),
            )
        }
        recipe = {
            "run": {"print_every": 1},
            "checkpoint": {"every": "never"},
            "sources": {"a": sources},
            "evaluate": {"at_start": False},
            "rounds": [{"name": "first", "data": {"a": 1}, "steps": 1_000_000}],
        }
        return self.recipe(name, **harness.merged(recipe, changes))

    def job(self, config, until="first 3/", ranks=2, launcher=False):
        job = harness.Job("train", config, ranks=ranks, launcher=launcher)
        self.addCleanup(job.kill)
        self.assertTrue(job.read_until(until), job.output)
        return job

    def expect_stopped(self, job, name="run"):
        """It ended with 75 and a checkpoint of its last step."""
        self.assertEqual(job.finish(), 75, job.output)
        last = self.metrics(name)[-1]["step"]
        saved = self.run_folder(name) / "checkpoints" / f"step-{last:08}" / "MANIFEST.json"
        self.assertTrue(saved.exists(), job.output)
        return last


class Stops(StopTest):
    def test_by_a_file_which_is_gone_then(self):
        config = self.long_round()
        job = self.job(config)
        stop = self.run_folder() / "STOP"
        stop.touch()
        last = self.expect_stopped(job)
        self.assertFalse(stop.exists())
        self.assertRegex(job.output, "stopped on request after step .*STOP")
        done = self.train(config, f"run.max_steps={last + 2}", ranks=2)
        self.assertIn(f"(step {last},", done.stdout)

    def test_by_each_signal_to_any_rank_alone(self):
        config = self.long_round()
        for rank, number in ((0, signal.SIGUSR2), (1, signal.SIGUSR1), (1, signal.SIGTERM)):
            with self.subTest(rank=rank, signal=number):
                job = self.job(config, until="first ")
                os.kill(harness.process_of_rank(job.process.pid, rank), number)
                self.expect_stopped(job)
                self.assertIn(f"a signal on rank {rank}", job.output)

    def test_in_time_for_the_minutes_that_it_has(self):
        begin = time.monotonic()
        done = harness.rondo("train", self.long_round(), "run.max_minutes=0.15", ranks=2)
        self.assertEqual(done.returncode, 75, done.stdout + done.stderr)
        self.assertLess(time.monotonic() - begin, 60)
        self.assertRegex(done.stdout, "s are left of its time on rank 0")

    def test_in_time_for_the_end_of_the_job(self):
        end = str(int(time.time()) + 12)
        done = harness.rondo("train", self.long_round(), environment={"SLURM_JOB_END_TIME": end})
        self.assertEqual(done.returncode, 75, done.stdout + done.stderr)
        self.assertRegex(done.stdout, "s are left of its time")

    def test_in_the_middle_of_an_evaluation_whose_numbers_are_the_same(self):
        """An evaluation far longer than the test, cut short, is done at the next start."""

        def config(name, **changes):
            return self.long_round(
                name,
                heldout=3000,
                checkpoint={"every": "never"},
                evaluate={"at_start": False, "every": 2, "max_examples": 0},
                rounds=[{"name": "first", "data": {"a": 1}, "steps": 4}],
                **changes,
            )

        self.train(config("straight"))
        job = self.job(config("run"), until="first 2/", ranks=1)
        job.signal(signal.SIGUSR1)
        self.assertEqual(job.finish(), 75, job.output)
        self.assertNotIn("held-out loss", job.output)
        # Killed when that is done, before the next checkpoint: done again.
        done = harness.rondo(
            "train", config("run"), environment={"RONDO_FAULT": "step_begun:0:3:kill"}
        )
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stdout + done.stderr)
        self.assertIn("held-out loss", done.stdout)
        self.train(config("run"))
        self.expect_same_runs("run", "straight")
        evaluated = [line.get("evaluate") for line in self.metrics("run")]
        self.assertEqual(evaluated, [line.get("evaluate") for line in self.metrics("straight")])
        self.assertIsNotNone(evaluated[1])

    def test_before_the_first_step_with_nothing_to_save(self):
        config = self.long_round(heldout=3000, evaluate={"at_start": True, "max_examples": 0})
        job = self.job(config, until="calibration", ranks=1)
        job.signal(signal.SIGUSR1)
        self.assertEqual(job.finish(), 75, job.output)
        self.assertIn("before the first step", job.output)


class AtOnce(StopTest):
    def test_a_second_sigterm_ends_without_a_checkpoint_and_without_harm(self):
        config = self.long_round(heldout=8, checkpoint={"every": 2, "keep": 2})
        job = self.job(config, until="saved", ranks=1)
        # A rank that does not come to the end of its step.
        environment = {"RONDO_FAULT": "step_begun:0:*:delay=60"}
        job.kill()
        job = harness.Job("train", config, environment=environment)
        self.addCleanup(job.kill)
        self.assertTrue(job.read_until("round first"), job.output)
        begin = time.monotonic()
        job.signal(signal.SIGTERM)
        time.sleep(2.2)
        job.signal(signal.SIGTERM)
        self.assertEqual(job.finish(), -signal.SIGTERM if job.process.returncode < 0 else 143)
        self.assertLess(time.monotonic() - begin, 30)
        self.train(config, "run.max_steps=20")

    def test_when_the_time_is_over_whatever_it_is_at(self):
        config = self.long_round(run={"max_minutes": 0.1})
        begin = time.monotonic()
        done = harness.rondo(
            "train", config, environment={"RONDO_FAULT": "step_begun:0:*:delay=60"}
        )
        self.assertEqual(done.returncode, 75, done.stdout + done.stderr)
        self.assertIn("the time of the run is over", done.stderr)
        self.assertLess(time.monotonic() - begin, 40)


class NoProgress(StopTest):
    def test_three_starts_for_nothing_are_enough(self):
        config = self.long_round(checkpoint={"every": 3, "background": "off"})
        fault = {"RONDO_FAULT": "step_begun:0:2:kill"}

        def codes(count, *overrides, environment=fault):
            return [
                harness.rondo("train", config, *overrides, environment=environment).returncode
                for _ in range(count)
            ]

        self.assertEqual(codes(4), [-signal.SIGKILL] * 3 + [93])
        # Asked by a person it tries again; progress counts anew.
        later = {"RONDO_FAULT": "step_begun:0:5:kill"}
        self.assertEqual(codes(5, environment=later), [-signal.SIGKILL] * 4 + [93])
        self.assertEqual(codes(1, "run.max_steps=6", environment={}), [0])

    def test_wrong_input_does_not_count(self):
        config = self.long_round()
        for _ in range(5):
            done = harness.rondo("train", config, "checkpoint.resume=must")
            self.assertEqual(done.returncode, 2, done.stderr)


class Owner(StopTest):
    def test_an_orphan_of_a_requeued_job_publishes_nothing(self):
        config = self.long_round(checkpoint={"every": 4})
        orphan = harness.Job(
            "train", config, ranks=2, environment={"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "0"}
        )
        self.addCleanup(orphan.kill)
        self.assertTrue(orphan.read_until("saved"), orphan.output)
        ranks = harness.descendants(orphan.process.pid)
        for process in ranks:
            os.kill(process, signal.SIGSTOP)
        restarted = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
        done = harness.rondo("train", config, "run.max_steps=40", ranks=2, environment=restarted)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("was taken over", done.stderr)
        before = harness.tree(self.run_folder())
        for process in ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        self.assertNotEqual(orphan.finish(), 0, orphan.output)
        self.assertIn("was taken over", orphan.output)
        self.assertEqual(harness.tree(self.run_folder()), before)


if __name__ == "__main__":
    harness.unittest.main()
