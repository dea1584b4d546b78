"""One tokenising job: source files -> one rondo.tokenized file.

The work is cut into chunks of a fixed number of rows, which worker processes turn into tokens; the
results are taken in order, so that the file is the same to the byte for any number of workers.
"""

import ctypes
import gc
import json
import multiprocessing
import os
import signal
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from rondo_tools import bundled_template, formats, jsonl, sources
from rondo_tools.errors import UserError
from rondo_tools.hashing import settings_hash, text_hash
from rondo_tools.row_encoder import RowEncoder, Rules, parse
from rondo_tools.row_fault import RowFault
from rondo_tools.tokenized_file import FORMAT, VERSION, Writer, read_attributes
from rondo_tools.tokenizer_folder import template_of_file, template_text, tokenizer_hash

ROWS_PER_CHUNK = 256
_SAMPLE_ROWS = 100
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_SHOWN_FAULTS = 5
_EXPECTED = "expected one JSON object per line, or one JSON array"
_RULES = 4  # raised when the same input gives other tokens or weights


@dataclass
class Job:
    """What to tokenise, and how."""

    inputs: list  # paths of existing files
    tokenizer: str  # folder
    out: str
    template: str = "auto"  # the tokenizer's own; a file; or the name of a bundled one
    format: str = "auto"
    columns: dict = field(default_factory=dict)
    workers: int = 0  # 0: one per core
    max_rejected: float = 0.01  # share of the rows
    train_on: str = "all"  # these three: row_encoder.Rules
    multi_turn: str = "auto"
    end_of_turn_weight: float = 1.0
    rejected: str | None = None  # default: beside `out`

    def identity(self):
        """The attributes by which an existing file is known to be fresh."""
        formats.check_columns(self.columns)
        settings = {
            "rules": _RULES,
            "format": self.format,
            "columns": self.columns,
            "train_on": self.train_on,
            "multi_turn": self.multi_turn,
            "end_of_turn_weight": float(self.end_of_turn_weight),
        }
        template = self.template_text()
        return {
            "tokenizer_hash": tokenizer_hash(self.tokenizer),
            "chat_template": template,
            "template_hash": text_hash(template),
            "settings_hash": settings_hash(settings),
            "source_files": json.dumps(sources.describe(self.inputs)),
        }

    def template_text(self):
        """The chat template; "" where there is none, for rows that are tokenised already."""
        if self.template in bundled_template.NAMES:
            return bundled_template.text_of(self.tokenizer, self.template)
        if self.template == "auto":
            return template_text(self.tokenizer)
        return template_of_file(self.template)

    def needs_bundled_template(self):
        needed = bundled_template.is_needed(self.tokenizer, self.template)
        # Rows that are tokenised already need none, unless it is named.
        return needed and (self.template != "auto" or format_of(self) != "tokens")

    def rules(self, format_name):
        return Rules(
            format_name, self.columns, self.train_on, self.multi_turn, self.end_of_turn_weight
        )

    def rejected_path(self):
        return Path(self.rejected or f"{self.out}.rejected.jsonl")


def is_fresh(job, identity):
    """True where `out` was made from the same files by the same rules."""
    found = read_attributes(job.out)
    if not found or found.get("format") != FORMAT or found.get("version") != VERSION:
        return False
    return all(found.get(name) == value for name, value in identity.items())


def counts_of(path):
    return json.loads(read_attributes(path)["counts"])


def format_of(job):
    """Name of the format of the job's rows: as given, else recognised in the first of them."""
    if job.format != "auto":
        return job.format
    sample, first_fault, rows = [], None, 0
    for path, number, row in islice(sources.all_rows(job.inputs), _SAMPLE_ROWS):
        rows += 1
        try:
            parsed = parse(row)
            if not isinstance(parsed, dict):
                raise RowFault("not an object", f"the row is {type(parsed).__name__}")
            sample.append(parsed)
        except RowFault as fault:
            if rows == 1:
                first_fault = f"{path}:{number}: {fault}"
    if not rows:
        raise UserError(f"{job.inputs[0]}: no row; {_EXPECTED}.")
    try:
        return formats.recognise(sample, job.columns, job.inputs[0])
    except UserError:
        if not first_fault:
            raise
        raise UserError(f"{first_fault}; {_EXPECTED}.") from None


def _chunks(job, skipped):
    rows = islice(sources.all_rows(job.inputs), skipped, None)
    while chunk := list(islice(rows, ROWS_PER_CHUNK)):
        yield chunk


_encoder = None  # of a worker process, inherited by fork


def _end_with_parent(parent):
    """Workers would wait for ever for one that was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before
        os._exit(1)


def _encode(rows):
    return _encoder.encode(rows)


def _results(encoder, chunks, workers):
    """Yields (chunk, results) in order, with a bounded number of chunks on the way."""
    global _encoder
    if workers == 1:
        for chunk in chunks:
            yield chunk, encoder.encode([row for _, _, row in chunk])
        return
    _encoder = encoder
    gc.freeze()  # what is there already is not looked at again, nor copied, in every worker
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, _end_with_parent, (os.getpid(),)) as pool:
        waiting = deque()
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_encode, [row for _, _, row in chunk])))
            if len(waiting) > 4 * workers:
                chunk, future = waiting.popleft()
                yield chunk, future.result()
        for chunk, future in waiting:
            yield chunk, future.result()


@dataclass
class _Tally:
    """What became of the rows so far."""

    rows: int = 0
    rejected: dict = field(default_factory=dict)  # number by reason
    split: int = 0
    left_out: int = 0
    first_left_out: str | None = None

    def add(self, result, path, number):
        if result.fault:
            self.rejected[result.fault[0]] = self.rejected.get(result.fault[0], 0) + 1
        self.split += result.split
        if result.left_out:
            self.left_out += 1
            self.first_left_out = self.first_left_out or f"{path}:{number}"


def run(job, identity=None, format_name=None, say=print, encoder=None, save_every_s=20):
    """Tokenises and publishes; returns the counts, and as "left_out" in how many rows the
    template left out part of an answer, and the place of the first. UserError, and nothing
    published, when more than the allowed share of the rows is rejected. Of `identity`,
    `format_name` and `encoder`, what is known already is not found out again. `say` gets remarks
    for the user. A job that was killed goes on from what it saved last."""
    identity = identity or job.identity()
    format_name = format_name or format_of(job)
    encoder = encoder or RowEncoder(job.tokenizer, job.template_text(), job.rules(format_name))
    for remark in encoder.probe():
        say(remark)
    with Writer(job.out, json.dumps([format_name, identity])) as writer:
        tally = _Tally(**(writer.saved or {}))
        if tally.rows:
            say(f"{job.out}: goes on behind row {tally.rows}, where an earlier start was stopped")
        _collect(job, encoder, writer, tally, save_every_s)
        counts = {
            "rows": tally.rows,
            "examples": writer.examples,
            "rejected": dict(sorted(tally.rejected.items())),
            "split": tally.split,
            "truncated": 0,
            "tokens": writer.tokens,
            "trainable_tokens": writer.trainable,
        }
        _report_faults(job, writer, tally)
        if not counts["examples"]:
            raise UserError(f"{job.inputs[0]}: no example; nothing was written to {job.out}.")
        if json.dumps(sources.describe(job.inputs)) != identity["source_files"]:
            raise UserError(
                f"{', '.join(map(str, job.inputs))}: changed while being read; nothing was written "
                f"to {job.out}. Start again when the files are complete."
            )
        writer.publish({**identity, **encoder.attributes(), "counts": json.dumps(counts)})
    return {**counts, "left_out": {"rows": tally.left_out, "first": tally.first_left_out}}


def _collect(job, encoder, writer, tally, save_every_s):
    workers = job.workers or os.cpu_count() or 1
    file_number = {path: number for number, path in enumerate(job.inputs)}
    saved_at = time.monotonic()
    try:
        for chunk, results in _results(encoder, _chunks(job, tally.rows), workers):
            for (path, number, _), result in zip(chunk, results, strict=True):
                tally.add(result, path, number)
                if result.fault:
                    writer.reject(str(path), number, result.fault[1])
                for example in result.examples:
                    writer.add(example, file_number[path], number)
            tally.rows += len(chunk)
            if time.monotonic() - saved_at >= save_every_s:
                writer.save(asdict(tally))
                saved_at = time.monotonic()
    except BrokenProcessPool as error:
        raise OSError(f"a tokenising process was killed ({error}); out of memory?") from error


def _report_faults(job, writer, tally):
    path, count = job.rejected_path(), sum(tally.rejected.values())
    if not count:
        path.unlink(missing_ok=True)
        return
    jsonl.write_lines(path, writer.rejected())
    if count <= job.max_rejected * tally.rows:
        return
    faults = map(json.loads, islice(writer.rejected(), _SHOWN_FAULTS))
    shown = "\n".join(f"  {f['file']}:{f['line']}: {f['reason']}" for f in faults)
    more = count - _SHOWN_FAULTS
    raise UserError(
        f"{count} of {tally.rows} rows were rejected ({count / tally.rows:.2%}, allowed "
        f"{job.max_rejected:.2%}); nothing was written to {job.out}:\n{shown}"
        + (f"\n  and {more} more" if more > 0 else "")
        + f"\nAll of them: {path}. Correct the rows, or allow more with --max-rejected "
        f"(in a run's configuration: sources.NAME.max_rejected)."
    )
