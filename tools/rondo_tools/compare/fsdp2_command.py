"""tools/compare/fsdp2: speed of rondo's training step beside that of PyTorch's FSDP2 or DDP."""

import argparse
import json
import statistics
import sys

from rondo_tools.compare.options import add_binary, binary_of, positive
from rondo_tools.compare.sides import run_peer, run_rondo
from rondo_tools.errors import UserError

# A peer below this share of the calibration is not set up as it can be.
_LEAST_FRACTION = 0.40
# Ratios of repeats further apart than this factor tell of other programs on the machine.
_MOST_SPREAD = 1.15
_PEERS = {"fsdp2": ["fsdp2"], "ddp": ["ddp"], "both": ["ddp", "fsdp2"]}
_SETTINGS = {
    "fsdp2": "a unit per block, weights whole until the last backward is done",
    "ddp": "buckets of 25 MB, gradients as views of them",
}
_COMMON_SETTINGS = (
    "gradient sums in the last micro-batch only, logits_to_keep=labelled positions, fused AdamW, "
    "sdpa, gloo, freed memory kept"
)


def parser():
    parser = argparse.ArgumentParser(
        prog="compare/fsdp2",
        description="Runs `rondo bench step` and the same step of transformers' "
        "LlamaForCausalLM under PyTorch's FSDP2 or DDP by turns: same shapes, documents and "
        "labels, one thread a rank, started and bound alike. Prints real tokens per second of both "
        "(medians of a repeat, then over the repeats), and as the last line JSON. Refuses to "
        "measure a peer that does not keep packed documents apart. Nothing else should run on the "
        "machine meanwhile.",
    )
    parser.add_argument("--peer", choices=sorted(_PEERS), default="fsdp2")
    parser.add_argument("--ranks", type=positive, default=2, help="1, 2 or 4 (default: 2)")
    parser.add_argument(
        "--steps", type=positive, default=5, help="timed in a repeat, after 2 that are not"
    )
    parser.add_argument("--repeats", type=positive, default=3, help="of both sides, by turns")
    parser.add_argument("--layers", type=positive, default=12, help="transformer blocks")
    parser.add_argument(
        "--compile", action="store_true", help="let torch.compile compile the peer's blocks"
    )
    add_binary(parser)
    return parser


def _median(runs, name):
    return statistics.median(run[name] for run in runs)


def _best(runs):
    """Seconds of the fastest step of all."""
    return min(run["best_seconds"] for run in runs)


def _check_alike(peer, rondo, found):
    """Throws when the two sides did not do the same work by the same means."""
    for name in ("flops_per_token", "threads_per_rank"):
        if rondo[name] != found[name]:
            raise UserError(
                f"{name} of rondo is {rondo[name]}, of {peer} {found[name]}, expected the same: "
                "their speeds would not compare. Build rondo from this source: run launch/build."
            )


def _result(peer, options, rondo_runs, peer_runs):
    rondo, found = _median(rondo_runs, "tokens_per_s"), _median(peer_runs, "tokens_per_s")
    pairs = zip(rondo_runs, peer_runs, strict=True)
    settings = f"{_COMMON_SETTINGS}, {_SETTINGS[peer]}"
    return {
        "rondo": round(rondo, 1),
        "peer": round(found, 1),
        "ratio": round(rondo / found, 3),
        "ratios": [round(a["tokens_per_s"] / b["tokens_per_s"], 3) for a, b in pairs],
        "ratio_of_fastest_steps": round(_best(peer_runs) / _best(rondo_runs), 3),
        "peer_name": peer,
        "peer_settings": settings + (", blocks compiled" if options.compile else ", eager"),
        "rondo_fraction_of_calibration": round(_median(rondo_runs, "fraction_of_calibration"), 3),
        "peer_fraction_of_calibration": round(_median(peer_runs, "fraction_of_calibration"), 3),
        "rondo_calibration_flops": round(_median(rondo_runs, "calibration_flops")),
        "peer_calibration_flops": round(_median(peer_runs, "calibration_flops")),
        "flops_per_token": rondo_runs[0]["flops_per_token"],
        "ranks": options.ranks,
        "threads_per_rank": peer_runs[0]["threads_per_rank"],
        "layers": options.layers,
        "torch": peer_runs[0]["torch"],
        "transformers": peer_runs[0]["transformers"],
        "steps": options.steps,
        "repeats": options.repeats,
    }


def _print_table(sides):
    """`sides`: runs by name."""
    print(
        f"{'':8}{'tokens/s':>10}{'s/step':>9}{'fastest':>9}{'of calibration':>16}{'GFLOP/s':>9}"
        f"{'FLOPs/token':>13}{'loss':>8}"
    )
    for name, runs in sides.items():
        print(
            f"{name:8}{_median(runs, 'tokens_per_s'):10.1f}{_median(runs, 'median_seconds'):9.3f}"
            f"{_best(runs):9.3f}{_median(runs, 'fraction_of_calibration'):16.3f}"
            f"{_median(runs, 'calibration_flops') / 1e9:9.1f}"
            f"{runs[0]['flops_per_token']:13.0f}{runs[-1]['loss']:8.3f}"
        )
    print(
        "GFLOP/s: the calibration, of all ranks together. loss: of the last step; initial weights "
        "and tokens differ."
    )


def _warn(result):
    name, ratios = result["peer_name"], result["ratios"]
    if result["peer_fraction_of_calibration"] < _LEAST_FRACTION:
        print(
            f"warning: {name} reached {result['peer_fraction_of_calibration']:.3f} of the "
            f"calibration, expected at least {_LEAST_FRACTION:.2f}: a ratio to it proves nothing. "
            "Measure on a machine where nothing else runs, with the packages of "
            "tools/requirements.txt.",
            file=sys.stderr,
        )
    if max(ratios) > _MOST_SPREAD * min(ratios):
        print(
            f"warning: the ratios to {name} are from {min(ratios)} to {max(ratios)}, expected "
            f"within a factor of {_MOST_SPREAD}: the machine was disturbed. Measure again while "
            "nothing else runs, or with more --repeats.",
            file=sys.stderr,
        )


def main(arguments):
    options = parser().parse_args(arguments)
    binary = binary_of(options)
    peers = _PEERS[options.peer]
    sides = {"rondo": [], **{peer: [] for peer in peers}}
    shape = (options.ranks, options.layers, options.steps)
    for repeat in range(options.repeats):
        sides["rondo"].append(run_rondo(binary, *shape))
        for peer in peers:
            sides[peer].append(run_peer(peer, *shape, options.compile))
            _check_alike(peer, sides["rondo"][-1], sides[peer][-1])
        speeds = ", ".join(f"{name} {runs[-1]['tokens_per_s']:.1f}" for name, runs in sides.items())
        print(f"repeat {repeat + 1} of {options.repeats}, tokens/s: {speeds}", file=sys.stderr)
    _print_table(sides)
    results = [_result(peer, options, sides["rondo"], sides[peer]) for peer in peers]
    for result in results:
        _warn(result)
    for result in results:
        print(json.dumps(result))
    return 0
