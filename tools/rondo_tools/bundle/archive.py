"""The manifest of a bundle, and the bundle as one compressed file."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime

from rondo_tools.errors import UserError

TOP = "rondo-lane"  # the only folder at the top of the archive
MANIFEST = "manifest.json"
SUFFIXES = (".tar.gz", ".tar.zst")


def write_manifest(root, facts):
    """manifest.json: the facts, the date, size and SHA-256 of every other file of the bundle."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    manifest = {
        "format": "rondo.lane",
        "version": 1,
        "bundled_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **facts,
        "files": [
            {
                "path": str(path.relative_to(root)),
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        ],
    }
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _of_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _write_zst(root, out):
    command = ["zstd", "-q", "-19", "-T0", "-o", str(out), "--force"]
    if shutil.which("zstd") is None:
        raise UserError(f"{out}: zstd was not found. Install it, or name the bundle *.tar.gz.")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            archive.add(root, arcname=TOP, filter=_of_root)
        process.stdin.close()
    if process.returncode != 0:
        raise OSError(f"zstd: exit code {process.returncode} while it wrote {out}")


def write(root, out, most_bytes):
    """Packs the folder; an archive of more than `most_bytes` is removed again. Returns its size."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        if out.name.endswith(".tar.zst"):
            _write_zst(root, partial)
        else:
            with tarfile.open(partial, "w:gz", compresslevel=6) as archive:
                archive.add(root, arcname=TOP, filter=_of_root)
        size = partial.stat().st_size
        if size > most_bytes:
            raise UserError(
                f"{out}: the bundle would be {size / 1e6:.1f} MB, more than {most_bytes / 1e6:g} "
                f"MB. Name fewer test programs with --tests, or raise --most-mb."
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return size
