"""A wrong command line ends with exit code 2 and one message that names what is wrong."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

RONDO = os.environ["RONDO_BINARY"]


class CommandLine(unittest.TestCase):
    def refuse(self, *arguments):
        done = subprocess.run(
            [RONDO, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 2, f"{arguments}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
        return done.stderr

    def test_an_unknown_command_names_the_nearest(self):
        text = self.refuse("trian", "config.yaml", "--check", "2")
        self.assertIn("there is no command 'trian'. Did you mean 'train'?", text)
        text = self.refuse("quantise")
        self.assertIn("there is no command 'quantise'. Commands: pack, train, eval,", text)

    def test_no_command(self):
        self.assertIn("no command was given; give one of: pack, train,", self.refuse())
        self.assertIn("no option '--steps' before the command", self.refuse("--steps", "3"))

    def test_numbers_that_mean_nothing(self):
        for option in ("--packs", "--micro-packs", "--layers", "--steps"):
            for value in (0, -4):
                with self.subTest(option=option, value=value):
                    self.assertIn(option, self.refuse("bench", "step", f"{option}={value}"))
        for value in (0, -1):
            self.assertIn("--documents", self.refuse("bench", "pack", f"--documents={value}"))
            self.assertIn("--check", self.refuse("train", "absent.yaml", f"--check={value}"))

    def test_an_empty_configuration_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "empty.yaml"
            config.write_text("")
            text = self.refuse("train", config)
            self.assertIn(f"{config}: a configuration is a map with the keys run,", text)


if __name__ == "__main__":
    unittest.main()
