"""Content hashes: xxh3-128 as 32 hexadecimal digits, xxh3-64 as an integer."""

import json

import xxhash


def text_hash(text):
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8"))


def settings_hash(settings):
    """Of a JSON value, written with sorted keys and without spaces."""
    return text_hash(json.dumps(settings, sort_keys=True, separators=(",", ":")))


def file_hash(path):
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_hash(paths):
    """Of several files: names and contents, in the order of the names."""
    digest = xxhash.xxh3_128()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(f"{path.name}\0{file_hash(path)}\0")
    return digest.hexdigest()
