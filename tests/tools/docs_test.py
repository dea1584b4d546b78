"""README and docs/ say what the program does: reference, links, options and tests named in them."""

import os
import re
import subprocess
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
RONDO = os.environ["RONDO_BINARY"]
PAGES = [SOURCE / "README.md", SOURCE / "CHANGELOG.md", *sorted(SOURCE.glob("docs/**/*.md"))]
REFERENCE = "docs/configuration.md"
CLAIMS = "docs/claims.md"
HOW_TO_RENEW = (
    f"{REFERENCE} is stale. Renew it: {{ head -n 2 {REFERENCE}; build/release/rondo reference; }}"
    f" >build/reference.md && mv build/reference.md {REFERENCE}"
)


def output_of(*command):
    done = subprocess.run(
        command, cwd=SOURCE, check=False, capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def commands(text):
    """Lines of the code blocks and pieces of code in the text; lines ended by \\ are joined."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    pieces = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for block in blocks:
        pieces += re.sub(r"\\\n\s*", "", block).splitlines()
    return pieces


def program_of(words):
    """The words that show the help of what a command line starts; None for anything else."""
    for place, word in enumerate(words):
        name = word.removeprefix("build/release/")
        if name in ("rondo", "launch/run"):
            for later in words[place + 1 :]:
                if re.fullmatch(r"[a-z]+[,:]?", later):
                    return [RONDO, later.rstrip(",:")]
        if re.fullmatch(r"(tools|launch)/\w+", name):
            return [name]
    return None


def stale(page, reference):
    header, empty, *table = page.splitlines()
    return not header or empty != "" or table != reference.rstrip("\n").splitlines()


class Docs(unittest.TestCase):
    def test_the_configuration_reference_is_the_programs(self):
        page = (SOURCE / REFERENCE).read_text(encoding="ascii")
        reference = output_of(RONDO, "reference")
        self.assertIn("| `run.name` |", reference)
        self.assertFalse(stale(page, reference), HOW_TO_RENEW)
        self.assertTrue(stale(page, reference.replace("run.name", "run.title")))

    def test_every_link_leads_somewhere(self):
        found = 0
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
                if "://" not in target:
                    found += 1
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")
        self.assertGreater(found, 10)

    def test_every_option_in_the_readme_exists(self):
        helps = {}
        checked = 0
        for line in commands((SOURCE / "README.md").read_text(encoding="utf-8")):
            words = line.split()
            program = program_of(words)
            options = [word for word in words if re.fullmatch(r"\[?--[a-z][a-z-]*", word)]
            if program is None or not options:
                continue
            key = tuple(program)
            if key not in helps:
                helps[key] = output_of(*program, "--help")
            for option in options:
                checked += 1
                pattern = re.escape(option.lstrip("[")) + r"(?![\w-])"
                self.assertRegex(helps[key], pattern, f"README.md: {line}")
        self.assertGreater(checked, 10)

    def test_every_command_in_the_readme_exists(self):
        text = (SOURCE / "README.md").read_text(encoding="utf-8")
        known = set(re.findall(r"^  (\w+) {2,}", output_of(RONDO, "--help"), re.MULTILINE))
        named = {
            program[1]
            for program in map(program_of, map(str.split, commands(text)))
            if program and program[0] == RONDO
        }
        self.assertGreater(len(named), 5)
        self.assertLessEqual(named, known)

    def test_every_claim_names_a_test_that_exists(self):
        text = (SOURCE / CLAIMS).read_text(encoding="utf-8")
        named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", text)
        self.assertGreater(len(named), 50)
        for path, name in named:
            file = SOURCE / path
            self.assertTrue(file.is_file(), f"{CLAIMS}: {path}")
            code = file.read_text(encoding="utf-8")
            self.assertTrue(re.search(rf"\b{name}\b", code), f"{CLAIMS}: {path}::{name}")

    def test_pages_are_plain_ascii(self):
        for page in PAGES:
            self.assertTrue(page.read_text(encoding="utf-8").isascii(), page)


if __name__ == "__main__":
    unittest.main()
