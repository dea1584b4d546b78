"""Starts a tool: the right interpreter, one error message, the exit codes of the project.

Exit codes: 0 done, 2 the input or configuration is wrong, 3 the system failed. An exception of any
other kind is a bug and keeps its traceback.
"""

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

from rondo_tools.errors import UserError
from rondo_tools.say import mute, say

REPOSITORY = Path(__file__).resolve().parents[2]
_REEXECUTED = "RONDO_TOOLS_REEXECUTED"


def use_repository_python(packages):
    """Replaces this process by one under .venv/bin/python when `packages` are missing here."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return
    python = REPOSITORY / ".venv" / "bin" / "python"
    if python.exists() and not os.environ.get(_REEXECUTED):
        os.environ[_REEXECUTED] = "1"
        os.execv(python, [str(python), *sys.argv])
    raise UserError(
        f"{Path(sys.argv[0]).name}: the Python packages {', '.join(missing)} are missing under "
        f"{sys.executable}. Run launch/setup, or install tools/requirements.txt."
    )


def run_main(module, arguments):
    """The exit code of `main(arguments)` of rondo_tools.<module>; errors are printed once."""
    try:
        return importlib.import_module(f"rondo_tools.{module}").main(arguments)
    except UserError as error:
        say(f"error: {error}", sys.stderr)
        return 2
    except BrokenPipeError:
        mute(sys.stdout)
        return 0
    except OSError as error:
        say(f"error: {error}", sys.stderr)
        return 3
    except KeyboardInterrupt:
        say("interrupted; nothing was published", sys.stderr)
        return 130


def run(module, packages):
    """Runs rondo_tools.<module> as the whole program."""
    try:
        use_repository_python(packages)
    except UserError as error:
        say(f"error: {error}", sys.stderr)
        sys.exit(2)
    os.environ.pop(_REEXECUTED, None)
    # An exception, so that what is half written is removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(run_main(module, sys.argv[1:]))
