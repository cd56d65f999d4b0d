# SPDX-License-Identifier: Apache-2.0
"""list_tests.py finds every test class, and refuses a class that it would register wrongly."""
import subprocess
import sys
from pathlib import Path

from penstock import SOURCE, ContractTest, main

ROOT = """
class ContractTest:
    LABELS = ()
    CORES = 1
    TIMEOUT = 300
    PROGRAM = "penstock"
    GPU = False
    DEPTH = ""
"""
HEAD = "from penstock import ContractTest\n"
TAIL = '\n    def test(self):\n        pass\n\nif __name__ == "__main__":\n    main()\n'


class ListTestsTest(ContractTest):
    def setUp(self):
        super().setUp()
        for folder in ("contract", "cluster"):
            (self.folder / "tests" / folder).mkdir(parents=True)
        self.write("contract/penstock.py", ROOT)

    def write(self, path, text):
        (self.folder / "tests" / path).write_text(text)

    def listed(self):
        words = [sys.executable, "-B", SOURCE / "tests/contract/list_tests.py", self.folder / "tests"]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def fields(self):
        done = self.listed()
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split("|") for line in done.stdout.splitlines()]
        return {line[0]: [Path(line[1]).name, *line[2:]] for line in lines}

    def test_needs_are_inherited_across_files_and_helpers_are_no_tests(self):
        self.write("contract/help.py", f"{HEAD}class Help(ContractTest):\n    CORES = 2\n    LABELS = ('parity',)\n")
        self.write("contract/a_test.py", f"from help import Help\nclass Base(Help):\n    TIMEOUT = 60\n\nclass A(Base):{TAIL}")
        self.write("cluster/b_test.py", f"{HEAD}class B(ContractTest):\n    DEPTH = 'all'\n    GPU = True\n"
                                        "    CORES = 0.5\n"
                                        f"{TAIL}")
        self.assertEqual(self.fields(), {
            "contract.a_test.A": ["a_test.py", "A", "contract,parity", "4", "60", "penstock", "0"],
            "cluster.b_test.B": ["b_test.py", "B", "cluster,gpu,all", "1", "300", "penstock", "1"]})

    def test_inherited_tests_count(self):
        self.write("contract/a_test.py", f"{HEAD}class Deep(ContractTest):\n    DEPTH = 'all'\n{TAIL}".replace(
            "\nif __name__", "\nclass Deeper(Deep):\n    CORES = 4\n\nif __name__"))
        self.assertEqual(list(self.fields()), ["contract.a_test.Deep", "contract.a_test.Deeper"])

    def test_what_is_refused(self):
        for text, message in ((f"{HEAD}class A(ContractTest):\n    CORE = 2\n{TAIL}", "class A: CORE is no need"),
                              (f"{HEAD}class A(ContractTest):\n    CORES = '2'\n{TAIL}", "CORES = '2': it has to be the number"),
                              (f"{HEAD}class A(ContractTest):\n    CORES = 0.3\n{TAIL}", "CORES = 0.3: it has to be the number"),
                              (f"{HEAD}class A(ContractTest):\n    LABELS = 'parity'\n{TAIL}", "it has to be a tuple"),
                              (f"{HEAD}class A(ContractTest):\n    LABELS = ('party',)\n{TAIL}", "LABELS = ('party',)"),
                              (f"{HEAD}class A(ContractTest):\n    DEPTH = 'deep'\n{TAIL}", "DEPTH = 'deep'"),
                              (f"{HEAD}class A(ContractTest):\n    TIMEOUT = long()\n{TAIL}", "TIMEOUT is no literal"),
                              (f"class A(TestCase):{TAIL}", "does not derive from ContractTest"),
                              (f"{HEAD}class A(ContractTest):\n    def test(self):\n        pass\n{TAIL}", "two methods test"),
                              (f"{HEAD}class A(ContractTest):\n    pass\n\nclass A(ContractTest):{TAIL}", "two classes A"),
                              (f"{HEAD}class A(ContractTest):\n    pass\n", "no class has test methods"),
                              (f"{HEAD}class A(ContractTest):{TAIL}".replace("main()", "pass"), "it has to end with"),
                              ("class A(:\n", "invalid syntax")):
            with self.subTest(message=message):
                self.write("contract/a_test.py", text)
                done = self.listed()
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(message, done.stderr)


if __name__ == "__main__":
    main()
