"""A run that is killed or stopped at any moment and started again ends as if it never had been: the
same weights, losses and gradient norms to the last bit, each step and each round once."""

import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

GSM8K = harness.ROOT.parent / "shared" / "data" / "gsm8k"


class ResumeTest(harness.RunTest):
    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp(prefix="rondo-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        cls.texts = harness.make_texts(cls.shared)
        cls.tokenized = {}
        for family in ("arithmetic", "sorting"):
            for part in ("train", "heldout"):
                out = cls.shared / f"{family}.{part}.h5"
                source = cls.texts / f"{family}.{part}.jsonl"
                tokenizer = cls.texts / "tokenizer"
                harness.tool("tokenize", "--input", source, "--tokenizer", tokenizer, "--out", out)
                cls.tokenized[family, part] = str(out)

    def two_rounds(self, name, files, optimizer_state="reset"):
        """Two rounds of 14 steps and more, a checkpoint after each third."""
        return self.recipe(
            name,
            tokenizer=str(self.texts / "tokenizer"),
            checkpoint={"every": 3},
            evaluate={"every": 4},
            sources={
                family: {part: files(family, part) for part in ("train", "heldout")}
                for family in ("arithmetic", "sorting")
            },
            rounds=[
                {"name": "first", "data": {"arithmetic": 0.5}, "steps": 14},
                {
                    "name": "second",
                    "optimizer_state": optimizer_state,
                    "data": {"sorting": 0.4, "arithmetic": 0.2},
                    "epochs": 0.8,
                },
            ],
        )

    def from_tokenized(self, name, optimizer_state="reset"):
        return self.two_rounds(name, lambda *key: self.tokenized[key], optimizer_state)

    def from_texts(self, name):
        return self.two_rounds(
            name, lambda family, part: str(self.texts / f"{family}.{part}.jsonl")
        )

    def kill_until_done(self, config, moments, seed, **how):
        """Starts the run again and again, killing it at `moments`, the last time until it is done.

        A moment is a word and a number: kill after so many lines with the word, or with the word
        "seconds" after so long, which reaches start-up, packing and saving too.
        """
        ended_early = 0
        for word, count in moments:
            job = harness.Job("train", config, **how)
            self.addCleanup(job.process.stdout.close)
            if word == "seconds":
                job.read_for(count)
            else:
                job.read_until(word, count)
            code = job.kill()
            self.assertIn(code, (0, -signal.SIGKILL), job.output)
            ended_early += code == 0
        self.assertLess(ended_early, len(moments), f"no kill hit the run (seed {seed})")
        done = harness.rondo("train", config, **how)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def expect_kills_leave_no_trace(self, make, seed, **how):
        choose = random.Random(seed)
        moments = [("loss", choose.randint(1, 12)) for _ in range(2)]
        moments += [("saved", choose.randint(1, 3)), ("held-out loss", 1)]
        moments += [("seconds", choose.uniform(0.2, 2.5))]
        choose.shuffle(moments)
        straight = harness.rondo("train", make("straight"), **how)
        self.assertEqual(straight.returncode, 0, straight.stdout + straight.stderr)
        with self.subTest(moments=moments):
            self.kill_until_done(make("killed"), moments, seed, **how)
            self.expect_same_runs("killed", "straight")


class Killed(ResumeTest):
    def test_on_one_rank(self):
        self.expect_kills_leave_no_trace(self.from_tokenized, seed=11, ranks=1)

    def test_on_two_ranks(self):
        self.expect_kills_leave_no_trace(self.from_tokenized, seed=12, ranks=2)

    def test_on_two_ranks_with_carried_optimizer_state(self):
        def carried(name):
            return self.from_tokenized(name, optimizer_state="carry")

        self.expect_kills_leave_no_trace(carried, seed=13, ranks=2)

    def test_started_from_texts_by_launch_run(self):
        self.expect_kills_leave_no_trace(self.from_texts, seed=14, ranks=2, launcher=True)

    if (GSM8K / "train.jsonl").exists():

        def test_on_gsm8k(self):
            # Questions of the real data set are long for the tiny tokenizer: a part of the rows.
            for part in ("train", "test"):
                rows = (GSM8K / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
                text = "\n".join(rows[:400]) + "\n"
                (self.folder / f"{part}.jsonl").write_text(text, encoding="utf-8")
            tokenizer = self.folder / "tokenizer"
            source = self.folder / "train.jsonl"
            harness.tool("train_tokenizer", "--input", source, "--out", tokenizer, "--vocab", 1024)

            def gsm8k(name):
                return self.recipe(
                    name,
                    model={"shape": {"vocab": 1024, "max_seq": 512}},
                    tokenizer=str(tokenizer),
                    batch={"seq_len": 512},
                    checkpoint={"every": 3},
                    evaluate={"max_examples": 50},
                    sources={
                        "gsm8k": {
                            "train": str(source),
                            "heldout": str(self.folder / "test.jsonl"),
                            "columns": {"prompt": "question", "completion": "answer"},
                        }
                    },
                    rounds=[
                        {"name": "first", "data": {"gsm8k": 1.0}, "steps": 12},
                        {"name": "second", "data": {"gsm8k": 1.0}, "steps": 6},
                    ],
                )

            self.expect_kills_leave_no_trace(gsm8k, seed=15, ranks=2, launcher=True)
            base, last = (self.ledger("straight")[i]["heldout"][0]["loss"] for i in (0, -1))
            self.assertLess(last, base)


class Stopped(ResumeTest):
    def test_by_several_signals_at_once(self):
        config = self.from_tokenized("stopped")
        for number, signals in enumerate(
            ((signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1)), start=1
        ):
            job = harness.Job("train", config)
            self.addCleanup(job.process.stdout.close)
            self.assertTrue(job.read_until(f" {3 * number}/14 "), job.output)
            for one in signals:
                job.signal(one)
            self.assertEqual(job.finish(), 75, job.output)
            done_steps = len(harness.steps(self.run_folder("stopped")))
            saved = self.run_folder("stopped") / "checkpoints" / f"step-{done_steps:08}"
            self.assertTrue((saved / "MANIFEST.json").exists(), job.output)

    def stop_and_go_on(self, ranks, launcher):
        config = self.from_tokenized("stopped")
        job = harness.Job("train", config, ranks=ranks, launcher=launcher)
        self.addCleanup(job.process.stdout.close)
        self.assertTrue(job.read_until("first 5/14 "), job.output)
        job.signal(signal.SIGUSR1)
        self.assertEqual(job.finish(), 75, job.output)
        self.assertIn("stopped on request after step", job.output)
        done_steps = len(harness.steps(self.run_folder("stopped")))
        self.assertGreaterEqual(done_steps, 5)
        done = self.train(config, ranks=ranks, launcher=launcher)
        self.assertIn(f"(step {done_steps},", done.stdout)

    def test_by_a_signal_and_by_a_number_of_steps(self):
        for ranks, launcher in ((1, False), (2, True)):
            with self.subTest(ranks=ranks):
                self.train(self.from_tokenized("straight"), ranks=ranks, launcher=launcher)
                self.stop_and_go_on(ranks, launcher)
                self.expect_same_runs("stopped", "straight")
                config = self.from_tokenized("limited")
                # In the first round, at its end, and in the second.
                for limit in (5, 14, 17):
                    limited = self.train(
                        config, f"run.max_steps={limit}", ranks=ranks, launcher=launcher
                    )
                    self.assertIn(f"run.max_steps = {limit} is reached", limited.stdout)
                    self.assertEqual(len(harness.steps(self.run_folder("limited"))), limit)
                self.train(config, ranks=ranks, launcher=launcher)
                self.expect_same_runs("limited", "straight")
                shutil.rmtree(self.folder / "runs")


if __name__ == "__main__":
    import unittest

    unittest.main()
