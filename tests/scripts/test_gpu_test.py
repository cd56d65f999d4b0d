# SPDX-License-Identifier: Apache-2.0
"""scripts/test_gpu with made-up programs, tools and nvidia-smi: what it packs, runs, leaves out and prints."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True

import test_gpu_pack as packing  # noqa: E402
import test_gpu_table as tables  # noqa: E402
from test_gpu_table import FAILED, LEFT_OUT, LESS, MEASURED, MORE, PASSED, SAME, Row  # noqa: E402

HEADER = "step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second,validation_loss"
CASES = """
import os
import subprocess
import time
import unittest

class GpuMeshTest(unittest.TestCase):
    def test_one(self):
        pass
    {more}

class GpuPairTest(unittest.TestCase):
    @unittest.skipUnless("," in os.environ.get("CUDA_VISIBLE_DEVICES", ""), "one GPU")
    def test_pair(self):
        with open({notes!r}, "a") as file:
            print("pair", os.environ["CUDA_VISIBLE_DEVICES"], os.environ["NCCL_NVLS_ENABLE"], file=file)
"""


def script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/bash\n" + body + "\n")
    path.chmod(0o755)


class MadeUp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.bin = self.root / "bin"
        self.notes = self.root / "notes"
        self.notes.write_text("")
        self.gpus(1)

    def gpus(self, count):
        lines = "".join(f"GPU {i}: Made-up GPU (UUID: GPU-{i})\\n" for i in range(count))
        script(self.bin / "nvidia-smi", f"""case "$*" in
-L) printf '{lines}' ;;
*memory.used,*) echo "4 MiB, 1500 MHz, 600.5 W" ;;
*memory.used*) echo "4 MiB" ;;
*) echo "Made-up GPU, 580.1, 1980 MHz, 3201 MHz, 700 W" ;;
esac""")

    def environment(self, **more):
        mine = {name: value for name, value in os.environ.items()
                if name not in ("CUDA_VISIBLE_DEVICES", "NCCL_NVLS_ENABLE")}
        return {**mine, "PATH": f"{self.bin}:{os.environ['PATH']}", "CUDA_HOME": str(self.root / "cuda"),
                "PYTHONDONTWRITEBYTECODE": "1", **more}

    def command(self, *words):
        return [sys.executable, str(SCRIPTS / "test_gpu"), *map(str, words)]

    def start(self, *words, **environment):
        return subprocess.run(self.command(*words), env=self.environment(**environment), capture_output=True, text=True,
                              timeout=120)


class Packing(MadeUp):
    """A build folder with three tests of CTest's: one of its programs, one of its program penstock, one of Python's."""

    def setUp(self):
        super().setUp()
        self.build = self.root / "source/build/cuda"
        for name in ("penstock", "tests/test.ops", "tests/benchmarks/bench.memory", "tests/unused"):
            script(self.build / name, "exit 0")
        self.hydra = self.root / "mpich/mpiexec.hydra"
        script(self.hydra, "exit 0")
        script(self.hydra.parent / "hydra_pmi_proxy", "exit 0")
        (self.build / "CMakeCache.txt").write_text(
            f"CMAKE_HOME_DIRECTORY:INTERNAL={self.root}/source\nMPIEXEC_EXECUTABLE:FILEPATH={self.hydra}\n"
            "PENSTOCK_ARCHITECTURE:STRING=x86-64-v3\nCMAKE_CUDA_ARCHITECTURES:STRING=90\n")
        self.libraries = self.root / "libraries"
        for name in ("libmpich.so.12", "libucs.so.0", "libibverbs.so.1", "libfmt.so.9", "ucx/libuct_ib.so.0.0.0"):
            path = self.libraries / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        self.needs("libmpich.so.12", "libucs.so.0", "libfmt.so.9")
        script(self.bin / "strip", '[[ $1 == -o ]] && cp "$3" "$2"')
        self.tests = [
            {"name": "ops.all", "command": [f"{self.build}/tests/test.ops", "--gtest_filter=A*"],
             "properties": [{"name": "ENVIRONMENT", "value": ["CUDA_LAUNCH_BLOCKING=1"]},
                            {"name": "LABELS", "value": ["unit"]}, {"name": "TIMEOUT", "value": 300.0}]},
            {"name": "cuda.no_device", "command": [f"{self.build}/penstock", "train", f"{self.root}/source/input/tiny.toml"],
             "properties": [{"name": "PASS_REGULAR_EXPRESSION", "value": ["sees no GPU"]}]},
            {"name": "contract.gpu_test", "command": ["/usr/bin/python3", "gpu_test.py"],
             "properties": [{"name": "LABELS", "value": ["contract", "gpu"]}]},
        ]
        self.pack = self.root / "pack.tgz"

    def needs(self, *names):
        """What the made-up loader says of every program; of UCX's module it says libibverbs."""
        def lines(names):
            return "".join(f"\t{n} => {self.libraries / n} (0x1)\\n" for n in names)

        others = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1", "libpthread.so.0",
                  "libdl.so.2", "librt.so.1", "libresolv.so.2", "libcudart.so.13", "libcublasLt.so.13", "libcudnn.so.9",
                  "libnccl.so.2", "libnvrtc.so.13")
        script(self.bin / "ldd", f"""printf '\\tlinux-vdso.so.1 (0x1)\\n\\t/lib64/ld-linux-x86-64.so.2 (0x1)\\n'
if [[ $1 == *libuct* ]]; then printf '{lines(["libibverbs.so.1"])}'; exit; fi
printf '{lines(others)}{lines(names)}'""")

    def pack_it(self, *words):
        listing = self.root / "listing.json"
        listing.write_text(json.dumps({"tests": self.tests}))
        script(self.bin / "ctest", f"cat {listing}")
        return self.start("--pack", "--build", self.build, "--cpu", "none", "-o", self.pack, *words)

    def unpacked(self):
        with tarfile.open(self.pack) as archive:
            self.names = [name.partition("/")[2] for name in archive.getnames()]
            return json.load(archive.extractfile("penstock-gpu/manifest.json"))

    def test_libraries_of_the_system_and_of_cuda_stay_and_all_others_are_taken(self):
        packed = self.pack_it()
        self.assertEqual(packed.returncode, 0, packed.stderr)
        manifest = self.unpacked()
        self.assertEqual(sorted(name for name in self.names if name.startswith("lib/")),
                         ["lib/libfmt.so.9", "lib/libibverbs.so.1", "lib/libmpich.so.12", "lib/libucs.so.0", "lib/ucx",
                          "lib/ucx/libuct_ib.so.0"])
        self.assertEqual(manifest["of_cuda"], ["libcublasLt.so.13", "libcudart.so.13", "libcudnn.so.9", "libnccl.so.2",
                                               "libnvrtc.so.13"])

    def test_programs_that_tests_start_are_taken_with_the_words_and_the_environment(self):
        self.assertEqual(self.pack_it().returncode, 0)
        tests = {test["name"]: test for test in self.unpacked()["tests"]}
        self.assertEqual(sorted(tests), ["cuda.no_device", "ops.all"])  # Python's are found by themselves
        self.assertEqual(tests["ops.all"]["command"], ["{build}/tests/test.ops", "--gtest_filter=A*"])
        self.assertEqual(tests["ops.all"]["environment"], ["CUDA_LAUNCH_BLOCKING=1"])
        self.assertEqual(tests["cuda.no_device"]["command"], ["{build}/penstock", "train", "{source}/input/tiny.toml"])
        self.assertEqual(tests["cuda.no_device"]["rules"], {"PASS_REGULAR_EXPRESSION": ["sees no GPU"]})
        for name in ("build/cuda/penstock", "build/cuda/tests/test.ops", "build/cuda/tests/benchmarks/bench.memory",
                     "bin/mpiexec", "bin/hydra_pmi_proxy", "scripts/test_gpu", "scripts/bench_gpu",
                     "tests/contract/gpu_test.py", "tests/contract/penstock.py", "input/tiny.toml"):
            self.assertIn(name, self.names)
        self.assertNotIn("build/cuda/tests/unused", self.names)
        self.assertNotIn("build/cpu/penstock", self.names)

    def test_the_manifest_says_of_what_the_pack_is(self):
        self.assertEqual(self.pack_it().returncode, 0)
        about = self.unpacked()["about"]
        self.assertEqual(about["flags"], {"PENSTOCK_ARCHITECTURE": "x86-64-v3", "CMAKE_CUDA_ARCHITECTURES": "90"})
        self.assertRegex(about["commit"], r"^([0-9a-f]{12}(-changed)?|unknown)$")

    def test_the_program_of_the_cpu_build_comes_along(self):
        cpu = self.root / "source/build/cpu"
        script(cpu / "penstock", "exit 0")
        (cpu / "CMakeCache.txt").write_text("PENSTOCK_ARCHITECTURE:STRING=native\n")
        packed = self.pack_it("--cpu", cpu / "penstock")
        self.assertEqual(packed.returncode, 0, packed.stderr)
        self.assertIn("may not run on another", packed.stderr)
        self.unpacked()
        self.assertIn("build/cpu/penstock", self.names)

    def test_a_pack_that_is_too_large_is_refused_and_not_left_there(self):
        (self.libraries / "libfmt.so.9").write_bytes(os.urandom(2 << 20))
        packed = self.pack_it("--largest", "1")
        self.assertEqual(packed.returncode, 2)
        self.assertRegex(packed.stderr, r"would have 2\.\d MiB, and a pack has at most 1; .*: lib/libfmt\.so\.9 2\.0, ")
        self.assertEqual([path.name for path in self.root.glob("pack*")], [])
        self.assertEqual(self.pack_it("--largest", "3").returncode, 0)

    def assert_refused(self, message):
        packed = self.pack_it()
        self.assertEqual(packed.returncode, 2, packed.stdout)
        self.assertIn(message, packed.stderr)
        self.assertFalse(self.pack.exists())

    def test_what_cannot_be_judged_there_is_refused(self):
        self.tests[0]["properties"].append({"name": "ENVIRONMENT_MODIFICATION", "value": ["A=set:1"]})
        self.assert_refused("ops.all has the property ENVIRONMENT_MODIFICATION, which scripts/test_gpu does not know")

    def test_a_test_that_is_not_built_is_refused(self):
        del self.tests[0]["command"]
        self.assert_refused("ops.all is not built")

    def test_a_library_that_is_nowhere_is_refused(self):
        script(self.bin / "ldd", "printf '\\tlibodd.so.1 => not found\\n'")
        self.assert_refused("needs libodd.so.1, which is not on this machine")

    def test_another_mpi_is_refused(self):
        (self.hydra.parent / "hydra_pmi_proxy").unlink()
        self.assert_refused("is not MPICH's Hydra")

    def test_planted_faults_are_refused(self):
        with open(self.build / "CMakeCache.txt", "a") as cache:
            cache.write("PENSTOCK_FAULTS:BOOL=ON\n")
        self.assert_refused("source/build/cuda has planted faults (PENSTOCK_FAULTS=ON)")

    def test_planted_faults_of_the_cpu_program_are_refused(self):
        cpu = self.root / "source/build/faults"
        script(cpu / "penstock", "exit 0")
        for value, code in (("ON", 2), ("OFF", 0)):
            (cpu / "CMakeCache.txt").write_text(f"PENSTOCK_FAULTS:BOOL={value}\n")
            packed = self.pack_it("--cpu", cpu / "penstock")
            self.assertEqual(packed.returncode, code, packed.stderr)
            self.assertEqual("source/build/faults has planted faults" in packed.stderr, code == 2, packed.stderr)

    def test_no_build_is_refused(self):
        (self.build / "penstock").unlink()
        self.assert_refused("penstock is not there; build it")


class Running(MadeUp):
    """The folder of a pack with made-up programs, two of CTest's tests, and cases that need no h5py."""

    def setUp(self):
        super().setUp()
        self.pack = self.root / "penstock-gpu"
        self.build = self.pack / "build/cuda"
        self.cuda = self.root / "cuda/lib64"
        self.cuda.mkdir(parents=True)
        (self.cuda / "libcudart.so.99").write_text("")
        (self.pack / "input").mkdir(parents=True)
        (self.pack / "input/tiny.toml").write_text("")
        self.cases()
        self.penstock()
        self.ops("echo '[==========] 9 tests ran.'; echo '[  PASSED  ] 7 tests.'")
        script(self.pack / "bin/mpiexec", 'shift 2; setsid "$@" & wait')
        script(self.build / "tests/benchmarks/bench.memory", """for word; do
  [[ $word == --benchmark_out=* ]] && echo '{"benchmarks": [
    {"name": "layer_norm/124M/32768x768/bfloat16/manual_time", "of_copy_%": 81.25}]}' > "${word#*=}"
done; exit 0""")
        self.json = self.root / "table.json"
        self.rules = {}

    def cases(self, more=""):
        path = self.pack / "tests/contract/gpu_test.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CASES.format(more=more, notes=str(self.notes)))

    def ops(self, body):
        script(self.build / "tests/test.ops", body)

    def penstock(self, loss="10.25", seconds="0.05", before="", row="sleep 0.002"):
        script(self.build / "penstock", f"""
if [ "$1" = check ]; then echo '{{"ranks": [{{"process": {{"total": {3 << 20}}}}}]}}'; exit; fi
echo "train $LD_LIBRARY_PATH $*" >> {self.notes}
{before}
while [[ $1 != --run ]]; do shift; done
mkdir -p "$2"
echo {HEADER} > "$2/metrics.csv"
for i in {{1..100}}; do echo "$i,0,{loss},0.5,0,{seconds},0," >> "$2/metrics.csv"; {row}; done
exec sleep 60""")

    def run_all(self, *words, **environment):
        tests = [{"name": "ops.all", "command": ["{build}/tests/test.ops"], "environment": ["WORD={source}/x"],
                  "rules": {"SKIP_REGULAR_EXPRESSION": ["no CUDA-capable device"], **self.rules}},
                 {"name": "cuda.says", "command": ["sh", "-c", "echo sees no GPU; exit 1"], "environment": [],
                  "rules": {"PASS_REGULAR_EXPRESSION": ["sees no G.U"]}}]
        (self.pack / "manifest.json").write_text(json.dumps(
            {"about": {"commit": "abc"}, "of_cuda": ["libcudart.so.99"], "tests": tests}))
        return self.start(self.pack, "--json", self.json, *words, **environment)

    def rows(self):
        return {row.check: row for row in tables.read_json(self.json)[1]}

    def assert_nothing_is_left(self):
        """No process has the folder in its words: sleepers are started from there."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode()
                except OSError:
                    continue
                self.assertNotIn(str(self.root), words)

    def test_all_is_one_table_and_the_same_in_the_file(self):
        result = self.run_all()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        # Columns are as wide as what they hold, the seconds of this run among it.
        table = re.sub(" +", " ", result.stdout[result.stdout.index("| check"):])
        for line in ("| programs: ops | passed | 7 | cases passed |", "| GpuMeshTest.test_one | passed |",
                     "| GpuPairTest.test_pair | skipped |", "| 124M, bfloat16: step | measured | 50 | ms |",
                     "| 655360 | tokens/s |", "| kernel layer_norm, 32768x768 | measured | 81.25 | % of a copy |",
                     "| 1500 | MHz |", "| 10.25 |"):
            self.assertIn(line, table)
        self.assertIn("commit abc", result.stdout)
        self.assertIn("GPUs 1, GPU Made-up GPU, driver 580.1", result.stdout)
        rows = self.rows()
        self.assertEqual(rows["programs: cuda"].number, 1)
        self.assertEqual(rows["GpuPairTest.test_pair"].result, "skipped")
        self.assertEqual(rows["124M, bfloat16: loss of step 10"],
                         Row("124M, bfloat16: loss of step 10", MEASURED, "10.25", "", SAME))
        self.assertEqual(rows["124M, bfloat16: memory predicted by check"].number, 3.0)
        self.assertNotIn("two GPUs", result.stdout)
        self.assert_nothing_is_left()

    def test_the_users_cache_is_left_alone(self):
        self.penstock(before=f"echo cache $PENSTOCK_CACHE >> {self.notes}")
        self.run_all("--only", "speed", PENSTOCK_CACHE="/of/the/user")
        caches = {line for line in self.notes.read_text().splitlines() if line.startswith("cache ")}
        self.assertEqual(len(caches), 1)
        self.assertNotIn("/of/the/user", caches.pop())

    def test_programs_find_the_libraries_of_the_pack_and_of_the_machine(self):
        self.run_all("--only", "numbers: 124M", LD_LIBRARY_PATH="/some/where")
        started = self.notes.read_text().split()
        self.assertEqual(started[1], f"{self.pack}/lib:{self.cuda}:/some/where")
        self.assertIn("device.measure=false", started)

    def test_a_library_that_is_not_there_is_named_first(self):
        (self.cuda / "libcudart.so.99").unlink()
        script(self.bin / "ldconfig", "echo none")
        script(self.bin / "python3", "exit 1")
        result = self.run_all("--only", "ops")
        self.assertEqual(result.returncode, 1)
        self.assertIn("not found: libcudart.so.99; install them", result.stdout)

    def test_what_fails_says_so_and_stops_nothing_else(self):
        self.ops("echo '[  PASSED  ] 6 tests.'; echo 'wrong by 3'; exit 1")
        self.cases("def test_two(self): self.assertEqual(1, 2)")
        script(self.build / "tests/benchmarks/bench.memory", "echo out of memory; exit 4")
        result = self.run_all()
        self.assertEqual(result.returncode, 1)
        rows = self.rows()
        failed = sorted(name for name, row in rows.items() if row.result == FAILED)
        self.assertEqual(failed, ["GpuMeshTest.test_two", "kernels", "ops.all", "programs: ops"])
        for words in ("wrong by 3", "AssertionError: 1 != 2", "exit code 4:\nout of memory", "4 failed"):
            self.assertIn(words, result.stdout)
        self.assertEqual(rows["programs: ops"].number, 0)
        self.assertEqual(rows["124M, bfloat16: step"].number, 50.0)

    def test_a_program_that_sees_no_gpu_has_failed_where_there_is_one(self):
        self.ops("echo no CUDA-capable device is detected; exit 1")
        result = self.run_all("--only", "ops")
        self.assertEqual(result.returncode, 1)
        self.assertIn("it did nothing, though there is a GPU; exit code 1:\nno CUDA-capable device", result.stdout)
        self.gpus(0)
        result = self.run_all("--only", "ops", PENSTOCK_GPU="1")
        self.assertEqual(result.returncode, 0)
        self.assertEqual([self.rows()[name].result for name in ("ops.all", "programs: ops")], ["skipped"] * 2)

    def test_a_program_that_breaks_off_is_a_failure_with_its_words(self):
        self.penstock(before="echo 'penstock: no device memory' >&2; exit 2")
        result = self.run_all("--only", "numbers|speed|kernels")
        self.assertEqual(result.returncode, 1)
        self.assertIn("exit code 2 after 0 steps:\npenstock: no device memory", result.stdout)
        self.assertIn("kernel layer_norm, 32768x768", self.rows())

    def test_it_ends_in_time_and_says_what_is_left_out(self):
        self.ops("exec sleep 300")
        self.cases("def test_slow(self): subprocess.run(['setsid', 'sleep', '300'])")
        self.penstock(before="sleep 300")
        begin = time.monotonic()
        result = self.run_all("--minutes", "0.1", "--jobs", "1", "--only", "ops|Gpu|speed")
        self.assertLess(time.monotonic() - begin, 9)
        self.assertEqual(result.returncode, 3, result.stdout)
        self.assertEqual({row.result for row in self.rows().values()}, {LEFT_OUT})
        self.assertEqual(sorted(self.rows()), ["GpuMeshTest.test_one", "GpuMeshTest.test_slow", "GpuPairTest.test_pair",
                                               "ops.all", "programs: ops", "speed: 124M"])
        self.assertIn("GpuMeshTest.test_one is left out: the budget of 0.1 minutes was spent", result.stdout)
        self.assertRegex(result.stdout, r"ops.all is left out: begun, and ended after \d s: the budget of 0.1 minutes was")
        self.assert_nothing_is_left()

    def test_a_program_that_takes_longer_than_it_may_has_failed(self):
        self.ops("echo waiting; setsid sleep 300")
        self.rules = {"TIMEOUT": 1}
        result = self.run_all("--only", "ops")
        self.assertEqual(result.returncode, 1)
        self.assertIn("ended after 1 s:\nwaiting", result.stdout)
        self.assert_nothing_is_left()

    def test_a_signal_ends_it_with_the_table_so_far(self):
        self.ops(f"echo here >> {self.notes}; exec sleep 300")
        self.run_all("--only", "nothing")  # writes the manifest
        command = self.command(self.pack, "--json", self.json)
        with subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as run:
            while "here" not in self.notes.read_text():
                self.assertIsNone(run.poll())
                time.sleep(0.05)
            run.send_signal(signal.SIGTERM)
            said, _ = run.communicate(timeout=20)
        self.assertEqual(run.returncode, 3)
        self.assertIn("the rest is left out: a signal ended the run", said)
        self.assertIn("| check", said)
        self.assert_nothing_is_left()

    def test_two_gpus_share_the_tests_and_are_measured_on_each_axis(self):
        self.gpus(2)
        self.ops(f"echo ops $CUDA_VISIBLE_DEVICES >> {self.notes}")
        result = self.run_all()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        rows = self.rows()
        self.assertEqual(rows["GpuPairTest.test_pair"].result, PASSED)
        self.assertIn("pair 0,1 0", self.notes.read_text())
        self.assertRegex(self.notes.read_text(), r"(?m)^ops [01]$")
        self.assertEqual(rows["124M, bfloat16, two GPUs, data 2: speed"].number, 64 * 1024 / 0.05)
        self.assertEqual(rows["124M, bfloat16, two GPUs, data 2: of twice one GPU's"].number, 100.0)
        self.assertEqual(rows["124M, bfloat16, two GPUs, tensor 2: of twice one GPU's"].number, 50.0)
        self.assertIn("mesh.pipeline=2 --set batch.micro=4", self.notes.read_text())
        self.assert_nothing_is_left()

    def test_what_the_user_says_of_nccl_and_of_gpus_stays(self):
        self.gpus(4)
        self.run_all("--only", "Pair", NCCL_NVLS_ENABLE="1", CUDA_VISIBLE_DEVICES="2,3")
        self.assertEqual(self.notes.read_text(), "pair 2,3 1\n")

    def test_without_a_gpu_nothing_is_run(self):
        self.gpus(0)
        result = self.run_all()
        self.assertEqual(result.returncode, 2)
        self.assertIn("nvidia-smi sees no GPU here", result.stderr)

    def test_a_case_that_cannot_be_imported_is_a_failure(self):
        (self.pack / "tests/contract/gpu_test.py").write_text("import no_such_module")
        result = self.run_all("--only", "Gpu")
        self.assertEqual(result.returncode, 1)
        self.assertIn("No module named 'no_such_module'", result.stdout)

    def test_a_pack_is_unpacked(self):
        self.run_all("--only", "nothing")
        archive = self.root / "made.tgz"
        with tarfile.open(archive, "w:gz") as file:
            file.add(self.pack, "penstock-gpu")
        result = self.start(archive, "--only", "ops", "--json", self.json)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(self.rows()["programs: ops"].number, 7)

    def test_an_archive_of_something_else_is_refused(self):
        archive = self.root / "other.tgz"
        with tarfile.open(archive, "w:gz") as file:
            file.add(self.bin, "bin")
        result = self.start(archive)
        self.assertEqual(result.returncode, 2)
        self.assertIn("is no pack of scripts/test_gpu", result.stderr)


class Comparing(MadeUp):
    OLD = [Row("step", MEASURED, 50.0, "ms", LESS), Row("speed", MEASURED, 1000.0, "tokens/s", MORE),
           Row("loss", MEASURED, "10.25", "", SAME), Row("cases", PASSED, 7, "cases passed", SAME),
           Row("case", PASSED, 3.0, "s"), Row("gone", PASSED, 1.0, "s")]

    def marks(self, new):
        """The last column by check."""
        lines = tables.comparison(self.OLD, new)[2:]
        return {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines}

    def test_the_same_has_no_marks(self):
        self.assertEqual(set(self.marks(self.OLD).values()), {""})

    def test_within_three_percent_nothing_is_said(self):
        marks = self.marks([Row("step", MEASURED, 51.4, "ms", LESS), Row("speed", MEASURED, 971.0, "tokens/s", MORE)])
        self.assertEqual((marks["step"], marks["speed"]), ("", ""))

    def test_what_is_worse_or_differs_or_is_gone_is_marked(self):
        marks = self.marks([Row("step", MEASURED, 52.0, "ms", LESS), Row("speed", MEASURED, 960.0, "tokens/s", MORE),
                            Row("loss", MEASURED, "10.250001", "", SAME), Row("cases", PASSED, 6, "cases passed", SAME),
                            Row("case", FAILED, 30.0, "s"), Row("fresh", PASSED, 1.0, "s")])
        self.assertEqual(marks, {"step": "**worse** by 4.0%", "speed": "**worse** by 4.0%", "loss": "**differs**",
                                 "cases": "**differs**", "case": "**failed**, was passed", "fresh": "new",
                                 "gone": "**gone**"})

    def test_what_is_better_says_by_how_much_and_seconds_of_tests_say_nothing(self):
        marks = self.marks([Row("step", MEASURED, 45.0, "ms", LESS), Row("case", PASSED, 30.0, "s")])
        self.assertEqual((marks["step"], marks["case"]), ("better by 10.0%", ""))

    def test_two_files_are_compared_without_a_gpu(self):
        self.gpus(0)
        old, new = self.root / "old.json", self.root / "new.json"
        tables.write_json(old, {"commit": "abc", "machine": {"GPU": "A"}}, self.OLD)
        tables.write_json(new, {"commit": "def", "machine": {"GPU": "B"}}, [Row("step", MEASURED, 55.0, "ms", LESS)])
        result = self.start("--show", new, "--compare", old)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout,
                         r"\| step +\| measured +\| 50 +\| 55 +\| 1.100 +\| ms +\| \*\*worse\*\* by 10.0% +\|")
        self.assertIn("Another card or other libraries", result.stdout)

    def test_a_failure_in_the_table_is_the_exit_code(self):
        new = self.root / "new.json"
        for result, code in ((PASSED, 0), (FAILED, 1), (LEFT_OUT, 3)):
            tables.write_json(new, {}, [Row("step", result)])
            self.assertEqual(self.start("--show", new).returncode, code)


if __name__ == "__main__":
    unittest.main()
