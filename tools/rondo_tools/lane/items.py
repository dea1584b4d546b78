"""What the lane runs, in this order: the version, tests, training, benchmarks."""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rondo_tools.lane import figures

# As in cmake/tests.cmake: tests are of one thread, and ranks may be more than cores.
_OF_TESTS = {
    "OMP_NUM_THREADS": "1",
    "MKL_CBWR": "AVX2,STRICT",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
_NO_GPU = "no GPU here"


@dataclass
class Item:
    name: str
    command: list[str]
    limit_s: int
    figures_of: Callable[[str], dict]  # of its output
    environment: dict[str, str] = field(default_factory=dict)
    left_out: str = ""  # why it is not run unless it is named; empty: it is run
    # What is wrong with figures of an item that ended well; empty: nothing.
    judge: Callable[[dict], str] = lambda _: ""


def _test(bundle, name, gpu):
    of_gpu = name.startswith("test_gpu")
    reason = _NO_GPU if of_gpu and not gpu else ""
    if gpu and not of_gpu:
        reason = "a test for CPUs, and a GPU is here"
    command = [str(bundle.program(name))]
    if name.startswith("mpitest_"):
        command = [str(bundle.program("mpirun")), "-n", "2", *command]
    environment = _OF_TESTS if not of_gpu else {}
    return Item(name, command, 240, figures.of_tests, environment, reason)


def _kernels(bundle, name):
    words = ["--benchmark_min_time=0.02", "--benchmark_format=json"]
    command = [str(bundle.program(name)), *words]
    return Item(name, command, 60, figures.of_kernels, {"OMP_NUM_THREADS": "1"})


def _rondo(bundle, ranks, *words):
    """A command of rondo on so many ranks, with threads and binding as launch/run chooses them."""
    run = str(bundle.root / "launch" / "run")
    return [sys.executable, run, "--mpirun", "-n", str(ranks), *words]


def _training(bundle, out, ranks, name, device="cpu", precision="fp32", **more):
    config = str(bundle.root / "configs" / "lane.yaml")
    overrides = (
        f"run.dir={out / 'runs'}",
        f"run.name={name}",
        "checkpoint.resume=never",
        f"device={device}",
        f"precision={precision}",
    )
    command = _rondo(bundle, ranks, "train", config, *overrides)

    def figures_of(_):
        return figures.of_run(out / "runs" / name)

    return Item(name, command, 90, figures_of, **more)


def _training_on_gpu(bundle, out, precision, bound, gpu):
    """The run of train-1 on a GPU: its losses are those of train-1 within a share of `bound`."""

    def judge(_):
        return figures.difference(out / "runs" / "train-1", out / "runs" / name, bound)

    name = f"train-gpu-{precision}"
    reason = "" if gpu else _NO_GPU
    return _training(bundle, out, 1, name, "cuda", precision, left_out=reason, judge=judge)


def _bench(bundle, name, ranks, *words, **more):
    return Item(name, _rondo(bundle, ranks, "bench", *words), 150, figures.of_bench, **more)


def _bench_of_model(bundle, shape, tokens, packs, micro_packs, gpu):
    """A training step of a known model: packs of one document each, every token trained on."""
    length = str(tokens)
    sizes = ("--seq-len", length, "--document", length, "--train-every", "1")
    batch = ("--packs", str(packs), "--micro-packs", str(micro_packs), "--steps", "30")
    words = ("step", "--device", "cuda", "--shape", shape, *sizes, *batch)
    return _bench(bundle, f"bench-{shape}", 1, *words, left_out="" if gpu else _NO_GPU)


def missing_gpu_tests(bundle, gpu):
    """Why no test of the GPU can be run although one is here; empty: it can, or there is none."""
    if not gpu or any(name.startswith("test_gpu") for name in bundle.manifest["tests"]):
        return ""
    return (
        "a GPU is here, but the bundle carries no test program for it; build rondo with "
        "-DRONDO_CUDA=ON and bundle it again"
    )


def all_items(bundle, out, gpu):
    """`gpu`: whether there is one. Commands that write do it below the folder `out`."""
    out = Path(os.path.abspath(out))
    programs = bundle.manifest["tests"]
    tests = sorted(name for name in programs if not name.startswith("bench_"))
    tests.sort(key=lambda name: not name.startswith("test_gpu"))
    test = functools.partial(_test, bundle, gpu=gpu)
    return [
        Item("version", [str(bundle.program("rondo")), "--version"], 90, figures.of_version),
        *map(test, tests),
        _training(bundle, out, 1, "train-1"),
        _training(bundle, out, 2, "train-2"),
        _training_on_gpu(bundle, out, "fp32", 1e-3, gpu),
        _training_on_gpu(bundle, out, "bf16", 1e-2, gpu),
        _bench_of_model(bundle, "llama-3.2-1b", 4096, 8, 2, gpu),
        _bench_of_model(bundle, "qwen2.5-1.5b", 1024, 32, 8, gpu),
        _bench(bundle, "bench-gemm", 1, "gemm"),
        _bench(bundle, "bench-step", 1, "step", "--steps", "3", "--device", "cpu"),
        _bench(bundle, "bench-step-2", 2, "step", "--steps", "3", "--device", "cpu"),
        *(_kernels(bundle, name) for name in sorted(set(programs) - set(tests))),
    ]
