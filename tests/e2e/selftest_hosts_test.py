"""rondo selftest over three hosts made of network namespaces: a slow link is named."""

import json
import os
import sys
import tempfile

from tests.e2e import harness

sys.path.insert(0, str(harness.ROOT / "tools"))


class Hosts(harness.unittest.TestCase):
    def report(self, rate, rates, arguments=(), expect=(0,)):
        """What two ranks on each of three hosts find."""
        from rondo_tools import virtual_hosts
        from rondo_tools.errors import UserError

        try:
            with virtual_hosts.VirtualHosts(3, rate, rates) as hosts:
                slots = ",".join(f"{name}:2" for name in hosts.names)
                words = ["mpirun", "-q", "-n", 6, "-H", slots, harness.RONDO, "selftest"]
                words += ["--json", "-", "--seconds", 6, *arguments]
                environment = harness.ONE_THREAD | os.environ | hosts.environment()
                done = harness.subprocess.run(
                    hosts.command_on(hosts.names[0], words),
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=harness.TIMEOUT_S,
                    check=False,
                )
        except UserError as error:
            self.skipTest(str(error))
        self.assertIn(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def network(self, report):
        return [entry for entry in report["checks"] if entry["check"] == "network"]

    def test_the_slow_one_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            report = self.report("1gbit", {"n2": "50mbit"}, ("--folder", folder), expect=(3,))
            self.assertEqual(os.listdir(folder), [])
        failed = [entry for entry in self.network(report) if entry["status"] == "failed"]
        self.assertEqual(len(failed), 1, report["checks"])
        self.assertRegex(failed[0]["text"], "^n2 is slow: ")
        self.assertIn("--exclude=n2", failed[0]["text"])

        self.assertEqual([host["host"] for host in report["hosts"]], ["n1", "n2", "n3"])
        self.assertEqual([host["ranks"] for host in report["hosts"]], [[0, 1], [2, 3], [4, 5]])
        links = report["links"]
        self.assertEqual(len(links["within_hosts"]), 3)
        pairs = {tuple(link["hosts"]) for link in links["between_hosts"]}
        self.assertEqual(pairs, {("n1", "n2"), ("n1", "n3"), ("n2", "n3")})
        # They share the clock and the disk of this machine.
        for clock in links["clocks"]:
            self.assertLess(abs(clock["offset_s"]), clock["error_s"] + 0.1)
        for host in report["files"]["hosts"]:
            self.assertIsNotNone(host["file_seen_s"])
            self.assertTrue(host["lock_seen"])

    def test_a_folder_that_is_not_shared_is_said(self):
        # Each host has a /dev/shm of its own.
        report = self.report(None, None, ("--folder", "/dev/shm"), expect=(3,))
        failed = [entry for entry in report["checks"] if entry["status"] == "failed"]
        shared = [entry for entry in failed if entry["check"] == "shared folder"]
        self.assertEqual(len(shared), 1, report["checks"])
        self.assertRegex(
            shared[0]["text"], "^n2, n3 did not see within .* what n1 wrote in /dev/shm"
        )


if __name__ == "__main__":
    harness.unittest.main()
