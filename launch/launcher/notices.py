"""Which words of mpirun are shown."""

import contextlib
import os
import re
import signal
import threading

from launcher.say import say


class Notices(threading.Thread):
    """Copies the standard error of mpirun and its ranks, without mpirun's own notices of a process
    that ended, which stand between two lines of dashes: rondo says by itself what was wrong. Of a
    rank that was killed one sentence is kept."""

    RULE = b"-" * 74
    LONGEST = 40  # lines
    KILLED = re.compile(rb"process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)")
    COUNTED = re.compile(rb"\[.*\] (\d+ more process.* help message help-mpi-api.txt / mpi-abort|"
                         rb"Set MCA parameter \"orte_base_help_aggregate\" to 0 to see all help)")
    ENDED = (b"a non-zero exit code", b"exited with non-zero status", b"MPI_ABORT was invoked")

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source = source
        self.notice = []

    def run(self):
        rest = b""
        while True:
            chunk = os.read(self.source, 1 << 16)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.take(line + b"\n")
            if not chunk:
                self.write(b"".join(self.notice) + rest)
                return
            # A line that has not ended may be a figure that is renewed.
            if not (self.notice or rest.startswith(b"[") or self.RULE.startswith(rest[:74])):
                self.write(rest)
                rest = b""

    def take(self, line):
        rule = line.rstrip() == self.RULE
        if self.COUNTED.match(line):
            return
        if not rule and not self.notice:
            self.write(line)
            return
        self.notice.append(line)
        if len(self.notice) > self.LONGEST or (rule and len(self.notice) > 1):
            self.end_notice()

    def end_notice(self):
        text = b"".join(self.notice)
        self.notice = []
        killed = self.KILLED.search(text)
        if killed:
            rank, node, number = (word.decode() for word in killed.groups())
            names = {int(known): known.name for known in signal.Signals}
            name = names.get(int(number), f"signal {number}")
            say(f"rank {rank} on {node} was ended by {name}")
        elif not any(words in text for words in self.ENDED):
            self.write(text)

    @staticmethod
    def write(text):
        # A reader that is gone must not end the ranks.
        with contextlib.suppress(OSError):
            while text:
                text = text[os.write(2, text):]
