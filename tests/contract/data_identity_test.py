# SPDX-License-Identifier: Apache-2.0
"""The data of a run are what its token file holds, not the file's name: restarts with other data."""
import json
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy

from penstock import ContractTest, Mesh, capture, checkpoint, files_below, main, write_tokens

OTHER_DATA, NOT_RECORDED, OTHER_NAME = "data.train is not the data that", "does not record which data", "in another text"


def fnv1a64(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"fnv1a64-{value:016x}"


def attribute_line(name, value):
    if isinstance(value, (bytes, str)):
        text = value.encode() if isinstance(value, str) else bytes(value)
        return b"attribute %s text %d %s\n" % (name.encode(), len(text), text)
    return f"attribute {name} integer {int(value)}\n".encode()


def make_version_1(path):
    """Turns a checkpoint into one of format version 1 from before the attribute `data`: its digest covers all other
    attributes and all arrays (src/checkpoint/file_contents.cpp)."""
    with h5py.File(path, "r+") as file:
        for name in {"data", "digest_names"} & set(file.attrs):
            del file.attrs[name]
        file.attrs.modify("format_version", 1)
        text = b"".join(attribute_line(name, file.attrs[name]) for name in sorted(set(file.attrs) - {"digest", "complete"}))
        shapes = {}
        file.visititems(lambda name, item: shapes.update({f"/{name}": item.shape}) if isinstance(item, h5py.Dataset) else None)
        for name in sorted(shapes):
            text += f"array {name} float32 [{', '.join(map(str, shapes[name]))}]\n".encode()
        file.attrs.modify("digest", numpy.bytes_(fnv1a64(text)))


def recorded_data(path):
    with h5py.File(path) as file:
        return json.loads(bytes(file.attrs["data"]))


class DataIdentityTest(ContractTest):
    """A run of two steps, which has drawn 16 of the 24 samples of its text, continues with one token file or another."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = Path(tempfile.mkdtemp(prefix="penstock-contract-"))
        cls.addClassCleanup(shutil.rmtree, cls.data, ignore_errors=True)

    def setUp(self):
        super().setUp()
        self.text = write_tokens(self.data / "train.tok", 400)
        self.deck = self.small_deck(capture={"steps": [1, 2, 3], "taps": ["loss"]})
        self.run_folder = self.shared_run("run", deck=self.deck, tokens=self.text, settings={"run.stop": 2}, expect=75)

    def go_on(self, expect=75, settings=None, **options):
        return self.train(deck=self.deck, run=self.run_folder, restart="latest", settings={"run.stop": 3, **(settings or {})},
                          expect=expect, **{"tokens": self.text, **options})

    def repeated(self):
        """Samples of step 3 that steps 1 and 2 had drawn."""
        def samples(step):
            with h5py.File(capture(self.run_folder, step)) as file:
                return [row.tobytes() for row in file["tokens"][...]]
        drawn = samples(1) + samples(2)
        return sum(sample in drawn for sample in samples(3))

    def test_more_text_under_the_same_name(self):
        write_tokens(self.text, 560)
        before = files_below(self.run_folder)
        result = self.go_on(expect=2, mesh=Mesh(2, 1, 1))
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        for part in (OTHER_DATA, "step-00000002.h5", "400 tokens", "560 tokens", 'data.changed = "continue"'):
            self.assertIn(part, result.err)
        self.assertEqual(files_below(self.run_folder), before)

        result = self.go_on(settings={"data.changed": "continue"})
        for part in (OTHER_DATA, "400 tokens", "560 tokens", "some may come again"):
            self.assertIn(part, result.err)
        self.assertGreater(self.repeated(), 0)  # what the refusal is for
        self.assertEqual(recorded_data(checkpoint(self.run_folder, 3))[0]["tokens"], 560)

    def test_a_copy_under_another_name(self):
        copy, stage = self.folder / "other name.tok", self.folder / "stage"
        shutil.copyfile(self.text, copy)
        stage.mkdir()
        result = self.go_on(tokens=copy, settings={"data.stage": str(stage)})
        for part in (OTHER_DATA, NOT_RECORDED, OTHER_NAME):
            self.assertNotIn(part, result.err)
        self.assertEqual(self.repeated(), 0)
        self.assertEqual(recorded_data(checkpoint(self.run_folder, 3)), recorded_data(checkpoint(self.run_folder, 2)))

    def test_a_checkpoint_that_does_not_record_its_data(self):
        newest = checkpoint(self.run_folder, 2)
        make_version_1(newest)
        self.penstock("checkpoint", "verify", newest)
        self.assertIn(f"{newest} {NOT_RECORDED}", self.go_on().err)
        self.assertEqual(self.repeated(), 0)

    def test_what_is_recorded(self):
        newest = checkpoint(self.run_folder, 2)
        wanted = [{"tokens": 400, "digest": fnv1a64(self.text.read_bytes()), "tokenizer": "bytes", "weight": 1}]
        self.assertEqual(json.loads(json.loads(self.penstock("checkpoint", "show", "--json", newest).out)["attributes"]["data"]),
                         wanted)
        self.assertIn(f'data = [{{"tokens":400,"digest":"{wanted[0]["digest"]}"', self.penstock("checkpoint", "show", newest).out)


if __name__ == "__main__":
    main()
