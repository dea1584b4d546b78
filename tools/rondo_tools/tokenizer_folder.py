"""A Hugging Face tokenizer folder: its identity without loading it, and the loaded tokenizer.

The identity (hashes) needs no more than reading files, so that a fresh cache is recognised in
milliseconds. Loading uses local files only.
"""

import json
import os
import re
from pathlib import Path

from rondo_tools.errors import UserError
from rondo_tools.hashing import files_hash
from rondo_tools.sources import LFS_POINTER

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
_PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
TEMPLATE_FILE = "chat_template.jinja"


def _present(folder):
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a tokenizer folder (tokenizer.json).")
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not any(path.name in ("tokenizer.json", "tokenizer.model", "vocab.json") for path in files):
        raise UserError(
            f"{folder}: has no tokenizer.json. Give the folder of a Hugging Face tokenizer, or "
            f"make one with tools/train_tokenizer."
        )
    for path in files:
        with open(path, "rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UserError(f"{path}: is a Git LFS pointer. Fetch it with `git lfs pull`.")
    return files


def tokenizer_hash(folder):
    return files_hash(_present(folder))


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error}).") from error


def template_of_file(path):
    if not Path(path).is_file():
        raise UserError(
            f"{path}: no such template file (a template is a file, auto, or a bundled one: chatml)."
        )
    return _read_text(path)


def template_text(folder):
    """The folder's own chat template; "" where it has none."""
    _present(folder)
    if (Path(folder) / TEMPLATE_FILE).is_file():
        return _read_text(Path(folder) / TEMPLATE_FILE)
    config = Path(folder) / "tokenizer_config.json"
    template = None
    if config.is_file():
        try:
            template = json.loads(_read_text(config)).get("chat_template")
        except (ValueError, AttributeError) as error:
            raise UserError(f"{config}: is not a JSON object ({error}).") from error
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else ""


def load(folder):
    """The tokenizer as transformers loads it; it must be a fast one (it gives offsets)."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    files = {path.name for path in _present(folder)}
    try:
        tokenizer = _loaded(str(folder), files)
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder}: the tokenizer is loaded by code of its own (auto_map in "
                f"tokenizer_config.json), which is not run. If tokenizer.json says all of it, set "
                f"tokenizer_class to PreTrainedTokenizerFast there."
            ) from error
        raise UserError(f"{folder}: the tokenizer cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: needs a fast tokenizer (tokenizer.json), found a slow one.")
    return tokenizer


def _loaded(folder, files):
    # A class of its own may change what tokenizer.json says, so it is asked; but it takes
    # AutoTokenizer to find it, and that imports torch.
    if "tokenizer_config.json" not in files:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast(tokenizer_file=str(Path(folder, "tokenizer.json")))
    config = json.loads(_read_text(Path(folder, "tokenizer_config.json")))
    options = {"local_files_only": True, "trust_remote_code": False}  # False: nor is it asked for
    if "tokenizer.json" in files and config.get("tokenizer_class") in _PLAIN_CLASSES:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder, **options)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, use_fast=True, **options)


def special_tokens(tokenizer):
    """{text: id} of the control tokens."""
    return {
        str(token): number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special and str(token)
    }


def special_pattern(tokenizer):
    texts = sorted(special_tokens(tokenizer), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, texts))) if texts else None


def vocab_size(tokenizer):
    """1 + the largest id that the tokenizer can produce."""
    return 1 + max(tokenizer.get_vocab().values())
