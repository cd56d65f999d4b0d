# SPDX-License-Identifier: Apache-2.0
"""The choice of products belongs to a run: the CPU has nothing to choose, but carries the choice along for a later GPU."""
import h5py

from penstock import ContractTest, checkpoint, main

CHOICES = "card\tcublaslt\tm\nA card\t130000\t768\nA card\t130000\t3072\nend\t2\n"


def products_in(file):
    with h5py.File(file, "r") as opened:
        text = opened.attrs.get("products")
    return text.decode() if isinstance(text, bytes) else text


class ProductsTest(ContractTest):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.deck = self.small_deck(run={"steps": 2})

    def run_with(self, choices, expect=0, **options):
        run = self.folder / "run"
        run.mkdir()
        (run / "products.tsv").write_text(choices)
        process = self.start(self.command(deck=self.deck, run=run, **options), {"PENSTOCK_CACHE": str(self.cache)},
                             cwd=self.folder)
        return run, self.end_well(process, expect)

    def test_they_go_into_checkpoints_and_from_there_into_another_folder(self):
        for measure in (True, False):
            with self.subTest(measure=measure):
                elsewhere = self.folder / f"elsewhere-{measure}"
                if measure:
                    run, _ = self.run_with(CHOICES)
                    self.assertEqual(products_in(checkpoint(run, 2)), CHOICES)
                    (run / "products.tsv").unlink()
                self.train(deck=self.deck, run=elsewhere, restart=checkpoint(run, 2),
                           settings={"run.steps": 4, "device.measure": measure})
                self.assertEqual((elsewhere / "products.tsv").read_text(), CHOICES)
                self.assertEqual(products_in(checkpoint(elsewhere, 4)), CHOICES)
        self.assertIn(f"products = {len(CHOICES)} bytes\n", self.penstock("checkpoint", "show", checkpoint(run, 2)).out)
        self.assertFalse(self.cache.exists(), "the CPU has nothing to keep there")

    def test_a_run_without_any_has_no_attribute_and_no_file(self):
        self.train(deck=self.deck, run=self.folder / "run")
        self.assertIsNone(products_in(checkpoint(self.folder / "run", 2)))
        self.assertFalse((self.folder / "run/products.tsv").exists())

    def test_what_is_not_whole_stays_out_of_checkpoints(self):
        run, _ = self.run_with(CHOICES[:-8])
        self.assertIsNone(products_in(checkpoint(run, 2)))
        self.assertEqual((run / "products.tsv").read_text(), CHOICES[:-8])

    def test_an_empty_file_is_refused(self):
        run, result = self.run_with("", expect=2)
        self.assertIn(f"{run}/products.tsv is empty: a write did not come to its end; remove it", result.err)
        self.assertEqual([path.name for path in run.iterdir()], ["products.tsv"])


if __name__ == "__main__":
    main()
