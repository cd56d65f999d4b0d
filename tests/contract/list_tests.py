# SPDX-License-Identifier: Apache-2.0
"""Finds the test classes of tests/contract and tests/cluster and what they need, for tests.cmake.

Prints a line for each class, its fields separated by |: name, file, class, labels, slots (half cores), seconds, program,
GPU.
The source is read and not imported: a machine that only configures needs no h5py. What a class needs stands in its
upper-case attributes; ContractTest (penstock.py) has all of them, with the defaults. An attribute that it does not
have, or a value of another kind, is an error: a misspelt need would silently be none.

    list_tests.py [the folder that has contract and cluster]
"""
import ast
import sys
from pathlib import Path

FOLDERS = ("contract", "cluster")
ROOT = ("penstock", "ContractTest")
LABELS = {"parity", "exactness", "cluster"}
PROGRAMS = {"penstock", "test.penstock_ahead"}
DEPTHS = {"", "all"}


class Mistake(Exception):
    """A file that says something this script does not know."""


class TestClass:
    """A class of the source: its bases, its test methods and its needs as it writes them."""

    def __init__(self, module, node):
        self.module, self.node = module, node
        self.where = f"{module.path}:{node.lineno}: class {node.name}"
        methods = [item.name for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))]
        twice = sorted({name for name in methods if methods.count(name) > 1})
        if twice:
            raise Mistake(f"{self.where} has two methods {twice[0]}: Python keeps the last one only")
        self.tests = {name for name in methods if name.startswith("test")}
        self.needs = {}
        for name, value in assignments(node):
            if name.isupper():
                try:
                    self.needs[name] = ast.literal_eval(value)
                except ValueError:
                    raise Mistake(f"{self.where}: {name} is no literal: constants that are no needs belong to the "
                                  "module") from None

    @property
    def bases(self):
        """Those that the two folders define."""
        named = [self.module.find(base.id) for base in self.node.bases if isinstance(base, ast.Name)]
        return [base for base in named if base]

    def inherits_from_root(self):
        return (self.module.name, self.node.name) == ROOT or any(base.inherits_from_root() for base in self.bases)

    def all_tests(self):
        return self.tests.union(*(base.all_tests() for base in self.bases))

    def all_needs(self):
        merged = {}
        for base in reversed(self.bases):
            merged |= base.all_needs()
        return merged | self.needs


class Module:
    """A Python file of the two folders."""

    def __init__(self, path, modules):
        self.path, self.name, self.modules = path, path.stem, modules
        self.tree = ast.parse(path.read_text(), str(path))
        self.classes, self.imported = {}, {}
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef):
                if node.name in self.classes:
                    raise Mistake(f"{self.path}:{node.lineno}: there are two classes {node.name}")
                self.classes[node.name] = TestClass(self, node)
            elif isinstance(node, ast.ImportFrom):
                self.imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}

    def find(self, name):
        if name in self.classes:
            return self.classes[name]
        module, original = self.imported.get(name, (None, None))
        return self.modules[module].find(original) if module in self.modules else None

    def test_classes(self):
        found = []
        for test in self.classes.values():
            if test.all_tests() and not test.inherits_from_root():
                raise Mistake(f"{test.where} has tests and does not derive from {ROOT[1]}")
            if test.all_tests():
                found.append(test)
        if not found:
            raise Mistake(f"{self.path}: no class has test methods")
        last = ast.unparse(self.tree.body[-1]).replace("'", '"')
        if last != 'if __name__ == "__main__":\n    main()':
            raise Mistake(f"{self.path}: it has to end with `if __name__ == \"__main__\": main()`, which runs its tests")
        return found


def assignments(node):
    for item in node.body:
        if isinstance(item, ast.Assign):
            yield from ((target.id, item.value) for target in item.targets if isinstance(target, ast.Name))
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            yield item.target.id, item.value


def is_labels(value):
    return isinstance(value, tuple) and all(isinstance(label, str) and label in LABELS for label in value)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_half_cores(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 and value * 2 % 1 == 0


RULES = {
    "LABELS": (is_labels, f"a tuple of {', '.join(sorted(LABELS))}"),
    "CORES": (is_half_cores, "the number of cores that it keeps busy, 0.5 where it mostly waits"),
    "TIMEOUT": (is_count, "whole seconds"),
    "PROGRAM": (lambda value: value in PROGRAMS, f"one of {', '.join(sorted(PROGRAMS))}"),
    "GPU": (lambda value: isinstance(value, bool), "True or False"),
    "DEPTH": (lambda value: value in DEPTHS, '"" or "all"'),
}


def check_needs(test):
    for name, value in test.needs.items():
        if name not in RULES:
            raise Mistake(f"{test.where}: {name} is no need: there are {', '.join(RULES)}; other constants belong to the "
                          "module")
        holds, rule = RULES[name]
        if not holds(value):
            raise Mistake(f"{test.where}: {name} = {value!r}: it has to be {rule}")


def line_of(folder, test):
    needs = test.all_needs()
    labels = [folder, *needs["LABELS"]]
    labels += ["gpu"] * needs["GPU"] + ["all"] * (needs["DEPTH"] == "all")
    name = f"{folder}.{test.module.name}.{test.node.name}"
    fields = (name, test.module.path, test.node.name, ",".join(dict.fromkeys(labels)),
              int(2 * needs["CORES"]), needs["TIMEOUT"], needs["PROGRAM"], int(needs["GPU"]))
    return "|".join(map(str, fields))


def list_tests(tests):
    modules = {}
    for folder in FOLDERS:
        for path in sorted((tests / folder).glob("*.py")):
            if path.stem in modules:
                raise Mistake(f"{path}: {modules[path.stem].path} has that name, too")
            modules[path.stem] = Module(path, modules)
    root = modules[ROOT[0]].classes[ROOT[1]]
    missing = set(RULES) - set(root.needs)
    if missing:
        raise Mistake(f"{root.where} has no default of {', '.join(sorted(missing))}")
    for module in modules.values():
        for test in module.classes.values():
            if test.inherits_from_root():
                check_needs(test)
    for folder in FOLDERS:
        for path in sorted((tests / folder).glob("*_test.py")):
            for test in modules[path.stem].test_classes():
                yield line_of(folder, test)


def main():
    tests = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    try:
        print(*list_tests(tests), sep="\n")
    except (Mistake, SyntaxError) as mistake:
        sys.exit(f"{mistake}")


if __name__ == "__main__":
    main()
