"""`rondo inspect --example` shows the tokens of any tokenizer, and what is trained, as text."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.support.tokenized_file import write_tokenized

RONDO = os.environ["RONDO_BINARY"]
TEXT = "Say h\u00e9llo \U0001f600 twice"


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_fallback(texts):
    bytes_ = {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    letters = {letter: 259 + i for i, letter in enumerate("\u2581Saylotwice")}
    vocabulary = {"<unk>": 0, "<s>": 1, "<end>": 2} | bytes_ | letters
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


def unigram(texts):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<end>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Inspect(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def inspect(self, *arguments, code=0):
        done = subprocess.run(
            [RONDO, "inspect", *map(str, arguments)], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_text_and_trained_spans_of_each_kind_of_tokenizer(self):
        for make in (byte_level, byte_fallback, unigram):
            with self.subTest(make.__name__):
                tokenizer = make([TEXT] * 20)
                tokenizer.save(str(self.folder / "tokenizer.json"))
                prompt = tokenizer.encode(TEXT, add_special_tokens=False).ids
                end = tokenizer.token_to_id("<end>")
                codes = [0] * len(prompt) + [2] * len(prompt) + [1]
                path = write_tokenized(
                    self.folder / "a.h5", [([*prompt, *prompt, end], codes)],
                    vocab=tokenizer.get_vocab_size(), table=(0.0, 1.0, 0.5),
                )  # fmt: skip
                shown = self.inspect(path, "--example", 0, "--tokenizer", self.folder)
                self.assertEqual(shown.splitlines()[-1], f"{TEXT}>>[0.5] {TEXT}<<>><end><<")

    def test_a_folder_without_a_tokenizer(self):
        path = write_tokenized(self.folder / "a.h5", [([1, 2], [0, 1])], vocab=9)
        self.assertIn("--tokenizer FOLDER", self.inspect(path, "--example", 0))
        for content, word in ((None, "tokenizer.json"), ("{}", "is not a tokenizer")):
            if content:
                (self.folder / "tokenizer.json").write_text(content)
            shown = self.inspect(path, "--example", 0, "--tokenizer", self.folder, code=2)
            self.assertIn(word, shown)


if __name__ == "__main__":
    unittest.main()
