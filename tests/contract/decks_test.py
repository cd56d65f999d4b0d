# SPDX-License-Identifier: Apache-2.0
"""Every deck marked tiny runs its 20 steps unchanged: the documentation is executed."""
import itertools
import json
import resource
import tomllib
import unittest

import hugging_face
from penstock import DEEP, MPIEXEC, PROGRAM, SOURCE, ContractTest, Mesh, main, rows

DECKS = sorted((SOURCE / "input").glob("*tiny*.toml"))
# What a deck says about the work, and not about how it is spread.
WORK = ("run", "data", "model", "optimizer", "precision")


class TinyDecksTest(ContractTest):
    TIMEOUT = 400

    def test_there_are_decks(self):
        self.assertIn("tiny.toml", [deck.name for deck in DECKS])

    def test_every_tiny_deck_runs(self):
        self.train(deck=SOURCE / "input/tiny.toml", run="tiny")
        reference = tomllib.loads((SOURCE / "input/tiny.toml").read_text())
        for path in DECKS:
            with self.subTest(deck=path.name):
                deck = tomllib.loads(path.read_text())
                sizes = deck.get("mesh", {})
                mesh = Mesh(*(sizes.get(axis, 1) for axis in Mesh._fields))
                self.assertEqual(deck["run"]["steps"], 20)
                result = self.train_as_it_stands(path, mesh.ranks)
                run = self.folder / "runs" / path.stem  # the default run folder
                self.assertEqual(len(rows(run)), 20)
                self.assertTrue((run / "checkpoints/step-00000020.h5").is_file())
                losses = [float(row["loss"]) for row in rows(run)]
                self.assertLess(losses[-1], losses[0] - 0.3, result.err)  # it learns
                if all(deck.get(section) == reference.get(section) for section in WORK):  # the mesh changes no result
                    self.assert_same_curve(self.folder / "tiny", run)

    def train_as_it_stands(self, deck, ranks):
        words = [MPIEXEC, "-n", str(ranks), str(PROGRAM), "train", str(deck), "--set", f"data.train={self.tokens}"]
        result = self.finish(self.start(words, cwd=self.folder))
        self.assertEqual(result.code, 0, result.err)
        return result

    def test_every_deck_is_understood(self):
        for path in sorted((SOURCE / "input").glob("*.toml")):
            with self.subTest(deck=path.name):
                deck = tomllib.loads(path.read_text())
                words = ["check", path]
                if "layers" not in deck["model"]:  # the model is that of the weights
                    words += ["--weights", self.weights()]
                result = self.penstock(*words)
                self.assertEqual("train needs --set data.train=FILE" in result.out.replace("`", ""), "train" not in deck["data"])
                told = json.loads(self.penstock(*words, "--json").out)
                self.assertEqual(told["training_file"], deck["data"].get("train", ""))

    def weights(self):
        if not (self.folder / "weights").exists():
            config, tensors = hugging_face.made_up("gpt2", positions=1024)
            hugging_face.write_directory(self.folder / "weights", config, tensors)
        return self.folder / "weights"

    def test_check_wants_no_text_to_say_whether_a_deck_fits(self):
        words = ["check", SOURCE / "input/gpt2-124m.toml", "--memory"]
        self.assertIn("fits into", self.penstock(*words, "1000GiB").out)
        self.assertIn("does not fit into", self.penstock(*words, "1GiB", expect=2).err)

    def test_check_tells_what_a_run_tells(self):
        settings = [word for axis in Mesh._fields for word in ("--set", f"mesh.{axis}=2")]
        text = self.penstock("check", SOURCE / "input/tiny.toml", "--set", "data.train=x", *settings, "--json").out
        ranks = json.loads(text)["ranks"]
        self.assertEqual(len(ranks), 8)
        places = {(r["data"], r["pipeline"], r["tensor"]) for r in ranks}
        self.assertEqual(places, {(d, p, t) for d in (0, 1) for p in (0, 1) for t in (0, 1)})
        for r in ranks:
            self.assertEqual(r["layers"], [0, 1, 2, 3] if r["pipeline"] == 0 else [4, 5, 6, 7])
            uses = ("parameters", "gradients", "optimizer", "activations", "buffers", "workspace")
            self.assertEqual(sum(r["bytes"][use] for use in uses), r["bytes"]["total"])
            self.assertGreater(r["parameters"], 0)

    def test_many_ranks_are_as_few_lines_as_they_differ(self):
        words = ["check", SOURCE / "input/gpt2-124m.toml", "--set", "mesh.data=64"]
        lines = [line.split() for line in self.penstock(*words).out.splitlines()]
        begin = next(i for i, line in enumerate(lines) if line[:5] == ["rank", "data", "pipeline", "tensor", "ranks"])
        told = list(itertools.takewhile(lambda line: line[0].isdigit(), lines[begin + 1:]))
        ranks = json.loads(self.penstock(*words, "--json").out)["ranks"]
        self.assertEqual(len(ranks), 256)
        for rank, _, pipeline, _, alike, held, *_ in told:
            same = [r for r in ranks if r["pipeline"] == int(pipeline) and r["parameters"] == int(held)]
            self.assertEqual(len(same), int(alike))
            self.assertEqual(ranks.index(same[0]), int(rank))
        self.assertEqual(sum(int(line[4]) for line in told), 256)

    @unittest.skipUnless(DEEP, "some seconds of one core; scripts/test --all runs it")
    def test_a_thousand_stages_and_a_thousand_microbatches_take_seconds(self):
        sizes = {"mesh.pipeline": 1024, "model.layers": 1024, "batch.global": 1024, "batch.micro": 1}
        words = [word for key, value in sizes.items() for word in ("--set", f"{key}={value}")]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = self.penstock("check", SOURCE / "input/tiny.toml", *words).out
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"check of 1024 stages and 1024 microbatches: {seconds:.1f} s")
        self.assertIn("1f1b: 1024 ranks, 1024 stages, 1024 microbatches; ", out)
        # 7.6 s of a processor that builds shared, where it was 18 with a copy of all parameters' names for each rank.
        self.assertLess(seconds, 12)

    def test_check_tells_what_recomputation_costs(self):
        def check(policy):
            settings = [f"recompute.policy={policy}", "mesh.pipeline=2", "mesh.tensor=2", "schedule.backward=fused"]
            words = [word for setting in settings for word in ("--set", setting)]
            out = self.penstock("check", SOURCE / "input/tiny.toml", "--set", "data.train=x", *words, "--json").out
            told = json.loads(out)
            self.assertEqual(told["recompute"], policy)
            return told

        none = check("none")
        for policy in ("none", "elementwise", "attention", "block", "block-local"):
            told = check(policy)
            for r, plain in zip(told["ranks"], none["ranks"]):
                cost = r["recompute"]
                self.assertEqual(cost["bytes"], r["bytes"]["total"] - plain["bytes"]["total"])
                self.assertEqual(cost["flops"] > 0, policy not in ("none", "elementwise"))
                self.assertEqual(cost["bytes_moved"] > 0, policy not in ("none", "attention"))
                self.assertEqual(cost["bytes_sent"] > 0, policy == "block")
            if policy != "none":
                self.assertLess(told["ranks"][0]["recompute"]["bytes"], 0)
            if policy not in ("none", "elementwise"):  # a schedule is priced in operations
                self.assertGreater(told["schedule"]["makespan"], none["schedule"]["makespan"])


if __name__ == "__main__":
    main()
