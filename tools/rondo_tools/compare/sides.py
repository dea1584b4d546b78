"""Starts rondo and the peer one after another, each by launch/run, and reads their figures."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rondo_tools.environment import REPOSITORY
from rondo_tools.errors import UserError

_THREADS_PER_RANK = "1"


def _launch(program, ranks, arguments, settings, says):
    """Standard output of `program` on `ranks` ranks of one thread, bound as launch/run binds."""
    environment = {
        **os.environ,
        **settings,
        "RONDO_BINARY": str(program),
        "OMP_NUM_THREADS": _THREADS_PER_RANK,
    }
    launcher = REPOSITORY / "launch" / "run"
    command = [launcher, "--mpirun", "-n", ranks, *arguments]
    done = subprocess.run(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode < 0:
        raise UserError(f"{says} was killed by signal {-done.returncode}. Run it again.")
    if done.returncode != 0:
        raise UserError(
            f"{says} ended with exit code {done.returncode} on {ranks} ranks, expected 0; its "
            "messages are above. Correct what they say, and run again."
        )
    return done.stdout


def run_rondo(binary, ranks, layers, steps):
    """The JSON object of `rondo bench step`."""
    arguments = ["bench", "step", "--steps", steps, "--layers", layers]
    return json.loads(_launch(binary, ranks, arguments, {}, "rondo bench step"))


def run_rondo_checkpoint(binary, ranks, size, saves, folder):
    """The JSON object of `rondo bench checkpoint`."""
    arguments = ["bench", "checkpoint", "--bytes", size, "--saves", saves, "--folder", folder]
    return json.loads(_launch(binary, ranks, arguments, {}, "rondo bench checkpoint"))


def run_peer(peer, ranks, layers, steps, compiled):
    """The same figures, as far as they are needed, of FSDP2 or DDP."""
    arguments = ["--peer", peer, "--layers", layers, "--steps", steps]
    arguments += ["--compile"] if compiled else []
    return _run_process("peer_process.py", arguments, ranks, f"the peer {peer}")


def _same_step(options):
    """The words of `rondo bench step` and of transformers_gpu_process.py for the same step."""
    words = ["--shape", options.shape, "--seq-len", options.seq_len, "--packs", options.packs]
    words += ["--micro-packs", options.micro_packs, "--steps", options.steps]
    words += ["--device", options.device]
    return words + (["--layers", options.layers] if options.layers else [])


def run_rondo_model(binary, options):
    """The JSON object of `rondo bench step` of a known model, every token trained on."""
    more = ["--document", options.seq_len, "--train-every", 1, "--moments", options.moments]
    arguments = ["bench", "step", *_same_step(options), *more]
    return json.loads(_launch(binary, 1, arguments, {}, "rondo bench step"))


def run_transformers(options):
    """The same figures, as far as they are needed, of transformers."""
    arguments = [*_same_step(options), "--attention", options.attention]
    arguments += ["--compile"] if options.compile else []
    return _run_process("transformers_gpu_process.py", arguments, 1, "transformers")


def run_dcp(ranks, size, saves, folder):
    """The same of torch.distributed.checkpoint."""
    arguments = ["--bytes", size, "--saves", saves, "--folder", folder]
    return _run_process("dcp_process.py", arguments, ranks, "torch.distributed.checkpoint")


def _run_process(file, arguments, ranks, says):
    """What a program of this folder writes to its --result, on so many ranks."""
    never = str(1 << 40)
    settings = {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(REPOSITORY / "tools"), os.environ.get("PYTHONPATH")])
        ),
        # Memory that was freed is used again rather than asked of the kernel page by page.
        "MALLOC_TRIM_THRESHOLD_": never,
        "MALLOC_MMAP_THRESHOLD_": never,
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
    }
    with tempfile.TemporaryDirectory(prefix="rondo-compare-") as folder:
        result = Path(folder) / "result.json"
        program = Path(__file__).with_name(file)
        command = [program, *arguments, "--result", result]
        _launch(sys.executable, ranks, command, settings, says)
        found = json.loads(result.read_text(encoding="ascii"))
    if "error" in found:
        raise UserError(found["error"])
    return found
