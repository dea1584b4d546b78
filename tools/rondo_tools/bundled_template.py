"""Tokenizers made for the chat template that rondo brings: the user's own, with that template's
control tokens.

A base model's tokenizer often has no chat template (Llama, Mistral). The bundled ChatML needs two
control tokens; where the tokenizer lacks them they take ids that it holds in reserve, else ids
behind its last. What is made is a folder of its own, which the exported model carries.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path

from rondo_tools.durable import sync
from rondo_tools.errors import UserError
from rondo_tools.hashing import text_hash
from rondo_tools.tokenizer_folder import (
    FILES,
    TEMPLATE_FILE,
    load,
    special_tokens,
    template_text,
    tokenizer_hash,
    vocab_size,
)

NAMES = ("chatml",)
CHATML = Path(__file__).with_name("templates") / "chatml.jinja"
_CONTROL_TOKENS = ("<|im_start|>", "<|im_end|>")
_RECORD = "made.json"
_RULES = 1  # raised when the same tokenizer gives another
_OTHER_FILES = ("generation_config.json", TEMPLATE_FILE)
# Llama 3: <|reserved_special_token_0|>; Mistral: [control_8]; Gemma: <unused0>; Phi: <|dummy_0|>;
# Qwen: <|extra_0|>; Falcon 3: >>UNUSED_0<<; BERT's way: [unused0].
_RESERVED = re.compile(
    r"<\|?(reserved_special_token|reserved_token|reserved|unused|dummy|extra|placeholder)_?\d+\|?>"
    r"|\[control_\d+\]|\[unused_?\d+\]|>>UNUSED_\d+<<"
)


def is_needed(tokenizer, template):
    """Whether `template`, as a job gives it, is a bundled one for the tokenizer of this folder."""
    if template in NAMES:
        return True
    return template == "auto" and not template_text(tokenizer)


def text_of(folder, name):
    """The bundled template as it is for the tokenizer that `make` made."""
    return (Path(folder) / f"{name}.jinja").read_text(encoding="utf-8")


def make(base, folder):
    """Makes the folder, unless it is there and made of the same; returns what to tell the user."""
    folder = Path(folder)
    wanted = {"from_hash": tokenizer_hash(base), "template_hash": _own_hash(base)}
    record = _read_record(folder)
    fresh = record is not None and all(record.get(key) == value for key, value in wanted.items())
    if not fresh or record.get("made_hash") != _made_hash(folder):
        record = wanted | _made(Path(base), folder, wanted)
    return f"{base}: {record['said']} ({folder})"


def retire(folder, used):
    """The run goes on with the tokenizers `used`; its checkpoints may still name the one made."""
    if all(Path(tokenizer).resolve() != Path(folder).resolve() for tokenizer in used):
        (Path(folder) / _RECORD).unlink(missing_ok=True)


def _own_hash(base):
    """Of all that goes into a folder apart from the tokenizer's files."""
    generation = Path(base) / "generation_config.json"
    texts = [
        str(_RULES),
        template_text(base),
        CHATML.read_text(encoding="utf-8"),
        generation.read_text(encoding="utf-8") if generation.is_file() else "",
    ]
    return text_hash("\0".join(texts))


def _made_hash(folder):
    templates = [Path(folder) / name for name in ("chatml.jinja", TEMPLATE_FILE)]
    try:
        texts = [path.read_text(encoding="utf-8") for path in templates if path.is_file()]
        return text_hash("\0".join([tokenizer_hash(folder), *texts]))
    except (OSError, ValueError, UserError):
        return ""


def _read_record(folder):
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _made(base, folder, wanted):
    tokenizer = load(base)
    known = special_tokens(tokenizer)
    lacking = [token for token in _CONTROL_TOKENS if token not in known]
    reserved = sorted((n, t) for t, n in known.items() if _RESERVED.fullmatch(t))
    renamed, added = {}, {}
    if len(reserved) >= len(lacking):
        renamed = {old: new for (_, old), new in zip(reserved, lacking, strict=False)}
    else:
        first = vocab_size(tokenizer)
        added = {token: first + n for n, token in enumerate(lacking)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        _write_tokenizer(base, tokenizer, new, renamed, added)
        template = _for_tokenizer(tokenizer)
        (new / "chatml.jinja").write_text(template, encoding="utf-8")
        own = template_text(base)
        if not own:
            (new / TEMPLATE_FILE).write_text(template, encoding="utf-8")
        taken = {token: known[old] for old, token in renamed.items()}
        _check(base, new, taken | added)
        said = "ChatML is used" if own else "the tokenizer has no chat template: ChatML is used"
        said += "".join(f"; {t} takes the id {taken[t]} of {old}" for old, t in renamed.items())
        said += "".join(f"; {token} is added as id {number}" for token, number in added.items())
        record = {"said": said, "vocab_size": vocab_size(tokenizer) + len(added)}
        record["made_hash"] = _made_hash(new)
        text = json.dumps(wanted | record, indent=2, sort_keys=True)
        (new / _RECORD).write_text(text + "\n", encoding="utf-8")
        for path in new.iterdir():
            sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return record


def _for_tokenizer(tokenizer):
    """ChatML, begun by the token that the tokenizer itself begins texts with."""
    text = CHATML.read_text(encoding="utf-8")
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    if tokenizer.bos_token_id is None or not begins:
        return text
    return "{{- bos_token -}}\n" + text


def _write_tokenizer(base, tokenizer, folder, renamed, added):
    for name in (*FILES, *_OTHER_FILES):
        # A sentencepiece model would say other things than tokenizer.json.
        if (base / name).is_file() and name != "tokenizer.model":
            shutil.copyfile(base / name, folder / name)
    if not (folder / "tokenizer.json").is_file():
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    if not renamed and not added:
        return
    for path in folder.glob("*.json"):
        value = _renamed(json.loads(path.read_text(encoding="utf-8")), renamed)
        if path.name == "tokenizer.json":
            value["added_tokens"] += [{"id": n, **_token(t)} for t, n in added.items()]
        if path.name == "tokenizer_config.json" and "added_tokens_decoder" in value:
            value["added_tokens_decoder"] |= {str(n): _token(t) for t, n in added.items()}
        if path.name == "added_tokens.json":
            value |= added
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _token(text):
    rules = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"content": text, **rules, "special": True}


def _renamed(value, names):
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    return value


def _check(base, folder, ids):
    """UserError unless the control tokens have the ids they were given."""
    tokenizer = load(folder)
    for token, wanted in ids.items():
        found = tokenizer(token, add_special_tokens=False)["input_ids"]
        if found != [wanted] or token not in special_tokens(tokenizer):
            raise UserError(
                f"{base}: {token} could not be made a control token (wanted id {wanted}, encoded "
                f"as {found}). Add it yourself, or give a chat template for the tokenizer by "
                f"--template FILE (in a run's configuration: sources.NAME.template)."
            )
