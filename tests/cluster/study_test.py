"""An array of runs, one line of a file each: tasks stop, are requeued and end on their own."""

import unittest

from tests.cluster import cluster_case
from tests.e2e import harness

setUpModule = cluster_case.enter_box


class Study(cluster_case.ClusterCase):
    def submit_study(self, lines, array, config):
        file = self.folder / "lines.txt"
        file.write_text("\n".join(lines) + "\n")
        script = harness.ROOT / "slurm" / "study.sbatch"
        return self.cluster.submit(
            f"--array={array}", "-N", 1, "-n", 1, "-t", 10, "-o", "%x-%a.log", "-J", "study",
            script, config, file, environment=self.environment, folder=self.folder,
        )  # fmt: skip

    def log(self, name):
        file = self.folder / f"study-{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def test_each_task_is_a_run_of_its_own_and_requeues_only_itself(self):
        steps = (400, 20)
        lines = ["run.name=low optimizer.lr=1e-3", "run.name=high  optimizer.lr='2e-3'"]
        array = self.submit_study(lines, "1-2", self.paced("study", steps))
        self.wait_for_step("low", 15)
        self.wait_for_step("high", 15)
        self.cluster.client("scancel", "--batch", "--signal=USR1", f"{array}_2")
        for task, lr, name in ((1, "1e-3", "low"), (2, "2e-3", "high")):
            end = self.wait_until_over(f"{array}_{task}")
            self.assertEqual(end["JobState"], "COMPLETED", self.log(task))
            self.assertEqual(end["Restarts"], str(task - 1), self.log(task))
            straight = self.paced(f"straight-{name}", steps, optimizer={"lr": float(lr)})
            self.train(straight, launcher=True)
            self.expect_same_runs(name, f"straight-{name}")

    def test_a_line_without_a_name_is_refused(self):
        array = self.submit_study(["optimizer.lr=1e-3"], "1,7", self.paced("study"))
        for task in (1, 7):
            end = self.wait_until_over(f"{array}_{task}")
            self.assertEqual(end["ExitCode"], "2:0", self.log(task))
            self.assertIn("has no run.name", self.log(task))


if __name__ == "__main__":
    unittest.main()
