# SPDX-License-Identifier: Apache-2.0
"""Each header of src/ compiles alone, and so does each header of cuda/ that needs no CUDA. (Preset `debug` compiles each
source file alone.)

A unity build hides a missing #include: a file compiled before brought it. Here the compiler sees one file at a time. Most
of its time would go to the same standard headers, so it begins with a precompiled header, but only with one that the file
includes itself (or through what it includes): no name comes from it that the file would lack without it.

Under scripts/test --quick only the headers that git says differ from the main branch are compiled.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = 8  # precompiled headers at most: one takes seconds, and up to 120 MB while the test runs
CUDA = re.compile(r"<(cuda|cublas|cudnn|nccl|mma\.h)")
DIRECTIVE = re.compile(r'^[ \t]*#[ \t]*(if|endif|include)\b[ \t]*(?:([<"])([^>"]+)[>"])?', re.MULTILINE)


def find_commands():
    """The compiler's commands: of the build that runs this test, else of the one that was configured last."""
    here = Path.cwd()
    near = [folder / "compile_commands.json" for folder in (here, *here.parents)]
    built = sorted(ROOT.glob("build/*/compile_commands.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in (*near, *built) if path.is_file()), None)


def read_compiler(path):
    """The C++ compiler, and the flags by which it finds headers and reads them, of all files of src/ together."""
    compiler, flags = None, []
    for entry in json.loads(path.read_text()):
        words = shlex.split(entry["command"])
        target = entry.get("output") or words[words.index("-o") + 1]
        if not target.startswith("src/") and "/src/CMakeFiles/" not in target or "nvcc" in words[0]:
            continue
        if "ccache" in words[0] or words[0].endswith("env"):
            words = words[next(i for i, word in enumerate(words) if re.search(r"[cg]\+\+(-\d+)?$", word)):]
        compiler = words[0]
        for word, after in zip(words, words[1:]):
            if word == "-isystem":
                flags.append((word, after))
            elif re.match(r"-(I|D|std=|march=|fopenmp)", word):
                flags.append((word,))
    return compiler, [word for flag in dict.fromkeys(flags) for word in flag]


def search_folders(command):
    """Where the compiler looks for headers of libraries."""
    said = subprocess.run([*command, "-E", "-v", "-x", "c++", os.devnull], capture_output=True, text=True).stderr
    listed = said.partition("#include <...> search starts here:\n")[2].partition("End of search list")[0]
    return [Path(line.strip()) for line in listed.splitlines()]


class Includes:
    """What files include, themselves and through what they include."""

    def __init__(self, roots, system):
        self.roots = roots
        self.system = system
        self.certain = {}   # by file: what it includes
        self.possible = {}  # by header: what it includes, were every #if true
        self.places = {}    # by header: (its file or None, its size)

    def find(self, path, quote, header):
        """An own header as a path, that of a library as `<name>`."""
        folders = (path.parent, *self.roots) if quote == '"' else ()
        own = next((folder / header for folder in folders if (folder / header).is_file()), None)
        return own or f"<{header}>"

    def of(self, path):
        """All headers but those under an #if: they are there whatever the compiler's macros are."""
        if path not in self.certain:
            self.certain[path] = set()  # a cycle ends here
            found, depth = set(), 0
            for word, quote, header in DIRECTIVE.findall(path.read_text()):
                if word != "include":
                    depth += 1 if word == "if" else -1
                elif depth == 0:
                    included = self.find(path, quote, header)
                    found |= {included} | (self.of(included) if isinstance(included, Path) else set())
            self.certain[path] = found
        return self.certain[path]

    def bytes_of(self, header):
        """How much text a header brings, those of the libraries and all #ifs included: what it takes to read it."""
        reached, waiting = {header}, [header]
        while waiting:
            new = self.everything(waiting.pop()) - reached
            reached |= new
            waiting += new
        return sum(self.place(name)[1] for name in reached)

    def place(self, header):
        if header not in self.places:
            paths = [header] if isinstance(header, Path) else [folder / header[1:-1] for folder in self.system]
            path = next((path for path in paths if path.is_file()), None)
            self.places[header] = (path, path.stat().st_size if path else 0)
        return self.places[header]

    def everything(self, header):
        if header not in self.possible:
            path = self.place(header)[0]
            directives = DIRECTIVE.findall(path.read_text(errors="replace")) if path else []
            self.possible[header] = {self.find(path, quote, name) for word, quote, name in directives if name}
        return self.possible[header]


def choose_bundles(includes, paths):
    """Headers to precompile: those that save the most text. (A user of a bundle need not read what it holds.)"""
    users = {}
    for path in paths:
        for header in includes.of(path):
            users.setdefault(header, []).append(path)
    size = {header: includes.bytes_of(header) for header in sorted(users, key=str)}
    saved = {path: 0 for path in paths}
    chosen = []

    def added(header):
        return sum(max(0, size[header] - saved[path]) for path in users[header])

    while len(chosen) < BUNDLES and size:
        best = max(size, key=added)
        if added(best) <= 3 * size[best]:  # to make it takes as long as it saves
            break
        chosen.append(best)
        for path in users[best]:
            saved[path] = max(saved[path], size[best])
    return chosen


class Compiler:
    """Compiles files of a tree, each alone, with precompiled headers that lie in a folder."""

    def __init__(self, command, flags, roots, folder):
        places = [word for root in roots for word in ("-I", str(root))]
        self.command = [command, *places, *flags, "-O0", "-w"]
        self.includes = Includes(roots, search_folders([command, *flags]))
        self.folder = folder
        self.bundles = {}  # by the header that it holds: (text that it spares, the file to include)

    def prepare(self, paths, workers):
        chosen = choose_bundles(self.includes, paths)
        with ThreadPoolExecutor(workers) as pool:
            stubs = pool.map(self.make_bundle, range(len(chosen)), chosen)
        self.bundles = {header: (self.includes.bytes_of(header), stub) for header, stub in zip(chosen, stubs) if stub}

    def make_bundle(self, number, header):
        stub = self.folder / f"bundle{number}.hpp"
        stub.write_text(f"#include {header}\n" if isinstance(header, str) else f'#include "{header}"\n')
        done = subprocess.run([*self.command, "-x", "c++-header", stub, "-o", f"{stub}.gch"], capture_output=True)
        stub.write_text("#error the precompiled header was not taken\n")
        return stub if done.returncode == 0 else None  # what is wrong with the header is found when its turn comes

    def bundle_for(self, path):
        fitting = [bundle for header, bundle in self.bundles.items() if header in self.includes.of(path)]
        return ["-include", str(max(fitting)[1])] if fitting else []

    def mistakes(self, path):
        """What the compiler says of the file alone; nothing where it is well."""
        done = subprocess.run([*self.command, "-fsyntax-only", *self.bundle_for(path), "-x", "c++", "-"],
                              input=f'#include "{path}"\n', capture_output=True, text=True)
        if done.returncode == 0:
            return ""
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        return "\n".join(lines[:3]) or done.stderr

    def all_mistakes(self, paths):
        workers = len(os.sched_getaffinity(0))
        self.prepare(paths, workers)
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(self.mistakes, paths)
        return {path: said for path, said in zip(paths, found) if said}


def said_by_git(root, *words):
    """Lines; nothing where git does not answer."""
    try:
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


def changed_files(root):
    """What differs from the main branch, committed or not; None where git cannot tell."""
    for branch in ("origin/HEAD", "origin/main", "main", "HEAD"):
        if since := said_by_git(root, "merge-base", "HEAD", branch):
            tracked = said_by_git(root, "diff", "--name-only", "--relative", "--diff-filter=d", since[0])
            new = said_by_git(root, "ls-files", "--others", "--exclude-standard")
            return None if tracked is None or new is None else {root / name for name in tracked + new}
    return None


def needs_cuda(path, includes):
    return any(isinstance(header, str) and CUDA.match(header) for header in includes.of(path))


class Alone(unittest.TestCase):
    def setUp(self):
        commands = find_commands()
        if not commands:
            self.skipTest("no compile_commands.json: configure a preset first, such as `cmake --preset cpu`")
        self.command, self.flags = read_compiler(commands)
        self.assertIsNotNone(self.command, f"{commands} has no command for a file of src/")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_each_file_compiles_alone(self):
        roots = [ROOT / "src", ROOT / "cuda"]
        includes = Includes(roots, [])
        paths = [*(ROOT / "src").rglob("*.hpp"), *(ROOT / "cuda").rglob("*.hpp")]
        paths = sorted(path for path in paths if not needs_cuda(path, includes))
        self.assertGreater(len(paths), 150, "the sources are not found")
        changed = changed_files(ROOT) if os.environ.get("PENSTOCK_TEST_DEPTH") == "quick" else None
        if changed is not None:
            paths = [path for path in paths if path in changed]
        wrong = Compiler(self.command, self.flags, roots, self.folder).all_mistakes(paths)
        self.assertEqual(wrong, {}, "do not compile alone; each lacks an #include:\n" + "\n".join(wrong.values()))

    def test_git_says_what_changed(self):
        def git(*words):
            names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
            subprocess.run(["git", "-C", self.folder, *names, *words], check=True, capture_output=True)

        self.assertIsNone(changed_files(self.folder), "no repository: then all are checked")
        for name in ("same.hpp", "committed.hpp", "edited.hpp", "removed.hpp", "ignored.hpp"):
            (self.folder / name).write_text("")
        (self.folder / ".gitignore").write_text("ignored.hpp\n")
        git("init")
        git("add", ".")
        git("commit", "-m", "all")
        self.assertEqual(changed_files(self.folder), set())
        git("checkout", "-b", "other")
        (self.folder / "committed.hpp").write_text("// new\n")
        git("commit", "-a", "-m", "one")
        (self.folder / "edited.hpp").write_text("// new\n")
        (self.folder / "new.hpp").write_text("")
        (self.folder / "removed.hpp").unlink()
        self.assertEqual({path.name for path in changed_files(self.folder)}, {"committed.hpp", "edited.hpp", "new.hpp"})

    def test_a_missing_include_is_seen(self):
        """Also where other files bring it, and where a precompiled header would."""
        texts = {"text.hpp": "#include <string>\nusing Text = std::string;\n",
                 "lines.hpp": '#include <vector>\n#include "text.hpp"\nusing Lines = std::vector<Text>;\n',
                 "lacks.hpp": "inline Text name() { return {}; }\n",
                 "hidden.hpp": '#if 0\n#include "text.hpp"\n#endif\ninline Text hidden() { return {}; }\n',
                 "lacks.cpp": "std::vector<int> numbers;\n",
                 **{f"user{i}.cpp": f'#include "lines.hpp"\nLines lines{i};\n' for i in range(8)}}
        for name, text in texts.items():
            (self.folder / name).write_text("#pragma once\n" + text if name.endswith(".hpp") else text)
        compiler = Compiler(self.command, ["-std=c++20"], [self.folder], self.folder)
        wrong = compiler.all_mistakes(sorted(self.folder / name for name in texts))
        self.assertEqual([path.name for path in wrong], ["hidden.hpp", "lacks.cpp", "lacks.hpp"], wrong)
        self.assertTrue(compiler.bundle_for(self.folder / "user0.cpp"), "nothing was precompiled")
        self.assertEqual(compiler.bundle_for(self.folder / "lacks.hpp"), [])


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        sys.exit("headers_test needs Python 3.9")
    unittest.main()
