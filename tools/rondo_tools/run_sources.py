"""Which tokenised files a run needs, and the jobs that make them.

A file that has to be made lies at <run.dir>/cache/<run.name>/<source>.train.h5 or
<source>.heldout.h5; rondo looks for it there. Held-out examples by `{split: N}` are chosen by rondo
out of the train file, which therefore holds all of them. A tokenizer made for the bundled chat
template lies in <run.dir>/cache/<run.name>/tokenizer/ (bundled_template.py). Relative paths are
relative to the current folder.
"""

from dataclasses import dataclass
from pathlib import Path

from rondo_tools import bundled_template, formats, sources
from rondo_tools.checkpoint_state import is_bare_checkpoint, tokenizer_of
from rondo_tools.errors import UserError
from rondo_tools.evaluation_set import EvaluationSet
from rondo_tools.row_encoder import MULTI_TURN, TRAIN_ON
from rondo_tools.run_config import number, section, whole
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
    return Path(run.get("dir") or "runs") / "cache" / name


def _tokenizer(config, place):
    folder = config.get("tokenizer") or section(config, "model", place).get("from")
    if not isinstance(folder, str):
        raise UserError(
            f"{place}: the sources are text, but no tokenizer is named. Give `tokenizer: FOLDER`, "
            f"or model.from with a tokenizer in it."
        )
    return tokenizer_of(folder) if is_bare_checkpoint(folder) else folder


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


def _check_split(value, train, key):
    count = whole(value.get("split"))
    if set(value) != {"split"} or not count:
        raise UserError(f"{key} is {value!r}; expected a path or {{split: N}} with N >= 1.")
    if train is None:
        raise UserError(f"{key}: split takes examples from train, which is missing.")


def _trained(config):
    """Names of the sources that a round trains on."""
    names = set()
    for entry in config.get("rounds") or []:
        for key in ("data", "shares"):
            if isinstance(entry, dict) and isinstance(entry.get(key), dict):
                names.update(entry[key])
    return names


def _options(source, key):
    columns = source.get("columns") or {}
    if not isinstance(columns, dict) or not all(isinstance(c, str) for c in columns.values()):
        raise UserError(f"{key}.columns is {columns!r}; expected {{prompt: name, ...}}.")
    formats.check_columns(columns)
    name = source.get("format") or "auto"
    if name not in ("auto", *formats.FORMATS):
        known = ", ".join(formats.FORMATS)
        raise UserError(f"{key}.format is {name!r}; expected auto or one of {known}.")
    given = source.get("max_rejected")
    share = 0.01 if given is None else number(given)
    if share is None or not 0 <= share <= 1:
        raise UserError(f"{key}.max_rejected is {given!r}; expected a share from 0 to 1.")
    return {
        **_training_options(source, key),
        "format": name,
        "columns": columns,
        "template": source.get("template") or "auto",
        "max_rejected": share,
    }


def _training_options(source, key):
    options = {}
    for name, choices in (("train_on", TRAIN_ON), ("multi_turn", MULTI_TURN)):
        value = source.get(name) or choices[0]
        if value not in choices:
            raise UserError(f"{key}.{name} is {value!r}; expected one of {', '.join(choices)}.")
        options[name] = value
    given = source.get("end_of_turn_weight")
    weight = 1.0 if given is None else number(given)
    if weight is None or weight < 0:
        raise UserError(f"{key}.end_of_turn_weight is {given!r}; expected a number of at least 0.")
    return options | {"end_of_turn_weight": weight}


def use_bundled_template(found, folder):
    """Where a job needs the bundled chat template, makes a tokenizer for it in this folder and
    gives it to all jobs, as one run has one tokenizer. Returns what to tell the user, or ""."""
    if any(Path(need.job.tokenizer).resolve() == folder.resolve() for need in found):
        return ""  # the user names what was made
    needing = [need.job for need in found if need.job.needs_bundled_template()]
    if not needing:
        return ""
    said = bundled_template.make(needing[0].tokenizer, folder)
    for need in found:
        need.job.tokenizer = str(folder)
    return said


def evaluation_sets(config, place):
    """Evaluation sets of `clean.evaluation_sets` that are texts, in their order."""
    clean = section(config, "clean", place)
    given = clean.get("evaluation_sets") or {}
    folder = cache_folder(config, place)
    sets = []
    for name, entry in given.items() if isinstance(given, dict) else ():
        key = f"{place}: clean.evaluation_sets.{name}"
        if not isinstance(entry, dict) or entry.get("files") is None:
            raise UserError(f"{key} is {entry!r}; expected a mapping with files.")
        patterns = _patterns(entry["files"], f"{key}.files")
        if is_tokenised(patterns, f"{key}.files"):
            continue
        text = entry.get("text") or []
        columns = _patterns(text, f"{key}.text") if text else []
        out = str(folder / f"{name}.evaluation.h5")
        sets.append(EvaluationSet(name, sources.expand(patterns), out, columns))
    return sets


def needs(config, place, workers):
    """Every file to be made or found fresh, in the order of the configuration."""
    folder = cache_folder(config, place)
    trained = _trained(config)
    found = []

    def add(name, part, patterns, options):
        key = f"{place}: sources.{name}.{part}"
        patterns = _patterns(patterns, key)
        if is_tokenised(patterns, key):
            return
        job = Job(
            inputs=sources.expand(patterns),
            tokenizer=_tokenizer(config, place),
            out=str(folder / f"{name}.{part}.h5"),
            workers=workers,
            **options,
        )
        found.append(Need(f"{name}.{part}", job))

    for name, source in section(config, "sources", place).items():
        key = f"{place}: sources.{name}"
        if not isinstance(source, dict):
            raise UserError(f"{key} is {source!r}; expected a mapping with train, heldout.")
        options = _options(source, key)
        heldout, train = source.get("heldout"), source.get("train")
        split = isinstance(heldout, dict)
        if split:
            _check_split(heldout, train, f"{key}.heldout")
        if train is not None and (split or name in trained or not trained):
            add(name, "train", train, options)
        if heldout is not None and not split:
            add(name, "heldout", heldout, options)
    return found
