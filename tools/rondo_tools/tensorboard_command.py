"""tools/tensorboard: a run's metrics.jsonl -> TensorBoard events, also while the run goes on.

Each figure of a step is written twice: as train/<name> over all steps of the run, and as
rounds/<round>/<name> over the round's own steps. Figures of evaluations are evaluate/<name>.
Run again, the tool replaces the events that it wrote before.
"""

import argparse
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rondo_tools.errors import UserError
from rondo_tools.metrics_tail import MetricsTail

_SUFFIX = ".rondo"
_NOT_FIGURES = {"step", "time"}


def figures(value, prefix):
    """(name, number) of every number in a JSON value, nested names joined by /."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from figures(item, f"{prefix}{name}/")
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            yield f"{prefix}{name}", float(item)


class Converter:
    """Carries metrics over into one event file of `folder`."""

    def __init__(self, metrics, folder):
        self._tail = MetricsTail(metrics)
        self._folder = Path(folder)
        self._start()

    def _start(self):
        for old in self._folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            old.unlink()
        self._writer = EventFileWriter(str(self._folder), filename_suffix=_SUFFIX)
        self._steps = 0
        self._round_steps = {}

    def poll(self):
        """Carries over what is new; returns the number of lines."""
        restarted, entries = self._tail.poll()
        if restarted:
            self._writer.close()
            self._start()
        for entry in entries:
            self._carry_over(entry)
        self._writer.flush()
        return len(entries)

    def close(self):
        self._writer.close()

    def _carry_over(self, entry):
        name = str(entry.get("round", ""))
        when = entry.get("time")
        evaluation = entry.get("evaluate")
        if isinstance(evaluation, dict):
            self._write(list(figures(evaluation, "evaluate/")), self._steps, when)
            return
        self._steps += 1
        self._round_steps[name] = self._round_steps.get(name, 0) + 1
        step = {key: item for key, item in entry.items() if key not in _NOT_FIGURES}
        self._write(list(figures(step, "train/")), self._steps, when)
        if name:
            values = list(figures(step, f"rounds/{name}/"))
            self._write(values, self._round_steps[name], when)

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
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between looks (5)")
    options = parser.parse_args(arguments)
    run = Path(options.run)
    metrics = run / "metrics.jsonl"
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder.")
    if not metrics.is_file() and not options.follow:
        raise UserError(f"{metrics}: no such file. Is {run} the folder of a run? It may not have "
                        f"begun: --follow waits for it.")  # fmt: skip
    out = Path(options.out) if options.out else run / "tensorboard"
    converter = Converter(metrics, out)
    lines = converter.poll()
    print(f"{out}: {lines} lines", flush=True)
    try:
        while options.follow:
            time.sleep(options.interval)
            converter.poll()
    except KeyboardInterrupt:
        converter.poll()
    converter.close()
    return 0
