"""What is done before MPI starts: the check of the configuration, and tokenising."""

import os
import signal
import sys

from launcher.say import EXIT_SYSTEM, OWN_EXIT_CODES, fail

PREPARED_COMMANDS = ("train", "pack", "eval")


def prepare(children, root, binary, command, ranks):
    """Before MPI: lets rondo check the configuration, then tokenises, in Python, what it names and
    what is missing or stale. So a wrong configuration leaves nothing behind."""
    tool = os.path.join(root, "tools", "prepare")
    if command[0] not in PREPARED_COMMANDS or len(command) < 2 or not os.path.exists(tool):
        return
    if command[1].startswith("-"):
        return
    words = command[1:2] + [w for w in command[2:] if "=" in w and not w.startswith("-")]
    python = os.path.join(root, ".venv", "bin", "python")
    if not os.path.exists(python):
        python = sys.executable
    checked = [binary, command[0]] + words + ["--check", str(ranks)]
    for step in (checked, [python, tool] + words):
        try:
            code = children.helper(step)[0]
        except OSError as error:
            fail(f"{step[0]} could not be started: {error}", EXIT_SYSTEM)
        if code in OWN_EXIT_CODES:
            if code != 0:
                sys.exit(code)
        else:
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            fail(f"{' '.join(step[:2])} was ended by {how}", EXIT_SYSTEM)
