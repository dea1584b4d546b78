"""A job that loses a node or a link is requeued and ends as if undisturbed."""

import time
import unittest

from tests.cluster import cluster_case

setUpModule = cluster_case.enter_box


class Failures(cluster_case.ClusterCase):
    def setUp(self):
        super().setUp()
        self.cluster.wait_for_nodes()

    def test_a_node_that_crashes_is_left_to_others(self):
        job = self.submit("crash", self.paced("crash", parallel={"deadline_s": 5}))
        self.wait_for_step("crash", 15)
        self.cluster.hosts.crash("n2")
        self.addCleanup(self.cluster.start_node, "n2")
        end = self.expect_done("crash", job)
        self.assertEqual(end["NodeList"], "n[1,3]", self.log("crash"))
        self.expect_undisturbed("crash")

    def test_a_crash_of_the_node_of_the_batch_script(self):
        job = self.submit("batch", self.paced("batch", parallel={"deadline_s": 5}))
        self.wait_for_step("batch", 15)
        self.cluster.hosts.crash("n1")
        # Slurm itself takes most of a minute to see it, as in the test above.
        self.cluster.set_down("n1")
        self.addCleanup(self.cluster.start_node, "n1")
        end = self.expect_done("batch", job)
        self.assertEqual(end["NodeList"], "n[2-3]", self.log("batch"))
        self.expect_undisturbed("batch")

    def test_a_link_that_is_cut_for_five_seconds_is_waited_for(self):
        # Slurm must not give the node up meanwhile; on a common cluster it waits for minutes.
        job = self.submit("pause", self.paced("pause", parallel={"deadline_s": 60}))
        self.wait_for_step("pause", 15)
        self.cluster.hosts.cut("n2")
        time.sleep(5)
        self.cluster.hosts.heal("n2")
        end = self.expect_done("pause", job)
        self.assertEqual(end["Restarts"], "0", self.log("pause"))
        self.expect_undisturbed("pause")

    def test_a_link_that_is_cut_for_good(self):
        job = self.submit("cut", self.paced("cut", parallel={"deadline_s": 5}))
        self.wait_for_step("cut", 15)
        self.cluster.hosts.cut("n2")
        self.addCleanup(self.cluster.hosts.heal, "n2")
        end = self.expect_done("cut", job)
        self.assertEqual(end["NodeList"], "n[1,3]", self.log("cut"))
        self.expect_undisturbed("cut")


if __name__ == "__main__":
    unittest.main()
