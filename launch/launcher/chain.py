"""Starts of `rondo train` with the commands between them: what launch/rounds does."""

import contextlib
import json
import os
import signal
import subprocess
import sys

from launcher.children import STOP_SIGNALS, follow_and_wait, follow_parent
from launcher.say import EXIT_COMMANDS, EXIT_REQUEUE, EXIT_USER, fail, say


class Chain:
    """One child at a time: launch/run, which is told of requests to stop by the signal that came,
    or a command, which is ended with all that it has started."""

    def __init__(self, root, options, config, seconds):
        self.root = root
        self.options = options
        self.config = config
        self.seconds = seconds  # that a command may take
        self.child = None
        self.is_command = False
        self.asked = False
        for number in STOP_SIGNALS:
            signal.signal(number, self.on_request)

    def on_request(self, number, frame):
        del frame
        self.asked = True
        if self.child is None or self.child.returncode is not None:
            return
        if self.is_command:
            self.end_command()
        else:
            self.child.send_signal(number)

    def end_command(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def run(self):
        """The exit code of launch/rounds."""
        folder = None
        while True:
            code = self.train()
            if code != EXIT_COMMANDS:
                return EXIT_REQUEUE if self.asked and code >= 128 else code
            folder = folder or self.run_folder()
            for command in read_commands(os.path.join(folder, "commands.json")):
                if self.asked:
                    return EXIT_REQUEUE
                self.judge(command, folder)
            if self.asked:
                return EXIT_REQUEUE

    def train(self):
        words = [os.path.join(self.root, "launch", "run")] + self.options + ["train"] + self.config
        if self.asked:
            return EXIT_REQUEUE
        # A session of its own: Ctrl-C comes here alone, and is handed on once.
        self.is_command = False
        self.child = subprocess.Popen(
            words, start_new_session=True, preexec_fn=follow_and_wait)  # noqa: PLW1509 (no threads)
        if self.asked:
            self.child.send_signal(signal.SIGTERM)
        while True:
            try:
                code = self.child.wait(1)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                # launch/run is deaf while it starts; to it any number of these is one request.
                if self.asked:
                    self.child.send_signal(signal.SIGUSR1)

    def run_folder(self):
        """As rondo itself reads it out of the configuration."""
        binary = os.environ.get("RONDO_BINARY") or os.path.join(
            self.root, "build", "release", "rondo")
        done = subprocess.run([binary, "train"] + self.config + ["--folder"],
                              stdout=subprocess.PIPE, encoding="utf-8", check=False)
        if done.returncode != 0:
            sys.exit(EXIT_USER)
        return done.stdout.strip().splitlines()[-1]

    def judge(self, command, folder):
        """Runs one command; its output is there afterwards, whole and checked, or this ends."""
        name, output = command["name"], command["output"]
        if os.path.exists(output):
            return
        say("{}: {}".format(name, " ".join(command["argv"])))
        environment = dict(os.environ, RONDO_RUN=os.path.abspath(folder))
        if command["model"]:
            environment["RONDO_MODEL"] = os.path.abspath(command["model"])
        partial = output + ".tmp"
        with open(command["input"] or os.devnull, "rb") as stdin, open(partial, "wb") as stdout:
            self.is_command = True
            try:
                self.child = subprocess.Popen(
                    command["argv"], stdin=stdin, stdout=stdout, env=environment,
                    start_new_session=True,
                    preexec_fn=follow_parent)  # noqa: PLW1509 (no threads)
            except OSError as error:
                fail("{}: {} could not be started: {}. Correct the command in the configuration, "
                     "and start again.".format(name, command["argv"][0], error))
            if self.asked:  # before there was a child to end
                self.end_command()
            try:
                code = self.child.wait(self.seconds)
            except subprocess.TimeoutExpired:
                code = None
            # What it has left behind it ends too.
            self.end_command()
            self.child.wait()
            os.fsync(stdout.fileno())
        if self.asked:
            os.remove(partial)
            sys.exit(EXIT_REQUEUE)
        wrong = self.what_is_wrong(command, code, partial)
        if wrong:
            fail(f"{name}: {wrong}. What it printed is in {partial}. Nothing is lost: correct it, "
                 "and start again.")
        os.rename(partial, output)
        parent = os.open(os.path.dirname(output) or ".", os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def what_is_wrong(self, command, code, path):
        if code is None:
            return f"the command has not ended after {self.seconds:.0f} s"
        if code < 0:
            return f"the command was ended by {signal.Signals(-code).name}"
        if code != 0:
            return f"the command ended with exit code {code}"
        if command["kind"] == "verdicts":
            return wrong_verdicts(command["input"], path)
        return wrong_figures(path)


def read_commands(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["commands"]
    except (OSError, ValueError, KeyError) as error:
        fail(f"{path} cannot be read: {error}")


def refused(word):
    raise ValueError(f"{word} is no JSON")


def json_lines(path):
    """(number, value) of each line; the value is None where it is no JSON."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"), parse_constant=refused)
            except ValueError:
                yield number, None


def wrong_verdicts(questions, path):
    """What is wrong with the verdicts on these questions; None: nothing."""
    asked = {line["id"] for _, line in json_lines(questions)}
    for number, verdict in json_lines(path):
        if not isinstance(verdict, dict) or not isinstance(verdict.get("right"), bool):
            return (f"line {number} of its output is no verdict: expected "
                    '{"id": "...", "right": true}')
        if not isinstance(verdict.get("id"), str) or verdict["id"] not in asked:
            return "line {} of its output judges {!r}, which was not asked".format(
                number, verdict.get("id"))
        asked.discard(verdict["id"])
    if asked:
        return f"it gave no verdict on {len(asked)} of the completions, such as {min(asked)}"
    return None


def wrong_figures(path):
    """What is wrong with a JSON object of numbers; None: nothing."""
    lines = [value for _, value in json_lines(path)]
    figures = lines[-1] if lines else None
    if not isinstance(figures, dict) or not all(
            isinstance(value, (int, float)) and not isinstance(value, bool)
            for value in figures.values()):
        return "the last line of its output is no JSON object of numbers"
    return None
