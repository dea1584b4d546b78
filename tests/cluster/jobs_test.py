"""A job beside an earlier start of itself, beside another job, on an unfit node, and without its
controller: it ends as if undisturbed, or says why it cannot."""

import unittest

from tests.cluster import cluster_case

setUpModule = cluster_case.enter_box


class Jobs(cluster_case.ClusterCase):
    def setUp(self):
        super().setUp()
        self.cluster.wait_for_nodes()

    def test_a_start_that_slurm_gave_up_and_that_lives_on_changes_nothing(self):
        # One rank, so that nothing keeps it from going on alone; its node is cut from the
        # controller, not from the files.
        steps = (1500, 20)
        config = self.paced("orphan", steps)
        job = self.submit("orphan", config, "-N", 1, "-n", 1)
        self.wait_for_step("orphan", 15)
        node = self.cluster.job(job)["NodeList"]
        self.cluster.hosts.cut(node)
        self.addCleanup(self.cluster.hosts.heal, node)
        self.cluster.set_down(node)
        self.cluster.wait_for_job(job, lambda now: now["JobState"] == "RUNNING"
                                  and now["NodeList"] != node, cluster_case.RESTART_S)  # fmt: skip
        cluster_case.wait_until(
            lambda: self.log("orphan").count("resumed from") == 1,
            cluster_case.RESTART_S,
            lambda: self.log("orphan"),
        )
        self.expect_done("orphan", job)
        self.cluster.hosts.heal(node)
        self.expect_undisturbed("orphan", steps, ranks=1)

    def test_the_controller_is_restarted(self):
        job = self.submit("controller", self.paced("controller"))
        self.wait_for_step("controller", 15)
        self.cluster.stop_controller()
        before = self.steps_done("controller")
        self.wait_for_step("controller", before + 5)
        self.cluster.start_controller()
        end = self.expect_done("controller", job)
        self.assertEqual(end["Restarts"], "0", self.log("controller"))
        self.expect_undisturbed("controller")

    def test_of_two_jobs_on_one_run_folder_the_second_is_refused(self):
        config = self.paced("shared")
        first = self.submit("shared", config)
        self.wait_for_step("shared", 1)
        second = self.submit("second", config, "-N", 1, "-n", 1)
        end = self.wait_until_over(second)
        self.assertEqual((end["JobState"], end["ExitCode"]), ("FAILED", "2:0"), self.log("second"))
        self.assertEqual(end["Restarts"], "0")
        self.assertIn(f"(job {first})", self.log("second"))
        self.expect_done("shared", first)
        self.expect_undisturbed("shared")

    def test_a_node_that_fails_the_check_is_excluded(self):
        check = self.folder / "check"
        check.write_text('#!/bin/sh\necho "no licence on $(hostname)"; [ "$(hostname)" != n1 ]\n')
        check.chmod(0o755)
        job = self.submit("check", self.paced("check"), environment={"RONDO_NODE_CHECK": check})
        end = self.expect_done("check", job)
        self.assertIn("node n1 is not healthy", self.log("check"))
        self.assertIn("no licence on n1", self.log("check"))
        self.assertEqual((end["NodeList"], end["ExcNodeList"]), ("n[2-3]", "n1"))
        self.expect_undisturbed("check")


if __name__ == "__main__":
    unittest.main()
