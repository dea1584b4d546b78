"""tools/quickstart_matrix: lets the model of each round answer the held-out prompts of each family
(rondo generate), scores the answers (tools/decode, tools/score) and prints the matrix.

Everything lies in the run folder, so that each step can be repeated by hand (README.md): copies of
the texts and of the tokenised held-out prompts, data/FAMILY.train.jsonl, data/FAMILY.heldout.jsonl,
data/FAMILY.heldout.h5; rounds/ROUND/FAMILY.generated.h5, rounds/ROUND/FAMILY.answers.jsonl;
matrix.json.
"""

import argparse
import json
import shutil
from pathlib import Path

from rondo_tools.called import called
from rondo_tools.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def _rounds(run):
    ledger = run / "ledger.jsonl"
    if not ledger.is_file():
        raise UserError(f"{ledger}: is missing; has the run finished a round?")
    names = []
    for line in ledger.read_text().splitlines():
        name = json.loads(line)["round"]
        if name not in names:
            names.append(name)
    return names


def _keep(options, families):
    """Copies what the answers are asked from and judged by into the run folder."""
    kept = Path(options.run) / "data"
    kept.mkdir(exist_ok=True)
    for family in families:
        for source in (
            Path(options.data) / f"{family}.train.jsonl",
            Path(options.data) / f"{family}.heldout.jsonl",
            Path(options.cache) / f"{family}.heldout.h5",
        ):
            if not source.is_file():
                raise UserError(
                    f"{source}: no such file. Give --data and --cache the folders that the run was "
                    f"trained from."
                )
            shutil.copyfile(source, kept / source.name)
    return kept


def _score(options, kept, name, family):
    folder = Path(options.run) / "rounds" / name
    generated = folder / f"{family}.generated.h5"
    answers = folder / f"{family}.answers.jsonl"
    references = kept / f"{family}.heldout.jsonl"
    prompts = kept / f"{family}.heldout.h5"
    called(
        [ROOT / "launch/run", "-n", options.ranks, "generate", "--from", folder / "model",
         "--prompts", prompts, "--out", generated, "--max-new-tokens", 64, "--slots", 32]
    )  # fmt: skip
    called(
        [ROOT / "tools/decode", "--generated", generated, "--tokenizer", folder / "model",
         "--prompts", references, "--out", answers]
    )  # fmt: skip
    report = called(
        [ROOT / "tools/score", "--completions", answers, "--references", references]
    )  # fmt: skip
    return json.loads(report)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, metavar="FOLDER", help="run folder")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="made by tools/make_tasks")
    parser.add_argument(
        "--cache", metavar="FOLDER", help="tokenised files (default: RUN/../cache/NAME)"
    )
    parser.add_argument("--families", required=True, help="names, separated by spaces")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args(arguments)
    run = Path(options.run)
    options.cache = options.cache or run.parent / "cache" / run.name
    families = options.families.split()
    rounds = _rounds(run)
    kept = _keep(options, families)
    matrix = {}
    print("exact match on held-out prompts, in percent")
    print(f"{'round':12}" + "".join(f"{family:>14}" for family in families))
    for name in rounds:
        matrix[name] = {family: _score(options, kept, name, family)["share"] for family in families}
        cells = "".join(f"{100 * matrix[name][family]:14.1f}" for family in families)
        print(f"{name:12}{cells}", flush=True)
    (run / "matrix.json").write_text(json.dumps(matrix, indent=2) + "\n")
    print(f"written to {run / 'matrix.json'}")
    return 0
