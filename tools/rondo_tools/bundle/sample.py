"""A tiny data set, tokenised, so that a training run starts where no Python package is."""

import contextlib
import io
import shutil

from rondo_tools import make_tasks_command, tokenize_command, train_tokenizer_command

_FAMILIES = ("sorting", "editing")
_TRAIN, _HELDOUT = 400, 20


def _make():
    counts = ["--train", str(_TRAIN), "--heldout", str(_HELDOUT)]
    make_tasks_command.main(["--out", "texts", *counts])
    train_tokenizer_command.main(
        ["--input", "texts/*.train.jsonl", "--out", "tokenizer", "--digits"]
    )
    for family in _FAMILIES:
        for part in ("train", "heldout"):
            name = f"{family}.{part}"
            words = ["--input", f"texts/{name}.jsonl", "--tokenizer", "tokenizer"]
            tokenize_command.main([*words, "--workers", "1", "--out", f"{name}.h5"])


def make(folder):
    """FAMILY.train.h5, FAMILY.heldout.h5 and their tokenizer, as configs/lane.yaml names them."""
    folder.mkdir()
    # Paths from the folder on: they end up in the files.
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        _make()
    shutil.rmtree(folder / "texts")
