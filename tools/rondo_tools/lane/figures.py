"""Figures out of what programs print or write: {name: number or text} for each kind of item."""

import json
import re


def of_tests(text):
    """GoogleTest: how many tests passed, failed and were skipped; over all ranks, where several."""
    figures = {}
    for name, word in (("passed", "PASSED"), ("failed", "FAILED"), ("skipped", "SKIPPED")):
        counts = re.findall(rf"^\[  {word} +\] (\d+) tests?", text, re.MULTILINE)
        if counts:
            figures[name] = sum(map(int, counts))
    return figures


def _json_in(text):
    """The JSON object that begins on a line of its own; programs may say something before it."""
    start = re.search(r"^\{", text, re.MULTILINE)
    try:
        return json.JSONDecoder().raw_decode(text[start.start() :])[0] if start else {}
    except ValueError:
        return {}


def of_bench(text):
    """rondo bench: the numbers and texts at the top of its JSON."""
    found = _json_in(text)
    return {name: value for name, value in found.items() if isinstance(value, int | float | str)}


def of_kernels(text):
    """Google Benchmark with --benchmark_format=json: the time of each."""
    return {
        entry["name"]: f"{entry['real_time']:.4g} {entry['time_unit']}"
        for entry in _json_in(text).get("benchmarks", [])
        if "real_time" in entry
    }


def _steps_of(folder):
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "loss" in row and "step" in row]


def difference(reference, folder, bound):
    """Where the losses of a run are further from another's than a share of `bound`; empty:
    nowhere."""
    wanted, found = _steps_of(reference), _steps_of(folder)
    if not wanted or len(wanted) != len(found):
        return f"{len(found)} steps, and {len(wanted)} in {reference.name}"
    for one, other in zip(wanted, found, strict=True):
        if not abs(other["loss"] / one["loss"] - 1) <= bound:
            return (
                f"the loss of step {one['step']} is {other['loss']}, and {one['loss']} in "
                f"{reference.name}: further away than {bound:g} of it"
            )
    return ""


def of_run(folder):
    """A run folder: first and last loss, and the median speed of its steps."""
    steps = _steps_of(folder)
    if not steps:
        return {}
    figures = {"steps": len(steps), "first_loss": steps[0]["loss"], "last_loss": steps[-1]["loss"]}
    speeds = sorted(row["tokens_per_s"] for row in steps if "tokens_per_s" in row)
    if speeds:
        figures["median_tokens_per_s"] = speeds[len(speeds) // 2]
    return figures


def of_version(text):
    return dict(re.findall(r"^(rondo|build|compiler|libtorch|MPI|HDF5|CUDA) +(.+)$", text, re.M))
