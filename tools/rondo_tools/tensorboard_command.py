"""tools/tensorboard: a run's metrics.jsonl -> TensorBoard events, also while the run goes on.

Each figure of a step is written twice: as train/<name> over all steps of the run, and as
rounds/<round>/<name> over the round's own steps. Figures of evaluations, those between rounds (in
events.jsonl) too, are evaluate/<source>/<name>. Run again, the tool replaces the events it wrote
before.
"""

import argparse
import math
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rondo_tools.errors import UserError
from rondo_tools.metrics_tail import MetricsTail

_SUFFIX = ".rondo"
_NOT_FIGURES = {"step", "round_step", "time", "evaluate"}
_WORDS = {"nan", "inf", "-inf"}  # how metrics.jsonl writes what JSON has no number for


def figures(value, prefix):
    """(name, number) of every number in a JSON value, nested names joined by /."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from figures(item, f"{prefix}{name}/")
        elif _is_number(item):
            yield f"{prefix}{name}", float(item)


def evaluation(rows):
    """(name, number) of a list [{"source", "loss", "accuracy"}]; null is how it writes NaN."""
    for row in rows:
        for name, item in row.items():
            if name != "source":
                number = math.nan if item is None else item
                yield f"evaluate/{row['source']}/{name}", float(number)


def _is_number(item):
    if isinstance(item, str):
        return item in _WORDS
    return isinstance(item, (int, float)) and not isinstance(item, bool)


def _has_step(entry):
    return isinstance(entry.get("step"), int)


class Converter:
    """Carries metrics.jsonl and events.jsonl of a run over into one event file of `folder`."""

    def __init__(self, run, folder):
        self._run = Path(run)
        self._folder = Path(folder)
        self._start()

    def _start(self):
        for old in self._folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            old.unlink()
        self._writer = EventFileWriter(str(self._folder), filename_suffix=_SUFFIX)
        self._tails = [MetricsTail(self._run / name) for name in ("metrics.jsonl", "events.jsonl")]
        self._evaluated = set()

    def poll(self):
        """Carries over what is new; returns the number of lines."""
        polled = [tail.poll() for tail in self._tails]
        if any(restarted for restarted, _ in polled):
            self._writer.close()
            self._start()
            polled = [tail.poll() for tail in self._tails]
        entries = [entry for _, found in polled for entry in found]
        for entry in sorted(filter(_has_step, entries), key=lambda entry: entry["step"]):
            self._carry_over(entry)
        self._writer.flush()
        return len(entries)

    def close(self):
        self._writer.close()

    def _carry_over(self, entry):
        step, when = entry["step"], entry.get("time")
        if "evaluate" in entry and step not in self._evaluated:
            self._evaluated.add(step)
            self._write(list(evaluation(entry["evaluate"])), step, when)
        if "loss" not in entry:
            return
        values = {key: item for key, item in entry.items() if key not in _NOT_FIGURES}
        self._write(list(figures(values, "train/")), step, when)
        if "round" in entry:
            name, own_step = entry["round"], entry.get("round_step", step)
            self._write(list(figures(values, f"rounds/{name}/")), own_step, when)

    def _write(self, values, step, when):
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=number) for tag, number in values]
        )
        moment = when if isinstance(when, (int, float)) else time.time()
        self._writer.add_event(Event(wall_time=moment, step=step, summary=summary))


def main(arguments):
    parser = argparse.ArgumentParser(prog="tensorboard", description=__doc__)
    parser.add_argument("run", metavar="RUN_FOLDER", help="holds metrics.jsonl")
    parser.add_argument("--out", metavar="FOLDER", help="default: RUN_FOLDER/tensorboard")
    parser.add_argument(
        "--follow", action="store_true", help="go on until interrupted; wait for a run not begun"
    )
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between looks (5)")
    options = parser.parse_args(arguments)
    run = Path(options.run)
    try:
        if options.follow:
            _wait_for(run, options.interval)
        else:
            _check(run)
        _convert(run, options)
    except KeyboardInterrupt:
        if not options.follow:
            raise
    return 0


def _check(run):
    metrics = run / "metrics.jsonl"
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder. Give one that is there; if the run has not "
                        f"begun yet, --follow waits for it.")  # fmt: skip
    if not metrics.is_file():
        raise UserError(f"{metrics}: no such file. Is {run} the folder of a run? It may not have "
                        f"begun: --follow waits for it.")  # fmt: skip


def _wait_for(run, interval):
    if not run.exists():
        print(f"{run}: not there yet, waiting for it", flush=True)
    while not run.exists():
        time.sleep(interval)
    if not run.is_dir():
        raise UserError(f"{run}: is a file, expected the folder of a run.")


def _convert(run, options):
    out = Path(options.out) if options.out else run / "tensorboard"
    converter = Converter(run, out)
    try:
        print(f"{out}: {converter.poll()} lines", flush=True)
        while options.follow:
            time.sleep(options.interval)
            converter.poll()
    except KeyboardInterrupt:
        converter.poll()
        raise
    finally:
        converter.close()
