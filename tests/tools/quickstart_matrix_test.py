"""tools/quickstart_matrix: what the table was made from lies in the run folder, byte for byte."""

import json
from unittest import main, mock

from tests.tools.support import ToolTest, run_tool

FAMILIES = ("sorting", "editing")


class QuickstartMatrix(ToolTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "runs" / "small"
        self.data = self.folder / "made"
        self.cache = self.folder / "runs" / "cache" / "small"
        for folder in (self.run_folder, self.data, self.cache):
            folder.mkdir(parents=True)
        lines = [json.dumps({"round": name}) for name in ("one", "two", "two")]
        (self.run_folder / "ledger.jsonl").write_text("\n".join(lines) + "\n")
        self.sources = [
            path
            for family in FAMILIES
            for path in (
                self.data / f"{family}.train.jsonl",
                self.data / f"{family}.heldout.jsonl",
                self.cache / f"{family}.heldout.h5",
            )
        ]
        for path in self.sources:
            path.write_text(f"content of {path.name}")

    def matrix(self):
        """The finished tool and the command lines it started; no model answers."""
        commands = []

        def called(command):
            commands.append([str(part) for part in command])
            return '{"share": 0.5}'

        with mock.patch("rondo_tools.quickstart_matrix_command.called", called):
            done = run_tool(
                "quickstart_matrix", "--run", self.run_folder, "--data", self.data,
                "--families", " ".join(FAMILIES),
            )  # fmt: skip
        return done, commands

    def test_everything_the_table_was_made_from_is_in_the_run_folder(self):
        done, commands = self.matrix()
        self.assertEqual(done.returncode, 0, done.stderr)
        for path in self.sources:
            self.assertEqual((self.run_folder / "data" / path.name).read_text(), path.read_text())
        self.assertEqual(len(commands), 3 * 2 * len(FAMILIES))
        for command in commands:
            paths = [word for word in command if word.startswith(str(self.folder))]
            self.assertGreater(len(paths), 1, command)
            for path in paths:
                self.assertTrue(path.startswith(f"{self.run_folder}/"), command)
        matrix = json.loads((self.run_folder / "matrix.json").read_text())
        self.assertEqual(matrix, {name: dict.fromkeys(FAMILIES, 0.5) for name in ("one", "two")})

    def test_a_missing_file_is_named(self):
        self.sources[2].unlink()
        done, commands = self.matrix()
        self.assertEqual(done.returncode, 2)
        self.assertIn("sorting.heldout.h5: no such file", done.stderr)
        self.assertEqual(commands, [])


if __name__ == "__main__":
    main()
