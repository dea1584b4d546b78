"""Which tokenised files a run needs, and the jobs that make them.

A file that has to be made lies at <run.dir>/cache/<run.name>/<source>.train.h5 or
<source>.heldout.h5; rondo looks for it there. Relative paths are relative to the current folder.
"""

from dataclasses import dataclass
from pathlib import Path

from rondo_tools import formats, sources
from rondo_tools.errors import UserError
from rondo_tools.run_config import section
from rondo_tools.split import Everything, Split
from rondo_tools.tokenize_job import Job


@dataclass
class Need:
    label: str  # "<source>.train" or "<source>.heldout"
    job: Job


def cache_folder(config, place):
    run = section(config, "run", place)
    name = run.get("name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{place}: run.name is missing; the cache folder is named by it.")
    return Path(str(run.get("dir", "runs"))) / "cache" / name


def _tokenizer(config, place):
    folder = config.get("tokenizer") or section(config, "model", place).get("from")
    if not isinstance(folder, str):
        raise UserError(
            f"{place}: the sources are text, but no tokenizer is named. Give `tokenizer: FOLDER`, "
            f"or model.from with a tokenizer in it."
        )
    return folder


def _patterns(value, key):
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise UserError(f"{key} is {value!r}; expected a path, a glob or a list of them.")
    return values


def is_tokenised(patterns, key):
    tokenised = [pattern.endswith(".h5") for pattern in patterns]
    if any(tokenised) and not all(tokenised):
        raise UserError(f"{key} mixes tokenised files (.h5) and text. Make two sources of them.")
    return all(tokenised)


def _split_count(value, key):
    count = value.get("split")
    if set(value) != {"split"} or not isinstance(count, int) or count < 1:
        raise UserError(f"{key} is {value!r}; expected a path or {{split: N}} with N >= 1.")
    return count


def _trained(config):
    """Names of the sources that a round trains on."""
    names = set()
    for entry in config.get("rounds") or []:
        if isinstance(entry, dict) and isinstance(entry.get("data"), dict):
            names.update(entry["data"])
    return names


def _options(source, key):
    columns = source.get("columns") or {}
    if not isinstance(columns, dict) or not all(isinstance(c, str) for c in columns.values()):
        raise UserError(f"{key}.columns is {columns!r}; expected {{prompt: name, ...}}.")
    formats.check_columns(columns)
    name = source.get("format", "auto")
    if name not in ("auto", *formats.FORMATS):
        known = ", ".join(formats.FORMATS)
        raise UserError(f"{key}.format is {name!r}; expected auto or one of {known}.")
    share = source.get("max_rejected", 0.01)
    if not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise UserError(f"{key}.max_rejected is {share!r}; expected a share from 0 to 1.")
    return {
        "format": name,
        "columns": columns,
        "template": source.get("template"),
        "max_rejected": float(share),
    }


def needs(config, place, workers):
    """Every file to be made or found fresh, in the order of the configuration."""
    folder = cache_folder(config, place)
    trained = _trained(config)
    seed = section(config, "run", place).get("seed", 0)
    found = []

    def add(name, part, inputs, options, split):
        label = f"{name}.{part}"
        job = Job(
            inputs=inputs,
            tokenizer=_tokenizer(config, place),
            out=str(folder / f"{label}.h5"),
            split=split,
            workers=workers,
            **options,
        )
        found.append(Need(label, job))

    for name, source in section(config, "sources", place).items():
        key = f"{place}: sources.{name}"
        if not isinstance(source, dict):
            raise UserError(f"{key} is {source!r}; expected a mapping with train, heldout.")
        options = _options(source, key)
        heldout, train = source.get("heldout"), source.get("train")
        text = []
        if train is not None:
            patterns = _patterns(train, f"{key}.train")
            text = [] if is_tokenised(patterns, f"{key}.train") else sources.expand(patterns)
        splits = {"train": Everything(), "heldout": Everything()}
        if isinstance(heldout, dict):
            count = _split_count(heldout, f"{key}.heldout")
            if not text:
                raise UserError(
                    f"{key}.heldout: split needs a train source of text, found {train!r}. Name a "
                    f"held-out file instead."
                )
            splits = {
                part: Split(part, count, seed, lambda text=text: sources.all_rows(text))
                for part in splits
            }
        if text and (name in trained or not trained):
            add(name, "train", text, options, splits["train"])
        if isinstance(heldout, dict):
            add(name, "heldout", text, options, splits["heldout"])
        elif heldout is not None:
            patterns = _patterns(heldout, f"{key}.heldout")
            if not is_tokenised(patterns, f"{key}.heldout"):
                add(name, "heldout", sources.expand(patterns), options, splits["heldout"])
    return found
