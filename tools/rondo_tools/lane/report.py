"""lane.json, which holds everything, and lane.md, the page made of it."""

import json
import os
import shlex

from rondo_tools.lane.running import FAILED, LEFT_OUT, NOT_RUN, PASSED, TIMED_OUT


def _write(path, text):
    """At once, so that a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write(folder, report):
    _write(folder / "lane.json", json.dumps(report, indent=1) + "\n")
    _write(folder / "lane.md", page(report))


def _devices(report):
    found = report["device"]["gpus"]
    if not found:
        return "none: nothing on this page was measured on a GPU"
    return "; ".join(f"{gpu['name']}, {gpu['memory']}, driver {gpu['driver']}" for gpu in found)


def _number(value):
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _head(report):
    device, bundle = report["device"], report["bundle"]
    facts = {
        "begun": report["begun_at"],
        "ended": report["ended_at"] or "not yet",
        "GPU": _devices(report),
        "processor": f"{device['processor']}, {device['cpus']} CPUs",
        "system": device["system"],
        "Python": device["python"],
        "torch": device["torch"],
        "rondo": f"{bundle['rondo']}, commit {bundle['commit']}, {bundle['compiler']}",
        "CUDA in rondo": bundle["cuda"],
        "Open MPI": bundle["open_mpi"],
        "bundled": bundle["bundled_at"],
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def _summary(items):
    lines = ["| item | result | seconds |", "|---|---|---|"]
    for item in items:
        why = f": {item['reason']}" if item.get("reason") else ""
        lines.append(f"| {item['name']} | {item['state']}{why} | {item.get('seconds', '')} |")
    return lines


def _section(item):
    variables = [f"{name}={shlex.quote(value)}" for name, value in item["environment"].items()]
    command = " ".join([*variables, shlex.join(item["command"])])
    lines = [f"## {item['name']}", "", "```", f"lane exec -- env {command}", "```", ""]
    if item["figures"]:
        lines += ["| figure | value |", "|---|---|"]
        lines += [f"| {name} | {_number(value)} |" for name, value in item["figures"].items()]
        lines.append("")
    if item["state"] in (FAILED, TIMED_OUT):
        lines += ["Last lines:", "", "```", *item["last_lines"], "```", ""]
    return lines


def verdict(report):
    """One sentence: what passed, and what did not."""
    states = [item["state"] for item in report["items"]]
    parts = [
        f"{states.count(state)} {state}" for state in (PASSED, FAILED, TIMED_OUT, NOT_RUN, LEFT_OUT)
    ]
    text = ", ".join(part for part in parts if not part.startswith("0 "))
    if report["gpu_tests_missing"]:
        text += f"; {report['gpu_tests_missing']}"
    return text


def all_passed(report):
    states = {item["state"] for item in report["items"]}
    return states <= {PASSED, LEFT_OUT} and PASSED in states and not report["gpu_tests_missing"]


def page(report):
    ran = [item for item in report["items"] if item["state"] not in (NOT_RUN, LEFT_OUT)]
    lines = [f"# rondo's lane on {report['device']['host']}", "", *_head(report), ""]
    lines += [verdict(report) + ".", "", *_summary(report["items"]), ""]
    lines += ["What is not in a table below was not run or not measured.", ""]
    for item in ran:
        lines += _section(item)
    return "\n".join(lines)
