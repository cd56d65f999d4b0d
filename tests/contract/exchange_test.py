# SPDX-License-Identifier: Apache-2.0
"""Hugging Face directories in and out: `train --weights`, `check --weights`, `import`, `export`."""
import json
import signal
import time
import tomllib

import h5py
import numpy

import hugging_face
from penstock import MPIEXEC, PROGRAM, ContractTest, Mesh, checkpoint, curve, datasets, deck_text, main, rows

# A deck without [model]: it is that of the weights.
WORK = {"run": {"steps": 4, "seed": 3}, "data": {"sequence": 16}, "batch": {"global": 8, "micro": 1},
        "optimizer": {"learning_rate": 1e-3, "warmup": 1}}
# Meshes that 4 heads, 2 of them of keys, and 40 hidden channels allow.
MESHES = {"gpt2": Mesh(2, 1, 2), "llama": Mesh(1, 2, 4), "mistral": Mesh(2, 2, 1), "qwen2": Mesh(1, 1, 4), "qwen3": Mesh(1, 2, 2)}


class Exchange(ContractTest):
    """What the tests have in common."""

    def directory(self, name, family, shards=1, **options):
        return hugging_face.write_directory(self.folder / name, *hugging_face.made_up(family, **options), shards=shards)

    def work(self, **sections):
        path = self.folder / f"work-{len(list(self.folder.glob('work-*')))}.toml"
        path.write_text(deck_text({**WORK, **sections}))
        return path

    def on_ranks(self, ranks, *words, expect=0, environment=None):
        return self.end_well(self.start([MPIEXEC, "-n", str(ranks), str(PROGRAM), *map(str, words)], cwd=self.folder,
                                        environment=environment), expect)

    def train_with(self, weights, run, expect=0, restart=None, more=(), **options):
        words = self.command(run=self.folder / run, restart=restart, **options) + ["--weights", str(weights), *more]
        return self.end_well(self.start(words, cwd=self.folder), expect)

    def refuse(self, *words, parts=(), ranks=1):
        """The command ends with code 2 and one message, and leaves the folder as it is."""
        before = sorted(path for path in self.folder.rglob("*") if not path.name.startswith("log-"))
        result = self.on_ranks(ranks, *words, expect=2)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        for part in parts:
            self.assertIn(part, result.err)
        self.assertEqual(sorted(path for path in self.folder.rglob("*") if not path.name.startswith("log-")), before)

    def assert_equal_directories(self, made, original, config=True):
        made_config, made_tensors = hugging_face.read_directory(made)
        config_text, tensors = hugging_face.read_directory(original)
        self.assertEqual(sorted(made_tensors), sorted(tensors))
        self.assertEqual([name for name in tensors if made_tensors[name] != tensors[name]], [])
        if config:
            self.assertEqual(made_config, config_text)


class RoundTripTest(Exchange):
    """Hugging Face -> Penstock -> Hugging Face."""

    LABELS = ("exactness",)

    def test_every_family_comes_back_whole(self):
        ranks = {"gpt2": (1, 2), "llama": (2, 3), "mistral": (4, 1), "qwen2": (1, 3), "qwen3": (2, 2)}
        for family, (ranks_in, ranks_out) in ranks.items():
            for dtype in ("float32", "bfloat16"):
                with self.subTest(family=family, dtype=dtype):
                    name = f"{family}-{dtype}"
                    original = self.directory(name, family, dtype=dtype, shards=2 if dtype == "bfloat16" else 1)
                    file, made = self.folder / f"{name}.h5", self.folder / f"{name}-out"
                    self.on_ranks(ranks_in, "import", original, "-o", file)
                    self.on_ranks(ranks_out, "export", file, "-o", made, "--dtype", dtype, "--like", original)
                    self.assert_equal_directories(made, original)
                    for carried, text in hugging_face.TOKENIZER.items():
                        self.assertEqual((made / carried).read_text(), text)

    def test_ranks_change_no_byte(self):
        original = self.directory("original", "llama", shards=3)
        imported = []
        for ranks in (1, 2, 4):
            self.on_ranks(ranks, "import", original, "-o", self.folder / f"{ranks}.h5", "--deck", self.folder / f"{ranks}.toml")
            imported.append(self.folder / f"{ranks}.h5")
        for other in imported[1:]:
            self.penstock("checkpoint", "diff", imported[0], other)
        exported = []
        for ranks in (1, 2, 3):
            made = self.folder / f"out-{ranks}"
            self.on_ranks(ranks, "export", imported[0], "-o", made, "--dtype", "bfloat16", "--shard-size", "20kB" if ranks > 1 else "20000")
            exported.append({path.name: path.read_bytes() for path in made.iterdir()})
        self.assertEqual(exported[0], exported[1])
        self.assertEqual(exported[0], exported[2])
        self.assertIn("model-00002-of-00002.safetensors", exported[0])
        self.assertTrue(all(len(content) < 25_000 for content in exported[0].values()))

    def test_a_directory_is_exported_as_it_is(self):
        original = self.directory("original", "qwen2", dtype="bfloat16", shards=2)
        self.on_ranks(2, "export", original, "-o", self.folder / "same")
        self.assert_equal_directories(self.folder / "same", original)
        self.assertEqual(len(list((self.folder / "same").glob("*.safetensors"))), 1)

    def test_names_without_the_prefix(self):
        config, tensors = hugging_face.made_up("gpt2")
        original = hugging_face.write_directory(
            self.folder / "plain", config, {name.removeprefix("transformer."): values for name, values in tensors.items()})
        self.on_ranks(1, "import", original, "-o", self.folder / "plain.h5")
        self.on_ranks(1, "export", self.folder / "plain.h5", "-o", self.folder / "like", "--like", original)
        self.assert_equal_directories(self.folder / "like", original)
        self.on_ranks(1, "export", self.folder / "plain.h5", "-o", self.folder / "usual")
        self.assertIn("transformer.wte.weight", hugging_face.read_directory(self.folder / "usual")[1])

    def test_a_trained_run_is_exported_without_padding(self):
        original = self.directory("original", "llama")
        self.train_with(original, "run", deck=self.work(), mesh=Mesh(1, 2, 2))
        made = self.folder / "made"
        self.on_ranks(2, "export", self.folder / "run", "-o", made)
        config, tensors = hugging_face.read_directory(made)
        state = datasets(checkpoint(self.folder / "run", 4))
        embedding = tensors["model.embed_tokens.weight"]
        self.assertEqual(embedding[1], (hugging_face.VOCABULARY, hugging_face.WIDTH))
        self.assertEqual(embedding[2], state["parameters/embedding.token.weight"].tobytes())
        qkv = state["parameters/blocks.1.attention.qkv.weight"]
        self.assertEqual(tensors["model.layers.1.self_attn.v_proj.weight"][2], qkv[48:].tobytes())
        self.assertEqual(json.loads(config)["model_type"], "llama")
        # What it holds is what a run of its own begins with.
        self.train_with(made, "again", deck=self.work(), mesh=Mesh(1, 2, 2), settings={"checkpoint.initial": True, "run.stop": 1},
                        expect=75)
        first = datasets(checkpoint(self.folder / "again", 0))
        for name in (n for n in state if n.startswith("parameters/")):
            self.assertEqual(first[name].tobytes(), state[name].tobytes(), name)


class ImportTest(Exchange):
    """A checkpoint with parameters only."""

    def test_what_it_holds(self):
        original = self.directory("original", "qwen3", tied=False)
        file, deck = self.folder / "m.h5", self.folder / "m.toml"
        self.on_ranks(2, "import", original, "-o", file, "--deck", deck)
        self.assertTrue(json.loads(self.penstock("checkpoint", "verify", file, "--json").out)["whole"])
        with h5py.File(file) as opened:
            self.assertEqual((opened.attrs["step"], opened.attrs["samples"]), (0, 0))
            self.assertEqual(opened.attrs["holds"], b"parameters")
            self.assertEqual(list(opened), ["parameters"])
        state = datasets(file)
        tensors = hugging_face.made_up("qwen3", tied=False)[1]
        qkv = numpy.concatenate([tensors[f"model.layers.0.self_attn.{x}_proj.weight"] for x in "qkv"])
        numpy.testing.assert_array_equal(state["parameters/blocks.0.attention.qkv.weight"], qkv)
        numpy.testing.assert_array_equal(state["parameters/head.weight"], tensors["lm_head.weight"])
        # The section serves a deck, and agrees with the directory.
        model = tomllib.loads(deck.read_text())["model"]
        self.assertEqual((model["family"], model["kv_heads"], model["hidden"], model["tied"]), ("qwen3", 2, 40, False))
        self.penstock("check", self.work(model=model), "--weights", original)

    def test_a_restart_begins_with_it(self):
        original = self.directory("original", "llama")
        file, deck = self.folder / "m.h5", self.work()
        self.on_ranks(1, "import", original, "-o", file, "--deck", self.folder / "m.toml")
        self.train_with(original, "straight", deck=deck)
        self.train_with(file, "from-file", deck=deck, mesh=Mesh(1, 1, 1))
        with_model = self.work(model=tomllib.loads((self.folder / "m.toml").read_text())["model"])
        result = self.train(deck=with_model, run=self.folder / "restarted", restart=file)
        self.assertIn("it holds parameters only: AdamW's moments begin at zero", result.err)
        self.assertNotIn("warning: ", result.err)
        for run in ("from-file", "restarted"):
            self.assertEqual(curve(self.folder / run), curve(self.folder / "straight"))
            self.assert_same_bits(checkpoint(self.folder / run, 4), checkpoint(self.folder / "straight", 4))

    def test_a_quarter_of_its_memory_is_enough(self):
        """One rank imports a directory of M bytes with M / 4 of data (heap, stacks and private mappings, as ulimit -d counts
        them): 35 MB are the process's own."""
        config, _ = hugging_face.made_up("llama")
        config |= {"vocab_size": 250_000, "hidden_size": 256, "head_dim": 64, "torch_dtype": "bfloat16", "num_hidden_layers": 1,
                   "attention_bias": False, "mlp_bias": False}
        folder = hugging_face.write_zeros(self.folder / "large", config, {
            "model.embed_tokens.weight": (250_000, 256), "lm_head.weight": (250_000, 256), "model.norm.weight": (256,),
            **{f"model.layers.0.{name}.weight": shape for name, shape in (
                ("self_attn.q_proj", (256, 256)), ("self_attn.k_proj", (128, 256)), ("self_attn.v_proj", (128, 256)),
                ("self_attn.o_proj", (256, 256)), ("mlp.gate_proj", (40, 256)), ("mlp.up_proj", (40, 256)),
                ("mlp.down_proj", (256, 40)), ("input_layernorm", (256,)), ("post_attention_layernorm", (256,)))}})
        size = (folder / "model.safetensors").stat().st_size
        self.assertGreater(size, 256_000_000)
        limited = f"ulimit -d {size // 4 // 1024} && exec {PROGRAM} import {folder} -o {self.folder / 'large.h5'}"
        self.end_well(self.start(["sh", "-c", limited], cwd=self.folder))
        self.assertGreater((self.folder / "large.h5").stat().st_size, 2 * size)


class WeightsTest(Exchange):
    """Training from weights that were made elsewhere."""

    LABELS = ("parity",)

    def test_every_family_and_mesh_begins_with_them(self):
        for family, mesh in MESHES.items():
            with self.subTest(family=family):
                original = self.directory(family, family, shards=2)
                settings = {"checkpoint.initial": True, "model.dropout_residual": 0.1}
                deck = self.work()
                result = self.train_with(original, f"{family}-one", deck=deck, settings=settings)
                self.assertIn(f"weights of {original}: ", result.err)
                self.train_with(original, f"{family}-many", deck=deck, mesh=mesh, settings=settings)
                one, many = (checkpoint(self.folder / f"{family}-{run}", 0) for run in ("one", "many"))
                self.assert_same_bits(one, many)
                self.assert_same_curve(self.folder / f"{family}-one", self.folder / f"{family}-many")
                name = "transformer.wte.weight" if family == "gpt2" else "model.embed_tokens.weight"
                self.assertEqual(datasets(one)["parameters/embedding.token.weight"].tobytes(),
                                 hugging_face.read_directory(original)[1][name][2])
                model = tomllib.loads((self.folder / f"{family}-one/deck.toml").read_text())["model"]
                self.assertEqual((model["family"], model["dropout_residual"]), (family, 0.1))

    def test_of_a_run_and_of_its_checkpoint(self):
        deck = self.small_deck()
        self.train(deck=deck, run=self.folder / "first", settings={"run.stop": 3}, expect=75)
        self.train_with(self.folder / "first", "of-run", deck=self.work(), settings={"data.sequence": 8})
        self.train_with(checkpoint(self.folder / "first", 3), "of-file", deck=deck, mesh=Mesh(2, 1, 2),
                        settings={"data.sequence": 8, "run.steps": 4, "optimizer.warmup": 1})
        self.assert_same_curve(self.folder / "of-run", self.folder / "of-file")
        self.assertEqual(rows(self.folder / "of-run")[0]["step"], "1")

    def test_the_same_command_goes_on_after_a_stop(self):
        original = self.directory("original", "llama")
        deck = self.work()
        self.train_with(original, "straight", deck=deck)
        begun = self.train_with(original, "run", deck=deck, restart="latest", settings={"run.stop": 2}, expect=75)
        self.assertIn("weights of ", begun.err)
        went_on = self.train_with(original, "run", deck=deck, restart="latest")
        self.assertIn(f"--weights {original} is not read: that is for step 0", went_on.err)
        self.assertNotIn("weights of ", went_on.err)
        self.assertEqual(curve(self.folder / "run"), curve(self.folder / "straight"))
        refused = self.train_with(original, "other", deck=deck, restart=checkpoint(self.folder / "run", 2), expect=2)
        self.assertIn("leave one of them out", refused.err)
        self.assertFalse((self.folder / "other").exists())

    def test_a_deck_of_another_model(self):
        original = self.directory("original", "llama")
        deck = self.work(model={"family": "llama", "layers": 2, "width": 24, "heads": 8, "positions": 16})
        for command in (["check", deck], ["train", deck, "--set", f"data.train={self.tokens}", "--run", self.folder / "none"]):
            with self.subTest(command=command[0]):
                self.refuse(*command, "--weights", original, "--set", "model.tied=true",
                            parts=[f"{deck}:", "model.heads = 8, and model.heads = 4 in ", "model.tied = true, and model.tied = false"])
        deck = self.work(model={"family": "gpt2", "layers": 2, "width": 24, "heads": 4, "positions": 16})
        self.refuse("check", deck, "--weights", original, parts=['model.family = "gpt2", and model.family = "llama"'])
        self.penstock("check", self.work(model={"positions": 32}), "--weights", original)


class RefusalTest(Exchange):
    """Exit code 2, one message, nothing written."""

    def test_paths(self):
        deck, empty = self.work(), self.folder / "empty"
        empty.mkdir()
        none = self.folder / "none"
        self.refuse("check", deck, "--weights", none, parts=[f"{none}: does not exist; name a Hugging Face directory"])
        self.refuse("check", deck, "--weights", empty, parts=["holds neither config.json nor checkpoints"])
        self.refuse("check", deck, "--weights", self.tokens, parts=[str(self.tokens)])
        self.refuse("train", deck, "--set", f"data.train={self.tokens}", "--weights", none, ranks=2, parts=["does not exist"])
        self.refuse("import", none, "-o", self.folder / "x.h5", ranks=2, parts=[str(none)])
        self.refuse("export", none, "-o", self.folder / "x", ranks=2, parts=["does not exist"])

    def test_import(self):
        original, full = self.directory("original", "llama"), self.folder / "full.h5"
        full.write_text("mine")
        self.refuse("import", original, "-o", full, parts=["full.h5: is there already"])
        self.refuse("import", original, "-o", self.folder / "no/folder.h5", parts=["there is no folder"])
        self.refuse("import", original, "-o", self.folder / "x.h5", "--deck", f"{self.folder}/./x.h5",
                    parts=["for the checkpoint and for the deck"])
        config, tensors = hugging_face.made_up("llama")
        tensors.pop("model.norm.weight")
        broken = hugging_face.write_directory(self.folder / "broken", config, tensors)
        self.refuse("import", broken, "-o", self.folder / "x.h5", ranks=2, parts=["has no tensor model.norm.weight"])
        config, tensors = hugging_face.made_up("llama", tied=True)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + numpy.float32(1)
        broken = hugging_face.write_directory(self.folder / "head", config, tensors)
        self.refuse("import", broken, "-o", self.folder / "x.h5", ranks=2, parts=["tie_word_embeddings"])
        config["model_type"] = "mamba"
        broken = hugging_face.write_directory(self.folder / "unknown", config, tensors)
        self.refuse("import", broken, "-o", self.folder / "x.h5", parts=["mamba"])

    def test_export(self):
        llama, qwen = self.directory("llama", "llama"), self.directory("qwen", "qwen2")
        self.refuse("export", llama, "-o", qwen, parts=["is not empty (it has "])
        self.refuse("export", llama, "-o", self.folder / "x", "--like", qwen, ranks=2, parts=["of model_type qwen2"])
        self.refuse("export", llama, "-o", self.folder / "x", "--shard-size", "5e3", ranks=2,
                    parts=['"5e3" is not a file size'])
        self.refuse("export", llama, "-o", self.folder / "no", "--dtype", "float16", parts=["--dtype"])

    def test_damage_leaves_nothing(self):
        original, file = self.directory("original", "llama"), self.folder / "m.h5"
        self.on_ranks(1, "import", original, "-o", file)
        with h5py.File(file) as opened:
            chunk = opened["parameters/final_norm.weight"].id.get_chunk_info(0)
        content = bytearray(file.read_bytes())
        content[chunk.byte_offset + 5] ^= 16
        file.write_bytes(content)
        self.refuse("export", file, "-o", self.folder / "x", ranks=2, parts=["/parameters/final_norm.weight"])

    def test_a_kill_leaves_no_model(self):
        """Ended in the middle, an export leaves temporary names, which no program reads, and an import no checkpoint."""
        original = self.directory("original", "llama")
        for words, result in ((["import", original, "-o", self.folder / "x.h5"], self.folder / "x.h5"),
                              (["export", original, "-o", self.folder / "x"], self.folder / "x/config.json")):
            process = self.start([str(PROGRAM), *map(str, words)], cwd=self.folder)
            while process.poll() is None and not list(self.folder.rglob(".*tmp-*")):
                time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            whole = result.exists()
            if words[0] == "export":
                files = {path.name for path in (self.folder / "x").glob("*") if not path.name.startswith(".")}
                if "model.safetensors" in files:  # the last to get its name
                    self.assertEqual(files, {"config.json", "model.safetensors", *hugging_face.TOKENIZER})
            elif whole:
                self.penstock("checkpoint", "verify", result)


if __name__ == "__main__":
    main()
