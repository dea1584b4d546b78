"""`rondo score` against transformers: losses of examples, IFD, and what `keep` then trains on."""

import json
import os
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import h5py
import numpy as np
import torch
import transformers

from tests.support.tokenized_file import write_tokenized

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

VOCAB = 97
POSITIONS = 64
WEIGHT_TABLE = np.array([0.0, 1.0, 0.25], dtype=np.float32)
FIRST_ID = 1000

CONFIG = """
run: {{name: kept, dir: {dir}, seed: 3}}
model: {{from: {model}}}
batch: {{seq_len: 64, packs: 2, micro_packs: 1}}
clean: {{exact: off, near: off}}
optimizer: {{lr: 1.0e-3}}
export: {{rounds: false}}
sources:
  a: {{train: {dir}/a.h5, keep: {{score: base_ifd, below: 1.0, top: 0.5}}}}
rounds:
  - {{name: first, data: {{a: 1.0}}, epochs: 1}}
"""


def make_examples(seed, count):
    """One answer, or two with a question between them, and answers of a single token."""
    random = np.random.default_rng(seed)
    examples = []
    for i in range(count):
        length = int(random.integers(4, POSITIONS + 1))
        prompt = length - 1 if i % 8 == 5 else int(random.integers(1, length - 1))
        codes = np.zeros(length, dtype=np.uint8)
        codes[prompt:] = random.integers(1, 3, length - prompt)
        if i % 3 == 0 and length - prompt > 6:
            codes[prompt + 2 : prompt + 4] = 0
        examples.append((random.integers(0, VOCAB, length).astype(np.int32), codes))
    return examples


def build_model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=52,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        initializer_range=0.3,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config).eval()


def mean_loss(model, tokens, codes):
    """Weighted mean over the trained tokens, share of them predicted, their number."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    weights = torch.from_numpy(WEIGHT_TABLE[codes])[1:]
    with torch.no_grad():
        logits = model(ids).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
    trained = weights > 0
    hits = (logits.argmax(1) == ids[0, 1:])[trained].float()
    return (
        float((losses * weights).sum() / weights.sum()),
        float(hits.mean()),
        int(trained.sum()),
    )


def truth(model, examples):
    """By column, what each example's score must be."""
    rows = []
    for tokens, codes in examples:
        loss, accuracy, count = mean_loss(model, tokens, codes)
        # The answer without its prompt: its first token is given, those after it are predicted.
        first = int(np.argmax(codes > 0))
        alone = mean_loss(model, tokens[first:], codes[first:])[0] if count > 1 else np.nan
        rows.append((loss, np.exp(loss), accuracy, count, alone, loss / alone))
    names = ("loss", "perplexity", "accuracy", "tokens", "loss_alone", "ifd")
    return dict(zip(names, np.array(rows).T, strict=True))


def rondo(*arguments, ranks=1, code=0):
    launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        [*launcher, os.environ["RONDO_BINARY"], *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != code:
        raise AssertionError(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class ScoreOracle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.model_folder = os.path.join(cls.temporary.name, "model")
        model = build_model()
        model.save_pretrained(cls.model_folder)
        cls.examples = make_examples(1, 40)
        cls.truth = truth(model, cls.examples)

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=self.temporary.name)
        self.source = self.write("a.h5", self.examples)

    def write(self, name, examples, first_id=FIRST_ID):
        path = os.path.join(self.folder, name)
        return write_tokenized(path, examples, vocab=VOCAB, table=WEIGHT_TABLE, first_id=first_id)

    def score(self, *more, source=None, ranks=1, code=0):
        sources = [source or self.source] if "--source" not in more else []
        given = ["--source", *sources] if sources else []
        model = [] if "--from" in more else ["--from", self.model_folder]
        return rondo("score", *model, *given, *more, ranks=ranks, code=code)

    def columns(self, path=None):
        with h5py.File(path or os.path.join(self.folder, "a.scores.h5")) as file:
            scores = {name: file["scores"][name][:] for name in file["scores"]}
            return file["example_id"][:], scores, json.loads(file.attrs["made"])

    def check(self, scores, names, tolerance=1e-5):
        self.assertEqual(set(scores), set(names))
        for name, values in scores.items():
            self.assertEqual(values.dtype, np.float32)
            np.testing.assert_allclose(values, self.truth[name], rtol=tolerance, err_msg=name)

    def test_one_rank(self):
        self.score()
        ids, scores, _ = self.columns()
        np.testing.assert_array_equal(ids, np.arange(FIRST_ID, FIRST_ID + 40))
        self.check(scores, ("loss", "perplexity", "accuracy", "tokens"))

    def test_ifd_on_any_ranks(self):
        self.assertGreater(int(np.isnan(self.truth["ifd"]).sum()), 2)
        self.score("--ifd")
        ids, scores, _ = self.columns()
        self.check(scores, self.truth)
        for ranks, more in ((2, ()), (3, ()), (2, ("--tensor", "2")), (4, ("--tensor", "2"))):
            self.score("--ifd", "--out", self.folder + "/other.h5", *more, ranks=ranks)
            again, others, _ = self.columns(self.folder + "/other.h5")
            np.testing.assert_array_equal(ids, again)
            self.check(others, self.truth)
            if not more:
                for name, values in others.items():
                    np.testing.assert_array_equal(values, scores[name], err_msg=name)
            os.remove(self.folder + "/other.h5")

    def test_small_batches(self):
        self.score("--ifd", "--tokens-per-batch", "2", ranks=2)
        self.check(self.columns()[1], self.truth)

    def test_bf16_is_near(self):
        self.score("--precision", "bf16")
        loss = self.columns()[1]["loss"]
        self.assertLess(float(np.abs(loss / self.truth["loss"] - 1).max()), 0.02)
        self.assertGreater(float(np.abs(loss / self.truth["loss"] - 1).max()), 1e-5)

    def test_columns_of_several_runs_stand_side_by_side(self):
        self.score("--prefix", "base_")
        self.score("--prefix", "other_", "--precision", "bf16", "--ifd")
        _, scores, made = self.columns()
        self.assertEqual(len(scores), 10)
        np.testing.assert_allclose(scores["base_loss"], self.truth["loss"], rtol=1e-5)
        self.assertEqual(set(made), set(scores))
        self.assertEqual(made["base_loss"]["model"], self.model_folder)
        self.assertEqual(made["base_loss"]["tokenised"], [self.source])
        self.assertEqual(made["base_loss"]["settings"]["precision"], "fp32")
        digest = made["base_loss"]["model_digest"]
        self.assertRegex(digest, "^[0-9a-f]{16}$")
        self.assertEqual(made["other_ifd"]["model_digest"], digest, "weights, not precision")
        said = rondo("inspect", os.path.join(self.folder, "a.scores.h5"))
        self.assertIn("scores of 40 examples", said)
        self.assertIn(digest, said)
        line = next(line for line in said.splitlines() if line.startswith("base_loss"))
        self.assertEqual(line.split()[1:3], ["40", f"{self.truth['loss'].mean():.4f}"])
        with open(os.path.join(self.folder, "a.scores.h5"), "rb") as file:
            before = file.read()
        self.score("--prefix", "base_", ranks=2)
        with open(os.path.join(self.folder, "a.scores.h5"), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_a_checkpoint_has_the_scores_and_digest_of_its_weights(self):
        checkpoint = os.path.join(self.folder, "imported")
        rondo("import", "--from", self.model_folder, "--out", checkpoint)
        self.score("--from", checkpoint, ranks=2)
        _, scores, made = self.columns()
        np.testing.assert_allclose(scores["loss"], self.truth["loss"], rtol=1e-5)
        with open(os.path.join(checkpoint, "MANIFEST.json"), encoding="utf-8") as file:
            self.assertEqual(made["loss"]["model_digest"], json.load(file)["digest"])

    def test_several_sources(self):
        second = self.write("b.h5", self.examples[::-1], first_id=5000)
        out = os.path.join(self.folder, "all.h5")
        self.score("--source", self.source, second)
        self.check(self.columns()[1], ("loss", "perplexity", "accuracy", "tokens"))
        loss = self.columns(os.path.join(self.folder, "b.scores.h5"))[1]["loss"]
        np.testing.assert_allclose(loss, self.truth["loss"][::-1], rtol=1e-5)
        self.score("--source", self.source, second, "--out", out)
        ids, scores, _ = self.columns(out)
        np.testing.assert_array_equal(ids[40:], np.arange(5000, 5040))
        np.testing.assert_array_equal(scores["loss"][40:], loss)

    def test_what_has_no_score_is_told(self):
        long = (np.zeros(POSITIONS + 1, np.int32), np.ones(POSITIONS + 1, np.uint8))
        masked = (np.zeros(5, np.int32), np.zeros(5, np.uint8))
        path = self.write("more.h5", [*self.examples, long, masked])
        said = self.score(source=path, ranks=2)
        self.assertIn("1 examples have no score: they have more tokens than the 64 positions", said)
        self.assertIn("1 examples have no score: they have no trained token", said)
        scores = self.columns(os.path.join(self.folder, "more.scores.h5"))[1]
        for name, values in scores.items():
            np.testing.assert_allclose(values[:40], self.truth[name], rtol=1e-5)
        self.assertTrue(np.isnan(scores["loss"][40:]).all())

    def test_wrong_input_is_told_before_the_work(self):
        other = os.path.join(self.folder, "other.h5")
        with h5py.File(other, "w") as file:
            file.attrs["format"] = "mine"
        for more, words in (
            (("--out", other), "rondo.scores of version 1 was expected"),
            (("--tensor", "3"), "--tensor 3 does not divide the 2 ranks"),
            (("--prefix", "a/b"), "--prefix 'a/b'"),
            (("--out", "/proc/scores.h5"), "/proc"),
            (("--source", other), '"mine"'),
            (("--source", self.model_folder + "/none.h5"), "none.h5"),
        ):
            said = self.score(*more, ranks=2, code=2)
            self.assertIn(words, said)
            self.assertEqual(said.count("error"), 1, said)

    def test_keep_trains_on_what_a_plain_script_picks(self):
        config = os.path.join(self.folder, "config.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(dir=self.folder, model=self.model_folder))
        said = rondo("train", config, ranks=2, code=2)
        self.assertIn("a.scores.h5", said)
        # Answers of one token have no IFD, which `keep` refuses.
        known = ~np.isnan(self.truth["ifd"])
        ifd = self.truth["ifd"][known]
        some = [self.examples[i] for i in np.flatnonzero(known)]
        self.write("a.h5", some)
        self.score("--ifd", "--prefix", "base_", ranks=2)
        rondo("train", config, ranks=2)
        below = np.flatnonzero(ifd < 1)
        wanted = below[np.argsort(-ifd[below])][: (len(below) + 1) // 2]
        self.assertGreater(len(wanted), 4)
        self.assertLess(len(below), len(ifd))
        packed = os.path.join(self.folder, "kept", "rounds", "first", "packed")
        ids = []
        for name in os.listdir(packed):
            if name.endswith(".h5"):
                with h5py.File(os.path.join(packed, name)) as file:
                    ids.extend(file["example_id"][:].tolist())
        self.assertEqual(sorted(ids), sorted((wanted + FIRST_ID).tolist()))


if __name__ == "__main__":
    unittest.main()
