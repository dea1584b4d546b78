"""Where rounds start, what they average, and what happens when a gate fails: against plain
computations on the checkpoints, and against runs in which the same was written out."""

import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import harness
from rounds_test import RoundTest

ONE = {"name": "one", "data": {"up": 1.0}, "steps": 3}
TWO = {"name": "two", "data": {"down": 1.0}, "steps": 3}


class PolicyTest(RoundTest):
    def end(self, round_name, name="run"):
        (found,) = (self.run_folder(name) / "checkpoints").glob(f"round-*-{round_name}")
        return found

    def weights(self, checkpoint):
        with h5py.File(checkpoint / "logical.h5") as file:
            found = {}
            file.visititems(
                lambda path, item: (
                    found.update({path: item[:]})
                    if isinstance(item, h5py.Dataset) and not path.startswith("optimizer")
                    else None
                )
            )
        return found

    def average(self, checkpoints, weights):
        stacked = [self.weights(checkpoint) for checkpoint in checkpoints]
        return {
            name: np.average(
                np.stack([member[name] for member in stacked]).astype(np.float64),
                axis=0,
                weights=weights,
            ).astype(np.float32)
            for name in stacked[0]
        }

    def assert_same(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for name in expected:
            self.assertTrue(np.array_equal(found[name], expected[name]), name)

    def line(self, round_name, name="run"):
        return [line for line in self.ledger(name) if line["round"] == round_name][-1]


class Averages(PolicyTest):
    THREE = dict(ONE, name="three", data={"up": 1.0, "down": 1.0})

    def soup(self, **average):
        return {"name": "soup", "init": {"average": {"of": ["one", "two", "three"], **average}}}

    def test_are_those_of_numpy_to_the_bit_on_any_ranks(self):
        listed = self.soup(weights=[0.2, 0.5, 1.7])
        equal = dict(self.soup(), name="equal")
        alone = {"name": "alone", "init": {"average": {"of": ["two"]}}}
        rounds = [ONE, TWO, self.THREE, listed, equal, alone]
        self.train(self.rounds(*rounds), ranks=2)
        members = [self.end(name) for name in ("one", "two", "three")]
        weights = [0.2, 0.5, 1.7]
        self.assert_same(self.weights(self.end("soup")), self.average(members, weights))
        self.assert_same(self.weights(self.end("equal")), self.average(members, [1, 1, 1]))
        self.assert_same(self.weights(self.end("alone")), self.weights(self.end("two")))
        line = self.line("soup")
        self.assertEqual([parent["name"] for parent in line["parents"]], ["one", "two", "three"])
        self.assertEqual([parent["weight"] for parent in line["parents"]], weights)
        self.assertEqual(line["parents"][1]["digest"], self.line("two")["weights_digest"])
        self.assertEqual(line["steps"], 0)
        self.assertEqual(self.line("alone")["weights_digest"], self.line("two")["weights_digest"])
        # The same by one rank and with the weights divided over two.
        self.train(self.rounds(*rounds, name="other", parallel={"zero": 3}), ranks=2)
        soup, other = self.line("soup"), self.line("soup", "other")
        self.assertLess(abs(soup["heldout"][0]["loss"] - other["heldout"][0]["loss"]), 1e-4)

    def test_may_be_of_the_base_and_of_checkpoints_and_trained_on(self):
        self.train(self.rounds(ONE, name="before"))
        path = self.end("one", "before")
        mixed = {"average": {"of": ["base", str(path)], "weights": [0.25, 0.75]}}
        self.train(self.rounds(dict(TWO, init=mixed), name="on"))
        self.train(self.rounds(dict(TWO, init="base"), name="base", optimizer={"lr": 1e-30}))
        mean = {"name": "mean", "init": mixed}
        self.train(self.rounds(mean, name="mean"))
        base = self.weights(self.end("two", "base"))  # a rate too small to move anything
        expected = {
            name: np.average(
                np.stack([base[name], self.weights(path)[name]]).astype(np.float64),
                axis=0,
                weights=[0.25, 0.75],
            ).astype(np.float32)
            for name in base
        }
        self.assert_same(self.weights(self.end("mean", "mean")), expected)
        self.assertEqual(
            self.line("two", "on")["start_digest"], self.line("mean", "mean")["weights_digest"]
        )

    def test_greedy_takes_what_does_not_worsen_and_best_takes_one(self):
        greedy = self.soup(weights="greedy", on="up")
        best = {"name": "best", "init": {"best": {"of": ["one", "two", "three"], "on": "down"}}}
        done = self.train(self.rounds(ONE, TWO, self.THREE, greedy, best), ranks=2)
        losses = {
            line["round"]: {row["source"]: row["loss"] for row in line["heldout"]}
            for line in self.ledger()
        }
        taken = [parent["name"] for parent in self.line("soup")["parents"]]
        members = ("one", "two", "three")
        self.assertEqual(taken[0], min(members, key=lambda name: losses[name]["up"]))
        self.assertLessEqual(losses["soup"]["up"], losses[taken[0]]["up"])
        self.assertEqual(done.stdout.count(", taken") + 1, len(taken))
        self.assert_same(
            self.weights(self.end("soup")),
            self.average([self.end(name) for name in taken], [1] * len(taken)),
        )
        (parent,) = self.line("best")["parents"]
        self.assertEqual(parent["name"], min(members, key=lambda name: losses[name]["down"]))
        self.assertEqual(self.line("best")["weights_digest"], parent["digest"])

    def test_a_round_may_start_from_any_round_before(self):
        again = dict(TWO, name="again", init={"round": "one"})
        self.train(self.rounds(ONE, TWO, again))
        line = self.line("again")
        self.assertEqual(line["start_digest"], self.line("one")["weights_digest"])
        self.assertEqual(line["parents"][0]["name"], "one")

    def test_wrong_ones_are_told(self):
        for init, expected in (
            ({"round": "two"}, "'two' is not a round before this one"),
            ({"average": {"of": ["onne"]}}, "Did you mean 'one'?"),
            ({"average": {"of": ["one"], "weights": [1, 2]}}, "2 numbers for 1 models"),
            ({"average": {"of": ["one", "base"], "weights": [1, -1]}}, "sum must not be 0"),
            ({"average": {"of": ["one"], "weights": "greedy"}}, "on is missing"),
            ({"best": {"of": ["one"], "on": "there"}}, "not a source with held-out"),
            ({"best": {"of": [], "on": "up"}}, "name at least one model"),
            ({"middle": 1}, "{round: NAME}"),
        ):
            with self.subTest(init):
                config = self.rounds(ONE, {"name": "new", "init": init, "data": {"up": 1.0}})
                done = harness.rondo("train", config)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(expected, done.stderr)
        done = harness.rondo("train", self.rounds(ONE, {"name": "two"}))
        self.assertEqual(done.returncode, 2)
        self.assertIn("has no `data`", done.stderr)


class CarriedPlans(PolicyTest):
    def test_two_rounds_of_the_same_data_are_one_longer_round(self):
        first = {"name": "first", "data": {"up": 1.0, "down": 0.5}, "steps": 8}
        second = dict(first, name="second", optimizer_state="carry", steps=7)
        third = dict(first, name="third", optimizer_state="carry", steps=6)
        self.train(self.rounds(first, second, third, name="carried"), ranks=2)
        self.train(self.rounds(dict(first, steps=21), name="single"), ranks=2)
        self.assertGreater(21, 2 * -(-self.packs("first", "single") // 4))
        self.assertEqual(self.losses("carried"), self.losses("single"))
        self.assertEqual(
            self.line("third", "carried")["result_digest"],
            self.line("first", "single")["result_digest"],
        )
        hashes = {line["plan_hash"] for line in self.ledger("carried")}
        self.assertEqual(len(hashes), 1)

    def test_other_data_have_a_plan_of_their_own(self):
        first = {"name": "first", "data": {"up": 1.0}, "steps": 4}
        second = dict(first, name="second", optimizer_state="carry", data={"up": 2.0})
        self.train(self.rounds(first, second))
        self.assertEqual(len({line["plan_hash"] for line in self.ledger()}), 2)

    def test_carried_moments_begin_a_schedule_anew(self):
        first = {"name": "first", "data": {"up": 1.0}, "steps": 5}
        for policy in ("reset", "carry_moments"):
            second = dict(first, name="second", optimizer_state=policy)
            self.train(self.rounds(first, second, name=policy))
        rates = {
            name: [line["lr"] for line in self.metrics(name)] for name in ("reset", "carry_moments")
        }
        self.assertEqual(rates["reset"], rates["carry_moments"])
        self.assertEqual(self.losses("reset")[:6], self.losses("carry_moments")[:6])
        self.assertNotEqual(self.losses("reset")[7:], self.losses("carry_moments")[7:])


class FailedGates(PolicyTest):
    WORSE = {"on": "up", "max_loss_increase": -9.0, "relative_to": "previous"}
    LAST = dict(TWO, name="last", data={"up": 1.0, "down": 1.0}, optimizer_state="carry_moments")

    def middle(self, otherwise, **changes):
        gate = dict(self.WORSE, otherwise=otherwise)
        return dict(TWO, name="middle", optimizer_state="carry_moments", gate=gate, **changes)

    def without_middle(self):
        self.train(self.rounds(ONE, self.LAST, name="without"), ranks=2)
        return self.line("last", "without")

    def test_a_round_that_is_rolled_back_has_never_been(self):
        done = self.train(self.rounds(ONE, self.middle("rollback"), self.LAST), ranks=2)
        self.assertIn("(rollback)", done.stderr)
        expected, found = self.without_middle(), self.line("last")
        for key in ("start_digest", "result_digest", "plan_hash", "heldout", "last_step"):
            self.assertEqual(found[key], expected[key], key)
        self.assertEqual(self.losses(), self.losses("without"))
        line = self.line("middle")
        self.assertEqual((line["outcome"], line["attempt"]), ("set_aside", 0))
        self.assertFalse(line["gates"][0]["held"])
        aside = self.run_folder() / "aside" / "middle.0"
        self.assertEqual(harness.json_lines(aside / "metrics.jsonl")[0]["round"], "middle")
        self.assertTrue((aside / "checkpoint" / "MANIFEST.json").exists())
        self.assertFalse((self.run_folder() / "rounds" / "middle" / "model").exists())
        again = self.train(self.rounds(ONE, self.middle("rollback"), self.LAST), ranks=2)
        self.assertIn("all 3 rounds are done", again.stdout)

    def test_its_sources_are_not_replayed(self):
        last = dict(self.LAST, data={"up": 1.0, "replay": 0.5})
        first = dict(ONE, data={"down": 1.0})
        middle = dict(self.middle("rollback"), data={"up": 2.0})
        self.train(self.rounds(first, middle, last, dict(last, name="after")))
        self.train(self.rounds(first, last, dict(last, name="after"), name="without"))
        self.assertEqual(
            self.line("after")["result_digest"], self.line("after", "without")["result_digest"]
        )

    def test_the_first_round_and_the_last_may_fall(self):
        gate = dict(self.WORSE, otherwise="rollback", relative_to="base")
        first = dict(ONE, gate=gate)
        self.train(self.rounds(first, TWO))
        self.train(self.rounds(TWO, name="without"))
        self.assertEqual(
            self.line("two")["result_digest"], self.line("two", "without")["result_digest"]
        )
        # Also where this start has begun in the middle of it.
        config = self.rounds(first, TWO, name="resumed", checkpoint={"every": 1})
        self.train(config, "run.max_steps=2")
        self.train(config)
        for key in ("result_digest", "start_digest", "heldout", "last_step"):
            self.assertEqual(
                self.line("two", "resumed")[key], self.line("two", "without")[key], key
            )
        done = self.train(self.rounds(TWO, first, name="last"))
        self.assertIn("done: 2 rounds, 3 steps", done.stdout)
        again = self.train(self.rounds(TWO, first, name="last"))
        self.assertIn("all 2 rounds are done", again.stdout)

    def test_a_round_is_tried_again_with_what_is_declared(self):
        # The gate asks for more than the first two attempts bring.
        slow = [{"optimizer": {"lr": 1e-5}}, {"optimizer": {"lr": 3e-3}, "steps": 12}]
        middle = dict(ONE, name="middle", optimizer={"lr": 1e-6}, data={"down": 1.0}, retry=slow)
        middle["gate"] = {"on": "down", "max_loss_increase": -0.05, "otherwise": "retry"}
        self.train(self.rounds(ONE, middle, self.LAST), ranks=2)
        lines = [line for line in self.ledger() if line["round"] == "middle"]
        self.assertEqual([line["outcome"] for line in lines], ["retried", "retried", "kept"])
        self.assertEqual([line["attempt"] for line in lines], [0, 1, 2])
        self.assertEqual([line["steps"] for line in lines], [3, 3, 12])
        self.assertEqual(len({line["start_digest"] for line in lines}), 1)
        written_out = dict(middle, optimizer={"lr": 3e-3}, steps=12, retry=None, gate=None)
        plain = {key: value for key, value in written_out.items() if value is not None}
        self.train(self.rounds(ONE, plain, self.LAST, name="plain"), ranks=2)
        self.assertEqual(self.losses(), self.losses("plain"))
        self.assertEqual(
            self.line("last")["result_digest"], self.line("last", "plain")["result_digest"]
        )

    def test_after_the_last_attempt_it_is_set_aside(self):
        middle = self.middle("retry", retry=[{"steps": 2}, {"data": {"up": 1.0, "down": 1.0}}])
        self.train(self.rounds(ONE, middle, self.LAST), ranks=2)
        lines = [line for line in self.ledger() if line["round"] == "middle"]
        self.assertEqual([line["outcome"] for line in lines], ["retried", "retried", "set_aside"])
        self.assertEqual([len(line["data"]) for line in lines], [1, 1, 2])
        self.assertEqual(self.line("last")["result_digest"], self.without_middle()["result_digest"])

    def test_the_severest_of_several_gates_decides(self):
        bounds = [
            {"on": "up", "max": 99.0, "otherwise": "stop"},
            {"on": "down", "figure": "accuracy", "min": 0.99, "otherwise": "report"},
            {"on": "down", "figure": "accuracy", "max_decrease": -0.99, "otherwise": "rollback"},
        ]
        done = self.train(self.rounds(ONE, dict(TWO, gate=bounds), self.LAST))
        line = self.line("two")
        self.assertEqual([gate["held"] for gate in line["gates"]], [True, False, False])
        self.assertEqual(line["outcome"], "set_aside")
        self.assertEqual(done.stderr.count("gate of round 'two' fails"), 2)

    def test_kills_between_the_decision_and_the_next_round_leave_no_trace(self):
        rounds = [ONE, self.middle("retry", retry=[{"steps": 2}]), self.LAST]
        self.train(self.rounds(*rounds, name="calm"), ranks=2)
        # The round ends after step 6, then after step 5; both times the run goes back to step 3.
        points = (
            ("exported", 6),
            ("ledger_written", 6),
            ("ledger_written", 5),
            ("put_aside", 6),
            ("put_aside", 5),
            ("resumed", 3),
            ("round_begun", 3),
        )
        for point, step in points:
            name = f"killed-{point}-{step}"
            config = self.rounds(*rounds, name=name)
            fault = {"RONDO_FAULT": f"{point}:{step % 2}:{step}:kill"}
            killed = harness.rondo("train", config, ranks=2, environment=fault)
            self.assertNotEqual(killed.returncode, 0, point)
            self.train(config, ranks=2)
            self.assertEqual(
                [line["result_digest"] for line in self.ledger(name)],
                [line["result_digest"] for line in self.ledger("calm")],
            )
            self.assertEqual(self.losses(name), self.losses("calm"))

    def test_wrong_ones_are_told(self):
        gate = {"on": "up", "otherwise": "retry"}
        for change, expected in (
            ({"gate": gate}, "does not say with what"),
            ({"retry": [{"steps": 2}]}, "`retry` needs a gate"),
            ({"gate": gate, "retry": [{"steps": 2, "epochs": 1}]}, "only one of"),
            ({"gate": gate, "retry": [{"data": {"upp": 1}}]}, "Did you mean 'up'?"),
            ({"gate": {"on": "up", "figure": "accuracy", "max_loss_increase": 1}}, "max_decrease"),
            (
                {"gate": [{"on": "up", "otherwise": "rollback"}], "optimizer_state": "carry"},
                "Use carry_moments",
            ),
        ):
            with self.subTest(change):
                done = harness.rondo("train", self.rounds(ONE, dict(TWO, **change)))
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(expected, done.stderr)
