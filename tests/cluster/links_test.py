"""Ranks on two hosts under mpirun, without a batch system: what a broken link does to them."""

import contextlib
import os
import subprocess
import sys
import time
import unittest

from tests.cluster import cluster_case
from tests.e2e import harness

sys.path.insert(0, str(harness.ROOT / "tools"))
from rondo_tools.virtual_hosts import VirtualHosts

setUpModule = cluster_case.enter_box
DEADLINE_S = 4
SLACK_S = 5
FIRST_PORT, LAST_PORT = 30000, 30099


class Links(cluster_case.PacedRun):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hosts = cls.enterClassContext(VirtualHosts(2, cluster_case.RATE))

    def start(self, name, deadline_s=DEADLINE_S):
        """launch/run on n1 with a rank on each host, in the middle of its first round."""
        config = self.paced(name, parallel={"deadline_s": deadline_s})
        command = [harness.ROOT / "launch" / "run", "--mpirun", "-n", 2, "-H", "n1:1,n2:1"]
        ports = {
            "OMPI_MCA_btl_tcp_port_min_v4": str(FIRST_PORT),
            "OMPI_MCA_btl_tcp_port_range_v4": str(LAST_PORT - FIRST_PORT + 1),
        }
        binary = {"RONDO_BINARY": harness.RONDO}
        self.output = self.folder / f"{name}.log"
        with self.output.open("w") as output:
            process = subprocess.Popen(
                self.hosts.command_on("n1", [*command, "train", config]),
                env=harness.ONE_THREAD | os.environ | self.hosts.environment() | ports | binary,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_step(name, 15)
        return process

    def log(self, name):
        return self.output.read_text(errors="replace")

    def expect_end(self, name, process, begin):
        """It ends, soon after the deadline, on both hosts and with the code of a failed system."""
        code = process.wait(harness.TIMEOUT_S)
        seconds = time.monotonic() - begin
        self.assertEqual(code, 3, self.log(name))
        print(f"after {seconds:.1f} s, deadline {DEADLINE_S} s", end=" ... ", file=sys.stderr)
        self.assertLess(seconds, DEADLINE_S + SLACK_S, self.log(name))
        self.assertRegex(self.log(name), "rank [01] has not come")

    def expect_nothing_left(self, programs):
        """Of these programs, by the names of their processes, none runs on any host."""

        def left():
            found = []
            for process in (p for host in self.hosts.names for p in self.hosts.processes_on(host)):
                with contextlib.suppress(OSError):
                    found.append(harness.Path(f"/proc/{process}/comm").read_text().strip())
            return programs.intersection(found)

        cluster_case.wait_until(lambda: not left(), cluster_case.RESTART_S, left)

    def test_a_cut_of_five_seconds_is_waited_for(self):
        process = self.start("pause", deadline_s=60)
        self.hosts.cut("n2")
        time.sleep(5)
        self.hosts.heal("n2")
        self.assertEqual(process.wait(harness.TIMEOUT_S), 0, self.log("pause"))
        self.expect_undisturbed("pause")

    def test_a_cut_for_good_ends_the_run_at_the_deadline(self):
        process = self.start("cut")
        begin = time.monotonic()
        self.hosts.cut("n2")
        self.addCleanup(self.hosts.heal, "n2")
        self.expect_end("cut", process, begin)
        self.expect_nothing_left({"rondo", "mpirun"})
        # The daemon of Open MPI on the other host learns of the end only now.
        self.hosts.heal("n2")
        self.expect_nothing_left({"orted"})

    def test_lost_data_ports_end_the_run_at_the_deadline(self):
        process = self.start("ports")
        begin = time.monotonic()
        self.hosts.cut_ports("n2", FIRST_PORT, LAST_PORT)
        self.addCleanup(self.hosts.heal_ports, "n2")
        self.expect_end("ports", process, begin)
        self.expect_nothing_left({"rondo", "mpirun", "orted"})


if __name__ == "__main__":
    unittest.main()
