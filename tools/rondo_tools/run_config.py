"""The part of a run's configuration that the Python tools read.

Unknown keys and wrong values elsewhere are reported by rondo itself, with line numbers; here only
what is needed to find and tokenise the sources is looked at.
"""

import re
from fractions import Fraction
from pathlib import Path

import yaml

from rondo_tools.errors import UserError

_NOTHING = ("", "~", "null")  # unquoted
_SCALES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKMBGT]?)")


class _Loader(yaml.BaseLoader):
    """Every scalar is text as written, None where nothing is given, as rondo reads it."""

    def construct_mapping(self, node, deep=False):
        mapping = super().construct_mapping(node, deep)
        if None in mapping:
            mark = node.start_mark
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be plain text, found nothing", mark
            )
        return mapping


def _scalar(loader, node):
    return None if node.style is None and node.value in _NOTHING else node.value


_Loader.add_constructor("tag:yaml.org,2002:str", _scalar)


def _parse(text, place):
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{place}: is not valid YAML: {error}") from error


def _keys(path):
    """rounds[0].steps and rounds.0.steps: rounds, 0, steps. An index in brackets is an int."""
    keys = []
    for part in path.split("."):
        name, items = re.fullmatch(r"(.*?)((?:\[[0-9]+\])*)", part, re.DOTALL).groups()
        keys.append(name)
        keys += [int(item) for item in re.findall(r"[0-9]+", items)]
    return keys


def _set(config, override):
    """Sets section.key=value as rondo does, making mappings on the way."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override!r}: expected section.key=value.")
    value = _parse(text, override)
    node, keys = config, _keys(path)
    for key in keys[:-1]:
        place = _place(node, key, path)
        child = node[place] if isinstance(node, list) else node.get(place)
        if child is None:
            child = node[place] = {}
        node = child
    node[_place(node, keys[-1], path)] = value


def _place(node, key, path):
    """The key or index of a child of `node`; of a mapping it may be a new one."""
    if isinstance(node, list):
        if not re.fullmatch("[0-9]+", str(key)) or int(key) >= len(node):
            raise UserError(f"{path}: {key!r} is not an index of a list of {len(node)}.")
        return int(key)
    if not isinstance(node, dict) or isinstance(key, int) or not key:
        name = f"[{key}]" if isinstance(key, int) else key
        raise UserError(f"{path}: there is no {name!r} to set.")
    return key


def load(path, overrides=()):
    """The configuration as a mapping, overrides applied."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such configuration file.")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error}).") from error
    config = _parse(text, path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected a mapping with run, model, sources, rounds.")
    for override in overrides:
        _set(config, override)
    return config


def section(config, name, place):
    value = config.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{place}: {name} is {type(value).__name__}, expected a mapping.")
    return value


def whole(value):
    """The whole number that a scalar is the text of (20, 1.5k); None if it is none."""
    found = _COUNT.fullmatch(value) if isinstance(value, str) else None
    count = Fraction(found[1]) * _SCALES[found[2]] if found else None
    return int(count) if found and count.denominator == 1 else None


def number(value):
    """The number that a scalar is the text of; None if it is none."""
    try:
        return float(value) if isinstance(value, str) and "_" not in value else None
    except ValueError:
        return None
