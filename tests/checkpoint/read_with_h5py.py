# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint of the sample model with nothing but h5py and numpy; fails with what is wrong."""
import sys

import h5py
import numpy

with h5py.File(sys.argv[1], "r") as file:
    covered = {"format", "format_version", "step", "samples", "seed", "deck", "digest_names"}
    assert set(file.attrs) == covered | {"complete", "digest"}, set(file.attrs)
    lines = file.attrs["digest_names"].decode().split("\n")
    assert {line for line in lines if not line.startswith("/")} == covered, lines
    assert "/optimizer/first_moment/blocks.1.mlp.up.weight" in lines, lines
    assert file.attrs["format"].decode() == "penstock checkpoint"
    assert (file.attrs["format_version"], file.attrs["step"], file.attrs["samples"]) == (2, 100, 1600)
    assert (file.attrs["seed"], file.attrs["complete"]) == (-5, 1)
    assert file.attrs["deck"].decode("utf-8") == '[run]\nname = "säule"\n', file.attrs["deck"]
    for group in ("parameters", "optimizer/first_moment", "optimizer/second_moment"):
        assert len(file[group]) == 9
        for name, dataset in file[group].items():
            assert dataset.dtype == numpy.float32 and dataset.fletcher32 and dataset.chunks, name
            values = dataset[...]
            assert numpy.isfinite(values).all() and 0.5 < values.std() < 1.5, name  # standard normal numbers
    assert file["parameters"]["embedding.token.weight"].shape == (50, 24)
    assert file["parameters/blocks.1.mlp.up.weight"].shape == (1100, 257)
