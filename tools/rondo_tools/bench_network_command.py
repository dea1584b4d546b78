"""tools/bench_network: a training step of two hosts on a slow link beside its parts."""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from rondo_tools.environment import REPOSITORY
from rondo_tools.errors import UserError
from rondo_tools.virtual_hosts import VirtualHosts

_HOSTS = 2
# What carries each purpose of an axis (src/parallel/reduction.cpp, src/parallel/unit.cpp).
_OPERATIONS = {
    ("shard", "gradients"): "all_to_all",
    ("shard", "weights"): "all_gather",
    # One all_to_all, one all_gather.
    ("replicate", "gradients"): "all_to_all",
}


def parser():
    parser = argparse.ArgumentParser(
        prog="bench_network",
        description="Runs `rondo bench step` on two hosts, made of network namespaces and joined "
        "by a link of the given rate, one rank and one thread each. Beside it, the step's parts: "
        "the computation, as two ranks that do not communicate do it at the same time, and the "
        "communication, as `rondo bench collectives` times each operation alone on the same link. "
        "Prints JSON: hidden_share is the part of the shorter of the two that the step did not "
        "add to the longer; over_longest is the step over the longer one. Needs root, iproute2 "
        "and two idle cores.",
    )
    parser.add_argument("--rate", default="1gbit", help="of the link, as tc writes it")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--packs", type=int, default=16, help="of both ranks together")
    parser.add_argument("--micro-packs", type=int, default=4)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--layout", choices=["1x2x1", "2x1x1"], default="1x2x1")
    parser.add_argument("--zero", type=int, choices=[0, 1, 2, 3], default=1)
    parser.add_argument(
        "--binary", type=Path, default=REPOSITORY / "build" / "release" / "rondo", metavar="FILE"
    )
    return parser


def _launch(binary, words, hosts=None):
    """A process of launch/run with one thread a rank: over the hosts, or one rank alone."""
    environment = {**os.environ, "RONDO_BINARY": str(binary), "OMP_NUM_THREADS": "1"}
    command = [REPOSITORY / "launch" / "run"]
    if hosts is None:
        command += ["-n", 1, "bench", *words]
    else:
        environment |= hosts.environment()
        slots = ",".join(f"{name}:1" for name in hosts.names)
        command += ["--mpirun", "-n", _HOSTS, "-H", slots, "bench", *words]
        command = hosts.command_on(hosts.names[0], command)
    return subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True
    )


def _result(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        raise UserError(
            f"'{' '.join(process.args)}' ended with exit code {process.returncode}, expected 0; "
            "its messages are above."
        )
    return json.loads(output)


def _computation(options, words):
    """Seconds of a step of two ranks at the same time, each on its own: the slower one's."""
    alone = [*words, "--packs", options.packs // _HOSTS, "--layout", "1x1x1", "--zero", 1]
    processes = [_launch(options.binary, alone) for _ in range(_HOSTS)]
    try:
        return max(_result(process)["median_seconds"] for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _seconds_of_call(results, operation, size):
    """Between the sizes that were timed: on the straight line through the logarithms."""
    points = sorted((r["bytes"], r["seconds"]) for r in results if r["operation"] == operation)
    upper = next((i for i, (found, _) in enumerate(points) if found >= size), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(0, upper - 1)], points[max(1, upper)]
    share = (math.log(size) - math.log(x0)) / (math.log(x1) - math.log(x0))
    return math.exp(math.log(y0) + share * (math.log(y1) - math.log(y0)))


def _communication(step, collectives):
    """Seconds of a step's large operations one after another, from what each takes alone."""
    seconds = 0.0
    for entry in step["communication"]:
        operation = _OPERATIONS.get((entry["axis"], entry["purpose"]))
        if operation and entry["calls_per_step"] > 0:
            size = entry["bytes_per_step"] / entry["calls_per_step"]
            seconds += entry["calls_per_step"] * _seconds_of_call(collectives, operation, size)
    return seconds


def main(arguments):
    options = parser().parse_args(arguments)
    if not os.access(options.binary, os.X_OK):
        raise UserError(f"{options.binary} is not there or not a program: run launch/build.")
    words = ["step", "--steps", options.steps, "--micro-packs", options.micro_packs]
    words += ["--layers", options.layers]
    spread = [*words, "--packs", options.packs, "--layout", options.layout, "--zero", options.zero]
    computation = _computation(options, words)
    print(f"computation {computation:.3f} s", file=sys.stderr)
    with VirtualHosts(_HOSTS, options.rate) as hosts:
        collectives = _result(_launch(options.binary, ["collectives", "--repeats", 5], hosts))
        step = _result(_launch(options.binary, spread, hosts))
    communication = _communication(step, collectives["results"])
    measured = step["median_seconds"]
    longer, shorter = max(computation, communication), min(computation, communication)
    result = {
        "rate": options.rate,
        "layout": options.layout,
        "zero": options.zero,
        "packs": options.packs,
        "layers": options.layers,
        "computation_seconds": computation,
        "communication_seconds": communication,
        "step_seconds": measured,
        "hidden_share": (longer + shorter - measured) / shorter,
        "over_longest": measured / longer,
        "step": step,
        "collectives": collectives["results"],
    }
    for name in ("computation_seconds", "communication_seconds", "step_seconds"):
        print(f"{name:22}{result[name]:8.3f}")
    print(f"{'hidden_share':22}{result['hidden_share']:8.3f}")
    print(f"{'over_longest':22}{result['over_longest']:8.3f}")
    print(json.dumps(result))
    return 0
