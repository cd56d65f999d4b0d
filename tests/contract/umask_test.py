# SPDX-License-Identifier: Apache-2.0
"""Every file of a run folder has the mode that the umask leaves of 0666, every folder what it leaves of 0777."""
import stat

from penstock import ONE, ContractTest, Mesh, main


class UmaskTest(ContractTest):
    def check(self, umask, mesh, writers, steps, names=()):
        run, stage = self.folder / f"run-{umask:03o}", self.folder / f"stage-{umask:03o}"
        stage.mkdir()
        deck = self.small_deck(capture={"steps": [2], "taps": ["loss"]}, trace={"steps": [2]})
        settings = {"run.steps": steps, "checkpoint.writers": writers, "checkpoint.initial": True, "data.stage": str(stage)}
        self.end_well(self.start(self.command(deck=deck, mesh=mesh, settings=settings, run=run), cwd=self.folder,
                                 umask=umask))
        modes = {path.relative_to(self.folder): stat.S_IMODE(path.stat().st_mode)
                 for path in [run, *run.rglob("*"), *stage.iterdir()]}
        for name in ("deck.toml", "metrics.csv", "end.json", "ranks.csv", "trace.json", "captures/step-00000002.h5",
                     f"checkpoints/step-{steps:08d}.h5", *names):
            self.assertIn((run / name).relative_to(self.folder), modes)
        self.assertEqual(len(list(stage.iterdir())), 1)
        wanted = {path: (0o777 if (self.folder / path).is_dir() else 0o666) & ~umask for path in modes}
        self.assertEqual({str(path): f"{mode:o}" for path, mode in modes.items()},
                         {str(path): f"{mode:o}" for path, mode in wanted.items()})

    def test_a_group_that_may_write(self):
        self.check(0o002, ONE, 1, steps=11, names=("costs.json",))

    def test_the_owner_alone_with_several_writers(self):
        self.check(0o077, Mesh(2, 1, 1), 2, steps=2)


if __name__ == "__main__":
    main()
