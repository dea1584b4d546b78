"""Another program, whose output is wanted and whose failure is an error."""

import shlex
import subprocess
import sys

from rondo_tools.errors import UserError


def called(command, **settings):
    """What `command` prints; its output is shown where it fails. `settings` as of subprocess."""
    words = [str(part) for part in command]
    result = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, **settings)
    if result.returncode != 0:
        sys.stdout.write(result.stdout)
        raise UserError(f"{shlex.join(words)}: exit code {result.returncode}, expected 0.")
    return result.stdout
