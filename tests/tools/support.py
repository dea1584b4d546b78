"""What the tests of the Python tools share: a scratch folder, a tiny tokenizer, running a tool."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "tools"))

TEXTS = [
    "What is two plus two? It is four. And three plus three? That makes six.",
    "Say hello to the user. Hello there! You are a helpful assistant.",
    "Translate to French: good morning. Bonjour. 48 + 24 = 72 #### 72",
    "Note:: so:: is:: a:: double:: colon:: one:: token::",
]

MARKED_TEMPLATE = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' -}}"
    "{%- if m['role'] == 'assistant' -%}{%- generation -%}{{- m['content'] + '<|im_end|>' -}}"
    "{%- endgeneration -%}{%- else -%}{{- m['content'] + '<|im_end|>' -}}{%- endif -%}{{- '\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
PLAIN_TEMPLATE = MARKED_TEMPLATE.replace("{%- generation -%}", "").replace(
    "{%- endgeneration -%}", ""
)


@dataclass
class Finished:
    """What a tool left: exit code and texts, as subprocess.CompletedProcess names them."""

    returncode: int
    stdout: str
    stderr: str


def run_tool(name, *arguments):
    """Runs a tool's main in this process (loading transformers takes seconds)."""
    from rondo_tools.environment import run_main

    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = run_main(f"{name}_command", list(map(str, arguments)))
    return Finished(code, stdout.getvalue(), stderr.getvalue())


def run_script(name, *arguments, folder=None, before=None):
    """Runs tools/<name> as a user does; `before` is called in its process first."""
    command = [str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        preexec_fn=before,
    )  # fmt: skip


def write_jsonl(path, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def conversation(question, answer, *more):
    """OpenAI messages: user, assistant, user, ..."""
    texts = [question, answer, *more]
    roles = ["assistant" if number % 2 else "user" for number in range(len(texts))]
    return {
        "messages": [
            {"role": role, "content": text} for role, text in zip(roles, texts, strict=True)
        ]
    }


class ToolTest(unittest.TestCase):
    """A test case with a scratch folder and, in it, a tokenizer folder trained on TEXTS."""

    @classmethod
    def setUpClass(cls):
        from rondo_tools import train_tokenizer_command

        cls.shared = Path(tempfile.mkdtemp(prefix="rondo-tools-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        corpus = write_jsonl(cls.shared / "corpus.jsonl", [{"text": text} for text in TEXTS])
        cls.tokenizer = cls.shared / "tokenizer"
        tokenizer = train_tokenizer_command.train([corpus], 300, digits=True)
        train_tokenizer_command.write(tokenizer, cls.tokenizer)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="rondo-tools-"))
        self.addCleanup(shutil.rmtree, self.folder)
