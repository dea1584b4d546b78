"""tools/bench_network: a step of two hosts beside its parts, and the hosts themselves."""

import json
import os
import subprocess
import unittest

from tests.tools.support import ROOT, run_script

BINARY = os.environ.get("RONDO_BINARY", ROOT / "build" / "release" / "rondo")


def modules():
    from rondo_tools import bench_network_command, virtual_hosts

    return bench_network_command, virtual_hosts


class Parts(unittest.TestCase):
    def test_seconds_between_timed_sizes_lie_on_a_line_through_the_logarithms(self):
        command, _ = modules()
        results = [
            {"operation": "all_gather", "bytes": size, "seconds": seconds}
            for size, seconds in ((1024, 1e-3), (4096, 4e-3), (16384, 4e-3))
        ]
        for size, expected in ((1024, 1e-3), (2048, 2e-3), (8192, 4e-3), (512, 0.5e-3)):
            found = command._seconds_of_call(results, "all_gather", size)
            self.assertAlmostEqual(found, expected, places=9)

    def test_a_missing_binary_is_to_be_built(self):
        done = run_script("bench_network", "--binary", "/nowhere/rondo")
        self.assertEqual(done.returncode, 2)
        self.assertIn("run launch/build", done.stderr)


class Hosts(unittest.TestCase):
    def setUp(self):
        _, virtual_hosts = modules()
        reason = virtual_hosts.missing_for_virtual_hosts()
        if reason:
            self.skipTest(reason)
        try:
            with virtual_hosts.VirtualHosts(1):
                pass
        except Exception as error:
            self.skipTest(str(error))

    def test_each_has_its_name_and_reaches_the_others_alone(self):
        _, virtual_hosts = modules()
        with virtual_hosts.VirtualHosts(2, "1gbit") as hosts:
            script = "hostname; ping -c 1 -W 5 n2 >/dev/null 2>&1 || getent hosts n2"
            done = subprocess.run(
                hosts.command_on("n1", ["sh", "-c", script]),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            self.assertEqual(done.stdout.split()[0], "n1")
            names = subprocess.run(["ip", "netns"], stdout=subprocess.PIPE, text=True, check=True)
            self.assertIn("-n2", names.stdout)
        names = subprocess.run(["ip", "netns"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertNotIn(f"rondo{os.getpid()}-", names.stdout)

    def test_a_step_and_its_parts(self):
        done = run_script(
            "bench_network",
            *("--steps", 1, "--layers", 1, "--packs", 2, "--micro-packs", 1, "--binary", BINARY),
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        longest = max(found["computation_seconds"], found["communication_seconds"])
        self.assertAlmostEqual(found["over_longest"], found["step_seconds"] / longest)
        self.assertEqual(found["step"]["ranks"], 2)
        # 45 MB of weights and gradients through 1 Gbit/s cannot take less.
        self.assertGreater(found["communication_seconds"], 0.1)


if __name__ == "__main__":
    unittest.main()
