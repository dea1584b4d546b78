"""rondo selftest: figures as JSON and a table, exit codes, folders and plans."""

import json
import os
import shutil
from pathlib import Path

from tests.e2e import harness

CHECKS = [
    "program",
    "libraries",
    "cores",
    "matrix products",
    "memory copies",
    "links within hosts",
    "network",
    "collectives",
    "clocks",
    "files",
    "shared folder",
    "locks",
    "write speed",
    "disk",
    "NCCL",
]
# Three times the weights and moments of this model are on no test machine's disk.
HUGE = {"hidden": 16384, "layers": 400, "heads": 128, "kv_heads": 128, "ffn": 65536}


class SelftestTest(harness.RunTest):
    def selftest(self, *arguments, ranks=1, expect=0):
        """Standard output of a short test in this test's folder, or where `arguments` say."""
        words = ["selftest", *arguments, "--seconds", 2]
        if "--folder" not in arguments:
            words += ["--folder", self.folder]
        done = harness.rondo(*words, ranks=ranks)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout if expect != 2 else done.stderr

    def report(self, *arguments, **how):
        return json.loads(self.selftest(*arguments, "--json", "-", **how))

    def status_of(self, report, check):
        """The worst status of a check, and all that is said of it."""
        found = [entry for entry in report["checks"] if entry["check"] == check]
        self.assertTrue(found, f"{check} in {report['checks']}")
        order = ["ok", "warning", "failed"]
        statuses = sorted((entry["status"] for entry in found), key=order.index)
        return statuses[-1], "\n".join(entry["text"] for entry in found)


class Figures(SelftestTest):
    def test_on_one_and_two_ranks(self):
        before = harness.tree(self.folder)
        for ranks in (1, 2):
            report = self.report(ranks=ranks)
            self.assertEqual(report["format"], "rondo.selftest")
            self.assertEqual(report["version"], 1)
            self.assertIn(report["status"], ("ok", "warning"))
            self.assertEqual(list(dict.fromkeys(c["check"] for c in report["checks"])), CHECKS)
            self.assertEqual([host["ranks"] for host in report["hosts"]], [list(range(ranks))])
            self.assertGreater(report["seconds"], 0)
            self.assertIsNone(report["config"])
            self.assertIsNone(report["disk_need"])
            self.assertEqual([rank["rank"] for rank in report["ranks"]], list(range(ranks)))
            for rank in report["ranks"]:
                for key in ("threads", "flops_per_s", "copy_bytes_per_s", "available_bytes"):
                    self.assertGreater(rank[key], 0, key)
                self.assertEqual(rank["bound"], len(rank["cores"]) < rank["host_cores"])
            links = report["links"]
            self.assertEqual(len(links["within_hosts"]), ranks // 2)
            self.assertEqual(links["between_hosts"], [])
            self.assertEqual([clock["offset_s"] for clock in links["clocks"]], [0])
            self.assertEqual(
                [entry["operation"] for entry in links["collectives"]],
                ["all_gather", "sum_scatter"] if ranks > 1 else [],
            )
            files = report["files"]
            self.assertEqual(files["folder"], str(self.folder.resolve()))
            self.assertGreater(files["written_bytes"], 0)
            self.assertTrue(files["hosts"][0]["lock_seen"])
        self.assertEqual(harness.tree(self.folder), before)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_table_and_a_file(self):
        file = self.folder / "report.json"
        text = self.selftest("--json", file)
        report = json.loads(file.read_text())
        self.assertRegex(text, r"(?m)^host +ranks +cores +GFLOP/s +copy +memory +network +latency")
        self.assertIn(f"{len(report['checks'])} checks: 0 failed, ", text)
        for entry in report["checks"]:
            self.assertIn(f"{entry['status']:<8} {entry['check']:<19} ", text)

    def test_the_current_folder_is_the_default(self):
        words = [harness.RONDO, "selftest", "--seconds", "1", "--json", "-"]
        words = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *words]
        report = json.loads(harness.run_command(words).stdout)
        self.assertEqual(report["files"]["folder"], str(self.folder.resolve()))

    def test_the_launcher_hands_on_the_exit_code(self):
        words = ("selftest", "--seconds", 1, "--folder")
        done = harness.rondo(*words, self.folder, ranks=2, launcher=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = harness.rondo(*words, "/proc", ranks=2, launcher=True)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("mkdir does not work", done.stdout)


class Plans(SelftestTest):
    def config(self, **changes):
        return self.recipe(
            sources={"a": {"train": "a.h5"}},
            rounds=[{"name": "first", "data": {"a": 1}, "steps": 2}],
            **changes,
        )

    def test_a_run_that_fits(self):
        config = self.config()
        report = json.loads(
            harness.rondo("selftest", config, "--seconds", 2, "--json", "-", ranks=2).stdout
        )
        self.assertEqual(report["config"], str(config))
        for check in ("configuration", "memory", "disk"):
            self.assertEqual(self.status_of(report, check)[0], "ok", check)
        need = report["disk_need"]
        self.assertEqual(need["checkpoints"], 3)
        self.assertEqual(need["checkpoint_bytes"] % 12, 0)
        self.assertGreater(need["checkpoint_bytes"], 0)
        # The run folder is not made: the test takes the nearest one that is there.
        self.assertEqual(report["files"]["folder"], str(self.folder.resolve()))
        self.assertFalse((self.folder / "runs").exists())

    def test_settings_count(self):
        report = self.report(self.config(), "checkpoint.keep=5")
        self.assertEqual(report["disk_need"]["checkpoints"], 6)

    def test_a_run_that_does_not_fit(self):
        report = self.report(self.config(model={"shape": HUGE}), expect=3)
        self.assertEqual(report["status"], "failed")
        status, text = self.status_of(report, "memory")
        self.assertEqual(status, "failed")
        self.assertIn("a rank needs", text)
        status, text = self.status_of(report, "disk")
        self.assertEqual(status, "failed")
        self.assertIn("lower checkpoint.keep", text)

    def test_what_the_ranks_do_not_suit_is_wrong_input(self):
        config = self.config()
        text = self.selftest(config, "batch.packs=3", "batch.micro_packs=1", ranks=2, expect=2)
        self.assertIn("batch.packs = 3 does not divide over 2 ranks", text)

    def test_ranks_that_differ_are_named(self):
        config = self.config()
        first = [harness.RONDO, "selftest", config, "--json", "-"]
        second = [*first, "optimizer.lr=2e-3"]
        report = self.report_of_two(first, second)
        status, text = self.status_of(report, "configuration")
        self.assertEqual(status, "failed")
        self.assertRegex(text, "rank 0 has [0-9a-f]+; rank 1 has [0-9a-f]+: install")

        report = self.report_of_two(first, [harness.RONDO, "selftest"])
        status, text = self.status_of(report, "configuration")
        self.assertEqual(status, "failed")
        self.assertRegex(text, "rank 1 has none: ")

        version = harness.rondo("--version").stdout.split()[1].encode()
        other = self.folder / "other"
        program = Path(harness.RONDO).read_bytes()
        other.write_bytes(program.replace(version, b"x" * len(version)))
        other.chmod(0o755)
        report = self.report_of_two(first, [other, *first[1:]])
        status, text = self.status_of(report, "program")
        self.assertEqual(status, "failed")
        self.assertRegex(text, rf"rank 1 has {'x' * len(version)} \(")
        # Nothing is measured by programs that may not understand each other.
        self.assertEqual(report["ranks"], [])

    def report_of_two(self, first, second):
        words = ["mpirun", "-q", "-n", "1", *map(str, first), ":", "-n", "1", *map(str, second)]
        done = harness.run_command(words)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        return json.loads(done.stdout)


class WrongInput(SelftestTest):
    def test_is_refused_with_what_to_do(self):
        for arguments, said in (
            (["absent.yaml"], "absent.yaml: cannot be opened"),
            (["run.name=x"], "'run.name=x' is a setting, but no configuration stands before it"),
            (["--folder", "/absent"], "--folder /absent: there is no such folder"),
            (["--json", "/absent/report.json"], "--json /absent/report.json: there is no folder"),
            (["--seconds", "0"], "--seconds"),
            (["--second", "3"], "--second"),
        ):
            with self.subTest(arguments=arguments):
                text = self.selftest(*arguments, expect=2)
                self.assertIn(said, text)
                self.assertEqual(text.count("error: "), 1, text)


class Folders(SelftestTest):
    """File systems of a few pages, made in a space of mounts of the program's own."""

    def report_in(self, mount):
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            self.skipTest("mounting needs root and unshare")
        tried = harness.run_command(["unshare", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"])
        if tried.returncode != 0:
            self.skipTest(tried.stderr)
        words = [harness.RONDO, "selftest", "--seconds", "1", "--json", "-", "--folder"]
        done = harness.run_command(
            ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@" "$0"', str(self.folder)]
            + words
        )
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["files"]["file_system"], "tmpfs")
        status, text = self.status_of(report, "files")
        self.assertEqual(status, "failed")
        self.assertIn("Choose another run.dir", text)
        return text

    def test_a_read_only_one(self):
        text = self.report_in('mount -t tmpfs -o ro,size=1m none "$0"')
        self.assertIn("mkdir does not work", text)
        self.assertIn("Read-only file system", text)

    def test_a_full_one(self):
        text = self.report_in(
            'mount -t tmpfs -o size=1m none "$0" && { cat /dev/zero >"$0/all" 2>&- || true; }'
        )
        self.assertIn("create, write and fsync does not work", text)
        self.assertIn("No space left on device", text)


if __name__ == "__main__":
    harness.unittest.main()
