"""tools/gpu-lane: a bundle of rondo, its tests and its benchmarks that runs where torch and Python
are and nothing else of rondo is: a rented machine with a GPU, a cluster without network."""

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

from rondo_tools.bundle import archive, elf, notices, open_mpi, sample
from rondo_tools.bundle.libraries import Libraries
from rondo_tools.called import called
from rondo_tools.environment import REPOSITORY
from rondo_tools.errors import UserError
from rondo_tools.say import say

# Programs of a build folder besides rondo itself.
_TESTS = ("test_*", "mpitest_*", "bench_*")
_MOST_MB = 60
# Files of the repository, and where they lie in the bundle.
_COPIES = {
    "LICENSE": "LICENSE",
    "configs": "configs",
    "docs/gpu-lane.md": "README.md",
    "launch/run": "launch/run",
    "launch/launcher": "launch/launcher",
    "tests/golden/checkpoint-v1": "tests/golden/checkpoint-v1",
    "tests/golden/checkpoint-v2": "tests/golden/checkpoint-v2",
    "tools/rondo_tools/__init__.py": "python/rondo_tools/__init__.py",
    "tools/rondo_tools/errors.py": "python/rondo_tools/errors.py",
    "tools/rondo_tools/lane": "python/rondo_tools/lane",
    "tools/rondo_tools/say.py": "python/rondo_tools/say.py",
    "tools/rondo_tools/lane/start": "lane",
}


def parser():
    parser = argparse.ArgumentParser(
        prog="gpu-lane",
        description="Makes a bundle that runs rondo, its tests and its benchmarks on a machine "
        "that has Python and torch and nothing else of rondo; see docs/gpu-lane.md.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="bundle")
    bundle = verbs.add_parser("bundle", help="write the bundle")
    bundle.add_argument("out", type=Path, metavar="OUT.tar.zst", help="or OUT.tar.gz")
    bundle.add_argument(
        "--build", type=Path, default=REPOSITORY / "build" / "release", metavar="FOLDER",
        help="where rondo and the test programs are (default: build/release)",
    )  # fmt: skip
    bundle.add_argument(
        "--tests", nargs="*", default=list(_TESTS), metavar="NAME",
        help=f"test programs to carry, wildcards allowed (default: {' '.join(_TESTS)})",
    )  # fmt: skip
    bundle.add_argument(
        "--most-mb", type=float, default=_MOST_MB, metavar="N",
        help=f"a larger bundle is an error (default: {_MOST_MB})",
    )  # fmt: skip
    return parser


class Build:
    """A build folder: rondo, what it says of itself, the chosen test programs."""

    def __init__(self, folder, patterns):
        self.rondo = folder / "rondo"
        if not os.access(self.rondo, os.X_OK):
            raise UserError(f"{self.rondo} is not there or not a program: run launch/build.")
        self.settings = _cache_of(folder / "CMakeCache.txt")
        self.tests = _programs(folder, patterns)
        text = called([self.rondo, "--version"])
        self.says = dict(re.findall(r"^(\w+) +(.+)$", text, re.MULTILINE))
        if self.settings["RONDO_ARCH"] == "native":
            raise UserError(
                f"{folder}: built with RONDO_ARCH=native, for this machine's processor alone. "
                f"Configure it with -DRONDO_ARCH=x86-64-v3."
            )

    def facts(self):
        """What the manifest says of the program."""
        return {
            "rondo": self.says["rondo"],
            "commit": self.says["commit"],
            "compiler": self.says["compiler"],
            # +cu130 and the like say which CUDA a wheel is for; the interface is the release's.
            "torch": self.says["libtorch"].split("+")[0],
            "arch": self.settings["RONDO_ARCH"],
            "cuda": self.says["CUDA"],
        }


def _cache_of(path):
    if not path.is_file():
        raise UserError(f"{path}: no such file; --build takes a build folder of CMake.")
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):\w+=(.*)$", text, re.MULTILINE))


def _programs(folder, patterns):
    """The programs whose names are as one of the patterns, wherever CMake has put them."""
    found = {}
    for pattern in patterns:
        paths = [path for path in sorted(folder.rglob(pattern)) if _is_program(path)]
        if not paths and pattern not in _TESTS:
            raise UserError(
                f"--tests {pattern}: {folder} has no such program. Build it (launch/build), or "
                f"name another."
            )
        found |= {path.name: path for path in paths}
    return [found[name] for name in sorted(found)]


def _is_program(path):
    usable = path.is_file() and os.access(path, os.X_OK) and "CMakeFiles" not in path.parts
    return usable and path.suffix != ".so" and elf.is_elf(path)


def _copy_binary(source, target, rpath):
    """Copies a program or library without its symbols and its path to this machine's folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)
    elf.strip(target)
    return elf.set_rpath(target, rpath)


def _copy_binaries(build, mpi, libraries, root):
    for program in [build.rondo, *build.tests, *mpi.programs]:
        if not _copy_binary(program, root / "bin" / program.name, "$ORIGIN/../lib"):
            raise UserError(
                f"{program}: names no folder for its libraries (RPATH), so that none can be put in "
                f"its place. Build it with one (CMake: -DCMAKE_BUILD_RPATH=FOLDER)."
            )
    (root / "bin/mpirun").symlink_to("orterun")
    for name, library in libraries.carried.items():
        _copy_binary(library, root / "lib" / name, "$ORIGIN")
    for name, library in libraries.spare.items():
        _copy_binary(library, root / "spare" / name / name, "$ORIGIN")
    for plugin in mpi.plugins:
        _copy_binary(plugin, root / open_mpi.PLUGINS / plugin.name, "$ORIGIN/..")


def _copy_repository(root):
    for source, target in _COPIES.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "start")
            shutil.copytree(REPOSITORY / source, path, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / source, path)


def _fill(root, build):
    """All files of the bundle but the manifest; returns what the manifest says of them."""
    mpi = open_mpi.OpenMpi()
    libraries = Libraries(elf.loaded(build.rondo)["libtorch_cpu.so"].parents[1])
    programs = [build.rondo, *build.tests, *mpi.programs]
    for path in [*programs, *mpi.plugins]:
        libraries.add(path)
    pmix_plugins, pmix_texts = open_mpi.pmix_folders(libraries.carried)
    _copy_binaries(build, mpi, libraries, root)
    for plugin in sorted(pmix_plugins.glob("*.so")) if pmix_plugins else []:
        _copy_binary(plugin, root / open_mpi.PMIX_PLUGINS / plugin.name, "$ORIGIN/..")
    open_mpi.copy_texts(mpi, pmix_texts, root)
    _copy_repository(root)
    sample.make(root / "data")
    foreign = [*libraries.carried.values(), *libraries.spare.values(), *mpi.programs, *mpi.plugins]
    notices.copy(foreign, root / "notices")
    carried = [path for folder in ("bin", "lib") for path in (root / folder).rglob("*")]
    return {
        "glibc": elf.newest_glibc([path for path in carried if path.is_file()]),
        "open_mpi": mpi.version,
        "tests": [path.name for path in build.tests],
        "torch_libraries": sorted(libraries.torch),
    }


def bundle(options):
    if not options.out.name.endswith(archive.SUFFIXES):
        raise UserError(f"{options.out}: a bundle is named *{' or *'.join(archive.SUFFIXES)}.")
    build = Build(options.build, options.tests)
    with tempfile.TemporaryDirectory(prefix="rondo-bundle-") as folder:
        root = Path(folder) / archive.TOP
        root.mkdir()
        facts = build.facts() | _fill(root, build)
        archive.write_manifest(root, facts)
        size = archive.write(root, options.out, options.most_mb * 1e6)
    say(f"{options.out}: {size / 1e6:.1f} MB, rondo {facts['commit']}, for torch {facts['torch']}")
    say(f"test programs: {' '.join(facts['tests']) or 'none'}")
    return 0


def main(arguments):
    return bundle(parser().parse_args(arguments))
