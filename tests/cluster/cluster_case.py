"""What the tests on a private Slurm share: the cluster, a run that its link paces, its jobs.

A test process starts itself again in a private box (setUpModule = enter_box), so that nothing of it
reaches the machine or stays there. The nodes' links are so slow that a step of two nodes takes a
tenth of a second of little computation; on one host the same run, to the last bit, is quick.
"""

import sys
import time

from tests.e2e import harness

sys.path.insert(0, str(harness.ROOT / "tools"))
from rondo_tools import private_box
from rondo_tools.virtual_cluster import VirtualCluster

RATE = "100mbit"
# A job that was requeued, until its ranks train again: Slurm's wait, checks, MPI, a loaded machine.
RESTART_S = 30
# Of a job that only has to do some seconds of training.
END_S = 120
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL")
enter_box = private_box.enter


def is_over(job):
    return job["JobState"] in OVER


def wait_until(condition, seconds, what):
    """`what`, called when it has not come, tells about it."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what()}")
        time.sleep(0.1)


class PacedRun(harness.RunTest):
    """A recipe whose steps are paced by the link between two nodes. The runs of all tests of a
    class lie in one folder, so that the run that nothing disturbs is made once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = harness.tempfile.mkdtemp(prefix="rondo-cluster-")
        cls.addClassCleanup(harness.shutil.rmtree, folder)
        cls.class_folder = harness.Path(folder)
        cls.train_file = harness.write_tokenized(
            cls.class_folder / "train.h5", harness.counting(1, 300)
        )
        heldout = harness.counting(2, 10)
        cls.heldout_file = harness.write_tokenized(cls.class_folder / "heldout.h5", heldout)

    def setUp(self):
        self.folder = self.class_folder

    def paced(self, name, steps=(60, 20), **changes):
        """The configuration of a run of two rounds, a checkpoint after each tenth step."""
        source = {"train": str(self.train_file), "heldout": str(self.heldout_file)}
        rounds = [
            {"name": word, "data": {"a": 1}, "steps": count}
            for word, count in zip(("first", "second"), steps, strict=True)
        ]
        recipe = {
            "model": {"shape": {"hidden": 128, "ffn": 256}},
            "checkpoint": {"every": 10},
            "sources": {"a": source},
            "rounds": rounds,
        }
        return self.recipe(name, **harness.merged(recipe, changes))

    def expect_undisturbed(self, name, steps=(60, 20), ranks=2, **changes):
        """The run has ended as one on this machine that nothing disturbs."""
        straight = "straight-{}-{}-{}".format(ranks, *steps)
        if not self.run_folder(straight).exists():
            config = self.paced(straight, steps, **changes)
            self.train(config, ranks=ranks, launcher=True)
        self.expect_same_runs(name, straight)

    def steps_done(self, name):
        file = self.run_folder(name) / "metrics.jsonl"
        return file.read_text().count("\n") if file.exists() else 0

    def wait_for_step(self, name, step, seconds=RESTART_S):
        wait_until(
            lambda: self.steps_done(name) >= step,
            seconds,
            lambda: f"step {step} of {name}\n{self.log(name)}",
        )

    def saved_steps(self, name):
        folders = (self.run_folder(name) / "checkpoints").glob("step-*/MANIFEST.json")
        return sorted(int(path.parent.name.split("-")[1]) for path in folders)


class ClusterCase(PacedRun):
    """Tests that share one cluster; each waits for its jobs and leaves all nodes up."""

    cluster_options = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = cls.enterClassContext(VirtualCluster(rate=RATE, **cls.cluster_options))
        cls.environment = harness.ONE_THREAD | {
            "RONDO_BINARY": harness.RONDO,
            "RONDO_ROOT": str(harness.ROOT),
        }

    def submit(self, name, config, *options, overrides=(), environment=None):
        """Gives slurm/train.sbatch to the queue: by default one rank on each of two nodes."""
        script = harness.ROOT / "slurm" / "train.sbatch"
        options = ("-J", name, "-o", self.log_file(name), "-N", 2, "-n", 2, "-t", 10, *options)
        return self.cluster.submit(
            *options, script, config, *overrides,
            environment=self.environment | (environment or {}), folder=self.folder,
        )  # fmt: skip

    def log_file(self, name):
        return self.folder / f"{name}.log"

    def log(self, name):
        file = self.log_file(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def codes(self, name):
        """What rondo ended with, start by start, as far as the batch script lived to say it."""
        return [int(line.split()[-1]) for line in self.log(name).splitlines()
                if "rondo ended with exit code" in line]  # fmt: skip

    def starts(self, name):
        return self.log(name).count(", restart ")

    def wait_until_over(self, job, seconds=END_S):
        return self.cluster.wait_for_job(job, is_over, seconds)

    def expect_done(self, name, job, seconds=END_S):
        """The job comes to its end by itself; what Slurm tells of it."""
        end = self.wait_until_over(job, seconds)
        self.assertEqual(end["JobState"], "COMPLETED", self.log(name))
        self.assertEqual(list(self.folder.glob(".rondo-failures-*")), [])
        return end
