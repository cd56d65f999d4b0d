# SPDX-License-Identifier: Apache-2.0
"""Small Hugging Face directories of every family, with random values in each tensor: Penstock computes what transformers does
(scripts/compare_transformers.py). Skipped where this Python has no torch or transformers; by hand, with one that has:
    PENSTOCK=build/cpu/penstock PYTHON tests/contract/transformers_test.py -v
"""
import importlib.util
import os
import random
import subprocess
import sys
import unittest

from penstock import ENVIRONMENT, MPIEXEC, PROGRAM, SOURCE, ContractTest, main, token_header

sys.path.insert(0, str(SOURCE / "tests/support"))
import random_model

LACKING = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
SCRIPT = SOURCE / "scripts/compare_transformers.py"
# A group of kv heads for each mesh: as many as tensor ranks, fewer, and a pipeline that cuts three blocks into three.
MESHES = {2: ["1x1x1", "2x2x2", "1x3x1", "1x1x4"], 3: ["1x1x1", "1x3x1", "1x1x3"], 4: ["1x1x1", "2x2x2", "1x1x4"]}


class WithTransformers(ContractTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if LACKING:
            raise unittest.SkipTest(f"this Python has no {', '.join(LACKING)}")

    def setUp(self):
        super().setUp()
        source = random.Random(5)
        tokens = b"".join(source.randrange(random_model.VOCABULARY).to_bytes(2, "little") for _ in range(2000))
        self.tokens = self.folder / "random.tok"
        self.tokens.write_bytes(token_header(2000, random_model.VOCABULARY - 1, random_model.VOCABULARY, 2) + tokens)

    def compare(self, variant, meshes, *options, expect=0):
        directory = self.folder / variant
        if not directory.exists():
            random_model.make(directory, variant)
        words = [sys.executable, SCRIPT, directory, "--tokens", self.tokens, "--program", PROGRAM, "--mpiexec", MPIEXEC]
        words += ["--sequence", random_model.TOKENS, "--batch", 8, "--micro", 2, "--loss-sequence", random_model.TOKENS,
                  "--loss-tokens", 1000, "--all"]
        for mesh in meshes:
            words += ["--mesh", mesh]
        run = subprocess.run([*map(str, words), *options], capture_output=True, text=True, check=False,
                             env={**os.environ, **ENVIRONMENT})
        self.assertEqual(run.returncode, expect, run.stdout + run.stderr)
        return run


class TransformersTest(WithTransformers):
    CORES = 2
    TIMEOUT = 900

    def test_each_family(self):
        for variant in ("gpt2", "llama-llama3", "qwen2", "qwen3-yarn", "mistral"):
            with self.subTest(variant=variant):
                self.compare(variant, ["1x1x1", "1x2x2"])

    def test_what_is_not_built_is_refused(self):
        run = self.compare("qwen2-window", ["1x1x1"], expect=2)
        self.assertRegex(run.stderr, "qwen2 models have no sliding window")

    def test_a_difference_is_found(self):
        run = self.compare("llama", ["1x1x1"], "--logits", "1e-12", "--loss-tokens", "0", "--steps", "1", expect=1)
        self.assertIn("<-- differs", run.stdout)


class AllTransformersTest(WithTransformers):
    CORES = 2
    TIMEOUT = 3600
    DEPTH = "all"

    def test_each_variant_on_each_mesh(self):
        for variant, (_, heads, _, keys) in random_model.VARIANTS.items():
            if keys.get("use_sliding_window"):
                continue
            with self.subTest(variant=variant):
                kv_heads = heads["kv_heads"]
                print(self.compare(variant, MESHES[kv_heads]).stdout, flush=True)


if __name__ == "__main__":
    main()
