"""A job that Slurm asks to stop saves a checkpoint, is requeued and ends as if undisturbed."""

import unittest

from tests.cluster import cluster_case

setUpModule = cluster_case.enter_box


class Stops(cluster_case.ClusterCase):
    def expect_stopped_and_ended(self, name, job, steps=(60, 20)):
        """It stopped softly, once or more, and was done in the end."""
        end = self.expect_done(name, job)
        codes = self.codes(name)
        self.assertGreater(len(codes), 1, self.log(name))
        self.assertEqual(codes, [75] * (len(codes) - 1) + [0], self.log(name))
        self.assertEqual(int(end["Restarts"]), len(codes) - 1)
        self.expect_undisturbed(name, steps)

    def test_at_the_time_limit(self):
        # Slurm looks every 30 s whether a signal is due, and counts in minutes.
        steps = (300, 20)
        config = self.paced("limit", steps)
        job = self.submit("limit", config, "-t", 1, "--signal=B:USR1@40")
        self.cluster.wait_for_job(job, lambda now: now["Restarts"] == "1", cluster_case.END_S)
        # Or it would be asked again at every look.
        self.cluster.client("scontrol", "update", f"JobId={job}", "TimeLimit=10")
        self.expect_stopped_and_ended("limit", job, steps)

    def test_by_a_file_in_the_run_folder(self):
        job = self.submit("file", self.paced("file"))
        self.wait_for_step("file", 15)
        stop = self.run_folder("file") / "STOP"
        stop.touch()
        self.expect_stopped_and_ended("file", job)
        self.assertFalse(stop.exists())

    def test_at_a_preemption(self):
        job = self.submit("preempted", self.paced("preempted"))
        self.wait_for_step("preempted", 15)
        urgent = self.cluster.submit("-p", "urgent", "-N", 3, "--exclusive", "-o", "/dev/null",
                                     "--wrap", "sleep 1", folder=self.folder)  # fmt: skip
        self.expect_stopped_and_ended("preempted", job)
        self.assertEqual(self.wait_until_over(urgent)["JobState"], "COMPLETED")

    def test_at_scontrol_requeue(self):
        for launcher in ("mpirun", "srun"):
            with self.subTest(launcher=launcher):
                name = f"requeued-{launcher}"
                job = self.submit(name, self.paced(name), environment={"RONDO_LAUNCHER": launcher})
                self.wait_for_step(name, 15)
                self.cluster.client("scontrol", "requeue", job)
                self.expect_stopped_and_ended(name, job)


if __name__ == "__main__":
    unittest.main()
