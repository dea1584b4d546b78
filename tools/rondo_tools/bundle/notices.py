"""The copyright notices of what a bundle carries, as the packages of the system bring them."""

import os
import shutil
import subprocess
from pathlib import Path

from rondo_tools.say import say

_DOCUMENTS = Path("/usr/share/doc")


def _owners(patterns):
    """{path: Debian package} of the installed files that are as one of the patterns."""
    if not patterns or shutil.which("dpkg-query") is None:
        return {}
    # Ends with 1 when one of many is of no package.
    done = subprocess.run(
        ["dpkg-query", "--search", *patterns],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    lines = [line.rpartition(": ") for line in done.stdout.splitlines()]
    return {path: packages.split(":")[0].split(",")[0] for packages, _, path in lines}


def _packages(files):
    """{file: package or None}. Debian's list may name a file with or without /usr; a library that
    torch brings has the notice of the system's of the same name."""
    found = {}
    names = {file: [str(file), str(file).removeprefix("/usr"), f"/usr{file}"] for file in files}
    owners = _owners([name for candidates in names.values() for name in candidates])
    for file, candidates in names.items():
        found[file] = next((owners[name] for name in candidates if name in owners), None)
    alike = _owners([f"*/{file.name}" for file, package in found.items() if package is None])
    by_name = {Path(path).name: package for path, package in alike.items()}
    return {file: package or by_name.get(file.name) for file, package in found.items()}


def copy(files, folder):
    """Copies the notices of all packages that the files are of to folder/PACKAGE.copyright, and
    says of which files there is none."""
    folder.mkdir()
    without = []
    for path, package in _packages({Path(os.path.realpath(file)) for file in files}).items():
        notice = _DOCUMENTS / str(package) / "copyright"
        if package and notice.is_file():
            shutil.copyfile(notice, folder / f"{package}.copyright")
        else:
            without.append(path.name)
    if without:
        names = ", ".join(sorted(without))
        say(f"no copyright notice was found for {names}: add them before you pass the bundle on")
