"""What slurm/train.sbatch makes of each exit code, and what it tells rondo: with a stand-in."""

import time
import unittest

from tests.cluster import cluster_case

setUpModule = cluster_case.enter_box
STAND_IN = """#!/bin/sh
[ "$3" = --check ] && exit 0
echo "the job ends at $SLURM_JOB_END_TIME"
exit CODE
"""


class Codes(cluster_case.ClusterCase):
    def submit_ending(self, name, code, **environment):
        """A job whose rondo ends with that code."""
        binary = self.folder / f"rondo-{name}"
        binary.write_text(STAND_IN.replace("CODE", str(code)))
        binary.chmod(0o755)
        environment = {"RONDO_BINARY": str(binary), **environment}
        return self.submit(name, self.paced(name), "-N", 1, "-n", 1, environment=environment)

    def test_what_starting_again_would_not_help_is_not_requeued(self):
        jobs = {code: self.submit_ending(f"end-{code}", code) for code in (2, 70, 93)}
        for code, job in jobs.items():
            end = self.wait_until_over(job)
            self.assertEqual(end["ExitCode"], f"{code}:0", self.log(f"end-{code}"))
            self.assertEqual((end["JobState"], end["Restarts"]), ("FAILED", "0"))
        self.assertEqual(list(self.folder.glob(".rondo-failures-*")), [])

    def test_failures_are_counted_and_end_at_their_limit(self):
        job = self.submit_ending("failing", 3, RONDO_MOST_FAILURES="1")
        end = self.wait_until_over(job)
        self.assertEqual((end["ExitCode"], end["Restarts"]), ("3:0", "1"), self.log("failing"))
        self.assertEqual(self.codes("failing"), [3, 3])
        self.assertIn("not requeued: 1 starts have failed before", self.log("failing"))

    def test_rondo_is_told_when_the_job_ends(self):
        job = self.submit_ending("clock", 0)
        end = self.expect_done("clock", job)
        begin = time.mktime(time.strptime(end["StartTime"], "%Y-%m-%dT%H:%M:%S"))
        told = int(self.log("clock").split("the job ends at ")[1].split()[0])
        self.assertAlmostEqual(told, begin + 600, delta=2)


if __name__ == "__main__":
    unittest.main()
