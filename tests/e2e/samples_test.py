"""Rejection sampling: what a round makes of a model's answers, against plain Python over what is in
the run folder; the same on any number of ranks, after kills, and with a command that judges."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import tokenizers

sys.path.insert(0, str(Path(__file__).parent))
import harness

from tools.rondo_tools import words

ONE = {"name": "one", "data": {"sorting": 2.0}, "epochs": 3, "optimizer": {"lr": 4e-3}}
TWO = {"name": "two", "data": {"solved": 1.0, "sorting": 0.5}, "steps": 4}


class SamplesTest(harness.RunTest):
    @classmethod
    def setUpClass(cls):
        cls.scratch = Path(tempfile.mkdtemp(prefix="rondo-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.texts = harness.make_texts(cls.scratch)

    def rounds(self, name="run", rounds=(ONE, TWO), **samples):
        files = {part: str(self.texts / f"sorting.{part}.jsonl") for part in ("train", "heldout")}
        made = {"prompts": "sorting", "per_prompt": 3, "max_new_tokens": 24, "slots": 5}
        made |= {
            "max_prompts": 30,
            "temperature": 0.7,
            "verify": {"regex": r"(\S)\s*$"},
            "most_kept": 2,
        }
        return self.recipe(
            name,
            tokenizer=str(self.texts / "tokenizer"),
            sources={"sorting": files, "solved": {"samples": made | samples}},
            rounds=list(rounds),
            export={"rounds": False},
            evaluate={"at_start": False, "max_examples": 20},
        )

    def made(self, name="run"):
        return self.run_folder(name) / "rounds" / "two" / "samples" / "solved.h5"

    def chain(self, config, ranks=1, environment=None):
        words = [harness.ROOT / "launch" / "rounds", "-n", ranks, config]
        return harness.run_command([str(word) for word in words], environment)

    def examples(self, name="run"):
        with h5py.File(self.made(name)) as file:
            table = {key: file[key][:] for key in file}
            table["counts"] = json.loads(file.attrs["counts"])
        return table


class Making(SamplesTest):
    def test_examples_are_right_answers_to_questions_of_the_source(self):
        config = self.rounds()
        self.train(config, launcher=True)
        made = self.examples()
        counts = made["counts"]
        self.assertEqual(counts["completions"], 90)
        self.assertEqual(counts["questions"], 30)
        self.assertGreater(counts["right"], 5)
        self.assertLess(counts["right"], counts["finished"])
        self.assertEqual(len(made["example_id"]), counts["examples"])
        cached = self.folder / "runs" / "cache" / "run" / "sorting.train.h5"
        with h5py.File(cached) as file:
            source = {key: file[key][:] for key in file}
        rows = {int(row): i for i, row in enumerate(source["row"])}
        tokenizer = tokenizers.Tokenizer.from_file(str(self.texts / "tokenizer" / "tokenizer.json"))
        seen = {}
        for i, row in enumerate(made["row"]):
            own = made["tokens"][made["offsets"][i] : made["offsets"][i + 1]]
            codes = made["weights"][made["offsets"][i] : made["offsets"][i + 1]]
            begin = source["offsets"][rows[int(row)]]
            prompt = source["prompt_length"][rows[int(row)]]
            answer = source["tokens"][begin + prompt : source["offsets"][rows[int(row)] + 1]]
            np.testing.assert_array_equal(own[:prompt], source["tokens"][begin : begin + prompt])
            self.assertEqual(made["prompt_length"][i], prompt)
            self.assertTrue((codes[:prompt] == 0).all() and (codes[prompt:] == 1).all())
            said, expected = tokenizer.decode(own[prompt:]), tokenizer.decode(answer)
            # What the pattern asks for: the last character that is no space.
            self.assertEqual(said.rstrip()[-1], expected.rstrip()[-1])
            text = bytes(made["words"][made["word_offsets"][i] : made["word_offsets"][i + 1]])
            self.assertEqual(text.decode().splitlines()[-1], f"a {words.words(said)}".strip())
            seen.setdefault(int(row), []).append(tuple(own))
        self.assertTrue(all(len(set(own)) == len(own) <= 2 for own in seen.values()))
        with h5py.File(self.run_folder() / "rounds" / "two" / "packed" / "packed-00000.h5") as file:
            self.assertTrue(set(made["example_id"]) <= set(file["example_id"][:]))
        self.assertFalse(list(self.made().parent.glob("*.parts")))

    def test_the_same_examples_on_any_ranks_and_slots(self):
        self.train(self.rounds("base", rounds=[ONE]), launcher=True)
        (model,) = (self.run_folder("base") / "checkpoints").glob("round-*")
        two = dict(TWO, init="base")
        tables = []
        for ranks, slots in ((1, 5), (2, 3), (3, 16)):
            name = f"ranks{ranks}"
            config = self.rounds(name, rounds=[two], slots=slots)
            changes = [f"model.from={model}", "model.shape=null", "batch.packs=6"]
            self.train(config, *changes, "batch.micro_packs=1", ranks=ranks, launcher=True)
            tables.append(self.examples(name))
        for table in tables[1:]:
            self.assertEqual(table["counts"], tables[0]["counts"])
            for key in ("tokens", "offsets", "example_id", "words", "row", "weights"):
                np.testing.assert_array_equal(table[key], tables[0][key], key)

    def test_kills_while_sampling_leave_no_trace(self):
        self.train(self.rounds("calm"), launcher=True, ranks=2)
        for point in ("sampled:0:0", "samples_written:0:*", "round_begun:1:*"):
            name = "killed-" + point.split(":")[0]
            config = self.rounds(name)
            # Past the beginning of the first round.
            self.train(config, "run.max_steps=2", launcher=True, ranks=2)
            fault = {"RONDO_FAULT": f"{point}:kill"}
            words = ["train", config]
            killed = harness.rondo(*words, ranks=2, environment=fault)
            self.assertNotEqual(killed.returncode, 0, point)
            self.train(config, launcher=True, ranks=2)
            lines = [[line["result_digest"] for line in self.ledger(n)] for n in (name, "calm")]
            self.assertEqual(*lines)
            self.assertEqual(self.examples(name)["counts"], self.examples("calm")["counts"])

    def test_another_model_may_answer_and_the_round_still_starts_from_its_own(self):
        three = dict(TWO, name="three", init="previous", optimizer_state="carry_moments")
        middle = {"name": "middle", "data": {"sorting": 1.0}, "steps": 2}
        config = self.rounds(rounds=[ONE, middle, three], by={"round": "one"})
        self.train(config, launcher=True)
        one, before, after = self.ledger()
        self.assertEqual(after["start_digest"], before["weights_digest"])
        folder = self.run_folder() / "rounds" / "three" / "samples" / "solved.h5"
        with h5py.File(folder) as file:
            self.assertEqual(json.loads(file.attrs["counts"])["model"], one["weights_digest"])

    def test_nothing_right_is_an_error_that_says_so(self):
        done = harness.rondo("train", self.rounds(verify={"regex": "never"}), launcher=True)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("none of 90 completions of 30 questions is right", done.stderr)


class Answers(SamplesTest):
    def test_exact_match_is_that_of_what_generate_makes(self):
        config = self.rounds(rounds=[ONE], verify="exact")
        changes = ["evaluate.answers=9", "evaluate.max_new_tokens=24", "evaluate.at_start=true"]
        changes += [r"sources.sorting.verify={regex: '(\S)\s*$'}"]
        done = self.train(config, *changes, "export.rounds=true", launcher=True, ranks=2)
        self.assertIn("answers that are right after each round", done.stdout)
        (line,) = self.ledger()
        found = line["heldout"][0]["exact_match"]
        heldout = self.folder / "runs" / "cache" / "run" / "sorting.heldout.h5"
        model = self.run_folder() / "rounds" / "one" / "model"
        out = self.folder / "out.h5"
        words = ["generate", "--from", model, "--prompts", heldout, "--out", out]
        made = harness.rondo(*words, "--max-new-tokens", 24)
        self.assertEqual(made.returncode, 0, made.stderr)
        right = {}
        tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        with h5py.File(heldout) as source, h5py.File(out) as file:
            for i, name in enumerate(source["example_id"][:]):
                own = source["tokens"][source["offsets"][i] : source["offsets"][i + 1]]
                answer = tokenizer.decode(own[source["prompt_length"][i] :]).strip()
                said = file["tokens"][file["offsets"][i] : file["offsets"][i + 1]]
                same = tokenizer.decode(said).strip()[-1:] == answer[-1:] != ""
                right[int(name)] = bool(same and file["finished"][i])
        # Nine of the twelve, chosen by seed.
        self.assertEqual(len(right), 12)
        most = sum(right.values())
        self.assertGreater(most, 0)
        self.assertLessEqual(round(found * 9), most)
        self.assertGreaterEqual(round(found * 9), most - 3)
        self.train(config, *changes, "evaluate.answers=12", "run.name=all", launcher=True)
        self.assertEqual(self.ledger("all")[0]["heldout"][0]["exact_match"], most / 12)

    def test_a_gate_on_exact_match(self):
        gate = {"on": "sorting", "figure": "exact_match", "min": 1.01, "otherwise": "rollback"}
        config = self.rounds(rounds=[dict(ONE, epochs=1, gate=gate), dict(ONE, name="next")])
        changes = ["evaluate.answers=4", "evaluate.max_new_tokens=24"]
        self.train(config, *changes, launcher=True)
        first, _ = self.ledger()
        self.assertEqual(first["outcome"], "set_aside")
        self.assertIn("exact_match on sorting is", json.dumps(self.verdict(first)))
        refused = harness.rondo("train", config, "run.name=none")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("needs evaluate.answers", refused.stderr)

    def verdict(self, line):
        (verdict,) = line["gates"]
        return f"{verdict['figure']} on {verdict['on']} is {verdict['now']}"


class Commands(SamplesTest):
    JUDGE = """#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    right = asked["completion"].rstrip()[-1:] == asked["answer"].rstrip()[-1:] != ""
    print(json.dumps({"id": asked["id"], "right": right}))
"""

    def judge(self, text, name="judge"):
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return {"command": [str(path)]}

    def test_judges_as_the_rule_inside_does(self):
        self.train(self.rounds("inside"), launcher=True)
        config = self.rounds("outside", verify=self.judge(self.JUDGE))
        alone = harness.rondo("train", config, launcher=True)
        self.assertEqual(alone.returncode, 79, alone.stderr)
        self.assertIn("launch/rounds", alone.stdout)
        done = self.chain(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        inside, outside = self.examples("inside"), self.examples("outside")
        self.assertEqual(inside["counts"], outside["counts"])
        np.testing.assert_array_equal(inside["tokens"], outside["tokens"])
        self.assertFalse((self.run_folder("outside") / "commands.json").exists())
        again = self.chain(config)
        self.assertIn("all 2 rounds are done", again.stdout)

    def test_one_that_dies_hangs_or_prints_nonsense_is_told_and_loses_nothing(self):
        endings = (
            ("import os; os.abort()", "ended by SIGABRT"),
            ("raise SystemExit(3)", "exit code 3"),
            ("import time; time.sleep(600)", "has not ended after 1 s"),
            ("print('yes')", "line 1 of its output is no verdict"),
            ("pass", "it gave no verdict on"),
            ('print(\'{"id": "7", "right": true}\')', "which was not asked"),
        )
        config = self.rounds(verify=self.judge("", "judge"))
        for text, expected in endings:
            self.judge(f"#!/usr/bin/env python3\n{text}\n")
            words = [harness.ROOT / "launch" / "rounds", "--command-minutes", "0.017", config]
            done = harness.run_command([str(word) for word in words])
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(expected, done.stderr)
        parts = next(iter(self.made().parent.glob("*.parts"))) / "00000.h5"
        before = parts.stat().st_mtime_ns
        self.judge(self.JUDGE)
        done = self.chain(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.examples()["counts"]["completions"], 90)
        self.assertFalse(parts.exists())
        self.assertGreater(before, 0)

    def test_a_gate_may_ask_a_command_about_the_exported_model(self):
        measure = (
            "import json, os, pathlib\n"
            "model = pathlib.Path(os.environ['RONDO_MODEL'])\n"
            "assert (model / 'model.safetensors').exists()\n"
            "print('measuring')\n"
            "print(json.dumps({'files': len(list(model.iterdir())), 'score': 0.25}))\n"
        )
        command = self.judge(f"#!/usr/bin/env python3\n{measure}", "measure")["command"]
        for name, least, outcomes in (
            ("held", 0.2, ["kept", "kept"]),
            ("failed", 0.3, ["set_aside", "kept"]),
        ):
            gate = {"command": command, "figure": "score", "min": least, "otherwise": "rollback"}
            rounds = [dict(ONE, epochs=1, gate=gate), dict(ONE, name="next", epochs=1)]
            config = self.rounds(name, rounds=rounds)
            alone = harness.rondo("train", config, "export.rounds=true", launcher=True)
            self.assertEqual(alone.returncode, 79, alone.stderr)
            words = [harness.ROOT / "launch" / "rounds", config, "export.rounds=true"]
            done = harness.run_command([str(word) for word in words])
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([line["outcome"] for line in self.ledger(name)], outcomes)
            exported = self.run_folder(name) / "rounds" / "one" / "model"
            self.assertEqual(exported.exists(), outcomes[0] == "kept")
        gate = {"command": command, "figure": "other", "min": 0.2}
        config = self.rounds("other", rounds=[dict(ONE, epochs=1, gate=gate)])
        words = [harness.ROOT / "launch" / "rounds", config, "export.rounds=true"]
        done = harness.run_command([str(word) for word in words])
        self.assertEqual(done.returncode, 2)
        self.assertIn("has no figure 'other'", done.stderr)

    def test_a_request_to_stop_ends_the_command_and_the_chain(self):
        config = self.rounds(verify=self.judge("#!/bin/sh\nsleep 600\n"))
        words = [str(harness.ROOT / "launch" / "rounds"), str(config)]
        with subprocess.Popen(
            words,
            env=harness.ONE_THREAD | os.environ | {"RONDO_BINARY": harness.RONDO},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stderr:
                if "verify solved of round two" in line:
                    break
            process.terminate()
            process.stderr.read()
            self.assertEqual(process.wait(harness.TIMEOUT_S), 75)
