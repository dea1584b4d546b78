"""tools/train_tokenizer: JSONL -> a Hugging Face tokenizer folder with a ChatML template.

A byte-level BPE: every text can be encoded, there is no unknown token. The same input gives the
same folder to the byte.
"""

import argparse
import json
from pathlib import Path

from rondo_tools import sources
from rondo_tools.errors import UserError

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_BYTES = 256
# Words with their leading space, numbers, runs of signs; line ends apart from other white space.
_PIECES = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\r?\n|\s+?(?=\r?\n|\S)|\s+"
_DIGITS = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\r?\n|\s"

TEMPLATE = Path(__file__).with_name("templates") / "chatml.jinja"


def _texts(value):
    """All texts inside a JSON value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _corpus(paths):
    for path, number, row in sources.all_rows(paths):
        try:
            yield from _texts(sources.value_of(row))
        except ValueError as error:
            raise UserError(f"{path}:{number}: is not JSON: {error}.") from error


def train(paths, vocab, digits):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    smallest = _BYTES + len(SPECIAL_TOKENS)
    if vocab < smallest:
        raise UserError(
            f"--vocab {vocab}: too small; {_BYTES} bytes and {len(SPECIAL_TOKENS)} special tokens "
            f"need at least {smallest}."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_DIGITS if digits else _PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(paths), trainer)
    return tokenizer


def write(tokenizer, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1 << 30,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": ["<|im_start|>"],
        **special,
    }
    named = {name: token for name, token in special.items() if token}
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config, indent=2),
        "special_tokens_map.json": json.dumps(
            {**named, "additional_special_tokens": ["<|im_start|>"]}, indent=2
        ),
        "chat_template.jinja": TEMPLATE.read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="train_tokenizer",
        description="Trains a byte-level BPE tokenizer on all texts of JSONL files and writes a "
        "Hugging Face tokenizer folder with a ChatML chat template.",
    )
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files or globs")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--vocab", type=int, default=8192, help="ids in all (default 8192)")
    parser.add_argument("--digits", action="store_true", help="every digit is a token of its own")
    options = parser.parse_args(arguments)
    tokenizer = train(sources.expand(options.input), options.vocab, options.digits)
    write(tokenizer, options.out)
    print(f"{options.out}: {tokenizer.get_vocab_size()} ids")
    return 0
