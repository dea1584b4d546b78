"""What rounds promise: where weights start, how long they run, what is evaluated, gated, kept and
exported, and that what comes out is what other programs load and measure."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import safetensors.torch
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
import harness


class RoundTest(harness.RunTest):
    """Recipes over two tokenised sources, `up` and `down`, each with held-out examples."""

    def setUp(self):
        super().setUp()
        self.sources = {}
        for seed, name in enumerate(("up", "down")):
            train, heldout = harness.counting(seed), harness.counting(seed + 10, 9)
            if name == "down":
                train, heldout = ([tokens[::-1] for tokens in part] for part in (train, heldout))
            self.sources[name] = {
                "train": str(harness.write_tokenized(self.folder / f"{name}.h5", train)),
                "heldout": str(harness.write_tokenized(self.folder / f"{name}.held.h5", heldout)),
            }

    def rounds(self, *rounds, name="run", **changes):
        base = {"sources": self.sources, "export": {"rounds": False}, "rounds": list(rounds)}
        return self.recipe(name, **harness.merged(base, changes))

    def inspect_state(self, path):
        return json.loads((path / "MANIFEST.json").read_text())["state"]

    def packs(self, round_name, name="run"):
        path = self.run_folder(name) / "rounds" / round_name / "packed" / "packed-00000.h5"
        with h5py.File(path) as file:
            return len(file["pack_offsets"]) - 1

    def losses(self, name="run"):
        return [line["loss"] for line in self.metrics(name)]


class Lengths(RoundTest):
    def test_epochs_steps_and_tokens(self):
        self.train(
            self.rounds(
                {"name": "epochs", "data": {"up": 1.0}, "epochs": 1.5},
                {"name": "steps", "data": {"up": 1.0}, "steps": 3},
                {"name": "tokens", "data": {"up": 1.0}, "tokens": 4 * 64 * 2 + 1},
                {"name": "passes", "data": {"up": 2.0, "down": 0.5}},
            )
        )
        epoch = -(-self.packs("epochs") // 4)
        expected = [-(-3 * epoch // 2), 3, 3, -(-self.packs("passes") // 4)]
        self.assertEqual([line["steps"] for line in self.ledger()], expected)
        self.assertEqual(len(self.metrics()), sum(expected))
        # Two passes over 60 examples and half of another 60.
        path = self.run_folder() / "rounds" / "passes" / "packed" / "packed-00000.h5"
        with h5py.File(path) as file:
            _, counts = np.unique(file["source"][:], return_counts=True)
        self.assertEqual(counts.tolist(), [120, 30])

    def test_the_last_step_of_an_epoch_is_short_and_drops_nothing(self):
        self.train(self.rounds({"name": "one", "data": {"up": 1.0}, "epochs": 2}), ranks=2)
        self.assertNotEqual(self.packs("one") % 4, 0)
        examples = harness.counting(0)
        trained = sum(len(tokens) - 2 for tokens in examples)
        total = sum(map(len, examples))
        lines = self.metrics()
        half = len(lines) // 2
        for epoch in (lines[:half], lines[half:]):
            self.assertEqual(sum(line["trainable_tokens"] for line in epoch), trained)
            self.assertEqual(sum(line["tokens"] for line in epoch), total)
        *full, short = [line["tokens"] for line in lines[:half]]
        self.assertLess(short, min(full))

    def test_the_average_over_examples_is_another_loss(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 2}
        self.train(self.rounds(one, name="tokens"))
        self.train(self.rounds(one, name="examples", loss={"average": "examples"}))
        tokens, examples = self.losses("tokens"), self.losses("examples")
        self.assertNotEqual(tokens[0], examples[0])
        self.assertAlmostEqual(tokens[0], examples[0], delta=0.2)

    def test_held_out_losses_come_at_the_start_inside_and_at_the_end(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 7, "evaluate": {"every": 3}}
        self.train(self.rounds(one))
        with_rows = [line["step"] for line in self.metrics() if "evaluate" in line]
        self.assertEqual(with_rows, [3, 6])
        events = harness.json_lines(self.run_folder() / "events.jsonl")
        rows = [event["row"] for event in events if event["event"] == "evaluated"]
        self.assertEqual(rows, ["base", "one"])

    def test_a_round_has_its_own_number_of_examples_inside(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 4}
        one["evaluate"] = {"at_start": False, "every": 2, "max_examples": 3}
        self.train(self.rounds(one))
        events = harness.json_lines(self.run_folder() / "events.jsonl")
        self.assertEqual([e["row"] for e in events if e["event"] == "evaluated"], ["one"])
        for folder, documents in (("heldout", 9), ("heldout-3", 3)):
            with h5py.File(self.run_folder() / folder / "up" / "packed-00000.h5") as file:
                self.assertEqual(file["pack_offsets"][-1], documents)

    def test_a_round_from_a_checkpoint_is_evaluated_at_its_start(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 2}
        first = self.run_folder() / "checkpoints" / "round-00-one"
        self.train(self.rounds(one, dict(one, name="two", init={"checkpoint": str(first)})))
        events = harness.json_lines(self.run_folder() / "events.jsonl")
        rows = {e["row"]: e["evaluate"] for e in events if e["event"] == "evaluated"}
        self.assertEqual(list(rows), ["base", "one", "two, start", "two"])
        self.assertEqual(rows["two, start"], rows["one"])


class Starts(RoundTest):
    def test_of_base_previous_and_checkpoint(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 4}
        again = dict(one, name="again", init="base")
        on = dict(one, name="on", init="previous")
        self.train(self.rounds(one, again, on))
        # The order of packs is seeded by round: held-out rows show where the weights started.
        first = self.run_folder() / "checkpoints" / "round-00-one"
        from_checkpoint = dict(one, name="on", init={"checkpoint": str(first)})
        self.train(self.rounds(from_checkpoint, name="other"))
        from_model = dict(one, name="on")
        model = {"shape": None, "from": str(first)}
        self.train(self.rounds(from_model, name="third", model=model))
        self.assertEqual(self.losses("other"), self.losses("third"))
        base = harness.json_lines(self.run_folder("third") / "events.jsonl")[1]
        self.assertEqual(base["row"], "base")
        self.assertEqual(base["evaluate"], self.ledger()[0]["heldout"])
        self.assertLess(self.losses("other")[0], self.losses()[0])
        by_round = {line["round"]: line for line in self.metrics() if line["round_step"] == 1}
        self.assertLess(by_round["on"]["loss"], by_round["again"]["loss"])
        self.assertAlmostEqual(by_round["again"]["loss"], by_round["one"]["loss"], delta=0.1)

    def test_carried_rounds_share_one_schedule(self):
        first = {"name": "first", "data": {"up": 1.0}, "steps": 4}
        second = {"name": "second", "data": {"up": 1.0}, "steps": 4}
        self.train(self.rounds(first, second, name="reset"))
        self.train(self.rounds(first, dict(second, optimizer_state="carry"), name="carry"))
        self.train(self.rounds(dict(first, steps=8), name="single"))
        rates = {
            name: [line["lr"] for line in self.metrics(name)]
            for name in ("reset", "carry", "single")
        }
        self.assertEqual(rates["carry"], rates["single"])
        self.assertEqual(rates["reset"][:4], rates["reset"][4:])

    def test_losses_do_not_depend_on_the_number_of_ranks(self):
        one = {"name": "one", "data": {"up": 1.0, "down": 1.0}, "steps": 12}
        config = self.rounds(one, batch={"packs": 12, "micro_packs": 1})
        losses = {}
        for ranks in (1, 2, 3):
            self.train(config, f"run.name=ranks{ranks}", ranks=ranks)
            losses[ranks] = np.array(self.losses(f"ranks{ranks}"))
        for ranks in (2, 3):
            difference = np.abs(losses[ranks] / losses[1] - 1).max()
            self.assertLess(difference, 1e-5)


class Gates(RoundTest):
    ONE = {"name": "one", "data": {"up": 1.0}, "steps": 3}
    TWO = {"name": "two", "data": {"down": 1.0}, "steps": 3}
    IMPOSSIBLE = {"on": "up", "max_loss_increase": -5.0, "relative_to": "base"}

    def test_the_ledger_holds_the_forgetting_matrix(self):
        self.train(self.rounds(self.ONE, self.TWO))
        for line in self.ledger():
            self.assertEqual([row["source"] for row in line["heldout"]], ["up", "down"])
            self.assertTrue(all(0 < row["loss"] < 7 for row in line["heldout"]))
            self.assertEqual(len(line["result_digest"]), 16)
        self.assertEqual([line["round"] for line in self.ledger()], ["one", "two"])

    def test_stop_ends_the_run_for_good(self):
        config = self.rounds(dict(self.ONE, gate=dict(self.IMPOSSIBLE, otherwise="stop")), self.TWO)
        done = self.train(config, ranks=2)
        self.assertIn("gate of round 'one' fails", done.stderr)
        self.assertIn("gate.otherwise of round 'one' is stop", done.stdout)
        metrics = (self.run_folder() / "metrics.jsonl").read_bytes()
        ledger = (self.run_folder() / "ledger.jsonl").read_bytes()
        again = self.train(config, ranks=2)
        self.assertIn("the gate of round 'one' has ended this run", again.stdout)
        self.assertEqual((self.run_folder() / "metrics.jsonl").read_bytes(), metrics)
        self.assertEqual((self.run_folder() / "ledger.jsonl").read_bytes(), ledger)

    def test_report_and_continue_go_on(self):
        for otherwise in ("report", "continue"):
            gate = dict(self.IMPOSSIBLE, otherwise=otherwise)
            self.train(self.rounds(dict(self.ONE, gate=gate), self.TWO, name=otherwise))
            (verdict,) = self.ledger(otherwise)[0]["gates"]
            self.assertEqual((verdict["held"], verdict["otherwise"]), (False, otherwise))
            self.assertEqual(len(self.ledger(otherwise)), 2)

    def test_a_gate_that_holds(self):
        gate = {"on": "up", "max_loss_increase": 0.5, "relative_to": "best", "otherwise": "stop"}
        self.train(self.rounds(self.ONE, dict(self.TWO, gate=gate)))
        self.assertIs(self.ledger()[1]["gates"][0]["held"], True)


class Kept(RoundTest):
    def test_the_newest_and_the_ends_of_rounds_as_weights(self):
        rounds = [
            {"name": name, "data": {"up": 1.0}, "steps": 5} for name in ("one", "two", "three")
        ]
        self.train(self.rounds(*rounds, checkpoint={"every": 2, "keep": 2}), ranks=2)
        folder = self.run_folder() / "checkpoints"
        kept = sorted(path.name for path in folder.iterdir() if path.is_dir())
        ends = ["round-00-one", "round-01-two", "round-02-three"]
        self.assertEqual(kept, [*ends, "step-00000012", "step-00000014"])
        optimizer = [self.inspect_state(folder / end)["has_optimizer"] for end in ends]
        self.assertEqual(optimizer, [False, False, True])
        sizes = [sum(f.stat().st_size for f in (folder / end).glob("shard-*.h5")) for end in ends]
        self.assertLess(2 * sizes[0], sizes[2])

    def test_damage_to_an_earlier_end_stops_nothing(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 3}
        config = self.rounds(one, dict(one, name="two"), dict(one, name="three"))
        self.train(config, "run.max_steps=4")
        end = self.run_folder() / "checkpoints" / "round-00-one" / "shard-0000.h5"
        data = bytearray(end.read_bytes())
        data[-5000] ^= 1
        end.write_bytes(data)
        done = self.train(config)
        self.assertEqual([line["round"] for line in self.ledger()], ["one", "two", "three"])
        self.assertIn("the optimizer state of round-00-one stays", done.stderr)

    def test_a_run_is_done_only_with_its_last_model(self):
        one = {"name": "one", "data": {"up": 1.0}, "steps": 2}
        config = self.rounds(one, export={"rounds": True})
        self.train(config)
        model = self.run_folder() / "rounds" / "one" / "model"
        before = harness.digest(model / "model.safetensors")
        shutil.rmtree(model)
        (model.parent / "model.12345678.tmp").mkdir()
        self.train(config)
        self.assertEqual(harness.digest(model / "model.safetensors"), before)
        self.assertEqual([path.name for path in model.parent.glob("model.*")], [])
        self.assertEqual(len(self.ledger()), 1)
        self.assertIn("all 1 rounds are done", self.train(config).stdout)


class Results(harness.RunTest):
    """One small run from texts, whose results other programs load."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = Path(tempfile.mkdtemp(prefix="rondo-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.texts = harness.make_texts(cls.scratch)

    def setUp(self):
        super().setUp()
        self.config = self.recipe(
            tokenizer=str(self.texts / "tokenizer"),
            sources={
                "sorting": {
                    part: str(self.texts / f"sorting.{part}.jsonl") for part in ("train", "heldout")
                }
            },
            rounds=[{"name": "one", "data": {"sorting": 1.0}, "steps": 10}],
        )
        self.train(self.config, ranks=2, launcher=True)
        self.model = self.run_folder() / "rounds" / "one" / "model"
        self.cached = self.folder / "runs" / "cache" / "run"

    def heldout_loss(self, model):
        """Mean cross-entropy of the held-out answers, one example at a time."""
        total, count = 0.0, 0
        with h5py.File(self.cached / "sorting.heldout.h5") as file:
            tokens, weights, offsets = (file[n][:] for n in ("tokens", "weights", "offsets"))
        for begin, end in zip(offsets[:-1], offsets[1:], strict=True):
            ids = torch.tensor(tokens[begin:end], dtype=torch.long)
            trained = torch.tensor(weights[begin + 1 : end] != 0)
            with torch.no_grad():
                logits = model(ids[None]).logits[0, :-1].double()
            losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
            total += losses[trained].sum().item()
            count += int(trained.sum())
        return total / count

    def test_others_read_what_was_trained(self):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.model, dtype=torch.float32
        ).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.model)
        end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
        stops = model.generation_config.eos_token_id
        self.assertIn(end_of_turn, stops if isinstance(stops, list) else [stops])
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Sort"}], tokenize=False, add_generation_prompt=True
        )
        self.assertIn("Sort", text)

        loss = self.heldout_loss(model)
        done = harness.rondo("eval", self.config, "--from", self.model, ranks=2)
        self.assertEqual(done.returncode, 0, done.stderr)
        measured = json.loads(done.stdout.splitlines()[-1])[0]["heldout"][0]["loss"]
        self.assertLess(abs(measured / loss - 1), 1e-5)
        self.assertLess(abs(self.ledger()[0]["heldout"][0]["loss"] / loss - 1), 1e-5)

    def test_the_export_has_the_template_that_was_trained(self):
        template = self.folder / "own.jinja"
        template.write_text(
            "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
        )
        source = {"train": str(self.texts / "sorting.train.jsonl"), "template": str(template)}
        config = self.recipe(
            "templated",
            tokenizer=str(self.texts / "tokenizer"),
            sources={"sorting": source},
            rounds=[{"name": "one", "data": {"sorting": 1.0}, "steps": 2}],
        )
        self.train(config, launcher=True)
        other = self.folder / "other.jinja"
        other.write_text(template.read_text() + " ")
        for setting, what in ((f"template={other}", "template"), ("format=messages", "format")):
            changed = harness.rondo("train", config, f"sources.sorting.{setting}")
            self.assertEqual(changed.returncode, 2, changed.stderr)
            self.assertIn(what, changed.stderr)
        run = self.run_folder("templated")
        exported = self.folder / "exported"
        end = run / "checkpoints" / "round-00-one"
        done = harness.rondo("export", "--from", end, "--out", exported)
        self.assertEqual(done.returncode, 0, done.stderr)
        for folder in (run / "rounds/one/model", exported):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": "Sort"}], tokenize=False, add_generation_prompt=True
            )
            self.assertEqual(text, "<|im_start|>user: Sort<|im_end|><|im_start|>assistant: ")
        self.assertEqual(self.ledger("templated")[0]["inputs"][0]["source"], "sorting")

    def test_the_logical_file_holds_the_exported_weights(self):
        weights = safetensors.torch.load_file(self.model / "model.safetensors")
        newest = self.run_folder() / "checkpoints" / "round-00-one"
        with h5py.File(newest / "logical.h5") as file:
            for name, tensor in weights.items():
                np.testing.assert_array_equal(file[name][:], tensor.numpy(), err_msg=name)
            moment = file["optimizer/exp_avg/model.norm.weight"][:]
        self.assertTrue(np.isfinite(moment).all() and np.abs(moment).max() > 0)
        out = self.folder / "exported"
        done = harness.rondo("export", "--from", newest, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        name = "model.safetensors"
        self.assertEqual(harness.digest(out / name), harness.digest(self.model / name))

    def test_generated_decoded_and_scored(self):
        generated, decoded = self.folder / "generated.h5", self.folder / "decoded.jsonl"
        prompts = self.cached / "sorting.heldout.h5"
        done = harness.rondo(
            "generate",
            *("--from", self.model, "--prompts", prompts, "--out", generated),
            *("--max-new-tokens", 8),
            ranks=2,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        references = self.texts / "sorting.heldout.jsonl"
        harness.tool(
            "decode",
            *("--generated", generated, "--tokenizer", self.model),
            *("--prompts", references, "--out", decoded),
        )
        rows = harness.json_lines(decoded)
        self.assertEqual(len(rows), len(harness.json_lines(references)))
        # With the right answers put in their place every row counts.
        for row, reference in zip(rows, harness.json_lines(references), strict=True):
            row["completion"] = f"#### {reference['answer']}"
        right = self.folder / "right.jsonl"
        right.write_text("".join(json.dumps(row) + os.linesep for row in rows))
        scores = [
            json.loads(harness.tool("score", "--completions", path, "--references", references))
            for path in (decoded, right)
        ]
        self.assertEqual([score["examples"] for score in scores], [len(rows)] * 2)
        self.assertEqual(scores[1]["correct"], len(rows))
        self.assertLess(scores[0]["correct"], len(rows))


if __name__ == "__main__":
    import unittest

    unittest.main()
