"""tools/tensorboard: the events hold every metric once, also while the run goes on."""

import math
import unittest
from unittest import mock

from tests.tools.support import ToolTest, run_tool


def step(name, number, own, loss, evaluate=None):
    """A line of metrics.jsonl, to the letter as src/train/metrics_line.cpp writes it."""
    line = (
        f'{{"round": "{name}", "step": {number}, "round_step": {own}, "loss": {loss}, '
        f'"grad_norm": "nan", "lr": 0.0018139805539328295, "tokens": 367, "trainable_tokens": 94, '
        f'"accuracy": 0.734043, "seconds": 0.024005, "loader_wait_seconds": 0.000054, '
        f'"communication_wait_seconds": 0.000012, "communication_hidden_seconds": 0.000000, '
        f'"tokens_per_s": 10.000, "flops_per_token": 4995875.6, '
        f'"fraction_of_calibration": 1.392011, "updated": true'
    )
    return line + (f', "evaluate": {evaluate}}}' if evaluate else "}")


def row(**losses):
    """An evaluation as to_json of src/train/evaluation.cpp writes it."""
    entries = [
        f'{{"accuracy":0.25,"loss":{loss},"source":"{source}"}}' for source, loss in losses.items()
    ]
    return f"[{','.join(entries)}]"


def evaluated(name, number, scores):
    return (
        f'{{"evaluate":{scores},"event":"evaluated","row":"{name}","step":{number},'
        f'"time":"2026-11-25T03:27:11Z"}}'
    )


LINES = [
    step("first", 1, 1, 2.0),
    step("first", 2, 2, 1.5, row(sums=1.75)),
    step("second", 3, 1, 1.0),
]
EVENTS = [
    '{"event":"started","ranks":1,"step":0,"time":"2026-11-25T03:27:10Z","version":"0.1.0"}',
    evaluated("base", 0, row(sums=3.0, chat="null")),
    evaluated("second", 3, row(sums=1.25)),
    evaluated("second", 3, row(sums=1.25)),
]


class TensorBoard(ToolTest):
    def setUp(self):
        super().setUp()
        self.metrics = self.folder / "metrics.jsonl"
        self.write(LINES)
        text = "".join(line + "\n" for line in EVENTS)
        (self.folder / "events.jsonl").write_text(text)

    def write(self, lines, rest=""):
        self.metrics.write_text("".join(line + "\n" for line in lines) + rest)

    def events(self):
        from tensorboard.backend.event_processing import event_accumulator

        folder = self.folder / "tensorboard"
        self.assertEqual(len(list(folder.iterdir())), 1)
        accumulator = event_accumulator.EventAccumulator(str(folder), {"scalars": 0})
        accumulator.Reload()
        return {
            tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]
        }

    def check_all(self):
        events = self.events()
        self.assertEqual(events["train/loss"], [(1, 2.0), (2, 1.5), (3, 1.0)])
        self.assertEqual(events["rounds/first/loss"], [(1, 2.0), (2, 1.5)])
        self.assertEqual(events["rounds/second/loss"], [(1, 1.0)])
        self.assertEqual(events["evaluate/sums/loss"], [(0, 3.0), (2, 1.75), (3, 1.25)])
        self.assertEqual(events["evaluate/sums/accuracy"], [(0, 0.25), (2, 0.25), (3, 0.25)])
        ((_, chat),) = events["evaluate/chat/loss"]
        self.assertTrue(math.isnan(chat))
        self.assertEqual(events["train/tokens_per_s"], [(1, 10.0), (2, 10.0), (3, 10.0)])
        self.assertNotIn("train/updated", events)
        self.assertTrue(all(math.isnan(value) for _, value in events["train/grad_norm"]))
        self.assertNotIn("train/step", events)

    def test_everything_is_there_once_after_running_twice(self):
        for _ in range(2):
            done = run_tool("tensorboard", self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.check_all()

    def test_a_half_written_line_waits_until_it_is_whole(self):
        from rondo_tools.tensorboard_command import Converter

        self.write(LINES[:-1], LINES[-1][:20])
        converter = Converter(self.folder, self.folder / "tensorboard")
        self.assertEqual(converter.poll(), 2 + len(EVENTS))
        self.assertEqual(converter.poll(), 0)
        self.write(LINES)
        self.assertEqual(converter.poll(), 1)
        converter.close()
        self.check_all()

    def test_a_run_that_has_not_begun_is_waited_for(self):
        from rondo_tools.tensorboard_command import Converter

        events = self.folder / "events.jsonl"
        text = events.read_text()
        events.unlink()
        self.metrics.unlink()
        converter = Converter(self.folder, self.folder / "tensorboard")
        self.assertEqual(converter.poll(), 0)
        events.write_text(text)
        self.write(LINES)
        self.assertEqual(converter.poll(), 3 + len(EVENTS))
        converter.close()
        self.check_all()

    def test_follow_waits_for_a_folder_that_is_not_there_yet(self):
        later = self.folder.with_name(self.folder.name + "-later")
        self.folder.rename(later)
        naps = []

        def sleep(seconds):
            naps.append((seconds, self.folder.exists()))
            if len(naps) == 2:
                later.rename(self.folder)
            if len(naps) == 3:
                raise KeyboardInterrupt

        with mock.patch("time.sleep", sleep):
            done = run_tool("tensorboard", self.folder, "--follow", "--interval", 7)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(naps, [(7, False), (7, False), (7, True)])
        self.assertIn("waiting", done.stdout)
        self.check_all()

    def test_a_resumed_run_replaces_the_steps_it_repeats(self):
        from rondo_tools.tensorboard_command import Converter

        self.write([*LINES[:2], step("first", 3, 3, 9.0), step("first", 4, 4, 9.0)])
        converter = Converter(self.folder, self.folder / "tensorboard")
        self.assertEqual(converter.poll(), 4 + len(EVENTS))
        self.write(LINES)
        self.assertEqual(converter.poll(), 3 + len(EVENTS))
        converter.close()
        self.check_all()

    def test_a_folder_without_metrics_is_refused(self):
        self.metrics.unlink()
        for folder, text in (
            (self.folder, "metrics.jsonl: no such file"),
            (self.folder / "none", "no such run folder"),
        ):
            done = run_tool("tensorboard", folder)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
