"""tools/tensorboard: the events hold every metric once, also while the run goes on."""

import json
import math
import unittest

from tests.tools.support import ToolTest, run_tool


def step(name, number, own, loss, **more):
    line = {"round": name, "step": number, "round_step": own, "loss": loss, "lr": 0.1}
    return {**line, "tokens_per_s": 10, "updated": True, "grad_norm": "nan", **more}


LINES = [
    step("first", 1, 1, 2.0),
    step("first", 2, 2, 1.5, evaluate={"sums": {"loss": 1.75}}),
    step("second", 3, 1, 1.0),
]
EVENTS = [
    {"event": "started", "step": 0},
    {"event": "evaluated", "step": 0, "evaluate": {"sums": {"loss": 3.0}, "chat": {"loss": 4.0}}},
    {"event": "evaluated", "step": 3, "evaluate": {"sums": {"loss": 1.25}}},
    {"event": "evaluated", "step": 3, "evaluate": {"sums": {"loss": 1.25}}},
]


class TensorBoard(ToolTest):
    def setUp(self):
        super().setUp()
        self.metrics = self.folder / "metrics.jsonl"
        self.write(LINES)
        text = "".join(json.dumps(line) + "\n" for line in EVENTS)
        (self.folder / "events.jsonl").write_text(text)

    def write(self, lines, rest=""):
        self.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + rest)

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
        self.assertEqual(events["evaluate/chat/loss"], [(0, 4.0)])
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

        last = json.dumps(LINES[-1])
        self.write(LINES[:-1], last[:20])
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
