"""Tokens and weights of small conversations by every format and template, against stored texts.

The stored texts are tests/golden/tokenized/*.txt. Each line is a run of tokens of equal weight: the
weight, then the tokens between bars. To renew them after a change that is meant:
RONDO_WRITE_GOLDEN=1 .venv/bin/python -m unittest tests/tools/tokenize_golden_test.py
"""

import json
import os
import unittest
from itertools import groupby
from pathlib import Path

import h5py
from tokenizers import Tokenizer

from tests.tools.support import ROOT, ToolTest, run_tool, write_jsonl

GOLDEN = ROOT / "tests" / "golden" / "tokenized"
CHATML = ROOT / "tools" / "rondo_tools" / "templates" / "chatml.jinja"
SPECIAL = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"]


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(arguments):
    function = {"name": "weather", "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


SYSTEM = {"role": "system", "content": "Be kind."}
TOOL = {"name": "weather", "description": "Now.", "parameters": {"type": "object"}}
RESULT = {"role": "tool", "content": '{"degrees": 21}', "tool_call_id": "call_1"}
THOUGHT = {"reasoning_content": "Two and two."}

PLAIN = {
    "one turn": {"messages": [user("What is two?"), answer("It is four.")]},
    "system and two turns": {
        "messages": [SYSTEM, user("Hello"), answer("Hello there!"), user("Again?"), answer(" Hi. ")]
    },
    "a question at the end": {"messages": [user("Say"), answer("Hello"), user("More?")]},
    "beyond the basic plane": {
        "messages": [user("\U0001f600?"), answer("\U0001d4d0\u0301 \U0001f600!")]
    },
    "an empty system turn": {
        "messages": [{"role": "system", "content": " "}, user("Say"), answer("Hello")]
    },
    "weights": {
        "messages": [user("a"), answer("b", weight=0), user("c"), answer("d", weight=0.5)]
    },
    "content in parts": {
        "messages": [user([{"type": "text", "text": "Say"}, {"type": "text", "text": " it"}]),
                     answer("Hello")]
    },
}  # fmt: skip
TOOLS = {
    "a call, its result and an answer": {
        "tools": [{"type": "function", "function": TOOL}],
        "messages": [
            user("Weather?"), answer(None, tool_calls=[call('{"place": "Rome"}')]), RESULT,
            answer("It is 21."),
        ],
    },
    "two calls, the last without an answer": {
        "tools": json.dumps([TOOL]),
        "messages": [
            SYSTEM, user("Weather?"),
            answer("I look.", tool_calls=[call({"place": "Rome"}), call({"place": "Oslo"})]),
            RESULT, {**RESULT, "content": "cold"},
        ],
    },
}  # fmt: skip
CALLS = {
    "arguments given as text": {
        "messages": TOOLS["a call, its result and an answer"]["messages"][:2]
    }
}
THOUGHTS = {
    "thoughts in both turns": {
        "messages": [
            user("Two?"),
            answer("Four.", **THOUGHT),
            user("Six?"),
            answer("Yes.", **THOUGHT),
        ]
    },
    "thoughts in the last turn": {
        "messages": [user("Two?"), answer("Four."), user("Six?"), answer("Yes.", **THOUGHT)]
    },
}
SHAREGPT = {
    "tools": {
        "tools": json.dumps([TOOL]),
        "conversations": [
            {"from": "system", "value": "Be kind."}, {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": json.dumps(call({"place": "Rome"})["function"])},
            {"from": "observation", "value": "21"}, {"from": "gpt", "value": "It is 21."},
        ],
    },
    "flags": {
        "system": "Be kind.",
        "conversations": [
            {"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "train": False},
            {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"},
        ],
    },
}  # fmt: skip
PLAIN_SHAREGPT = {"flags": SHAREGPT["flags"]}
ALPACA = {
    "without input": {"instruction": "Say hello.", "output": "Hello."},
    "with input": {"instruction": "Translate.", "input": "good morning", "output": "Bonjour."},
    "with history": {"instruction": "c", "output": "d", "history": [["a", "b"]]},
}
PROMPTS = {
    "texts": {"prompt": "Say hello.", "completion": "Hello.", "system": "Be kind."},
    "lists": {"prompt": [SYSTEM, user("Say hello.")], "completion": [answer("Hello.")]},
}
GIVEN = {
    "labels": {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
    "weights": {"input_ids": [5, 6, 7, 8], "weights": [0, 0, 0.25, 1]},
    "mask": {"input_ids": [5, 6, 7, 8], "assistant_masks": [0, 1, 0, 1], "tags": ["a"]},
    "nothing trained": {"input_ids": [5, 6], "labels": [-100, -100]},
}
# name: (rows, options, template)
CASES = {
    "chatml": ({**PLAIN, **TOOLS, **THOUGHTS}, (), CHATML),
    "chatml-last-turn": (PLAIN, ("--train-on", "last"), CHATML),
    "chatml-light-end": (PLAIN, ("--end-of-turn-weight", "0.5"), CHATML),
    "chatml-split": ({**PLAIN, **THOUGHTS}, ("--multi-turn", "split"), CHATML),
    "llama3": ({**PLAIN, **TOOLS}, (), "llama3"),
    "qwen25": ({**PLAIN, **TOOLS}, (), "qwen25"),
    "qwen3": ({**PLAIN, **THOUGHTS}, (), "qwen3"),
    "dated": (PLAIN, (), "dated"),
    "twice": (CALLS, (), "twice"),
    "sharegpt-chatml": (SHAREGPT, (), CHATML),
    "sharegpt-llama3": (SHAREGPT, (), "llama3"),
    "sharegpt-qwen25": (SHAREGPT, (), "qwen25"),
    "sharegpt-qwen3": (SHAREGPT, (), "qwen3"),
    "sharegpt-dated": (PLAIN_SHAREGPT, (), "dated"),
    "alpaca-chatml": (ALPACA, (), CHATML),
    "alpaca-llama3": (ALPACA, (), "llama3"),
    "alpaca-qwen25": (ALPACA, (), "qwen25"),
    "alpaca-qwen3": (ALPACA, (), "qwen3"),
    "alpaca-dated": (ALPACA, (), "dated"),
    "prompt-completion-chatml": (PROMPTS, (), CHATML),
    "prompt-completion-llama3": (PROMPTS, (), "llama3"),
    "prompt-completion-qwen25": (PROMPTS, (), "qwen25"),
    "prompt-completion-qwen3": (PROMPTS, (), "qwen3"),
    "prompt-completion-dated": (PROMPTS, (), "dated"),
    "tokens": (GIVEN, (), CHATML),
}


def shown(token, tokenizer):
    return tokenizer.id_to_token(token).replace("\u0120", " ").replace("\u010a", "\\n")


class Golden(ToolTest):
    def setUp(self):
        super().setUp()
        path = self.tokenizer / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.add_special_tokens(SPECIAL)
        tokenizer.save(str(path))
        config = self.tokenizer / "tokenizer_config.json"
        given = json.loads(config.read_text())
        config.write_text(json.dumps({**given, "bos_token": "<|endoftext|>"}))

    def rendered(self, rows, options, template):
        if not isinstance(template, Path):
            template = GOLDEN / "templates" / f"{template}.jinja"
        path = write_jsonl(self.folder / "rows.jsonl", list(rows.values()))
        out = self.folder / "out.h5"
        done = run_tool(
            "tokenize", "--input", path, "--tokenizer", self.tokenizer, "--template", template,
            "--out", out, "--workers", 1, "--max-rejected", 1, *options,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split(": ", 1)[1] for line in done.stdout.splitlines() if ".h5: " in line]
        remarks = [line for line in done.stdout.splitlines() if ".h5: " not in line]
        text = "\n".join([*remarks, *lines, *self.examples(out, list(rows))]) + "\n"
        return text.replace(f"{self.folder}/", "")

    def examples(self, path, names):
        tokenizer = Tokenizer.from_file(str(self.tokenizer / "tokenizer.json"))
        rejected = Path(f"{path}.rejected.jsonl")
        faults = [json.loads(line) for line in rejected.open()] if rejected.exists() else []
        with h5py.File(path) as file:
            data = {name: file[name][:] for name in file}
        for i, row in enumerate(data["row"]):
            yield f"\n# {names[row - 1]}"
            part = slice(*data["offsets"][i : i + 2])
            weights = data["weight_table"][data["weights"][part]].tolist()
            pairs = zip(data["tokens"][part].tolist(), weights, strict=True)
            for weight, run in groupby(pairs, key=lambda pair: pair[1]):
                yield f"{weight:<4g}|" + "|".join(shown(t, tokenizer) for t, _ in run) + "|"
            words = data["words"][slice(*data["word_offsets"][i : i + 2])].tobytes().decode()
            yield from ("words " + line for line in words.splitlines())
        yield from (f"\n# {names[f['line'] - 1]}\nrejected: {f['reason']}" for f in faults)

    def test_tokens_and_weights(self):
        for name, (rows, options, template) in CASES.items():
            with self.subTest(name):
                text = self.rendered(rows, options, template)
                stored = GOLDEN / f"{name}.txt"
                if os.environ.get("RONDO_WRITE_GOLDEN"):
                    stored.write_text(text, encoding="utf-8")
                self.assertEqual(text, stored.read_text(encoding="utf-8"))

    def test_no_stored_text_is_left_over(self):
        self.assertEqual({path.stem for path in GOLDEN.glob("*.txt")}, set(CASES))


if __name__ == "__main__":
    unittest.main()
