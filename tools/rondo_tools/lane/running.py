"""One item of the lane as a process of its own: at most so long, its output in a file."""

import contextlib
import os
import signal
import subprocess
import time

_SECONDS_TO_LEAVE = 10
_LAST_LINES = 20
# What became of an item.
PASSED, FAILED, TIMED_OUT, NOT_RUN, LEFT_OUT = (
    "passed",
    "failed",
    "timed out",
    "not run",
    "left out",
)


def _end(process):
    """Ends it with what it has started: asked first, since mpirun then ends its ranks."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_LEAVE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _wait(process, limit_s):
    """The exit code, or None when the limit was reached."""
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _end(process)


def not_run(item, reason, state=NOT_RUN):
    """The record of an item that was not started."""
    return {"name": item.name, "command": item.command, "state": state, "reason": reason}


def run(item, bundle, environment, log, limit_s):
    """Runs an item in the bundle's folder; returns its record."""
    begin = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            item.command,
            cwd=bundle.root,
            env={**environment, **item.environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = _wait(process, limit_s)
    text = log.read_text(encoding="utf-8", errors="replace")
    record = {
        "name": item.name,
        "command": item.command,
        "environment": item.environment,
        "state": {0: PASSED, None: TIMED_OUT}.get(code, FAILED),
        "return_code": code,
        "seconds": round(time.monotonic() - begin, 2),
        "limit_s": round(limit_s, 1),
        "last_lines": text.splitlines()[-_LAST_LINES:],
        "figures": item.figures_of(text),
    }
    if code is None:
        record["reason"] = f"ended after {limit_s:.0f} s"
    elif code == 0 and (wrong := item.judge(record["figures"])):
        record |= {"state": FAILED, "reason": wrong}
    return record
