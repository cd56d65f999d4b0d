# SPDX-License-Identifier: Apache-2.0
"""`penstock checkpoint list | verify | show | diff`: exit codes, text for people, JSON for programs."""
import json
import os
import shutil
from pathlib import Path

import h5py
import numpy

from penstock import ContractTest, Mesh, capture, checkpoint, main


class CheckpointCommandTest(ContractTest):
    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(checkpoint={"every": 2, "keep": 0}, capture={"steps": [2], "taps": ["loss"]})
        self.run_folder = self.shared_run("run", deck=self.deck, mesh=Mesh(1, 2, 1), settings={"run.stop": 4}, expect=75)
        self.first, self.second = checkpoint(self.run_folder, 2), checkpoint(self.run_folder, 4)

    def told(self, *words, expect=0):
        return json.loads(self.penstock("checkpoint", *words, "--json", expect=expect).out)

    def damaged(self, path, name="damaged.h5"):
        copy = Path(shutil.copy(path, self.folder / name))
        with h5py.File(copy, "r") as file:
            chunk = file["parameters/blocks.1.mlp.up.weight"].id.get_chunk_info(0)
        with open(copy, "r+b") as file:
            file.seek(chunk.byte_offset + 5)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 16]))
        return copy

    def refuse(self, *words, parts=()):
        result = self.penstock("checkpoint", *words, expect=2)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        for part in parts:
            self.assertIn(part, result.err)
        return result

    # list

    def test_list(self):
        for folder in (self.run_folder, self.run_folder / "checkpoints"):
            listed = self.told("list", folder)
            self.assertEqual([(c["step"], c["whole"], c["samples"], c["seed"]) for c in listed],
                             [(4, True, 32, 3), (2, True, 16, 3)])
            self.assertEqual([c["bytes"] for c in listed], [self.second.stat().st_size, self.first.stat().st_size])
        text = self.penstock("checkpoint", "list", self.run_folder).out
        self.assertLess(text.index("step-00000004.h5"), text.index("step-00000002.h5"))

    def test_list_tells_what_is_not_whole(self):
        self.second.write_bytes(self.second.read_bytes()[:5000])
        listed = self.told("list", self.run_folder)
        self.assertEqual([(c["step"], c["whole"]) for c in listed], [(4, False), (2, True)])
        self.assertTrue(listed[0]["problem"])

    def test_json_of_a_path_that_is_not_utf_8(self):
        folder = Path(os.fsdecode(os.fsencode(self.folder) + b"/caf\xe9"))
        self.run_folder.rename(folder)
        self.assertEqual([(c["step"], c["whole"]) for c in self.told("list", folder)], [(4, True), (2, True)])
        self.assertTrue(self.told("verify", checkpoint(folder, 4))["whole"])
        self.assertEqual(json.loads(self.penstock("status", folder, "--json").out)["checkpoint_step"], 4)

    def test_list_of_no_folder(self):
        self.refuse("list", self.folder / "none", parts=[str(self.folder / "none")])

    # verify

    def test_verify(self):
        for path in (self.first, capture(self.run_folder, 2)):
            verified = self.told("verify", path)
            self.assertTrue(verified["whole"])
            self.assertEqual(verified["bytes"], path.stat().st_size)
            self.assertIn("whole", self.penstock("checkpoint", "verify", path).out)

    def test_verify_damage(self):
        for path in (self.damaged(self.first), self.cut(self.first), self.text()):
            with self.subTest(path=path.name):
                self.refuse("verify", path, parts=[str(path)])
                self.assertFalse(self.told("verify", path, expect=2)["whole"])
        self.refuse("verify", self.damaged(self.first), parts=["/parameters/blocks.1.mlp.up.weight"])
        self.refuse("verify", self.folder / "none.h5", parts=["none.h5"])

    def cut(self, path):
        copy = self.folder / "cut.h5"
        copy.write_bytes(path.read_bytes()[:-4096])
        return copy

    def text(self):
        path = self.folder / "text.h5"
        path.write_text("no HDF5 file\n")
        return path

    # show

    def test_show(self):
        shown = self.told("show", self.second)
        attributes = shown["attributes"]
        self.assertEqual((attributes["step"], attributes["samples"], attributes["seed"]), (4, 32, 3))
        self.assertIn("[model]", attributes["deck"])
        shapes = {d["name"]: d["shape"] for d in shown["datasets"]}
        self.assertEqual(len(shapes), 3 * 52)
        self.assertEqual(shapes["/parameters/embedding.token.weight"], [256, 32])
        text = self.penstock("checkpoint", "show", self.second).out
        for part in ("step = 4", "samples = 32", "/optimizer/second_moment/final_norm.bias", "layers = 4"):
            self.assertIn(part, text)
        self.assertEqual({d["name"] for d in self.told("show", capture(self.run_folder, 2))["datasets"]},
                         {"/tokens", "/targets", "/taps/loss"})
        self.refuse("show", self.text())

    # diff

    def test_diff_of_equal_bits(self):
        self.assertTrue(self.told("diff", self.first, self.first)["equal"])
        copy = Path(shutil.copy(self.first, self.folder / "copy.h5"))
        self.penstock("checkpoint", "diff", self.first, copy)

    def test_diff_of_other_bits(self):
        difference = self.told("diff", self.first, self.second, expect=1)
        self.assertFalse(difference["equal"])
        lines = {line["name"]: line for line in difference["datasets"]}
        with h5py.File(self.first) as a, h5py.File(self.second) as b:
            name = "parameters/blocks.2.mlp.down.weight"
            x, y = (numpy.asarray(file[name], dtype=numpy.float64) for file in (a, b))
        line = lines["/" + name]
        self.assertAlmostEqual(line["largest"] / numpy.abs(x - y).max(), 1, places=6)
        expected = numpy.linalg.norm(x - y) / max(numpy.linalg.norm(x), numpy.linalg.norm(y))
        self.assertAlmostEqual(line["relative_norm"] / expected, 1, places=6)
        self.assertIn({"name": "step", "a": "2", "b": "4"}, difference["attributes"])
        text = self.penstock("checkpoint", "diff", self.first, self.second, expect=1).out
        self.assertIn("blocks.2.mlp.down.weight", text)

    def test_diff_sees_one_bit(self):
        copy = Path(shutil.copy(self.first, self.folder / "copy.h5"))
        with h5py.File(copy, "r+") as file:
            bits = file["parameters/final_norm.weight"][...].view(numpy.uint32)
            bits[3] ^= 1
            file["parameters/final_norm.weight"][...] = bits.view(numpy.float32)
        difference = self.told("diff", self.first, copy, expect=1)
        self.assertEqual([line["name"] for line in difference["datasets"] if not line["equal"]],
                         ["/parameters/final_norm.weight"])
        self.assertLess(difference["relative_norm"], 1e-6)

    def test_diff_without_the_key_rows(self):
        copy = Path(shutil.copy(self.first, self.folder / "copy.h5"))
        with h5py.File(copy, "r+") as file:
            file["parameters/blocks.0.attention.qkv.bias"][40] += 1  # of rows 32 .. 63, the keys'
        self.penstock("checkpoint", "diff", self.first, copy, expect=1)
        self.penstock("checkpoint", "diff", "--leave-key-rows", self.first, copy)

    def test_diff_knows_no_key_rows_where_keys_turn(self):
        """Rotary positions give the keys' bias a gradient; and k is not the middle third of q, k and v."""
        model = {"model.family": "qwen2", "model.kv_heads": 2, "model.hidden": 48}
        self.train(deck=self.deck, settings={**model, "run.stop": 1}, run="turning", expect=75)
        first = checkpoint(self.folder / "turning", 1)
        copy = Path(shutil.copy(first, self.folder / "turned.h5"))
        with h5py.File(copy, "r+") as file:
            file["parameters/blocks.0.attention.qkv.bias"][36] += 1
        told = self.told("diff", "--leave-key-rows", first, copy, expect=1)
        self.assertEqual([line["name"] for line in told["datasets"] if not line["equal"]],
                         ["/parameters/blocks.0.attention.qkv.bias"])

    def test_diff_of_what_cannot_be_compared(self):
        self.train(deck=self.deck, settings={"run.stop": 2, "model.layers": 3}, run="other", expect=75)
        difference = self.told("diff", self.first, checkpoint(self.folder / "other", 2), expect=1)
        self.assertTrue(any("problem" in line for line in difference["datasets"]))
        self.refuse("diff", self.first, self.folder / "none.h5", parts=["none.h5"])
        self.refuse("diff", self.first, self.damaged(self.first), parts=["damaged.h5"])
        self.refuse("diff", self.first)
        self.refuse("verify", self.first, self.second)
        self.assertIn("compare", self.penstock("checkpoint", "compare", self.first, self.second, expect=2).err)


if __name__ == "__main__":
    main()
