"""Wrong input ends every rank within seconds with one message and exit code 2, and nothing is
written: no run folder appears, and one that is there stays as it was."""

import json
import shutil
import sys
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import harness

SECONDS = 20  # for a refusal, MPI's start and end included, on a busy machine
LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 12345\n"
)


class ErrorTest(harness.RunTest):
    def setUp(self):
        super().setUp()
        self.train_file = harness.write_tokenized(self.folder / "a.h5", harness.counting(1))
        self.heldout_file = harness.write_tokenized(self.folder / "h.h5", harness.counting(2, 9))

    def good(self, **changes):
        """Changes to RECIPE that make a recipe which trains."""
        base = {
            "sources": {"a": {"train": str(self.train_file), "heldout": str(self.heldout_file)}},
            "rounds": [{"name": "one", "data": {"a": 1.0}, "steps": 2}],
            "checkpoint": {"every": 2},
            "export": {"rounds": False},
        }
        return harness.merged(base, changes)

    def refuse(self, config, *texts, overrides=(), ranks=2, launcher=False):
        """The texts come once each, on standard error, and no file has changed."""
        before = harness.tree(self.folder)
        start = time.monotonic()
        done = harness.rondo("train", config, *overrides, ranks=ranks, launcher=launcher)
        seconds = time.monotonic() - start
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        for text in texts:
            self.assertEqual(done.stderr.count(str(text)), 1, f"{text!r} in:\n{done.stderr}")
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        self.assertLess(seconds, SECONDS)
        self.assertEqual(harness.tree(self.folder), before)
        return done

    def refuse_changed(self, changes, *texts, **how):
        self.refuse(self.recipe(**self.good(**changes)), *texts, **how)
        self.assertFalse(self.run_folder().exists())


class Tokenizers(ErrorTest):
    def test_heldout_examples_of_another_tokenizer(self):
        with h5py.File(self.heldout_file, "r+") as file:
            file.attrs["tokenizer_hash"] = "1" * 32
        self.refuse_changed({}, "was made with another tokenizer")


class Configuration(ErrorTest):
    def test_unknown_keys_lead_to_the_right_ones(self):
        self.refuse_changed({"optimizer": {"weigth_decay": 0.1}}, "Did you mean 'weight_decay'?")
        foreign = {
            "gradient_accumulation_steps": "micro_packs",
            "max_seq_length": "seq_len",
            "per_device_train_batch_size": "micro_packs",
        }
        for name, ours in foreign.items():
            with self.subTest(name):
                done = self.refuse(self.recipe(**self.good(**{name: 2})), name)
                self.assertIn(f"batch.{ours}", done.stderr)

    def test_all_problems_are_listed_at_once_with_their_lines(self):
        config = self.folder / "bad.yaml"
        run = {"name": "run", "dir": str(self.folder / "runs")}
        whole = self.good(model=harness.RECIPE["model"], run=run, batch={"packs": "four"})
        text = json.dumps(whole | {"optimiser": 1}, indent=1)
        config.write_text(text)
        lines = text.splitlines()
        wrong_type = next(i for i, line in enumerate(lines, 1) if '"four"' in line)
        unknown = next(i for i, line in enumerate(lines, 1) if '"optimiser"' in line)
        self.refuse(config, f"bad.yaml:{wrong_type}: batch.packs", f"bad.yaml:{unknown}: unknown")

    def test_a_key_given_twice(self):
        config = self.recipe(**self.good())
        config.write_text(config.read_text().replace('"packs": 4', '"packs": 4, "packs": 8'))
        self.refuse(config, "packs")

    def test_a_path_that_is_missing_or_a_folder(self):
        self.refuse(self.folder / "absent.yaml", self.folder / "absent.yaml")
        self.refuse(self.folder, f"error: {self.folder}")

    def test_a_batch_that_does_not_divide(self):
        done = self.refuse(
            self.recipe(**self.good(batch={"packs": 6})), "batch.packs = 6 does not divide"
        )
        self.assertIn("2 ranks", done.stderr)

    def test_a_sequence_longer_than_the_models_positions(self):
        self.refuse_changed({"batch": {"seq_len": 256}}, "256")

    def test_resume_must_without_a_checkpoint(self):
        self.refuse_changed({"checkpoint": {"resume": "must"}}, "checkpoint.resume is must")


class Data(ErrorTest):
    def test_a_missing_file(self):
        absent = self.folder / "absent.h5"
        self.refuse_changed({"sources": {"a": {"train": str(absent)}}}, absent)
        for launcher in (False, True):
            texts = {"sources": {"a": {"train": str(self.folder / "absent.jsonl")}}}
            self.refuse_changed(texts, "absent.jsonl", launcher=launcher)

    def test_a_token_that_the_model_has_no_row_for(self):
        examples = harness.counting(1)
        examples[7][3] = harness.VOCAB
        harness.write_tokenized(self.train_file, examples)
        self.refuse_changed({}, self.train_file, harness.VOCAB)
        harness.write_tokenized(self.train_file, harness.counting(1), vocab=harness.VOCAB + 1)
        self.refuse_changed({}, self.train_file)

    def test_a_truncated_file(self):
        whole = self.train_file.read_bytes()
        for share in (0.1, 0.6, 0.95):
            with self.subTest(share):
                self.train_file.write_bytes(whole[: int(share * len(whole))])
                self.refuse_changed({}, self.train_file)

    def test_a_wrong_dtype(self):
        with h5py.File(self.train_file, "a") as file:
            tokens = file["tokens"][:]
            del file["tokens"]
            file["tokens"] = tokens.astype(np.int64)
        self.refuse_changed({}, self.train_file, "wrong dtype")

    def test_a_git_lfs_pointer(self):
        self.heldout_file.write_text(LFS_POINTER)
        self.refuse_changed({}, self.heldout_file, "Git LFS pointer")

    def test_a_git_lfs_pointer_in_place_of_texts(self):
        texts = harness.make_texts(self.folder, train=20, heldout=5)
        source = texts / "sorting.train.jsonl"
        source.write_text(LFS_POINTER)
        changes = {"tokenizer": str(texts / "tokenizer"), "sources": {"a": {"train": str(source)}}}
        self.refuse_changed(changes, source, "Git LFS pointer", launcher=True)

    def test_a_git_lfs_pointer_in_place_of_weights(self):
        model = self.folder / "model"
        self.train(self.recipe("maker", **self.good(run={"max_steps": 1})))
        newest = self.run_folder("maker") / "checkpoints" / "step-00000001"
        done = harness.rondo("export", "--from", newest, "--out", model)
        self.assertEqual(done.returncode, 0, done.stderr)
        (model / "model.safetensors").write_text(LFS_POINTER)
        shutil.rmtree(self.folder / "runs")
        changes = {"model": {"shape": None, "from": str(model)}}
        self.refuse_changed(changes, model / "model.safetensors", "Git LFS pointer")

    def test_heldout_examples_without_a_trainable_token(self):
        harness.write_tokenized(self.heldout_file, harness.counting(2, 9), prompt=100)
        self.refuse_changed({}, "no trainable token")

    def test_texts_without_a_tokenizer(self):
        texts = self.folder / "texts.jsonl"
        texts.write_text('{"prompt": "a", "completion": "b"}\n')
        sources = {"a": {"train": str(texts)}}
        self.refuse_changed({"sources": sources}, "no tokenizer is named", launcher=True)
        absent = self.folder / "no-tokenizer"
        changes = {"sources": sources, "tokenizer": str(absent)}
        self.refuse_changed(changes, absent, launcher=True)

    def test_an_export_without_a_tokenizer_folder_is_refused_at_the_start(self):
        absent = self.folder / "no-tokenizer"
        self.refuse_changed({"export": {"rounds": True}, "tokenizer": str(absent)}, absent)


class Models(ErrorTest):
    def later_round_from(self, checkpoint):
        one = {"name": "one", "data": {"a": 1.0}, "steps": 2}
        later = dict(one, name="later", init={"checkpoint": str(checkpoint)})
        return {"rounds": [one, later]}

    def test_a_model_is_looked_at_before_texts_are_tokenised(self):
        nowhere = self.folder / "nowhere"
        model = {"shape": None, "from": str(nowhere)}
        text = self.folder / "a.jsonl"
        text.write_text('{"prompt": "a", "completion": "b"}\n')
        sources = {"a": {"train": str(text), "heldout": None}}
        self.refuse_changed({"model": model, "sources": sources}, nowhere, launcher=True)

    def test_a_missing_checkpoint_of_a_later_round(self):
        nowhere = self.folder / "nowhere"
        self.refuse_changed(self.later_round_from(nowhere), nowhere)

    def test_a_later_round_from_another_model(self):
        other = {"name": "other", "dir": str(self.folder / "elsewhere")}
        wide = {"shape": {"rope_theta": 500000}}
        self.train(self.recipe("other", **self.good(run=other, model=wide)))
        found = self.folder / "elsewhere" / "other" / "checkpoints" / "round-00-one"
        self.refuse_changed(self.later_round_from(found), "rope_theta 500000")


class RunFolder(ErrorTest):
    def test_one_that_cannot_be_written(self):
        (self.folder / "plain-file").write_text("in the way")
        run = {"dir": str(self.folder / "plain-file" / "runs")}
        self.refuse_changed({"run": run}, self.folder / "plain-file")

    def test_one_in_use_by_a_running_job(self):
        config = self.recipe(**self.good(rounds=[{"name": "one", "data": {"a": 1.0}}]))
        job = harness.Job("train", config, "rounds.0.steps=1000000", "checkpoint.every=never")
        self.addCleanup(job.process.stdout.close)
        self.assertTrue(job.read_until("loss", 3), job.output)
        done = harness.rondo("train", config, ranks=2)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(done.stderr.count(f"process {job.process.pid}"), 1, done.stderr)
        self.assertTrue(job.read_until("loss", 3), "the running job goes on")
        job.kill()

    def test_a_resumed_run_whose_recipe_or_data_changed(self):
        begun = self.good(rounds=[{"name": "one", "data": {"a": 1.0}, "steps": 6}])
        self.train(self.recipe(**begun), "run.max_steps=2", ranks=2)

        def changed(*texts, **changes):
            with self.subTest(changes=changes):
                self.refuse(self.recipe(**harness.merged(begun, changes)), *texts)

        changed("packs: 4' then, '    packs: 8' now", batch={"packs": 8})
        changed("lr: 0.003' then", "lr: 0.004' now", optimizer={"lr": 4e-3})
        changed("seed: 3' then, 'seed: 4' now", run={"seed": 4})
        changed("checkpoint.resume is never", checkpoint={"resume": "never"})
        harness.write_tokenized(self.train_file, harness.counting(5))
        changed("was begun on other data")
        harness.write_tokenized(self.train_file, harness.counting(1))
        self.train(self.recipe(**begun), ranks=2)
        self.assertEqual([line["step"] for line in self.metrics()], [1, 2, 3, 4, 5, 6])

    def test_changed_data_of_a_round_that_shares_the_schedule(self):
        other = harness.write_tokenized(self.folder / "b.h5", harness.counting(6))
        one = {"name": "one", "data": {"a": 1.0}, "epochs": 1}
        two = {"name": "two", "data": {"b": 1.0}, "epochs": 1, "optimizer_state": "carry"}
        config = self.recipe(**self.good(sources={"b": {"train": str(other)}}, rounds=[one, two]))
        self.train(config, "run.max_steps=2", ranks=2)
        harness.write_tokenized(other, harness.counting(6, 90))
        self.refuse(config, "round 'two' was begun on other data")


if __name__ == "__main__":
    import unittest

    unittest.main()
