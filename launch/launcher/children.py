"""The programs that launch/run starts, and how requests to stop reach them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile

from launcher.notices import Notices
from launcher.say import EXIT_REQUEUE, OWN_EXIT_CODES, say

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
# How long a helper may take to end.
SECONDS_TO_LEAVE = 4
# How long the launcher of the ranks may, once a rank has told the exit code: asked to stop, done by
# itself, failed. A launcher that waits for a node out of reach would wait for many minutes.
SECONDS_ASKED = 4
SECONDS_DONE = 10
SECONDS_FAILED = 1


def follow_parent():
    """In the child: killed along with launch/run, whose handlers cannot run then."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def follow_and_wait():
    """In the child: as above, and deaf to requests to stop until it handles them itself."""
    follow_parent()
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class Children:
    """Starts the programs launch/run needs, one at a time, and brings requests to stop to them.

    A helper is ended with all that it has started, and launch/run ends too: nothing is to be saved
    yet. Ranks get SIGUSR1 every second until they have ended, because Open MPI loses what comes
    while it starts; to rondo, any number of them is one request. Handlers hold from __init__ on.
    """

    def __init__(self):
        self.child = None
        self.ranks = False  # the child is, or is about to be, the ranks (or their launcher)
        self.requests = []
        self.asked = False  # the child knows of the requests
        self.at_once = False
        self.exit_file = None
        self.seconds_leaving = 0
        self.ended_after_told = False
        for number in STOP_SIGNALS:
            signal.signal(number, self.on_request)
        signal.signal(signal.SIGALRM, self.on_second)

    def on_request(self, number, frame):
        del frame
        self.requests.append(number)
        if self.child is not None and self.child.returncode is None:
            self.ask()

    def ask(self):
        """Brings the requests so far to the child."""
        first, self.asked = not self.asked, True
        if self.requests.count(signal.SIGINT) > 1:
            if self.ranks and not self.at_once:
                say("stopping at once")
            self.at_once = True
            self.end()
        elif self.ranks:
            if first and self.requests[0] not in (signal.SIGUSR1, signal.SIGUSR2):
                say("asked to stop: saving a checkpoint first (Ctrl-C again: stop at once)")
            self.child.send_signal(signal.SIGUSR1)
        else:
            self.signal_all(signal.SIGTERM)
        if first:
            signal.setitimer(signal.ITIMER_REAL, 1, 1)

    def on_second(self, number, frame):
        del number, frame
        if self.child is None:
            return
        if self.ranks:
            if self.asked:
                self.child.send_signal(signal.SIGUSR1)
            # mpirun, or a daemon of it on another node, that got SIGTERM itself (from Slurm) waits
            # for a time that the ranks no longer need.
            if self.told() is None or self.by_srun():
                return
            self.ended_after_told = self.is_leaving_for_long()
        if self.is_leaving_for_long():
            self.end()
        self.seconds_leaving += 1

    def is_leaving_for_long(self):
        longest = SECONDS_TO_LEAVE
        if self.ranks:
            told = self.told()
            longest = SECONDS_ASKED if self.asked else SECONDS_DONE
            if told not in (0, EXIT_REQUEUE):
                longest = SECONDS_FAILED
        return self.seconds_leaving >= longest

    def by_srun(self):
        return self.child.args[0] == "srun"

    def end(self):
        """Ends the child unsaved. srun ends ranks on SIGTERM, and would leave them if killed."""
        self.signal_all(signal.SIGTERM if self.by_srun() else signal.SIGKILL)

    def signal_all(self, number):
        if self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)

    def rest(self):
        """From here on launch/run only ends: no request changes its exit code any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in STOP_SIGNALS + (signal.SIGALRM,):
            signal.signal(number, signal.SIG_IGN)

    def leave_if_asked(self):
        if self.requests:
            self.rest()
            say("asked to stop: nothing is to be saved yet")
            sys.exit(EXIT_REQUEUE)

    def helper(self, command, timeout=None, **streams):
        """Exit code and output of a program that ends before there are ranks; the code is None when
        it took longer than `timeout` seconds. Does not return when asked to stop."""
        self.leave_if_asked()
        self.child = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, encoding="utf-8",
            preexec_fn=follow_parent, **streams)  # noqa: PLW1509 (no threads here)
        if self.requests:
            self.ask()
        try:
            output = self.child.communicate(timeout=timeout)[0]
            code = self.child.returncode
        except subprocess.TimeoutExpired:
            self.signal_all(signal.SIGKILL)
            self.child.communicate()
            output, code = "", None
        self.child = None
        # A request to every process of a job may reach the helper first.
        if code is not None and (-code in STOP_SIGNALS or code - 128 in STOP_SIGNALS):
            self.requests.append(signal.SIGTERM)
        self.leave_if_asked()
        return code, output

    def output_of(self, command):
        try:
            return self.helper(command, timeout=60, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)[1]
        except OSError:
            return ""

    def told(self):
        """What rank 0, or one that ended the others, wrote as the exit code; None before."""
        try:
            with open(self.exit_file) as file:
                text = file.read().strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def run(self, command):
        """Runs the ranks; returns the exit code of launch/run.

        The file RONDO_EXIT_FILE, empty at first: rank 0 writes its exit code there, in decimal,
        when everything is done, right before it leaves MPI; and so does a rank that ends the others
        after a failure. So the code is known even where mpirun, told to end by somebody else, ends
        with a code of its own, or does not end. Out of reach for ranks on another node; they leave
        it out, without an error.
        """
        with tempfile.TemporaryDirectory(prefix="rondo-") as folder:
            self.exit_file = os.path.join(folder, "exit-code")
            with open(self.exit_file, "w"):
                pass
            os.environ["RONDO_EXIT_FILE"] = self.exit_file
            self.leave_if_asked()
            self.ranks = True
            # A session of its own, so that Ctrl-C reaches launch/run alone.
            self.child = subprocess.Popen(
                command, start_new_session=True,
                stderr=subprocess.PIPE if command[0].endswith("mpirun") else None,
                preexec_fn=follow_and_wait)  # noqa: PLW1509 (no threads yet)
            notices = None
            if self.child.stderr:
                notices = Notices(self.child.stderr.fileno())
                # Requests interrupt the main thread alone: the other is born deaf.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS + (signal.SIGALRM,))
                notices.start()
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if self.requests:
                self.ask()
            if notices:
                signal.setitimer(signal.ITIMER_REAL, 1, 1)
            code = self.child.wait()
            self.rest()
            if notices:
                # What outlives mpirun may keep the pipe open; ssh to a lost node does.
                notices.join(timeout=0.5 if self.ended_after_told else 5)
            return self.exit_code(code if code >= 0 else 128 - code, self.told())

    def exit_code(self, code, told):
        """The exit code, given the launcher's and what a rank told."""
        if self.at_once:
            return 128 + signal.SIGINT
        if self.ended_after_told:
            return told
        crashed = code > 128 and code - 128 in [int(known) for known in signal.Signals]
        if told is not None and code not in OWN_EXIT_CODES and (self.requests or not crashed):
            return told
        if self.requests and code == 128 + signal.SIGUSR1:
            # rondo handles it before it starts MPI, so no rank has come further than that.
            say("asked to stop while the ranks were starting: nothing is to be saved yet")
            return EXIT_REQUEUE
        if crashed:
            say(f"rondo was ended by {signal.Signals(code - 128).name}")
        elif code not in OWN_EXIT_CODES:
            say(f"the launcher ended with code {code}")
        return code
