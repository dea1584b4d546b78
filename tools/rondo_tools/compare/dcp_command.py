"""tools/compare/dcp: speed of rondo's checkpoints beside torch.distributed.checkpoint."""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from rondo_tools.compare.options import add_binary, binary_of, positive
from rondo_tools.compare.sides import run_dcp, run_rondo_checkpoint
from rondo_tools.environment import REPOSITORY
from rondo_tools.errors import UserError


def parser():
    parser = argparse.ArgumentParser(
        prog="compare/dcp",
        description="Saves and loads the same tensors by `rondo bench checkpoint` and by "
        "torch.distributed.checkpoint by turns, on the same disk. A save ends when it is durable: "
        "rondo's with checksums, manifest and rename, the peer's with sync_files. Prints bytes per "
        "second of both, and as the last line JSON. Nothing else should run on the machine "
        "meanwhile.",
    )
    parser.add_argument("--ranks", type=positive, default=2)
    parser.add_argument("--bytes", type=positive, default=2_000_000_000, help="over all ranks")
    parser.add_argument("--saves", type=positive, default=3, help="timed in a repeat, after one")
    parser.add_argument("--repeats", type=positive, default=3, help="of both sides, by turns")
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "build", help="on the disk to be measured"
    )
    add_binary(parser)
    return parser


def _speed(runs, kind):
    """Bytes per second of the median of all repeats."""
    seconds = [one for run in runs for one in run[kind]]
    return runs[0]["bytes"] / statistics.median(seconds)


def _rondo_run(found):
    return {
        "bytes": found["bytes"],
        "save": found["save"]["seconds"],
        "load": found["load_and_verify"]["seconds"],
    }


def _peer_run(found):
    return {"bytes": found["bytes"], "save": found["save_seconds"], "load": found["load_seconds"]}


def main(arguments):
    options = parser().parse_args(arguments)
    binary = binary_of(options)
    if not options.folder.is_dir():
        raise UserError(f"{options.folder} is no folder: name one on the disk to be measured.")
    rondo, peer, torch = [], [], ""
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="rondo-dcp-", dir=options.folder) as folder:
            work = (options.ranks, options.bytes, options.saves, folder)
            rondo.append(_rondo_run(run_rondo_checkpoint(binary, *work)))
            found = run_dcp(*work)
        peer.append(_peer_run(found))
        torch = found["torch"]
        if rondo[-1]["bytes"] != found["bytes"]:
            raise UserError(
                f"rondo saved {rondo[-1]['bytes']} bytes, the peer {found['bytes']}: build rondo "
                "from this source: run launch/build."
            )
        print(f"repeat {repeat + 1} of {options.repeats} is done", file=sys.stderr)
    for name, runs in (("rondo", rondo), ("dcp", peer)):
        print(f"{name:6} save {_speed(runs, 'save') / 1e9:6.3f} GB/s   load "
              f"{_speed(runs, 'load') / 1e9:6.3f} GB/s")  # fmt: skip
    mine, theirs = _speed(rondo, "save"), _speed(peer, "save")
    result = {
        "rondo": round(mine),
        "peer": round(theirs),
        "ratio": round(mine / theirs, 3),
        "unit": "bytes/s saved, durable",
        "rondo_load": round(_speed(rondo, "load")),
        "peer_load": round(_speed(peer, "load")),
        "rondo_verifies": "CRC32C of every block and a digest of all tensors",
        "peer_verifies": "nothing",
        "bytes": rondo[0]["bytes"],
        "ranks": options.ranks,
        "saves": options.saves * options.repeats,
        "torch": torch,
    }
    print(json.dumps(result))
    return 0
