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


def _set(config, override):
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override!r}: expected section.key=value.")
    node, keys = config, path.split(".")
    for key in keys[:-1]:
        node = _child(node, key, path)
    value = _parse(text, override)
    if isinstance(node, list):
        node[_index(node, keys[-1], path)] = value
    else:
        node[keys[-1]] = value


def _child(node, key, path):
    if isinstance(node, list):
        return node[_index(node, key, path)]
    child = node.setdefault(key, {})
    if not isinstance(child, (dict, list)):
        raise UserError(f"{path}: {key} is a value, not a section.")
    return child


def _index(node, key, path):
    if not key.isdigit() or int(key) >= len(node):
        raise UserError(f"{path}: {key!r} is not an index of a list of {len(node)}.")
    return int(key)


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
