"""What the end-to-end tests share: small data, a small recipe, the program as a user starts it."""

import contextlib
import copy
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

from tests.support import tokenized_file

ROOT = Path(os.environ["RONDO_SOURCE"])
RONDO = os.environ["RONDO_BINARY"]
TIMEOUT_S = 120
VOCAB = 320  # of the tokenizer that make_texts() trains and of the model
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_CBWR": "AVX2,STRICT",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
STEP_FIELDS = re.compile(r'"step": (\d+), .*?"loss": ([^,]+), "grad_norm": ([^,]+),')
RECIPE = {
    "run": {"name": "run", "seed": 3, "print_every": 1},
    "model": {
        "shape": {
            "hidden": 32,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "ffn": 64,
            "vocab": VOCAB,
            "max_seq": 128,
            "tied": True,
        }
    },
    "device": "cpu",  # also where a GPU is: ranks here share it
    "batch": {"seq_len": 64, "packs": 4, "micro_packs": 2},
    "optimizer": {"lr": 3e-3, "betas": [0.9, 0.95]},
    "schedule": {"kind": "cosine", "warmup": 2, "final": 0.1},
    "evaluate": {"at_start": True, "max_examples": 0},
    "clean": {"exact": "off", "near": "off"},  # examples of made-up tokens are alike
}


def merged(base, changes):
    """A copy of `base` in which `changes` replace it key by key; None takes a key away."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def command(arguments, ranks=1, launcher=False):
    words = [str(word) for word in arguments]
    if launcher:
        return [str(ROOT / "launch" / "run"), "-n", str(ranks), *words]
    return (["mpirun", "-q", "-n", str(ranks)] if ranks > 1 else []) + [RONDO, *words]


def rondo(*arguments, ranks=1, launcher=False, environment=None):
    return run_command(command(arguments, ranks, launcher), environment)


def run_command(words, environment=None):
    """A command line in the environment of the tests, and what is added to it, to its end."""
    return subprocess.run(
        words,
        env=ONE_THREAD | os.environ | {"RONDO_BINARY": RONDO} | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def tool(name, *arguments):
    """Runs tools/<name>; what it prints, or an error when it fails."""
    words = [str(ROOT / "tools" / name), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Job:
    """A start of the program that can be killed with everything it has started."""

    def __init__(self, *arguments, ranks=1, launcher=False, environment=None):
        self.process = subprocess.Popen(
            command(arguments, ranks, launcher),
            env=ONE_THREAD | os.environ | {"RONDO_BINARY": RONDO} | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, text, times=1):
        """Reads output lines until `text` has come so often. False when the program ends before."""
        for line in self.process.stdout:
            self.output += line
            times -= text in line
            if times <= 0:
                return True
        return False

    def read_for(self, seconds):
        """Lets the program run on, at most so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def signal(self, number):
        self.process.send_signal(number)

    def finish(self):
        self.output += self.process.communicate(timeout=TIMEOUT_S)[0]
        return self.process.returncode

    def kill(self):
        """SIGKILL to the launcher and all ranks; returns when none of them is left."""
        handles = []
        for process in stopped_descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                handles.append(os.pidfd_open(process))
                os.kill(process, signal.SIGKILL)
        for handle in handles:
            select.select([handle], [], [], TIMEOUT_S)
            os.close(handle)
        return self.finish()


def stopped_descendants(process):
    """The process and all that it has started, each stopped so that it starts no more."""

    def stop(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found, signal.SIGSTOP)

    return descendants(process, before=stop)


def descendants(process, before=lambda found: None):
    """The process and all that it has started; `before` is called with each before its own are
    looked for."""
    found = [process]
    for parent in found:
        before(parent)
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found


def process_of_rank(launcher, rank):
    """The process number of that rank among all that `launcher` has started."""
    for process in descendants(launcher):
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            program = Path(f"/proc/{process}/comm").read_text().strip()
            if program == "rondo" and f"OMPI_COMM_WORLD_RANK={rank}".encode() in environment:
                return process
    raise AssertionError(f"no process of rank {rank}")


def is_there(process):
    """Whether it has not ended; one that has may wait to be buried by a parent that is not ours."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")")[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def write_tokenized(path, examples, prompt=2, vocab=VOCAB, end_of_turn=1):
    """A tokenised file of token lists; the tokens from `prompt` on are trained."""
    pairs = [(tokens, [int(i >= prompt) for i in range(len(tokens))]) for tokens in examples]
    return tokenized_file.write_tokenized(path, pairs, vocab=vocab, end_of_turn=end_of_turn)


def counting(seed, examples=60):
    """Token lists that a model can learn: each counts up from a random start."""
    random = np.random.default_rng(seed)
    starts = random.integers(2, VOCAB - 40, examples)
    lengths = random.integers(6, 30, examples)
    return [np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)]


def make_texts(folder, train=120, heldout=12):
    """JSONL tasks of four families and a tokenizer trained on them, in folder/texts."""
    texts = Path(folder) / "texts"
    tool("make_tasks", "--out", texts, "--train", train, "--heldout", heldout)
    tool(
        "train_tokenizer",
        *("--input", texts / "*.train.jsonl", "--out", texts / "tokenizer"),
        *("--vocab", VOCAB, "--digits"),
    )
    return texts


def json_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def steps(run_folder):
    """Step, loss and gradient norm of each line, as they stand in the file."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [STEP_FIELDS.search(line).groups() for line in lines]


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tree(folder):
    """Names and contents of all files under a folder, for `nothing was written`."""
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


class RunTest(unittest.TestCase):
    """A test with a scratch folder, in which recipes and their runs live."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="rondo-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def recipe(self, name="run", **changes):
        """Writes a configuration of RECIPE with changes; its path. JSON is YAML too."""
        config = merged(RECIPE, {"run": {"name": name, "dir": str(self.folder / "runs")}})
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(merged(config, changes), indent=1))
        return path

    def run_folder(self, name="run"):
        return self.folder / "runs" / name

    def metrics(self, name="run"):
        return json_lines(self.run_folder(name) / "metrics.jsonl")

    def ledger(self, name="run"):
        return json_lines(self.run_folder(name) / "ledger.jsonl")

    def train(self, config, *overrides, ranks=1, launcher=False, expect=0):
        done = rondo("train", config, *overrides, ranks=ranks, launcher=launcher)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    def expect_same_runs(self, name, other):
        """Everything that two runs of one recipe must have in common, to the last bit."""
        mine, yours = self.run_folder(name), self.run_folder(other)
        self.assertEqual(steps(mine), steps(yours))
        numbers = [int(step) for step, _, _ in steps(mine)]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        for round_name in [line["round"] for line in self.ledger(other)]:
            weights = f"rounds/{round_name}/model/model.safetensors"
            self.assertEqual(digest(mine / weights), digest(yours / weights))

        def results(run_name):
            return [
                (line["round"], line["result_digest"], line["heldout"], line["last_step"])
                for line in self.ledger(run_name)
            ]

        self.assertEqual(results(name), results(other))
