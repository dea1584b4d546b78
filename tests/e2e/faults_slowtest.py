"""Kills at every point on every rank of three, and fifty random disturbances."""

import os
import random
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faults_test
import harness
from faults_test import FIRST_RANK_POINTS, ROUND_POINTS, SAVE_POINTS, STEP_POINTS


class KilledOnThreeRanks(faults_test.Killed):
    test_in_a_step = test_in_a_save = test_between_rounds = None

    def test_in_a_step_of_three(self):
        self.kill_everywhere(3, STEP_POINTS)

    def test_in_a_save_of_three(self):
        self.kill_everywhere(3, SAVE_POINTS)

    def test_between_rounds_of_three(self):
        self.kill_everywhere(3, ROUND_POINTS + FIRST_RANK_POINTS)


class Chaos(faults_test.FaultTest):
    """Kills, stops and corruptions at random moments of one run."""

    DISTURBANCES = 50
    ROUNDS = 30

    def newest(self, name):
        """Folders of the published checkpoints, the newest first."""
        folder = self.run_folder(name) / "checkpoints"
        steps = {}
        for path in folder.glob("[!.]*/MANIFEST.json"):
            # It may be one that was made bad before.
            step = re.search(rb'"step": (\d+)', path.read_bytes())
            steps[path.parent] = int(step[1]) if step else 0
        return sorted(steps, key=steps.get, reverse=True)

    def corrupt(self, name, choose):
        """One bit of a file of the newest checkpoint, where an older one is left."""
        found = self.newest(name)
        if len(found) < 2:
            return
        path = choose.choice(sorted(found[0].iterdir()))
        data = bytearray(path.read_bytes())
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        path.write_bytes(data)

    def test_fifty_disturbances_leave_no_trace(self):
        choose = random.Random(int(os.environ.get("RONDO_CHAOS_SEED", "20261126")))
        ranks = 2
        self.straight(ranks, rounds=self.ROUNDS)
        config = self.short_rounds("chaos", rounds=self.ROUNDS, checkpoint={"keep": 4})
        points = STEP_POINTS + SAVE_POINTS + ROUND_POINTS + FIRST_RANK_POINTS
        for number in range(self.DISTURBANCES):
            what = choose.choice(("kill", "point", "signal", "stop file", "corrupt"))
            fault = ""
            if what == "point":
                fault = f"{choose.choice(points)}:{choose.randrange(ranks)}:*:kill"
            # mpirun dies of a signal that comes before it is ready; launch/run keeps it until then.
            job = harness.Job(
                "train", config, ranks=ranks, launcher=what == "signal",
                environment={"RONDO_FAULT": fault},
            )  # fmt: skip
            self.addCleanup(job.process.stdout.close)
            moment = choose.uniform(0.5, 3)
            with self.subTest(number=number, what=what, fault=fault, moment=moment):
                if what in ("kill", "corrupt"):
                    job.read_for(moment)
                    job.kill()
                elif what == "signal":
                    job.read_for(moment)
                    job.signal(choose.choice((signal.SIGUSR1, signal.SIGUSR2)))
                elif what == "stop file":
                    job.read_for(moment)
                    (self.run_folder("chaos")).mkdir(parents=True, exist_ok=True)
                    (self.run_folder("chaos") / "STOP").touch()
                code = job.finish() if what in ("point", "signal", "stop file") else 137
                self.assertIn(code, (0, 75, 137), job.output)
                if what == "corrupt":
                    self.corrupt("chaos", choose)
        (self.run_folder("chaos") / "STOP").unlink(missing_ok=True)
        done = self.start(config, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.expect_same_runs("chaos", "straight")
        self.expect_no_temporaries("chaos")


if __name__ == "__main__":
    harness.unittest.main()
