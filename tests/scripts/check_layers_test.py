# SPDX-License-Identifier: Apache-2.0
"""scripts/check_layers on made-up trees: each bad include is found and named, and good ones are left alone."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_layers"

CMAKE = """
function(penstock_layer name)
  file(GLOB sources ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp
                    ${CMAKE_CURRENT_SOURCE_DIR}/${name}/cpu/*.cpp
                    ${CMAKE_CURRENT_SOURCE_DIR}/${name}/reference/*.cpp)
endfunction()
penstock_layer(base     LIBRARIES fmt::fmt)
penstock_layer(mesh     USES base)
penstock_layer(schedule USES base)
penstock_layer(tensor   USES base)
penstock_layer(ops      USES tensor
                        LIBRARIES DNNL::dnnl)
penstock_layer(comm     USES tensor mesh LIBRARIES MPI::MPI_CXX)
penstock_layer(model    USES ops comm)
"""

GOOD = {
    "src/CMakeLists.txt": CMAKE,
    "src/base/error.hpp": "#include <fmt/format.h>\n#include <vector>\n",
    "src/mesh/mesh.hpp": '#include "base/error.hpp"\n',
    "src/tensor/shape.hpp": '#include "base/error.hpp"\n',
    "src/ops/linear.hpp": '#include "tensor/shape.hpp"\n',
    "src/ops/cpu/product.hpp": "#include <oneapi/dnnl/dnnl.hpp>\n",
    "src/ops/cpu/linear.cpp": '#include "ops/linear.hpp"\n#include "ops/cpu/product.hpp"\n',
    "src/ops/reference/values.hpp": '#include "base/error.hpp"\n',
    "src/ops/reference/linear.cpp": '#include "ops/reference/values.hpp"\n',
    "src/comm/world.hpp": "#include <mpi.h>\n",
    "src/model/block.cpp": '#include "mesh/mesh.hpp"  // through comm\n'
                           '#include "ops/linear.hpp"\n'
                           '  #  include <mpi.h>\n',
    "cuda/ops/tile.cuh": "#pragma once\n",
    "cuda/ops/linear.cu": '#include "ops/linear.hpp"\n#include "ops/tile.cuh"\n#include "cuda/ops/tile.cuh"\n',
}


class CheckLayers(unittest.TestCase):
    def check(self, changes=None):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**GOOD, **(changes or {})}.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)

    def assert_finds(self, changes, *words):
        result = self.check(changes)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        lines = result.stdout.strip().splitlines()
        self.assertEqual(len(lines), 1, "one mistake, one line:\n" + result.stdout)
        for word in words:
            self.assertIn(word, lines[0])

    def test_a_good_tree_has_no_mistake(self):
        result = self.check()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_an_include_against_the_arrow(self):
        bad = '#include "base/error.hpp"\n\n#include "tensor/shape.hpp"\n'
        self.assert_finds({"src/mesh/mesh.cpp": bad}, "src/mesh/mesh.cpp:3", "tensor")

    def test_an_include_upwards(self):
        self.assert_finds({"src/ops/linear.cpp": '#include "model/block.hpp"\n'}, "src/ops/linear.cpp:1", "model")

    def test_mpi_below_comm(self):
        for layer in ("mesh", "schedule"):
            self.assert_finds({f"src/{layer}/plan.cpp": "#include <mpi.h>\n"},
                              f"src/{layer}/plan.cpp:1", "MPI::MPI_CXX")

    def test_a_library_that_no_line_names(self):
        self.assert_finds({"src/model/file.cpp": "#include <hdf5.h>\n"}, "hdf5::hdf5")

    def test_the_fast_backend_includes_the_reference(self):
        self.assert_finds({"src/ops/cpu/linear.cpp": '#include "ops/reference/values.hpp"\n'},
                          "src/ops/cpu/linear.cpp:1", "reference")

    def test_a_backend_above_the_seam(self):
        self.assert_finds({"src/model/block.cpp": '#include "ops/cpu/product.hpp"\n'}, "only the backend cpu")

    def test_src_includes_from_cuda(self):
        for header in ("cuda/ops/tile.cuh", "ops/tile.cuh"):
            self.assert_finds({"src/model/block.cpp": f'#include "{header}"\n'}, header, "nothing in src/ includes")

    def test_cuda_keeps_to_the_arrows_too(self):
        self.assert_finds({"cuda/ops/linear.cu": '#include "comm/world.hpp"\n'}, "cuda/ops/linear.cu:1", "comm")

    def test_a_folder_without_a_line(self):
        self.assert_finds({"src/utils/all.hpp": "\n"}, "src/utils/all.hpp", "utils")

    def test_a_path_that_is_no_layer(self):
        self.assert_finds({"src/model/block.cpp": '#include "support/world.hpp"\n'}, "support/world.hpp")

    def test_layers_in_a_cycle(self):
        looped = CMAKE.replace("(base ", "(base USES model ")
        self.assert_finds({"src/CMakeLists.txt": looped}, "cycle", "base -> model")

    def test_a_layer_that_uses_none(self):
        self.assert_finds({"src/CMakeLists.txt": CMAKE.replace("tensor mesh", "tensor wheel mesh")}, "wheel")

    def test_headers_in_a_cycle(self):
        self.assert_finds({"src/mesh/mesh.hpp": '#include "mesh/axis.hpp"\n',
                           "src/mesh/axis.hpp": '#include "mesh/mesh.hpp"\n'}, "cycle", "mesh/axis.hpp")

    def test_a_class_that_two_files_define(self):
        for first, second in (("class Progress {", "class Progress {"),
                              ("struct Progress {", "enum class Progress : int {"),
                              ("template <typename T>\nclass Progress final : public Base {",
                               "struct alignas(16) Progress {")):
            files = {"src/mesh/mesh.hpp": f"namespace penstock {{\n\n{first}\n}};\n\n}}  // namespace penstock\n",
                     "src/model/block.cpp": f"namespace penstock {{\n{second}\n}};\n}}  // namespace penstock\n"}
            self.assert_finds(files, "src/model/block.cpp:2", "penstock::Progress", "src/mesh/mesh.hpp:")

    def test_classes_of_a_name_that_do_not_meet(self):
        def tree(*texts):
            return {f"src/mesh/file{i}.cpp": f"namespace penstock {{\n{text}\n}}  // namespace penstock\n"
                    for i, text in enumerate(texts)}
        own = "namespace {\nstruct Progress {\n};\n}  // namespace"
        for texts in ((own, own), ("struct Progress {\n};", own), ("struct Progress {\n};", "class Progress;"),
                      ("struct Progress {\n};", "struct Outer {\n  struct Progress {\n  };\n};"),
                      ("struct Progress {\n};", "namespace test {\nstruct Progress {\n};\n}  // namespace test")):
            result = self.check(tree(*texts))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        backends = {path: "namespace penstock {\nstruct Tile {\n};\n}  // namespace penstock\n"
                    for path in ("src/ops/cpu/product.hpp", "cuda/ops/tile.cuh")}
        result = self.check(backends)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_a_tree_without_lines_is_not_called_good(self):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)


if __name__ == "__main__":
    unittest.main()
