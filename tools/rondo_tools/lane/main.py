"""lane run, lane list, lane exec. Exit codes: 0 all passed, 1 something did not, 2 the input or
this machine is not what is needed, 3 the system failed; of exec those of the command."""

import argparse
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rondo_tools.errors import UserError
from rondo_tools.lane import device, environment, items, report, running
from rondo_tools.lane.bundle import Bundle
from rondo_tools.lane.target import Torch, check_machine
from rondo_tools.say import say


def parser():
    parser = argparse.ArgumentParser(
        prog="lane", description="Runs rondo out of this bundle, with the torch of this Python."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="tests, training runs and benchmarks")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="for all that it makes")
    run.add_argument(
        "--only", action="append", metavar="NAME", help="this item of `lane list`; may be repeated"
    )
    run.add_argument(
        "--minutes", type=float, default=10, help="what is not begun by then is not run (10)"
    )
    verbs.add_parser("list", help="the items of lane run, and which of them are left out here")
    execute = verbs.add_parser("exec", help="any command: lane exec -- rondo train my.yaml")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    return parser


def _now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _chosen(found, only):
    """The items to look at; named ones are run wherever they can be."""
    if not only:
        return found
    by_name = {item.name: item for item in found}
    for name in only:
        if name not in by_name:
            raise UserError(f"--only {name}: no such item; there are: {', '.join(by_name)}.")
        by_name[name].left_out = ""
    return [by_name[name] for name in dict.fromkeys(only)]


def _record(item, bundle, variables, out, left_s):
    if item.left_out:
        return running.not_run(item, item.left_out, running.LEFT_OUT)
    if left_s < 1:
        return running.not_run(item, "the time of the lane was used up (--minutes)")
    say(f"{item.name} ...")
    log = out / "logs" / f"{item.name}.txt"
    record = running.run(item, bundle, variables, log, min(item.limit_s, left_s))
    say(f"{item.name}: {record['state']}, {record['seconds']} s")
    return record


def run(bundle, torch, variables, options):
    bundle.check_files()
    out = options.out
    if (out / "lane.json").exists():
        raise UserError(f"{out}: holds the results of another lane run. Name another folder.")
    described = device.describe(torch)
    gpu = bool(described["gpus"])
    chosen = _chosen(items.all_items(bundle, out, gpu), options.only)
    (out / "logs").mkdir(parents=True, exist_ok=True)
    manifest = {name: value for name, value in bundle.manifest.items() if name != "files"}
    missing = "" if options.only else items.missing_gpu_tests(bundle, gpu)
    result = {
        "format": "rondo.lane.report",
        "version": 1,
        "begun_at": _now(),
        "ended_at": None,
        "device": described,
        "bundle": manifest,
        "gpu_tests_missing": missing,
        "items": [],
    }
    deadline = time.monotonic() + 60 * options.minutes
    for item in chosen:
        left_s = deadline - time.monotonic()
        result["items"].append(_record(item, bundle, variables, out, left_s))
        report.write(out, result)  # what is known stays, should the next one be the last
    result["ended_at"] = _now()
    report.write(out, result)
    say(f"{report.verdict(result)}; {out / 'lane.md'}, {out / 'lane.json'}")
    return 0 if report.all_passed(result) else 1


def show(bundle):
    for item in items.all_items(bundle, Path("OUT"), bool(device.gpus())):
        note = f"left out: {item.left_out}" if item.left_out else f"at most {item.limit_s} s"
        say(f"{item.name:24} {note}")
    return 0


def execute(command, variables):
    """Becomes the command."""
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise UserError("lane exec: no command given; an example: lane exec -- rondo --version")
    try:
        os.execvpe(words[0], words, variables)
    except OSError as error:
        raise UserError(f"lane exec: {words[0]} cannot be started: {error.strerror}.") from error


def _main(root, options):
    bundle = Bundle(root)
    if options.verb == "list":
        return show(bundle)
    check_machine(bundle.manifest)
    torch = Torch(bundle.manifest)
    variables = environment.make(bundle, torch)
    if options.verb == "exec":
        return execute(options.command, variables)
    return run(bundle, torch, variables, options)


def main(root, arguments):
    options = parser().parse_args(arguments)
    # An exception, so that what is running is ended.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return _main(root, options)
    except UserError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    except OSError as error:
        say(f"error: {error}", sys.stderr)
        return 3
    except KeyboardInterrupt:
        say("interrupted", sys.stderr)
        return 130
