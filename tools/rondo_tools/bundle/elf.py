"""Programs and shared libraries as files (64-bit ELF, little-endian): what they need, where they
look for it, and a new place to look."""

import re
import struct
from pathlib import Path

from rondo_tools.called import called
from rondo_tools.errors import UserError

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 5, 15, 29
_LOADED = re.compile(r"\s*(\S+) => (not found|/\S+)")


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(5) == b"\x7fELF\x02"


def loaded(path):
    """{name: path} of all libraries that the loader finds for a file here; None: not found."""
    found = {}
    for line in called(["ldd", path]).splitlines():
        if match := _LOADED.match(line):
            name, where = match.groups()
            found[name] = Path(where) if where.startswith("/") else None
    return found


def needed(path):
    """Names of the libraries that a file asks for by itself."""
    text = called(["readelf", "--wide", "--dynamic", path])
    return re.findall(r"\(NEEDED\).*\[(.+)\]", text)


def newest_glibc(paths):
    """The newest version of glibc whose functions the files use, as "2.34"."""
    text = called(["readelf", "--wide", "--version-info", *paths])
    versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", text)
    return ".".join(map(str, max((int(major), int(minor)) for major, minor in versions)))


def strip(path):
    called(["strip", "--strip-unneeded", path])


def _dynamic_segment(data):
    """(offset, size) of the dynamic segment, and the loaded ones as (address, offset, size)."""
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    dynamic, segments = (0, 0), []
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", data, start + number * size
        )
        if kind == _PT_DYNAMIC:
            dynamic = (offset, length)
        elif kind == _PT_LOAD:
            segments.append((address, offset, length))
    return dynamic, segments


def _places(data):
    """(offset of the entry, offset of its text) for each path of the dynamic section."""
    (start, size), segments = _dynamic_segment(data)
    entries = {at: struct.unpack_from("<QQ", data, at) for at in range(start, start + size, 16)}
    texts = next((value for tag, value in entries.values() if tag == _DT_STRTAB), 0)
    for address, offset, length in segments:
        if address <= texts < address + length:
            texts += offset - address
            break
    paths = (_DT_RPATH, _DT_RUNPATH)
    return [(at, texts + value) for at, (tag, value) in entries.items() if tag in paths]


def set_rpath(path, wanted):
    """Replaces the path in which a file looks for its libraries; False where it has none.

    In place, so `wanted` must not be longer than what is there. It becomes an RPATH, not a RUNPATH:
    it goes before LD_LIBRARY_PATH, and that of a program holds also for what its libraries load.
    """
    data = bytearray(Path(path).read_bytes())
    places = _places(data)
    for entry, text in places:
        old = bytes(data[text : data.index(b"\0", text)])
        _refuse_unless_replaceable(path, old.decode(), wanted)
        data[text : text + len(old)] = wanted.encode().ljust(len(old), b"\0")
        struct.pack_into("<Q", data, entry, _DT_RPATH)
    Path(path).write_bytes(data)
    return bool(places)


def _refuse_unless_replaceable(path, old, wanted):
    if len(old) < len(wanted):
        raise UserError(
            f"{path}: looks for its libraries in '{old}'; there is no room for '{wanted}' in its "
            f"place. Build it with a longer one (CMake: -DCMAKE_BUILD_RPATH=FOLDER)."
        )
    # A linker may let the name of a symbol be the end of another text.
    names = {line.split()[-1].split("@")[0] for line in called(["nm", "-D", path]).splitlines()}
    if shared := [name for name in names if old.endswith(name)]:
        raise UserError(
            f"{path}: the symbol {shared[0]} is a part of the text '{old}', which cannot be "
            f"replaced. Build it with another one (CMake: -DCMAKE_BUILD_RPATH=FOLDER)."
        )
