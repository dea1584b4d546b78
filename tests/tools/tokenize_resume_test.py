"""Tokenising that is killed, stopped or runs out of disk: what is left, and how it goes on."""

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import unittest

from tests.tools.support import ToolTest, conversation, run_script, run_tool, write_jsonl


class TokenizeResume(ToolTest):
    def setUp(self):
        super().setUp()
        rows = [
            conversation(f"What is {n} plus two?", f"It is {n + 2}.") | {"tags": [f"t{n % 7}"]}
            for n in range(3000)
        ]
        for number in range(0, 3000, 10):  # rejected
            rows[number] = {"messages": []}
        for number in range(5, 3000, 100):
            rows[number]["messages"][1]["weight"] = 0.25 + number / 10000
        self.rows = write_jsonl(self.folder / "rows.jsonl", rows)
        self.out = self.folder / "out.h5"
        self.partial = self.folder / ".out.h5.partial"

    def job(self):
        from rondo_tools.tokenize_job import Job

        return Job(
            [str(self.rows)], str(self.tokenizer), str(self.out), workers=2, max_rejected=0.5
        )

    def killed_behind(self, chunks, how):
        """Runs the job in a process that saves after every chunk, and ends it behind some."""
        from rondo_tools import tokenize_job

        def work():
            saved = 0
            plain = tokenize_job.Writer.save

            def save(writer, job):
                nonlocal saved
                plain(writer, job)
                saved += 1
                if saved == chunks:
                    how()

            tokenize_job.Writer.save = save
            with contextlib.suppress(KeyboardInterrupt):
                tokenize_job.run(self.job(), say=lambda _: None, save_every_s=0)

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join(60)
        return process.exitcode

    def finished(self):
        """(bytes of the file, of the rejected rows, what was said)"""
        from rondo_tools.tokenize_job import run

        said = []
        run(self.job(), say=said.append)
        self.assertFalse(self.partial.exists())
        rejected = (self.folder / "out.h5.rejected.jsonl").read_bytes()
        return self.out.read_bytes(), rejected, said

    def test_after_a_kill_it_goes_on_to_the_same_bytes(self):
        whole, rejected, said = self.finished()
        self.assertEqual(said, [])
        self.out.unlink()
        for chunks in (1, 5):
            died = self.killed_behind(chunks, lambda: os.kill(os.getpid(), signal.SIGKILL))
            self.assertEqual(died, -signal.SIGKILL)
            self.assertFalse(self.out.exists())
        again, again_rejected, said = self.finished()
        self.assertEqual(again, whole)
        self.assertEqual(again_rejected, rejected)
        self.assertEqual(said, [f"{self.out}: goes on behind row 1536, where an earlier start was "
                                f"stopped"])  # fmt: skip

    def test_after_a_request_to_stop_it_goes_on(self):
        def stop():
            raise KeyboardInterrupt

        self.assertEqual(self.killed_behind(2, stop), 0)
        self.assertTrue(self.partial.exists())
        self.assertIn("goes on behind row 512", self.finished()[2][0])

    def test_other_input_or_rules_begin_anew(self):
        self.killed_behind(2, lambda: os.kill(os.getpid(), signal.SIGKILL))
        rows = self.rows.read_text().splitlines()
        write_jsonl(self.rows, rows[:-1])
        self.assertEqual(self.finished()[2], [])

    def test_what_other_work_left_is_never_taken_for_its_own(self):
        from rondo_tools.spool import Spool

        first = Spool(self.partial, ["a"], "one")
        first.append("a", b"one's bytes")
        first.save({"rows": 1})
        first.close(keep=True)
        other = Spool(self.partial, ["a"], "other")
        other.append("a", b"quite other bytes")
        list(other.blocks("a", 100))  # written, but never saved
        other.close(keep=True)
        again = Spool(self.partial, ["a"], "one")
        self.assertIsNone(again.state)
        self.assertEqual(again.size("a"), 0)
        again.close(keep=False)

    def test_two_at_once_are_refused(self):
        from rondo_tools.errors import UserError
        from rondo_tools.spool import Spool

        first = Spool(self.partial, ["a"], "work")
        with self.assertRaisesRegex(UserError, "another process is writing there"):
            Spool(self.partial, ["a"], "work")
        first.close(keep=False)

    def test_a_row_that_fails_the_job_leaves_nothing_but_the_list(self):
        write_jsonl(self.rows, [{"messages": []}] * 3)
        done = run_tool(
            "tokenize", "--input", self.rows, "--format", "messages", "--tokenizer",
            self.tokenizer, "--out", self.out,
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        left = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(left, ["out.h5.rejected.jsonl", "rows.jsonl"])

    def test_a_full_disk_is_one_message_and_leaves_nothing(self):
        most = 30_000  # bytes of a file: the limit stands for a full disk

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        out = self.folder / "limited.h5"
        done = run_script(
            "tokenize", "--input", self.rows, "--tokenizer", self.tokenizer, "--out", out,
            "--max-rejected", 0.5, "--workers", 1, before=limit,
        )  # fmt: skip
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("File too large", done.stderr)
        self.assertIn("limited.h5", done.stderr)
        self.assertEqual([path.name for path in self.folder.glob("*limited*")], [])
        self.assertEqual([path.name for path in self.folder.glob(".*limited*")], [])

    def test_rejected_rows_are_told_as_they_were(self):
        lines = [json.loads(line) for line in self.finished()[1].splitlines()]
        self.assertEqual([line["line"] for line in lines], list(range(1, 3001, 10)))


if __name__ == "__main__":
    unittest.main()
