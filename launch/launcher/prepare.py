"""What is done before MPI starts: the check of the configuration, and tokenising."""

import os
import sys

from launcher.say import EXIT_USER, OWN_EXIT_CODES

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
        code = children.helper(step)[0]
        if code != 0:
            sys.exit(code if code in OWN_EXIT_CODES else EXIT_USER)
