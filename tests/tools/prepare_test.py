"""tools/prepare: what is fresh, what is stale, splits, and wrong configurations."""

import json
import os
import subprocess
import unittest
from pathlib import Path

import h5py

from tests.tools.support import (
    MARKED_TEMPLATE,
    PLAIN_TEMPLATE,
    ROOT,
    ToolTest,
    conversation,
    run_script,
    run_tool,
    write_jsonl,
)

CONFIG = """\
run: {{name: small, dir: {folder}/runs, seed: 1}}
tokenizer: {tokenizer}
sources:
  sums:
    train: {folder}/sums.*.jsonl
    heldout: {folder}/heldout.jsonl
    columns: {{prompt: question, completion: answer}}
  chat: {{train: {folder}/chat.jsonl, heldout: {{split: 3}}}}
  unused: {{train: {folder}/chat.jsonl}}
  ready: {{train: {folder}/ready.h5, heldout: {folder}/ready.h5}}
rounds:
  - {{name: first, init: base, data: {{sums: 1.0, ready: 1.0}}, epochs: 1}}
  - {{name: second, init: previous, data: {{chat: 2.0}}, epochs: 1}}
"""


class Prepare(ToolTest):
    def setUp(self):
        super().setUp()
        for part in (1, 2):
            self.write_sums(f"sums.{part}.jsonl", range(10 * part, 10 * part + 5))
        self.write_sums("heldout.jsonl", range(40, 44))
        rows = [conversation(f"Say {n}", f"Hello {n}") for n in range(12)]
        write_jsonl(self.folder / "chat.jsonl", [*rows, rows[0]])
        self.tokenizer_copy = self.folder / "tokenizer"
        self.tokenizer_copy.mkdir()
        for path in self.tokenizer.iterdir():
            (self.tokenizer_copy / path.name).write_bytes(path.read_bytes())
        self.config = self.folder / "config.yaml"
        self.write_config(CONFIG)
        self.cache = self.folder / "runs" / "cache" / "small"

    def write_sums(self, name, numbers):
        rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in numbers]
        write_jsonl(self.folder / name, rows)

    def write_config(self, text):
        text = text.format(folder=self.folder, tokenizer=self.tokenizer_copy)
        self.config.write_text(text, encoding="utf-8")

    def prepare(self, *overrides):
        done = run_tool("prepare", self.config, *overrides, "--workers", 1)
        self.assertEqual(done.returncode, 0, done.stderr)
        return dict(line.split(", ")[0].split(": ") for line in done.stdout.splitlines())

    def test_tokenises_once_then_finds_everything_fresh(self):
        files = ["sums.train", "sums.heldout", "chat.train"]
        self.assertEqual(self.prepare(), dict.fromkeys(files, "tokenised"))
        before = {name: (self.cache / f"{name}.h5").stat().st_mtime_ns for name in files}
        self.assertEqual(sorted(os.listdir(self.cache)), sorted(f"{n}.h5" for n in files))
        self.assertEqual(self.prepare(), dict.fromkeys(files, "fresh"))
        after = {name: (self.cache / f"{name}.h5").stat().st_mtime_ns for name in files}
        self.assertEqual(before, after)

    def test_touching_a_source_leaves_it_fresh(self):
        self.prepare()
        os.utime(self.folder / "chat.jsonl", (1, 1))
        self.assertEqual(set(self.prepare().values()), {"fresh"})

    def test_a_moved_source_is_stale_because_rondo_looks_for_it(self):
        self.prepare()
        os.rename(self.folder / "chat.jsonl", self.folder / "moved.jsonl")
        moved = f"{self.folder}/moved.jsonl"
        state = self.prepare(f"sources.chat.train={moved}", f"sources.unused.train={moved}")
        self.assertEqual([n for n, s in state.items() if s == "tokenised"], ["chat.train"])

    def test_another_source_content_makes_only_its_file_stale(self):
        self.prepare()
        self.write_sums("heldout.jsonl", range(50, 54))
        state = self.prepare()
        self.assertEqual([n for n, s in state.items() if s == "tokenised"], ["sums.heldout"])

    def test_another_matching_file_makes_it_stale(self):
        self.prepare()
        self.write_sums("sums.3.jsonl", range(60, 64))
        state = self.prepare()
        self.assertEqual([n for n, s in state.items() if s == "tokenised"], ["sums.train"])
        with h5py.File(self.cache / "sums.train.h5") as file:
            self.assertEqual(len(file["example_id"]), 14)

    def test_another_template_makes_everything_stale(self):
        self.prepare()
        path = self.tokenizer_copy / "chat_template.jinja"
        self.assertNotEqual(path.read_text(), PLAIN_TEMPLATE)
        path.write_text(PLAIN_TEMPLATE)
        self.assertEqual(set(self.prepare().values()), {"tokenised"})

    def test_a_template_of_its_own_makes_one_source_stale(self):
        self.prepare()
        path = self.folder / "own.jinja"
        path.write_text(MARKED_TEMPLATE)
        state = self.prepare(f"sources.chat.template={path}")
        stale = [name for name, found in state.items() if found == "tokenised"]
        self.assertEqual(stale, ["chat.train"])

    def test_another_tokenizer_makes_everything_stale(self):
        self.prepare()
        path = self.tokenizer_copy / "tokenizer_config.json"
        path.write_text(path.read_text() + "\n")
        self.assertEqual(set(self.prepare().values()), {"tokenised"})

    def test_another_format_makes_its_files_stale_and_a_seed_none(self):
        self.prepare()
        state = self.prepare("run.seed=2", "sources.sums.format=prompt_completion")
        stale = [name for name, found in state.items() if found == "tokenised"]
        self.assertEqual(stale, ["sums.train", "sums.heldout"])

    def test_a_damaged_file_is_made_anew(self):
        self.prepare()
        path = self.cache / "chat.train.h5"
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        state = self.prepare()
        self.assertEqual([n for n, s in state.items() if s == "tokenised"], ["chat.train"])
        self.assertEqual(path.read_bytes(), whole)

    def test_a_split_is_left_to_rondo(self):
        state = self.prepare("sources.ready.heldout={split: 2}")
        self.assertNotIn("chat.heldout", state)
        self.assertNotIn("ready.train", state)
        with h5py.File(self.cache / "chat.train.h5") as file:
            self.assertEqual(len(file["example_id"]), 13)

    def checkpoint(self, name, tokenizer):
        """The folder of a checkpoint, of which the tool reads the manifest's state."""
        folder = self.folder / "old" / "checkpoints" / name
        folder.mkdir(parents=True)
        state = {"run": "old", "round": 0, "tokenizer": str(tokenizer), "end_of_turn": 2}
        manifest = {"hash": "0" * 32, "format": "rondo.checkpoint", "version": 1, "state": state}
        (folder / "MANIFEST.json").write_text(json.dumps(manifest))
        return folder

    def test_a_model_from_a_checkpoint_brings_its_tokenizer(self):
        first = self.checkpoint("round-00-first", "tokenizer")
        second = self.checkpoint("round-01-second", first)  # of a run that began from `first`
        self.write_config(CONFIG.replace("tokenizer: {tokenizer}\n", ""))
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        self.assertEqual(set(self.prepare(f"model.from={first}").values()), {"tokenised"})
        self.assertEqual(set(self.prepare(f"model.from={second}").values()), {"fresh"})
        self.assertEqual(
            set(self.prepare(f"model.from={first}", "tokenizer=tokenizer").values()), {"fresh"}
        )
        os.chdir(here)
        where = f"{first}: the checkpoint names the tokenizer 'tokenizer'"
        self.refused(where, "Give `tokenizer: FOLDER`", overrides=[f"model.from={second}"])

    def test_a_checkpoint_without_a_tokenizer_is_named(self):
        self.write_config(CONFIG.replace("tokenizer: {tokenizer}\n", ""))
        none = self.checkpoint("none", "")
        self.refused("names no tokenizer", overrides=[f"model.from={none}"])
        (none / "MANIFEST.json").write_text("{}")
        self.refused("MANIFEST.json", "rondo inspect", overrides=[f"model.from={none}"])

    def refused(self, *texts, overrides=()):
        done = run_tool("prepare", self.config, *overrides)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_wrong_configurations(self):
        missing = f"{self.folder}/none.jsonl"
        for override, text in (
            (f"sources.sums.heldout={missing}", "none.jsonl: no such file"),
            ("sources.sums.columns={question: prompt}", "unknown name 'question'"),
            ("sources.chat.format=csv", "expected auto or one of"),
            ("sources.chat={heldout: {split: 2}}", "which is missing"),
            ("sources.chat.heldout={share: 2}", "{split: N}"),
            ("tokenizer=", "no tokenizer is named"),
            ("tokenizer=nowhere", "nowhere: no such folder"),
            ("run.name=", "run.name is missing"),
            ("sources.sums=3", "expected a mapping"),
            ("nonsense", "section.key=value"),
        ):
            with self.subTest(override):
                self.refused(text, overrides=[override])

    def test_scalars_are_text_as_rondo_reads_them(self):
        for name in ("2024", "1.50", "on", "007", "1_000", "1e-3"):
            with self.subTest(name):
                self.write_config(CONFIG.replace("small", name).replace("chat:", f"{name}:"))
                state = self.prepare("rounds.1.data={" + name + ": 1.0}")
                self.assertIn(f"{name}.train", state)
                self.assertTrue((self.cache.parent / name / f"{name}.train.h5").is_file())
                self.assertEqual(set(self.prepare(f"run.name={name}",
                    "rounds.1.data={" + name + ": 1.0}").values()), {"fresh"})  # fmt: skip

    def test_nothing_means_absent(self):
        self.prepare()
        for nothing in ("", "~", "null"):
            overrides = [
                f"sources.sums.{key}={nothing}" for key in ("format", "template", "max_rejected")
            ]
            self.assertEqual(set(self.prepare(*overrides).values()), {"fresh"})
            state = self.prepare(f"sources.sums.heldout={nothing}")
            self.assertNotIn("sums.heldout", state)
            self.refused("run.name is missing", overrides=[f"run.name={nothing}"])

    def test_numbers_are_still_numbers(self):
        self.write_sums("heldout.jsonl", range(40, 43))
        with open(self.folder / "heldout.jsonl", "a") as file:
            file.write("{\n")
        self.prepare("sources.sums.max_rejected=2.5e-1")
        self.prepare("sources.sums.max_rejected=0.25", "sources.chat.heldout={split: 0.002k}")
        for override, text in (
            ("sources.sums.max_rejected=1_0", "expected a share from 0 to 1"),
            ("sources.sums.max_rejected=nan", "expected a share from 0 to 1"),
            ("sources.chat.heldout={split: 0}", "{split: N}"),
            ("sources.chat.heldout={split: 1.5}", "{split: N}"),
            ("sources.chat.heldout={split: 1_0}", "{split: N}"),
            ("sources={~: {train: a}}", "a key must be plain text"),
        ):
            with self.subTest(override):
                done = run_tool("prepare", self.config, override)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr)

    def test_a_broken_source_leaves_nothing_behind(self):
        for text, found in (
            ('{"text": "no question"}\n', "heldout.jsonl: the format is not recognised"),
            ("[1, 2", "heldout.jsonl: starts with '[' but is not a JSON array"),
        ):
            with self.subTest(found):
                (self.folder / "heldout.jsonl").write_text(text)
                self.refused(found)
                self.assertFalse(self.cache.exists())

    def test_a_missing_configuration_file(self):
        done = run_tool("prepare", self.folder / "none.yaml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such configuration file", done.stderr)

    def test_the_script_itself_with_relative_paths(self):
        self.write_config(CONFIG.replace("{folder}/", "").replace("{tokenizer}", "tokenizer"))
        done = run_script("prepare", "config.yaml", "--workers", 2, folder=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.cache / "chat.train.h5").is_file())

    def test_where_its_lines_are_not_taken_it_does_its_work(self):
        command = [ROOT / "tools" / "prepare", self.config, "--workers", "1"]
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=full, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertTrue((self.cache / "chat.train.h5").is_file())
        self.config.write_text("rounds: nothing")
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=full, check=False)
        self.assertEqual(done.returncode, 2, "the exit code still tells")


if __name__ == "__main__":
    unittest.main()
