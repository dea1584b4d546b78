"""The state in a checkpoint of rondo (docs/formats/checkpoint.md). Checks no bytes of it."""

import json
from pathlib import Path

from rondo_tools.errors import UserError

_MANIFEST = "MANIFEST.json"


def is_bare_checkpoint(folder):
    """True for a checkpoint that nobody has put a tokenizer into."""
    folder = Path(folder)
    return (folder / _MANIFEST).is_file() and not (folder / "tokenizer.json").is_file()


def tokenizer_of(checkpoint):
    """Folder of the tokenizer that the checkpoint's run was trained with, as recorded in it. A run
    that began from a checkpoint itself may have recorded that one: then its tokenizer."""
    folder, seen = str(checkpoint), set()
    while is_bare_checkpoint(folder) and folder not in seen:
        seen.add(folder)
        source, folder = folder, _recorded(folder)
    if not folder or not Path(folder).is_dir() or folder in seen:
        named = f"the tokenizer {folder!r}, which is not a folder" if folder else "no tokenizer"
        raise UserError(
            f"{source}: the checkpoint names {named} (relative to the current folder). Give "
            f"`tokenizer: FOLDER`, or start in the folder where the run was started."
        )
    return folder


def _recorded(checkpoint):
    path = Path(checkpoint) / _MANIFEST
    try:
        state = json.loads(path.read_text(encoding="utf-8"))["state"]
        return str(state.get("tokenizer") or "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is not the manifest of a checkpoint ({error!r}). Check the checkpoint with "
            f"`rondo inspect {checkpoint}`, or give `tokenizer: FOLDER`."
        ) from error
