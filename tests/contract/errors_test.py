# SPDX-License-Identifier: Apache-2.0
"""Wrong input: exit 2, one message with what, the values, the rule and the cure; nothing written; all ranks gone."""
import json
import os
import random
import shutil
import time
from pathlib import Path

import h5py

from penstock import (MPIEXEC, ONE, PROGRAM, ContractTest, Mesh, checkpoint, curve, files_below, main, rows, token_header,
                      write_tokens)

# Message to the end of the last rank. The issue asks for 5 s.
SECONDS_TO_LEAVE = 5


# Two ranks: the message must come once, and no rank may stay.
TWO = Mesh(1, 2, 1)


class Refusal(ContractTest):
    """Runs commands that must be refused: by one process, as every rank would, or by a mesh of ranks under mpiexec."""

    def setUp(self):
        super().setUp()
        self.place = self.folder / "working"
        self.place.mkdir()
        self.deck = self.small_deck()

    def refuse(self, *parts, lines=1, command="train", **options):
        """The command fails as a wrong input has to; the message holds every one of `parts`. With a mesh or a number of
        ranks it is started under mpiexec; `command` "check" needs no ranks for a mesh."""
        words = self.command(**{"deck": self.deck, **options})
        if command != "train" or not {"mesh", "ranks"} & set(options):
            words = words[words.index(str(PROGRAM)):]
            words[1] = command
        before = files_below(self.folder)
        result = self.finish(self.start(words, cwd=self.place))
        self.assertEqual(result.code, 2, result.err)
        self.check_message(result, parts, lines)
        self.assertLess(result.seconds_to_leave, SECONDS_TO_LEAVE)
        self.assertEqual(files_below(self.folder), before)
        return result

    def check_message(self, result, parts, lines=1):
        """One message, of `lines` lines, that begins with the program's name; nothing else on stderr or stdout."""
        self.assertEqual(result.out, "")
        self.assertTrue(result.err.startswith("penstock: "), result.err)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        self.assertEqual(len(result.err.splitlines()), lines, result.err)
        for trace in ("terminate called", "BAD TERMINATION", "HDF5-DIAG", "Abort("):
            self.assertNotIn(trace, result.err)
        for part in parts:
            self.assertIn(part, result.err)


class DeckTest(Refusal):
    """Decks, meshes and tables that are wrong."""

    def test_unknown_key(self):
        self.refuse("unknown key mesh.tensr", "mesh.tensor", mesh=TWO, settings={"mesh.tensr": 2})
        self.refuse("unknown key optimizer.lr", "nearest known key is optimizer.", settings={"optimizer.lr": 2})

    def test_numbers_that_single_precision_does_not_hold(self):
        self.refuse("optimizer.beta2 = 0.99999999 becomes 1 as a float32", "use at most 0.99999994",
                    settings={"optimizer.beta2": 0.99999999})
        self.refuse("optimizer.epsilon = 1e-46 becomes 0 as a float32", "use at least 1.1754944e-38",
                    settings={"optimizer.epsilon": 1e-46})

    def test_unknown_key_in_the_file(self):
        deck = self.small_deck(model={"layer": 3})
        self.refuse("small.toml:", "unknown key model.layer", "model.layers", deck=deck)

    def test_wrong_type(self):
        self.refuse("run.steps", '"many"', "integer", settings={"run.steps": "many"})
        self.refuse("mesh.sequence_parallel", "= 1 ", "true", settings={"mesh.sequence_parallel": 1})

    def test_value_out_of_range(self):
        self.refuse("model.dropout_residual", "1.5", "below 1", settings={"model.dropout_residual": 1.5})
        self.refuse("schedule.name", '"1f2b"', "fifo", "1f1b", settings={"schedule.name": "1f2b"})
        self.refuse("capture.taps", '"blocks.9.mlp"', "0 to 3",
                    settings={"capture.taps": ["blocks.9.mlp"], "capture.steps": [1]})

    def test_several_mistakes_are_shown_together(self):
        self.refuse("5 mistakes in the input", "unknown key run.stepz", "run.steps", "model.width", '"wide"',
                    "optimizer.learning_rate", "-1", "batch.global = 9", "data.sequence = 99", "model.positions = 16",
                    lines=6, mesh=TWO,
                    settings={"run.stepz": 1, "model.width": "wide", "optimizer.learning_rate": -1, "batch.global": 9,
                              "batch.micro": 2, "data.sequence": 99})

    def test_required_key_is_missing(self):
        deck = self.folder / "short.toml"
        deck.write_text("[run]\nsteps = 3\n")
        self.refuse("model.layers", "batch.global", "data.sequence", deck=deck, lines=9)

    def test_deck_that_is_no_toml(self):
        deck = self.folder / "broken.toml"
        deck.write_text("[run]\nsteps = = 3\n")
        self.refuse("broken.toml:2:", "not TOML", deck=deck)
        self.refuse("missing.toml", "does not exist", deck=self.folder / "missing.toml")
        self.refuse("not a file", deck=self.place)

    # The mesh.

    def test_ranks_that_are_not_the_mesh(self):
        self.refuse("1 * 2 * 1 = 2", "3 ranks", "-n 2", mesh=TWO, ranks=3)
        self.refuse("2 * 2 * 2 = 8", "1 rank,", "-n 8", mesh=Mesh(2, 2, 2), ranks=1)

    def test_tasks_of_the_launcher_of_another_mpi(self):
        # Every task is a world of its own, and with mesh.auto all would train the same model. PMIX_RANK proves nothing.
        words = self.command(deck=self.deck, settings={"mesh.auto": True})
        alone = words[words.index(str(PROGRAM)):]
        for size, rank in (("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
                           ("PMI_SIZE", "PMI_RANK")):
            for task in ("0", "3"):
                with self.subTest(size=size, task=task):
                    told = {size: "4", rank: task, "PMIX_RANK": task}
                    result = self.finish(self.start(alone, environment=told, cwd=self.place))
                    if task == "0":
                        self.assertEqual(result.code, 2, result.err)
                        self.check_message(result, [f"4 tasks were started ({size})", "the launcher of another MPI",
                                                    "mpiexec --version", "srun --mpi=pmi2"])
                    else:
                        self.assertEqual((result.code, result.out, result.err), (0, "", ""))
                    self.assertEqual(files_below(self.place), {})

    def test_a_world_of_one_that_is_meant_to_be(self):
        settings = {"run.stop": 1}
        self.train(deck=self.deck, settings=settings, run=self.folder / "one", expect=75)
        words = self.command(deck=self.deck, settings=settings, run=self.folder / "in-a-step")
        slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}  # mpiexec starts its proxies as a step of two
        self.end_well(self.start(words, environment=slurm, cwd=self.folder), expect=75)

    def test_heads_that_tensor_does_not_divide(self):
        self.refuse("mesh.tensor = 3 does not divide model.heads = 4", "1, 2 or 4", "model.heads",
                    settings={"batch.micro": 3, "batch.global": 9, "mesh.tensor": 3})

    def test_width_that_heads_do_not_divide(self):
        self.refuse("model.heads = 5 does not divide model.width = 32", settings={"model.heads": 5})

    def test_more_stages_than_blocks(self):
        self.refuse("mesh.pipeline = 5", "model.layers = 4", "at most 4", settings={"mesh.pipeline": 5})

    # Memory.

    def test_deck_that_does_not_fit(self):
        # 2e11 parameters: 3 TB for two ranks. What would make it fit depends on this machine; fit_test holds the advice.
        self.refuse("does not fit into memory: rank ", "(data 0, pipeline ", ", tensor 0) plans ",
                    "the 2 ranks that share its memory ", "GiB can be had", mesh=TWO,
                    settings={"model.width": 65536, "model.heads": 512})

    def test_deck_that_does_not_fit_into_a_memory_that_is_named(self):
        words = ["check", self.deck, "--set", "data.train=x", "--set", "batch.micro=8", "--json"]
        asked = json.loads(self.penstock(*words, "--memory", "80GiB").out)
        self.assertTrue(asked["fit"]["fits"])
        process = asked["ranks"][0]["process"]
        self.assertEqual(process["total"], process["beside"] + asked["ranks"][0]["bytes"]["total"])  # it saves at its end only
        self.assertEqual(asked["fit"]["wanted"], process["total"])
        memory = (process["total"] - 100_000) / 2**20
        result = self.penstock(*words, "--memory", f"{memory:.6f}MiB", expect=2)
        self.assertIn("does not fit into", result.err)
        fit = json.loads(result.out)["fit"]
        self.assertFalse(fit["fits"])
        settings = [word for setting in fit["change"]["set"] for word in ("--set", setting)]
        changed = json.loads(self.penstock(*words, *settings, "--memory", f"{memory:.6f}MiB").out)
        self.assertEqual(changed["ranks"][0]["bytes"]["total"], fit["change"]["largest_plan"])
        for nothing in ("80", "", " "):
            self.assertIn("80GiB", self.penstock(*words, "--memory", nothing, expect=2).err)
        small = self.penstock(*words, "--memory", "1e-5GiB", expect=2)
        self.check_message(small, ['"1e-5GiB" is 10737.4 bytes, less than 1 MiB', "80GiB"])
        self.assertIn("does not exist", self.penstock(*words, "--costs", "", expect=2).err)
        ranks = self.penstock(*words[:2], "--ranks", "13", expect=2)  # one line, of no mesh that was not asked for
        self.check_message(ranks, ["--ranks 13: no mesh of 13 ranks fits the deck; name 12 or 16 ranks"])

    def test_a_table_with_a_byte_order_mark(self):
        table = self.folder / "table.csv"
        table.write_bytes(b"\xef\xbb\xbf0F0,0B0\n")
        self.assertIn("1 ranks", self.penstock("schedule", "--file", table).out)

    def test_partition_that_does_not_fit(self):
        self.refuse("schedule.partition", "4", settings={"mesh.pipeline": 2, "schedule.partition": [1, 2]})
        self.refuse("schedule.partition", "2", settings={"mesh.pipeline": 2, "schedule.partition": [1, 2, 1]})

    def test_chunks_that_do_not_fit(self):
        self.refuse("mesh.pipeline * schedule.chunks = 2 * 3 = 6", "model.layers = 4", "at most 2 chunks",
                    settings={"mesh.pipeline": 2, "schedule.name": "ring", "schedule.chunks": 3})
        self.refuse("--set schedule.chunks=2: schedule.chunks = 2", "1f1b", "1 stage a rank", "ring, breadth-first or zb-v",
                    settings={"schedule.chunks": 2})
        self.refuse("schedule zb-h1", "backward = split",
                    settings={"schedule.name": "zb-h1", "schedule.backward": "fused"})

    def test_table_with_mistakes(self):
        table = self.folder / "table.csv"
        for text, parts in (("0F0,0B0\n1F0,1X0\n", ("table.csv:2: cell 2: '1X0' is no action", "like 2F0")),
                            ("0F0,0B0,7F0\n1F0,1B0\n", ("table.csv:1: cell 3: stage 2 is missing", "there is a stage 7")),
                            ("0F0,0B0\n1F0\n", ("table.csv:2: cell 1: 1F0: its backward is missing", "add 1B0")),
                            ("0F0,0B0\n1F0,1B0\n", ("table.csv: the table has 1 microbatch,", "batch.global")),
                            ("0F0,0B0\n", ("table.csv: the table has 1 line,", "mesh.pipeline = 2"))):
            table.write_text(text)
            self.refuse(*parts, command="check", mesh=TWO, settings={"schedule.file": str(table)})
        table.write_text("0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n")
        result = self.finish(self.start(self.command(deck=self.deck, mesh=Mesh(1, 2, 1),
                                                     settings={"schedule.file": str(table)}), cwd=self.place))
        self.assertEqual(result.code, 2, result.err)
        self.assertIn("table.csv:1: cell 2: ", result.err)
        self.assertIn("rank 0 at 1: 0B0 waits for rank 1 at 2: 1B0", result.err)
        self.assertIn("waits for itself: a circle", result.err)
        self.refuse("none.csv", "does not exist", mesh=TWO,
                    settings={"schedule.file": str(self.folder / "none.csv")})

    def test_ranks_with_other_vectors(self):
        """As on nodes with unlike CPUs: the last bits would differ between copies of one weight."""
        one = [str(word) for word in self.command(deck=self.deck, mesh=TWO)[3:]]
        for lanes in ("8", "16"):
            alone = self.finish(self.start(self.command(deck=self.deck, settings={"run.steps": 1}), {"PENSTOCK_LANES": lanes}))
            if "PENSTOCK_LANES" in alone.err:
                self.skipTest(f"no vectors of {lanes} floats in this build or on this CPU")
        words = [MPIEXEC, "-n", "1", "-env", "PENSTOCK_LANES", "16", *one, ":", "-n", "1", "-env", "PENSTOCK_LANES", "8", *one]
        result = self.finish(self.start(words))
        self.assertEqual(result.code, 2, result.err)
        self.assertIn("rank 1 computes with vectors of 8 floats, and rank 0 with vectors of 16 floats", result.err)
        self.assertIn("set PENSTOCK_LANES=8", result.err)

    def test_batch_that_is_not_divisible(self):
        self.refuse("batch.global = 9 is not divisible by batch.micro * mesh.data = 2 * 1 = 2", "multiple of 2",
                    settings={"batch.global": 9, "batch.micro": 2})
        self.refuse("= 1 * 3 = 3", settings={"mesh.data": 3})

    def test_sequence_that_is_longer_than_the_positions(self):
        self.refuse("data.sequence = 17", "model.positions = 16", "at most 16", settings={"data.sequence": 17})


class TokenFileTest(Refusal):
    """Token files that are none, damaged, or not this model's."""

    def test_token_file_that_is_not_there(self):
        self.refuse(str(self.folder / "none.tok"), "tokenize", mesh=TWO, tokens=self.folder / "none.tok")
        self.refuse(str(self.folder), "a folder", tokens=self.folder)
        self.refuse("data.train", settings={"data.train": ""})

    def test_token_file_that_is_empty(self):
        empty = self.folder / "empty.tok"
        empty.write_bytes(b"")
        self.refuse("empty.tok", "is empty", "tokenize", tokens=empty)
        empty.write_bytes(token_header(0, 0))
        self.refuse("empty.tok", "no token", tokens=empty)

    def test_token_file_that_is_cut_short(self):
        cut = self.folder / "cut.tok"
        content = self.tokens.read_bytes()
        cut.write_bytes(content[:-100])
        self.refuse("cut.tok", "cut short", str(len(content) - 100), str(len(content)), tokens=cut)
        cut.write_bytes(content[:40])
        self.refuse("cut.tok", "cut short", "40 bytes", tokens=cut)

    def test_token_file_with_a_damaged_header(self):
        damaged = self.folder / "damaged.tok"
        content = bytearray(self.tokens.read_bytes())
        content[25] ^= 4
        damaged.write_bytes(content)
        self.refuse("damaged.tok", "damaged", "checksum", mesh=TWO, tokens=damaged)

    def test_text_in_place_of_a_token_file(self):
        self.refuse("train.tok.txt", "not a token file", "tokenize", tokens=self.folder / "train.tok.txt")

    def test_token_file_that_is_shorter_than_one_sample(self):
        short = write_tokens(self.folder / "short.tok", 12)
        self.refuse("short.tok", "12", "16", tokens=short)

    def test_token_beyond_the_vocabulary(self):
        largest = max((self.folder / "train.tok.txt").read_bytes())
        self.refuse("train.tok", f"the token {largest}", "model.vocabulary = 64", "256",
                    settings={"model.vocabulary": 64})

    def test_token_that_the_header_did_not_announce(self):
        # Found when it is read: the run ends with what and where; steps before it may have been written.
        content = bytearray(self.tokens.read_bytes())
        at = 64 + 5000
        content[at] = 250
        worse = self.folder / "worse.tok"
        worse.write_bytes(content)
        for mesh in (ONE, Mesh(2, 2, 1)):
            result = self.finish(self.start(self.command(deck=self.deck, mesh=mesh, tokens=worse, run=f"run-{mesh}",
                                                         settings={"run.steps": 300}), cwd=self.place))
            self.assertEqual(result.code, 2, result.err)
            self.assertEqual(result.err.count("penstock: "), 1, result.err)
            for part in ("worse.tok", "the token 250", "index 5000", f"byte {at}"):
                self.assertIn(part, result.err)
            self.assertLess(len(rows(self.place / f"run-{mesh}")), 157)  # 1250 samples an epoch, 8 a step

    def test_validation_file(self):
        small = write_tokens(self.folder / "small.tok", 200)
        self.refuse("none.tok", settings={"data.validation": str(self.folder / "none.tok")})
        self.refuse("validation.samples = 64", "small.tok", "12", settings={"data.validation": str(small)})


class RunFolderTest(Refusal):
    """Run folders and command lines that are wrong."""

    def test_run_folder_below_a_file(self):
        file = self.folder / "file"
        file.write_text("x")
        self.refuse(str(file / "deeper/run"), f"{file} is a file", "--run", mesh=TWO, run=file / "deeper/run")
        self.refuse(str(file), "is a file", "--run", run=file)

    def test_run_folder_that_holds_steps(self):
        self.train(deck=self.deck, settings={"run.stop": 1}, run=self.folder / "run", expect=75)
        self.refuse(str(self.folder / "run"), "--restart latest", "--run", run=self.folder / "run")

    def test_run_folder_by_default(self):
        result = self.finish(self.start(self.command(deck=self.deck, settings={"run.stop": 1}), cwd=self.place))
        self.assertEqual(result.code, 75, result.err)
        self.assertTrue((self.place / "runs/small/metrics.csv").is_file())

    def test_pipes_are_refused_and_not_waited_for(self):
        pipe, run = self.folder / "pipe", self.folder / "piped"
        os.mkfifo(pipe)
        for words in (["check", pipe], ["check", self.deck, "--costs", pipe], ["checkpoint", "verify", pipe],
                      ["checkpoint", "show", pipe]):
            with self.subTest(words=words):
                self.assertIn("is not a regular file", self.penstock(*words, expect=2).err)
        (run / "checkpoints").mkdir(parents=True)
        for name in ("deck.toml", "metrics.csv", "end.json", "guard", "checkpoints/step-00000001.h5"):
            os.mkfifo(run / name)
        self.assertIn("damaged", self.penstock("status", run).out)

    def test_command_lines_that_name_what_is_wrong(self):
        for words, parts in ((["foo"], ["no command foo"]), (["chek", self.deck], ["no command chek", "check"]),
                             (["explain", "mesh.nope"], ["mesh.nope is no key", "mesh.", "penstock explain mesh"]),
                             (["check", self.deck, "--set", "run.steps=9223372036854775808"], ["too large"]),
                             (["check", self.deck, "--costs", self.folder], ["not a regular file"]),
                             (["schedule", "1f1b", "--stages", "2", "--microbatches", "2", "--costs", "1e308,1e308,1,0"],
                              ["cost forward = 1e+308", "0 to 1e+12"])):
            with self.subTest(words=words):
                result = self.penstock(*words, expect=2)
                self.check_message(result, parts)

    def test_a_tokenizer_that_is_none(self):
        text, made, tokenizer = self.folder / "text", self.folder / "made.tok", self.folder / "tokenizer.json"
        text.write_text("some text")
        for content, parts in ((None, ["does not exist"]), ("{", ["tokenizer.json: is not JSON"]),
                               ('{"model": {"type": "WordPiece"}}', ["the file has no \"pre_tokenizer\""])):
            with self.subTest(content=content):
                if content:
                    tokenizer.write_text(content)
                result = self.penstock("tokenize", "-o", made, "--tokenizer", tokenizer, text, expect=2)
                self.check_message(result, parts)
                self.assertFalse(made.exists())

    def test_words_that_are_no_command(self):
        self.assertIn("there is no option --verison", self.penstock("--verison", expect=2).err)
        for words in ([], ["-v"], ["--version=3"], ["trane"], ["train"], ["train", "a.toml", "--sett", "x=1"], ["tokenize", "-o"]):
            with self.subTest(words=words):
                result = self.penstock(*words, expect=2)
                self.assertNotEqual(result.err, "")
                self.assertEqual(result.out, "")

    def test_the_version_is_told(self):
        self.assertRegex(self.penstock("--version").out, r"^penstock \d+\.\d+\.\d+\n$")
        version = self.penstock("--version").out
        for command in ("train", "check", "schedule", "tokenize", "checkpoint", "status", "explain"):
            self.assertEqual(self.penstock(command, "--version").out, version)

    def test_setting_that_is_no_setting(self):
        words = self.command(deck=self.deck) + ["--set", "mesh"]
        result = self.finish(self.start(words, cwd=self.place))
        self.assertEqual(result.code, 2)
        self.check_message(result, ["--set mesh", "section.key=value"])


LONG = "x" * 256  # bytes of a name: one more than a file system takes


class PathTest(Refusal):
    """Paths that the system cannot follow: names that are too long, links in a circle, a working folder that is gone."""

    def check_refusal(self, result, *parts):
        self.assertEqual(result.code, 2, result.err)
        self.assertNotIn("filesystem error", result.err)
        self.check_message(result, parts)

    def test_names_that_are_too_long_and_links_in_a_circle(self):
        circle = self.folder / "circle"
        circle.symlink_to(circle)
        text, made = self.folder / "train.tok.txt", self.folder / "made.tok"
        for path, reason in ((self.folder / LONG, "File name too long"), (circle, "Too many levels of symbolic links")):
            for words in (["check", path], ["check", path / "x.toml"], ["check", self.deck, "--costs", path],
                          ["check", self.deck, "--set", f"schedule.file={path}"], ["schedule", "--file", path],
                          ["checkpoint", "list", path], ["checkpoint", "verify", path], ["checkpoint", "show", path],
                          ["checkpoint", "diff", path, path], ["status", path], ["train", path],
                          ["tokenize", "-o", path, text], ["tokenize", "-o", made, "--held-back", path, text],
                          ["tokenize", "-o", made, "--tokenizer", path, text]):
                with self.subTest(words=words):
                    result = self.penstock(*words, expect=2)
                    self.assertNotIn("filesystem error", result.err)
                    self.assertIn(reason, result.err)
            self.assertIn(reason, self.penstock("tokenize", "-o", made, path, expect=2).err)
            for options in ({"run": path}, {"run": path / "deeper"}, {"restart": path}, {"tokens": path},
                            {"settings": {"data.validation": str(path)}}, {"settings": {"data.stage": str(path)}}):
                with self.subTest(options=options):
                    words = self.command(deck=self.deck, **options)
                    result = self.finish(self.start(words[words.index(str(PROGRAM)):], cwd=self.place))
                    self.check_refusal(result, str(path))
        names = {entry.name for entry in self.folder.iterdir() if not entry.name.startswith("log-")}
        self.assertEqual(names, {"circle", "small.toml", "train.tok", "train.tok.txt", "working"})
        self.assertEqual(files_below(self.place), {})

    def test_a_run_folder_whose_files_would_have_too_long_paths(self):
        path = self.folder / "/".join(["x" * 200] * 19)  # below the system's 4096 bytes, but not with what lies in it
        path = str(path) + "/" + "y" * (4000 - len(str(path)))
        self.refuse("cannot be made", "File name too long", "choose another with --run", run=path)

    def test_a_working_folder_that_is_gone(self):
        inside = "mkdir gone && cd gone && rmdir ../gone && exec \"$@\""
        train = ["train", self.deck, "--set", f"data.train={self.tokens}"]
        for words in (["check", "x.toml"], ["train", "x.toml"], train, [*train, "--run", "run"],
                      [*train, "--run", self.folder / "run", "--restart", "x.h5"], ["status", "run"],
                      ["checkpoint", "list", "run"], ["checkpoint", "verify", "x.h5"]):
            with self.subTest(words=words):
                result = self.finish(self.start(["sh", "-c", inside, "sh", str(PROGRAM), *map(str, words)], cwd=self.place))
                self.check_refusal(result, "starts from the working folder", "`cd` to a folder that is there")
        words = [*train, "--set", "run.stop=1", "--run", self.folder / "run"]  # all from the root
        result = self.finish(self.start(["sh", "-c", inside, "sh", str(PROGRAM), *map(str, words)], cwd=self.place))
        self.assertEqual(result.code, 75, result.err)


class RestartTest(Refusal):
    """A run of three steps, and its checkpoints."""

    def setUp(self):
        super().setUp()
        self.run_folder = self.shared_run("run", deck=self.deck, settings={"run.steps": 3, "checkpoint.every": 1})
        self.newest = checkpoint(self.run_folder, 3)

    def copy(self, name="copy.h5"):
        return Path(shutil.copy(self.newest, self.folder / name))


class CheckpointTest(RestartTest):
    """Files that are none, not whole, or not this model's."""

    def test_checkpoint_of_another_model(self):
        self.refuse(str(self.newest), "another model", "embedding.token.weight", "[256, 32]", "[256, 64]", "deck",
                    mesh=TWO, restart=self.newest, settings={"model.width": 64})
        self.refuse("another model", "blocks.4.", "missing in the file", restart=self.newest,
                    settings={"model.layers": 5})
        self.refuse("another model", "blocks.2.", "not in the deck's model", restart=self.newest,
                    settings={"model.layers": 2})
        self.refuse("another model", "embedding.token.weight", "[256, 32]", "[131, 32]", restart=self.newest,
                    settings={"model.vocabulary": 131})

    def test_checkpoint_whose_shapes_fit_another_model(self):
        self.refuse(str(self.newest), "another model", "model.heads is 4 in the file, 2 in the deck", "checkpoint show",
                    restart=self.newest, settings={"model.heads": 2, "run.steps": 5})

    def test_flipped_bit_in_any_dataset(self):
        source = random.Random(11)
        with h5py.File(self.newest, "r") as file:
            places = {}
            for group in ("parameters", "optimizer/first_moment", "optimizer/second_moment"):
                for name, item in file[group].items():
                    chunk = item.id.get_chunk_info(source.randrange(item.id.get_num_chunks()))
                    places[f"/{group}/{name}"] = (chunk.byte_offset, chunk.size)
        self.assertEqual(len(places), 3 * 52)
        for i, name in enumerate(source.sample(sorted(places), 12)):  # tests/checkpoint flips in all
            with self.subTest(dataset=name):
                path = self.copy()
                offset, size = places[name]
                with open(path, "r+b") as file:
                    file.seek(offset + source.randrange(size))
                    byte = file.read(1)[0]
                    file.seek(-1, 1)
                    file.write(bytes([byte ^ 1 << source.randrange(8)]))
                self.refuse(str(path), "damaged", name, restart=path, **({"mesh": TWO} if i < 3 else {}))

    def test_truncated_checkpoint(self):
        size = self.newest.stat().st_size
        for left, options in ((size - 1, {}), (size // 2, {"mesh": TWO}), (2000, {}), (10, {}), (0, {"mesh": TWO})):
            with self.subTest(left=left):
                path = self.copy()
                with open(path, "r+b") as file:
                    file.truncate(left)
                self.refuse(str(path), restart=path, **options)

    def test_text_by_the_name_of_a_checkpoint(self):
        path = self.folder / "text.h5"
        path.write_text("This is no HDF5 file.\n" * 100)
        self.refuse(str(path), restart=path)

    def test_hdf5_file_that_is_no_checkpoint(self):
        path = self.folder / "foreign.h5"
        with h5py.File(path, "w") as file:
            file["parameters/x"] = [1.0, 2.0]
        self.refuse(str(path), restart=path)

    def test_checkpoint_that_is_not_complete(self):
        path = self.copy()
        with h5py.File(path, "r+") as file:
            file.attrs.modify("complete", 0)
        self.refuse(str(path), restart=path)

    def test_checkpoint_that_is_not_there(self):
        self.refuse("none.h5", mesh=TWO, restart=self.folder / "none.h5")


class LatestTest(RestartTest):
    """Restarts in a run folder, and what is said of them."""

    def test_checkpoint_of_another_run_in_a_folder_that_holds_steps(self):
        other = self.folder / "other"
        self.train(deck=self.deck, settings={"run.stop": 2}, run=other, expect=75)
        self.refuse(str(other), "steps of another run", str(self.newest), "--run", run=other, restart=self.newest)
        self.refuse(str(other), "steps of another run", "copy.h5", "--run", run=other, restart=self.copy())
        inside = other / "checkpoints/../checkpoints/step-00000002.h5"
        self.train(deck=self.deck, settings={"run.stop": 3}, run=other, restart=inside, expect=75)

    def test_steps_that_this_life_does_not_reach_are_told(self):
        result = self.train(deck=self.deck, run=self.run_folder, restart="latest",
                            settings={"run.steps": 5, "trace.steps": [2, 3, 4], "capture.steps": [5],
                                      "capture.taps": ["loss"]})
        self.assertIn("trace.steps: 2 of its 3 steps are not after step 3", result.err)
        self.assertNotIn("capture.steps: ", result.err)

    def test_files_in_place_of_folders_and_checkpoints_elsewhere(self):
        (self.run_folder / "checkpoints").rename(self.folder / "away")
        self.train(deck=self.deck, settings={"run.steps": 5}, run=self.run_folder, restart=self.folder / "away/step-00000003.h5",
                   expect=2)  # rows of this run are there, and the file is not in the folder
        (self.folder / "away").rename(self.run_folder / "checkpoints")
        (self.run_folder / "captures").rmdir()
        (self.run_folder / "captures").write_text("")
        result = self.train(deck=self.deck, settings={"run.steps": 5}, run=self.run_folder, restart="latest", expect=2)
        self.assertIn(f"cannot be made: {self.run_folder}/captures: ", result.err)

    def test_a_damaged_file_of_metrics_stays_beside(self):
        metrics = self.run_folder / "metrics.csv"
        lines = metrics.read_text().splitlines(keepends=True)
        damaged = "".join([*lines[:2], "garbage\n", *lines[3:]])
        metrics.write_text(damaged)
        result = self.train(deck=self.deck, settings={"run.steps": 5}, run=self.run_folder, restart="latest")
        self.assertIn("metrics.csv: damaged: line 3", result.err)
        self.assertEqual((self.run_folder / "metrics.damaged.csv").read_text(), damaged)
        self.assertEqual([row["step"] for row in rows(self.run_folder)], ["1", "3", "4", "5"])

    def test_an_empty_restart(self):
        self.refuse("--restart names no file", "latest", restart="")

    def test_data_that_go_on_otherwise_are_told_and_tokens_count_on(self):
        tokens = write_tokens(self.folder / "other.tok", 9000, seed=4)
        settings = {"run.steps": 5, "data.sequence": 8, "batch.global": 4, "run.seed": 9, "data.changed": "continue"}
        result = self.train(deck=self.deck, settings=settings, tokens=tokens, run=self.run_folder, restart="latest")
        for key, before, now in (("run.seed", 3, 9), ("data.sequence", 16, 8), ("batch.global", 8, 4)):
            self.assertIn(f"the checkpoint was made with {key} = {before}, the deck says {now}: ", result.err)
        self.assertIn("data.train is not the data that ", result.err)
        self.assertEqual([int(row["tokens"]) for row in rows(self.run_folder)], [128, 256, 384, 416, 448])

    def test_an_end_that_every_checkpoint_has_passed_is_refused_before_the_guard_is_taken(self):
        for older in (1, 2):
            checkpoint(self.run_folder, older).unlink()
        held = self.run_folder / "guard"
        before = held.read_bytes() if held.exists() else None
        self.refuse("is of step 3", "run.stop = 2", "no step left", run=self.run_folder, restart="latest",
                    settings={"run.steps": 5, "run.stop": 2})
        self.assertEqual(held.read_bytes() if held.exists() else None, before)

    def test_latest_of_nothing_starts_at_0(self):
        result = self.train(deck=self.deck, settings={"run.steps": 2}, run=self.folder / "new", restart="latest")
        self.assertIn("holds no checkpoint yet, starting at step 0", result.err)
        self.assertEqual(len(rows(self.folder / "new")), 2)

    def test_latest_passes_over_what_is_damaged(self):
        straight = curve(self.run_folder)
        with open(self.newest, "r+b") as file:
            file.truncate(self.newest.stat().st_size // 2)
        checkpoint(self.run_folder, 2).write_text("no HDF5 file\n")
        result = self.train(deck=self.deck, mesh=Mesh(1, 2, 1), settings={"run.steps": 3}, run=self.run_folder,
                            restart="latest")
        for path in (self.newest, checkpoint(self.run_folder, 2)):
            told = [line for line in result.err.splitlines() if f"passed over {path}: " in line]
            self.assertEqual(len(told), 1, result.err)
            self.assertGreater(len(told[0].split(f"passed over {path}: ")[1]), 10)  # with a reason
        self.assertIn(f"restarting from {checkpoint(self.run_folder, 1)}: step 1", result.err)
        self.assertEqual(curve(self.run_folder), straight)
        with h5py.File(self.newest) as file:
            self.assertEqual(int(file.attrs["step"]), 3)

    def test_latest_with_none_whole(self):
        for step in (1, 2, 3):
            path = checkpoint(self.run_folder, step)
            with open(path, "r+b") as file:
                file.truncate(path.stat().st_size // 2)
        self.refuse(str(self.run_folder / "checkpoints"), "no whole checkpoint", "put a whole copy", "--run",
                    *(f"{checkpoint(self.run_folder, step)}: " for step in (1, 2, 3)), lines=4, mesh=TWO,
                    run=self.run_folder, restart="latest")

    def test_two_writers_in_one_folder(self):
        held = self.folder / "held"
        first = self.start(self.command(deck=self.deck, settings={"run.steps": 30000}, run=held), cwd=self.folder)
        self.addCleanup(first.kill)
        while not (held / "metrics.csv").exists():
            self.assertIsNone(first.poll())
            time.sleep(0.01)
        second = self.train(deck=self.deck, run=held, restart="latest", expect=2)
        self.assertEqual(second.err.count("penstock: "), 1, second.err)
        self.assertIn("another run writes in this folder", second.err)
        first.terminate()
        self.assertIn(self.finish(first).code, (0, 75))  # 0: mpiexec sometimes loses the code of a run stopped so
        self.assertIn('"stopped"', (held / "end.json").read_text())


if __name__ == "__main__":
    main()
