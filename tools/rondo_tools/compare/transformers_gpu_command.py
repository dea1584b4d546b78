"""tools/compare/transformers_gpu: speed of rondo's step on one GPU beside that of transformers."""

import argparse
import json
import sys

from rondo_tools.compare import known_shapes
from rondo_tools.compare.options import add_binary, binary_of, positive
from rondo_tools.compare.sides import run_rondo_model, run_transformers
from rondo_tools.errors import UserError

_SETTINGS = (
    "weights, gradients and Adam's moments bf16 (rondo's master weights, gradients and moments are "
    "float32 unless --moments bf16), fused AdamW, gradient norm clipped, no dropout"
)


def parser():
    parser = argparse.ArgumentParser(
        prog="compare/transformers_gpu",
        description="Runs `rondo bench step` and the same step of a model of transformers on one "
        "GPU, one after the other: same sizes, packs of one document each, every token trained on, "
        "clipping and AdamW included. Prints tokens per second and the share of the peak of both, "
        "and as the last line JSON. Nothing else should use the GPU meanwhile.",
    )
    parser.add_argument("--shape", choices=sorted(known_shapes.SHAPES), default="llama-3.2-1b")
    parser.add_argument("--layers", type=positive, help="blocks (default: the shape's)")
    parser.add_argument("--seq-len", type=positive, default=4096, help="tokens of a pack")
    parser.add_argument("--packs", type=positive, default=8, help="of a step (default: 8)")
    parser.add_argument("--micro-packs", type=positive, default=2, help="of a micro-batch")
    parser.add_argument("--steps", type=positive, default=30, help="timed, after 10 that are not")
    parser.add_argument("--moments", choices=("fp32", "bf16"), default="fp32", help="of rondo")
    parser.add_argument(
        "--attention", default="sdpa", help="of transformers: sdpa (default), flash_attention_2"
    )
    parser.add_argument("--compile", action="store_true", help="the model of transformers")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: in fp32, to try this tool"
    )
    add_binary(parser)
    return parser


def _result(options, rondo, peer):
    speeds = rondo["tokens_per_s"], peer["tokens_per_s"]
    flops = rondo["flops_per_token"]
    return {
        "rondo": round(speeds[0], 1),
        "peer": round(speeds[1], 1),
        "ratio": round(speeds[0] / speeds[1], 3),
        "peer_name": "transformers",
        "peer_settings": f"{_SETTINGS}, {options.attention}"
        + (", compiled" if options.compile else ", eager"),
        "rondo_share_of_peak": round(rondo["fraction_of_calibration"], 4),
        "peer_share_of_peak": round(speeds[1] * flops / rondo["calibration_flops"], 4),
        "flops_per_token": flops,
        "rondo_peak_bytes": rondo["peak_device_bytes"],
        "peer_peak_bytes": peer["peak_device_bytes"],
        "rondo_loss": rondo["loss"],
        "peer_loss": peer["loss"],
        "device": rondo["device"],
        "shape": options.shape,
        "parameters": rondo["parameters"],
        "seq_len": options.seq_len,
        "packs": options.packs,
        "micro_packs": options.micro_packs,
        "steps": options.steps,
        "moments": rondo["moments"],
        "torch": peer["torch"],
        "transformers": peer["transformers"],
    }


def _print_table(result):
    print(f"{result['device']}, {result['shape']}, packs of {result['seq_len']} tokens")
    print(f"{'':14}{'tokens/s':>10}{'of peak':>9}{'peak memory':>13}{'loss':>8}")
    for side in ("rondo", "peer"):
        name = "transformers" if side == "peer" else side
        print(
            f"{name:14}{result[side]:10.1f}{result[f'{side}_share_of_peak']:9.3f}"
            f"{result[f'{side}_peak_bytes'] / 1e9:10.2f} GB{result[f'{side}_loss']:8.3f}"
        )
    print("loss: of the last step; initial weights and tokens differ.")


def main(arguments):
    options = parser().parse_args(arguments)
    if options.packs % options.micro_packs != 0:
        raise UserError(
            f"--packs {options.packs} is no multiple of --micro-packs {options.micro_packs}."
        )
    rondo = run_rondo_model(binary_of(options), options)
    print(f"rondo {rondo['tokens_per_s']:.1f} tokens/s", file=sys.stderr)
    peer = run_transformers(options)
    if rondo["parameters"] != peer["parameters"]:
        raise UserError(
            f"rondo's model has {rondo['parameters']} parameters, that of transformers "
            f"{peer['parameters']}: their speeds would not compare. Build rondo from this source: "
            "run launch/build."
        )
    result = _result(options, rondo, peer)
    _print_table(result)
    print(json.dumps(result))
    return 0
