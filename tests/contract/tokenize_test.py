# SPDX-License-Identifier: Apache-2.0
"""What `penstock tokenize` reads, what its files say of documents and tokenizers, and what training refuses."""
import gzip
import json
import struct
import subprocess
from pathlib import Path

from penstock import PROGRAM, ContractTest, checkpoint, main

SAMPLE = Path(__file__).parent.parent / "tokenizer/samples/small.json"


END_OF_TEXT = {"id": 480, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
               "normalized": False, "special": True}


class TokenFile:
    """A token file as src/data/token_file_header.hpp and token_file_table.hpp describe it."""

    def __init__(self, path):
        content = Path(path).read_bytes()
        _, self.version, width, _, self.tokens, _, table, size, _ = struct.unpack_from("<8sIIQQQQQQ", content)
        self.ids = list(struct.unpack_from(f"<{self.tokens}{ {1: 'B', 2: 'H', 4: 'I'}[width]}", content, 64))
        self.sections = {}
        if table:
            assert table + size == len(content)
            for entry in range(struct.unpack_from("<Q", content, table)[0]):
                number, offset, length, _ = struct.unpack_from("<4Q", content, table + 8 + 32 * entry)
                self.sections[number] = content[offset:offset + length]

    def starts(self):
        return [start for start, in struct.iter_unpack("<Q", self.sections[1])]

    def counted(self):
        return [bool(self.sections[2][i // 8] >> i % 8 & 1) for i in range(self.tokens)]


class TokenizeTest(ContractTest):
    def tokenize(self, *words, expect=0, name="made.tok"):
        result = self.penstock("tokenize", "-o", self.folder / name, *words, expect=expect)
        if expect == 0:
            return TokenFile(self.folder / name), result.err
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        self.assertFalse((self.folder / name).exists())
        return result.err

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def test_documents_of_compressed_json_lines(self):
        lines = "".join(json.dumps({"page": {"body": f"text {i}"}}) + "\n" for i in range(3))
        path = self.write("pages.jsonl.gz", gzip.compress(lines.encode()))
        made, said = self.tokenize("--field", "page.body", "--documents", path)
        self.assertEqual((bytes(made.ids), made.starts(), made.version), (b"text 0text 1text 2", [0, 6, 12], 2))
        self.assertIn("documents: 3", said)

    def test_two_names_of_one_output(self):
        text = self.write("text", "a word of text\n" * 40000)
        result = self.penstock("tokenize", "-o", "made.tok", "--held-back", "./made.tok", text, expect=2)
        self.assertIn("use two files", result.err)
        self.assertFalse((self.folder / "made.tok").exists())

    def test_an_empty_name_is_refused(self):
        text = self.write("text", "a word")
        for option in ("--tokenizer", "--held-back"):
            with self.subTest(option=option):
                self.assertIn("the name is empty", self.tokenize(option, "", text, expect=2))

    def test_standard_input(self):
        made = self.folder / "made.tok"
        subprocess.run([PROGRAM, "tokenize", "-o", made, "--field", "t", "-"], input=b'{"t": "one"}\n{"t": "two"}\n', check=True,
                       capture_output=True)
        self.assertEqual(bytes(TokenFile(made).ids), b"onetwo")
        subprocess.run([PROGRAM, "tokenize", "-o", made, "-"], input=gzip.compress(b"zipped"), check=True, capture_output=True)
        self.assertEqual(bytes(TokenFile(made).ids), b"zipped")

    def test_prompts_do_not_count_and_are_not_trained_on_yet(self):
        pairs = self.write("pairs.jsonl", '{"prompt": "ask", "completion": "answer"}\n' * 100)
        made, said = self.tokenize("--documents", pairs)
        self.assertEqual(made.counted(), ([False] * 3 + [True] * 6) * 100)
        self.assertIn("300 tokens of prompts", said)
        result = self.train(deck=self.small_deck(), tokens=self.folder / "made.tok", expect=2)
        self.assertIn("has a mask of counted tokens", result.err)

    def test_what_cannot_be_read_is_named(self):
        bad = self.write("bad.jsonl", '{"text": "a"}\n{"body": "b"}\n')
        self.assertIn(f"{bad}, line 2: has neither \"text\"", self.tokenize(bad, expect=2))
        bad.write_text('{"text": "a"}\n{"text": ')
        self.assertIn(f"{bad}, line 2: is no JSON", self.tokenize(bad, expect=2))
        cut = self.write("cut.gz", gzip.compress(bytes(range(256)) * 100)[:-20])
        self.assertIn(f"{cut}: is cut short", self.tokenize(cut, expect=2))
        self.assertIn("no input is a *.jsonl file", self.tokenize("--field", "x", self.write("a.txt", "a"), expect=2))

    def test_training_takes_files_of_one_tokenizer(self):
        tokenizer = self.write("tokenizer.json", json.dumps({**json.loads(SAMPLE.read_text()), "added_tokens": [END_OF_TEXT]}))
        text = self.write("text", "the wheels turn and turn\n" * 200)
        one, _ = self.tokenize("--tokenizer", tokenizer, "--documents", text, name="one.tok")
        self.tokenize("--tokenizer", SAMPLE, text, name="two.tok")
        self.assertEqual((one.starts(), one.ids[-1]), ([0], END_OF_TEXT["id"]))
        deck = self.small_deck(model={"vocabulary": 481})

        result = self.train(deck=deck, tokens=self.folder / "one.tok", settings={"data.validation": str(self.folder / "two.tok")},
                            expect=2)
        self.assertIn("were made with different tokenizers", result.err)

        self.train(deck=deck, tokens=self.folder / "one.tok", run=self.folder / "run", settings={"run.stop": 2}, expect=75)
        shown = json.loads(self.penstock("checkpoint", "show", "--json", checkpoint(self.folder / "run", 2)).out)
        digest = struct.unpack_from("<Q", one.sections[3])[0]
        self.assertEqual(json.loads(shown["attributes"]["data"])[0]["tokenizer"], f"fnv1a64-{digest:016x}")

        again = {"deck": deck, "tokens": self.folder / "two.tok", "run": self.folder / "run", "restart": "latest"}
        result = self.train(settings={"run.stop": 3}, expect=2, **again)
        for part in ("was made with another tokenizer", f"fnv1a64-{digest:016x} then", 'data.changed = "continue"'):
            self.assertIn(part, result.err)
        result = self.train(settings={"run.stop": 3, "data.changed": "continue"}, expect=75, **again)
        self.assertIn("the same numbers may mean other tokens", result.err)

    def test_a_damaged_table_is_refused(self):
        made, _ = self.tokenize("--documents", self.write("text", "words and more words\n" * 100))
        path, whole = self.folder / "made.tok", (self.folder / "made.tok").read_bytes()
        self.assertEqual(made.tokens, 2100)
        for place, part in ((64 + 2104, "section 1 (documents; 8 bytes from byte 2168 on) is damaged"),
                            (len(whole) - 20, "the table at its end is damaged")):
            damaged = bytearray(whole)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            self.assertIn(part, self.train(deck=self.small_deck(), tokens=path, expect=2).err)


if __name__ == "__main__":
    main()
