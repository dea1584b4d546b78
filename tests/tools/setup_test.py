"""launch/setup: what was chosen once holds until it is chosen otherwise, with stand-ins for pip,
apt and cmake."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))

# Each stand-in writes its name and arguments to the file `calls`.
STAND_INS = {
    "cmake": '[ "$1" = --version ] && echo "cmake version 3.31.6"',
    "ninja": "",
    "git": "",
    "apt-get": "",
    "sudo": 'shift; exec env "$@"',
    "dpkg-query": 'for name in "$@"; do echo "$name installed"; done',
}


class Setup(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for name in ("launch/setup", "tools/requirements.txt"):
            (self.root / name).parent.mkdir()
            shutil.copy(SOURCE / name, self.root / name)
        self.calls = self.root / "calls"
        for name, body in STAND_INS.items():
            self.stand_in(self.root / "bin" / name, body)
        self.stand_in(self.root / ".venv/bin/python", "")

    def stand_in(self, path, body):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >>"{self.calls}"\n{body}\nexit 0\n')
        path.chmod(0o755)

    def setup(self, *arguments, **variables):
        """What setup called: of pip "pip", of apt "apt", of a configuration its options."""
        self.calls.write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
        path = f"{self.root / 'bin'}:{kept['PATH']}"
        done = subprocess.run(
            [self.root / "launch/setup", *arguments],
            env={**kept, **variables, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        called = []
        for line in self.calls.read_text().splitlines():
            if line.startswith("dpkg-query"):
                called.append("apt with slurmd" if "slurmd" in line.split() else "apt")
            if line.startswith("python -m pip"):
                called.append("pip")
            if line.startswith("cmake --preset"):
                called += [word for word in line.split() if word.startswith("-D")]
        return called

    def configured(self):
        return (self.root / ".venv/.rondo-configure").read_text().splitlines()

    def test_a_plain_call_keeps_what_was_chosen(self):
        fetched = ["-DRONDO_FETCH=1", "-DRONDO_TORCH="]
        self.assertEqual(self.setup("--no-system", "--fetch"), ["pip", *fetched])
        self.assertEqual(self.configured(), fetched)
        for _ in range(2):
            self.assertEqual(self.setup(), [])
            self.assertEqual(self.configured(), fetched)

    def test_a_choice_is_kept_when_the_packages_change(self):
        self.setup("--no-system", "--fetch", RONDO_TORCH="/own/torch")
        (self.root / "tools/requirements.txt").write_text("another==1\n")
        again = ["pip", "-DRONDO_FETCH=1", "-DRONDO_TORCH=/own/torch"]
        self.assertEqual(self.setup(), again)
        self.assertEqual(self.configured(), again[1:])

    def test_the_variable_is_kept_as_the_option_is(self):
        self.setup("--no-system", RONDO_FETCH="1")
        self.assertEqual(self.setup(), [])
        self.assertEqual(self.configured()[0], "-DRONDO_FETCH=1")

    def test_a_choice_is_taken_back(self):
        back = ["pip", "-DRONDO_FETCH=0", "-DRONDO_TORCH="]
        for arguments, variables in (
            (("--no-fetch",), {"RONDO_TORCH": ""}),
            ((), {"RONDO_FETCH": "0", "RONDO_TORCH": ""}),
        ):
            self.setup("--no-system", "--fetch", RONDO_TORCH="/own/torch")
            self.assertEqual(self.setup(*arguments, **variables), back)
            self.assertEqual(self.setup(), [])
            self.assertEqual(self.configured(), back[1:])

    def test_packages_of_the_system_are_left_alone_until_asked_for(self):
        self.assertIn("apt", self.setup())
        self.assertEqual(self.setup("--no-system"), [])
        self.assertEqual(self.setup(), [])
        self.assertEqual(self.setup("--system"), ["apt"])
        self.assertEqual(self.setup(), ["apt"])

    def test_slurm_is_installed_only_for_those_who_ask(self):
        self.assertIn("apt", self.setup())
        self.assertIn("apt with slurmd", self.setup("--cluster"))
        self.assertEqual(self.setup(), ["apt with slurmd"])
        self.assertIn("apt", self.setup("--no-cluster"))
        self.assertEqual(self.setup(), ["apt"])


if __name__ == "__main__":
    unittest.main()
