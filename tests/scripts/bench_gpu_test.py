# SPDX-License-Identifier: Apache-2.0
"""scripts/bench_gpu with a made-up program, PyTorch, ncu and nvidia-smi: what it asks and what it computes."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True

import bench_gpu_kernels as kernels  # noqa: E402
from bench_gpu_step import Ceilings, Model, bound, models_called, necessary_bytes, total_seconds  # noqa: E402

HEADER = "step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second,validation_loss"
NCU_HEADER = '"ID","Process ID","Kernel Name","Context","Stream","Section Name","Metric Name","Metric Unit","Metric Value"'


def ncu_line(name, microseconds):
    return f'"0","1","{name}","1","7","Command line profiler metrics","gpu__time_duration.sum","us","{microseconds}"'


class BenchGpu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.build = self.root / "build"
        self.bin = self.root / "bin"
        self.build.mkdir()
        self.bin.mkdir()
        (self.root / "memory").write_text("4")
        self.script(self.bin / "nvidia-smi",
                    f'memory=$(cat {self.root}/memory)\ncase "$*" in\n'
                    '*memory.used,*) echo "$memory MiB, 1500 MHz, 600.5 W" ;;\n*memory.used*) echo "$memory MiB" ;;\n'
                    '*) echo "Made-up GPU, 580.1, 1 MHz" ;;\nesac')

    def script(self, path, body):
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def penstock(self, train):
        self.script(self.build / "penstock", f"""
if [ "$1" = check ]; then echo '{{"ranks": [{{"process": {{"total": {3 << 20}}}}}]}}'; exit; fi
echo $$ > {self.root}/process
cp "$2" {self.root}/deck
cp "$(sed -n "s/^train = '\\(.*\\)'/\\1/p" "$2")" {self.root}/tokens
run="$4"
metrics="$run/metrics.csv"
mkdir -p "$run/checkpoints"
if grep -q "initial = true" "$2"; then : > "$run/checkpoints/step-00000000.h5"; exec sleep 60; fi
echo {HEADER} > "$metrics"
printf 'rank,host,process,device\\n0,here,%d,card\\n' $$ > "$run/ranks.csv"
row() {{ echo "$1,0,${{3:-10.0}},0,0,$2,0," >> "$metrics"; }}
{train}""")

    def pytorch(self, modes):
        """`modes`: shell code by mode, to be run when it is asked for."""
        cases = "\n".join(f"{mode}) {code} ;;" for mode, code in modes.items())
        self.script(self.bin / "python", f"""
echo "$@" > {self.root}/pytorch
echo '{{"version": "2.99", "cuda": "13.9"}}'
while read -r mode; do case "$mode" in
{cases}
esac; done""")

    def command(self, *arguments):
        return {"args": [sys.executable, SCRIPTS / "bench_gpu", "--build", self.build, "--model", "124M", "--steps", "4",
                         *arguments],
                "env": {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}}

    def bench(self, *arguments):
        return subprocess.run(**self.command(*arguments), capture_output=True, text=True, timeout=50)

    def bench_alone(self, *arguments):
        return self.bench("--penstock-only", *arguments)

    def bench_both(self, *arguments):
        return self.bench("--python", self.bin / "python", *arguments)

    def assert_nothing_is_left(self):
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.root / "process").read_text()), 0)
        self.assertEqual([path.name for path in self.build.iterdir()], ["penstock"])


def answer(seconds, loss):
    """Of nine steps, five of them warm-up, with the same loss in all."""
    timed = {"seconds": [9.0] * 5 + [seconds] * 4, "losses": [loss] * 9}
    return f"""echo '{{"warm": true, "seconds_until": 1.5}}'; echo '{json.dumps(timed)}'"""


CEILINGS = json.dumps({
    "products": {name: [1e-4, 1e-4, 2e-4] for name in ("qkv", "output", "up", "down", "head")},
    "attention": [1e-4, 4e-4], "attention_by": "cuDNN", "copy": 4e12,
})  # fmt: skip


class PenstockAlone(BenchGpu):
    def test_the_steps_behind_the_warm_up_count_and_the_process_is_ended(self):
        self.penstock('for i in {1..5}; do row $i 9.0; done\n'
                      'for i in {6..9}; do sleep 0.05; row $i 0.25; done\n'
                      'for i in {10..900}; do sleep 0.05; row $i 7.0; done')
        result = self.bench_alone()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Made-up GPU, driver 580.1, SM clock 1 MHz", result.stdout)
        self.assertIn(f"| Penstock | 250.0 | {32 * 1024 * 4} | 11.4% | 0 | 1500 MHz, 600 W |  |", result.stdout)
        self.assert_nothing_is_left()

    def test_the_run_ends_by_no_step_of_its_own_and_saves_nothing_on_the_way(self):
        self.penstock('for i in {1..900}; do row $i 1.0; sleep 0.02; done')
        self.assertEqual(self.bench_alone().returncode, 0)
        deck = (self.root / "deck").read_text()
        self.assertIn("steps = 1000000\n", deck)
        self.assertIn("[checkpoint]\nevery = 0\ninitial = false\n", deck)

    def test_what_pytorch_would_not_follow_is_set_only_without_it(self):
        self.penstock('for i in {1..900}; do row $i 1.0; sleep 0.02; done')
        for setting in ("optimizer.learning_rate=1", " model.layers=2", "batch.global=64", "precision.compute=float32"):
            with self.subTest(setting=setting):
                refused = self.bench("--set", setting)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(f"--set {setting}: PyTorch would not follow", refused.stderr)
        self.assertEqual(self.bench_alone("--set", "optimizer.learning_rate=1").returncode, 0)

    def test_arguments_that_cannot_be_are_refused_before_anything_runs(self):
        self.penstock("exit 0")
        for words in (["--set", "run.stop=3"], ["--folder", self.root / "none"], ["--python", self.root / "none"]):
            with self.subTest(words=words):
                refused = self.bench(*words)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(f"error: {words[0]} {words[1]}: ", refused.stderr)
        self.assertFalse((self.root / "process").exists())

    def test_the_token_file_holds_one_batch_of_the_whole_vocabulary(self):
        self.penstock('for i in {1..900}; do row $i 1.0; sleep 0.02; done')
        self.bench_alone()
        file = (self.root / "tokens").read_bytes()
        count = 32 * 1024 + 1
        self.assertEqual(len(file), 64 + 2 * count)
        magic, version, width, vocabulary, tokens, largest, checksum = struct.unpack("<8sIIQQQ16xQ", file[:64])
        self.assertEqual((magic, version, width, vocabulary, tokens), (b"\x89PSTOK\r\n", 1, 2, 50257, count))
        values = struct.unpack(f"<{count}H", file[64:])
        self.assertEqual(max(values), largest)
        self.assertLess(largest, 50257)
        self.assertGreater(largest, 50000)
        self.assertGreater(len(set(values)), 20000)  # 24000 of 50257 are to be expected of 32769 draws
        hashed = 14695981039346656037
        for byte in file[:56]:
            hashed = ((hashed ^ byte) * 1099511628211) & (2**64 - 1)
        self.assertEqual(checksum, hashed)

    def test_memory_that_grows_after_step_2_is_an_error(self):
        self.penstock('row 1 1.0; row 2 1.0; sleep 1; echo 5 > ' + str(self.root / "memory") +
                      '\nfor i in {3..900}; do row $i 1.0; sleep 0.2; done')
        result = self.bench_alone()
        self.assertEqual(result.returncode, 1)
        self.assertIn("4, 5 MiB **grew**", result.stdout)
        self.assertIn("penstock check predicted 3 MiB, +200.00% of the most that nvidia-smi showed", result.stdout)

    def test_a_half_row_is_not_read(self):
        self.penstock('for i in {1..8}; do row $i 1.0; done\n'
                      'printf "9,0,0,0,0,1.0" >> "$metrics"; exec sleep 60')
        result = self.bench_alone("--patience", "1")
        self.assertIn("after 8 steps", result.stderr)
        self.assertEqual(result.returncode, 1)
        self.assert_nothing_is_left()

    def test_an_early_death_shows_what_the_program_said(self):
        self.penstock('row 1 1.0; echo "penstock: out of device memory" >&2; exit 3')
        result = self.bench_alone()
        self.assertEqual(result.returncode, 1)
        self.assertIn("exit code 3 after 1 steps:\npenstock: out of device memory", result.stderr)
        self.assert_nothing_is_left()

    def test_a_start_that_hangs_is_ended(self):
        self.penstock('echo "connecting" >&2; exec sleep 60')
        result = self.bench_alone("--patience", "0.5")
        self.assertEqual(result.returncode, 1)
        self.assertIn("after 0 steps:\nconnecting", result.stderr)
        self.assert_nothing_is_left()

    def test_an_unknown_model_is_refused(self):
        self.penstock("exit 0")
        result = self.bench_alone("--model", "175B")
        self.assertEqual(result.returncode, 2)
        self.assertIn("124M, 1.3B, 1.56B", result.stderr)


class BesidePyTorch(BenchGpu):
    def setUp(self):
        super().setUp()
        self.penstock('for i in {1..900}; do row $i 0.25 10.0; sleep 0.02; done')

    def test_the_better_mode_counts_and_starts_from_our_step_0(self):
        self.pytorch({"default": answer(0.3, 10.05), "max-autotune-no-cudagraphs": answer(0.275, 9.95),
                      "ceilings": f"""echo '{{"warm": true}}'; echo '{CEILINGS}'"""})  # fmt: skip
        result = self.bench_both()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("PyTorch 2.99, CUDA 13.9", result.stdout)
        self.assertIn("| PyTorch, default | 300.0 |", result.stdout)
        self.assertIn("0.498% at step 6", result.stdout)  # 0.05 of 10.05; of equal steps the first
        self.assertIn("Ratio of tokens/s to PyTorch, max-autotune-no-cudagraphs: 1.100.", result.stdout)
        self.assertIn("default and of PyTorch, max-autotune-no-cudagraphs differ by at most 1.005%, at step 6", result.stdout)
        self.assertIn("initial = false", (self.root / "deck").read_text())  # the timed run saves nothing
        asked = (self.root / "pytorch").read_text()
        self.assertIn("/start/checkpoints/step-00000000.h5", asked)
        self.assertIn("--layers 12 --width 768 --heads 12 --sequence 1024 --batch 32", asked)
        self.assertRegex(result.stdout, r"bound; the step of 250.0 ms reaches \d+\.\d% of it")
        self.assertIn("| 12 | 4.80 |", result.stdout)  # a block's product: 12 times 0.4 ms
        self.assert_nothing_is_left()

    def test_one_that_is_ended_ends_what_it_started(self):
        self.pytorch({"default": f"echo $$ > {self.root}/asked; sleep 60"})
        command = self.command("--python", self.bin / "python", "--modes", "default")
        with subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
            asked = self.root / "asked"
            for _ in range(400):
                if asked.exists() and asked.read_text().strip():
                    break
                time.sleep(0.05)
            bench.terminate()
            self.assertEqual(bench.wait(20), 143)
        with self.assertRaises(ProcessLookupError):
            os.kill(int(asked.read_text()), 0)
        self.assert_nothing_is_left()

    def test_losses_more_than_a_hundredth_apart_are_marked_and_an_error(self):
        self.pytorch({"default": answer(0.3, 10.2)})
        result = self.bench_both("--modes", "default", "--no-ceilings")
        self.assertEqual(result.returncode, 1)
        self.assertIn("1.961% at step 6 **differs**", result.stdout)

    def test_a_loss_that_is_no_number_is_an_error(self):
        self.pytorch({"default": answer(0.3, float("nan"))})
        self.assertEqual(self.bench_both("--modes", "default", "--no-ceilings").returncode, 1)

    def test_a_mode_over_the_budget_is_given_up_and_the_rest_is_printed(self):
        self.pytorch({"default": answer(0.3, 10.0), "max-autotune-no-cudagraphs": "sleep 40",
                      "ceilings": f"""echo '{{"warm": true}}'; echo '{CEILINGS}'"""})  # fmt: skip
        result = self.bench_both("--budget", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| PyTorch, max-autotune-no-cudagraphs | given up after", result.stdout)
        self.assertIn("Ratio of tokens/s to PyTorch, default: 1.200.", result.stdout)
        self.assertIn("bound", result.stdout)  # a new process was asked

    def test_a_mode_that_fails_says_why(self):
        self.pytorch({"default": """echo '{"error": "OutOfMemoryError: no room"}'"""})
        result = self.bench_both("--modes", "default", "--no-ceilings")
        self.assertIn("| PyTorch, default | OutOfMemoryError: no room |", result.stdout)

    def test_a_python_without_pytorch_is_told_of_before_anything_runs(self):
        self.script(self.bin / "python", 'echo "No module named torch" >&2; exit 1')
        result = self.bench_both()
        self.assertEqual(result.returncode, 1)
        self.assertIn("No module named torch", result.stderr)
        self.assertFalse((self.root / "process").exists())


class OnceMore(BenchGpu):
    def test_a_step_is_cut_out_and_grouped_and_products_are_not_measured_again(self):
        self.penstock('[[ -e "$run/products.tsv" ]] && touch ' + str(self.root / "found") + '; echo choices > "$run/products.tsv"'
                      '\nfor i in {1..900}; do row $i 0.001; sleep 0.02; done')
        step = [ncu_line("void penstock::(anonymous namespace)::normalize_rows<float>(int, float *)", 100),
                ncu_line("nvjet_tst_128x256", 300)] * 2 + [ncu_line("void update(List)", 200)]  # fmt: skip
        listing = "\n".join(["==PROF== Connected", NCU_HEADER, ncu_line("start", 1), *step * 3, step[0]])
        (self.root / "listing").write_text(listing)
        self.script(self.bin / "ncu", f"""
while [[ "$1" == --* ]]; do
  if [[ "$1" == --csv ]]; then shift; else [[ "$1" == --log-file ]] && log="$2"; shift 2; fi
done
"$@" & wait
cp {self.root}/listing "$log" """)
        result = self.bench_alone("--ncu")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.root / "found").exists())
        self.assertIn("| `nvjet_tst_128x256` | 2 | 0.600 | 60.0% |", result.stdout)
        self.assertIn("| `normalize_rows` | 2 | 0.200 | 20.0% |", result.stdout)
        self.assertIn("| sum: products | 2 | 0.600 | 60.0% |", result.stdout)
        self.assertIn("| sum: all | 5 | 1.000 | 100.0% |", result.stdout)
        self.assertIn("| nothing runs |  | 0.000 | 0.0% |", result.stdout)  # a step of 1 ms, all of it kernels
        self.assert_nothing_is_left()

    def test_a_timeline_gives_launches_and_idle_time_of_whole_steps(self):
        # Steps of 100 us: a copy of 10 under a kernel of 40, two kernels of 10 side by side for 5, and nothing for the rest.
        lines = [f"{begin}\t{begin + 1}\tkernel\tstart" for begin in range(4)]
        for step in range(1, 8):
            at = 100_000 * step
            lines += [f"{at}\t{at + 40_000}\tkernel\tvoid ops::update<float>(List)", f"{at + 5_000}\t{at + 15_000}\tcopy\tcopy",
                      f"{at + 50_000}\t{at + 60_000}\tkernel\tnvjet_a", f"{at + 55_000}\t{at + 65_000}\tkernel\tnvjet_b"]  # fmt: skip
        (self.root / "timeline").write_text("\n".join([*lines, "12\t"]))
        self.penstock(f'[[ "$PENSTOCK_TIMELINE" ]] && cp {self.root}/timeline "$PENSTOCK_TIMELINE"\n'
                      'for i in {1..900}; do row $i 0.001; sleep 0.02; done')
        for name in ("include/cupti.h", "lib/libcupti.so"):
            (self.root / "cuda" / name).parent.mkdir(parents=True)
            (self.root / "cuda" / name).touch()
        self.script(self.bin / "c++", f'echo "$@" > {self.root}/compiled')
        with unittest.mock.patch.dict(os.environ, CUDA_HOME=str(self.root / "cuda")):
            result = self.bench_alone("--kernels")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("cuda/lib/libcupti.so", (self.root / "compiled").read_text())
        self.assertIn("A step of 0.10 ms as CUPTI saw it run, the mean of 5; nothing runs in 45.00% of it.", result.stdout)
        self.assertIn("| `update` | 1 | 0.040 | 40.0% |", result.stdout)
        self.assertIn("| `copy` | 1 | 0.010 | 10.0% |", result.stdout)
        self.assertIn("| sum: products | 2 | 0.020 | 20.0% |", result.stdout)
        self.assert_nothing_is_left()


    def test_a_tool_that_fails_leaves_what_was_measured(self):
        self.penstock('for i in {1..900}; do row $i 0.001; sleep 0.02; done')
        self.script(self.bin / "ncu", 'echo "no permission" >&2; exit 1')
        result = self.bench_alone("--ncu")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| Penstock | 1.0 |", result.stdout)
        self.assertIn("no permission", result.stderr)
        self.assertIn("No step was found", result.stdout)


class Kernels(unittest.TestCase):
    def test_names_lose_types_namespaces_and_arguments(self):
        names = {
            "void penstock::ops::(anonymous namespace)::join_rows<__nv_bfloat16, float>(Join<T1, T2>, long)": "join_rows",
            "nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopB_TNT": "nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopB_TNT",
            "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_128x64>(Params)": "cutlass_80_tensorop_bf16_s16816gemm_128x64",
            "update(Pieces, const float *)": "update",
        }  # fmt: skip
        for demangled, short in names.items():
            self.assertEqual(kernels.short_name(demangled), short)

    def test_units_and_thousands_are_read(self):
        lines = [NCU_HEADER, ncu_line("a", "1,500.5"), ncu_line("a", 2).replace('"us"', '"nsecond"')]
        self.assertEqual([round(launch.seconds * 1e9) for launch in kernels.read_launches("\n".join(lines))], [1500500, 2])

    def test_nothing_is_made_of_a_listing_without_kernels(self):
        self.assertEqual(kernels.read_launches("==ERROR== no permission"), [])
        self.assertIsNone(kernels.last_step([]))

    def test_a_step_is_no_block_wherever_the_run_was_cut(self):
        step = ["embed", *["norm", "product"] * 12, "head", *["slope", "weight"] * 12, "adam"]
        for cut in range(len(step)):
            names = ["initialize"] * 7 + step * 3 + step[:cut]
            found = kernels.last_step([kernels.Launch(name, 1.0) for name in names])
            self.assertEqual(sorted(launch.name for launch in found), sorted(step))

    def test_a_run_that_never_repeats_has_no_step(self):
        self.assertIsNone(kernels.last_step([kernels.Launch(str(i), 1.0) for i in range(20)]))


class Bound(unittest.TestCase):
    model = Model("tiny", layers=2, width=2, heads=1, sequence=2, batch=1, vocabulary=100)

    def test_parameters_and_padded_rows(self):
        self.assertEqual(self.model.table_rows(), 128)
        self.assertEqual(self.model.parameters(), (100 + 2) * 2 + 2 * (12 * 4 + 13 * 2) + 4)
        self.assertEqual(models_called("124M")[0].parameters(), 124439808)  # GPT-2's own

    def test_necessary_bytes(self):
        # One activation is 2 tokens x 2 channels x 2 bytes = 8. Forward: 4 branches of 4, embedding 3. Backward: 4 norms of 4,
        # last norm 3, embedding 1: 39 in all. GELU: 4 written and 4 read, twice. Logits: 2 x 128 x 2 bytes, twice.
        self.assertEqual(list(necessary_bytes(self.model).values()), [39 * 8, 16 * 8, 1024, 30 * 356])

    def test_the_bound_is_their_sum_and_each_products(self):
        products = {"qkv": [1, 2, 3], "output": [1, 1, 1], "up": [2, 2, 2], "down": [1, 2, 1], "head": [5, 5, 5]}
        terms = bound(self.model, Ceilings(products, [1, 2], "cuDNN", 4.0))
        by_name = {term.name: term.seconds for term in terms}
        self.assertEqual(by_name["product qkv"], 12)
        self.assertEqual(by_name["product head"], 15)
        self.assertEqual(by_name["attention"], 6)
        self.assertEqual(total_seconds(terms), 12 + 6 + 12 + 8 + 15 + 6 + (312 + 128 + 1024 + 10680) / 4)

    def test_a_shape_can_be_said(self):
        (model,) = models_called("L2C256H4T128B8")
        self.assertEqual((model.shape(), model.tokens()), ("L2 C256 H4 T128 B8", 1024))


if __name__ == "__main__":
    unittest.main()
