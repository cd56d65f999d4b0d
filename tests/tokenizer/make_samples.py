#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/tokenizer/samples: a small byte-level BPE and a small SentencePiece model, and the ids and texts that the
libraries of both give for them.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    python3 tests/tokenizer/make_samples.py

golden.json holds variants of small.json, each a JSON merge patch (RFC 7396), and cases: text, ids, and the decoded text where
that is another.
"""
import io
import json
import random
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SAMPLES = Path(__file__).resolve().parent / "samples"
LEARN = """The river falls through the gates, and the wheels turn. It's 1945 or 2026; we'll see what they've done, isn't it?
def fall(height, area=1.5):\n    return 9.81 * height * area  # watts\n\n\nfor i in range(100):\n\tprint(i, "falls")
Der Fluß fließt über die Mühlräder. Straße, Größe, übermäßig. Вода течёт по каналу к турбине. 水は水門を通って流れる。水流过闸门。
الماء يجري في القناة. 🙂👩‍👩‍👧 ½ Ⅷ e\u0301 \u1112\u1161\u11ab\r\n   the  the   the\n"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = ["", " ", "a", "Hello, world!", LEARN, "IT'S it's 'ſ we'LL 'Re x'd '", "  two  spaces\n\n\nlines \t\r\n end  ",
         "1 12 123 1234 ١٢٣٤ ½Ⅷ 12a", "<|end|>", "a <|end|>  b<|end|><mask>word <mask> [name]s [name] <both>", "x <both> \n y",
         "cafe\u0301 A\u030a \u1112\u1161\u11ab q\u0307\u0323 \u212b \u0344", "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪", "\u0000\u0001\u007f\u0085\u00a0\u2028\u3000x",
         "中文没有空格的一段文字" * 9, "ab" * 300, "a" * 1000, "\u1c89\U00016ea0\U0001e6c0\U000323b0\U00011de0\U00010d40"]


def train_byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=480, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([LEARN * 3], trainer)
    return json.loads(tokenizer.to_str())


def added(number, content, **flags):
    return {"id": number, "content": content, **{flag: flags.get(flag, False) for flag in
                                               ("single_word", "lstrip", "rstrip", "normalized", "special")}}


def variants(size):
    def split(expression):
        return {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    specials = [added(size, "<|end|>", special=True), added(size + 1, "<mask>", lstrip=True, single_word=True),
                added(size + 2, "[name]", single_word=True, normalized=True), added(size + 3, "<both>", lstrip=True, rstrip=True),
                added(size + 4, "<|end|><", normalized=True)]
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                                     "use_regex": True}]}
    return {"gpt2": {}, "added": {"added_tokens": specials}, "llama3": {"pre_tokenizer": split(LLAMA3), "added_tokens": specials},
            "ignore_merges": {"pre_tokenizer": split(LLAMA3), "model": {"ignore_merges": True}},
            "qwen2": {"normalizer": {"type": "NFC"}, "pre_tokenizer": split(LLAMA3.replace("{1,3}", "")), "added_tokens": specials},
            "smollm": {"pre_tokenizer": digits}, "other": {"pre_tokenizer": split(r"[aeiou]+|\d|[^\S ]")}}


def cases(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        yield {"text": text, "ids": ids, **({} if decoded == text else {"decoded": decoded})}


def merged(target, patch):
    return {**target, **{key: merged(target.get(key) or {}, value) if isinstance(value, dict) and isinstance(target.get(key), dict)
                         and key == "model" else value for key, value in patch.items()}}


def byte_level_samples():
    small = train_byte_level()
    (SAMPLES / "small.json").write_text(json.dumps(small, ensure_ascii=False, separators=(",", ":")) + "\n")
    golden = []
    for name, patch in variants(len(small["model"]["vocab"])).items():
        changed = merged(small, patch)
        replace = [key for key in patch if isinstance(patch[key], dict) and key != "model"]
        golden.append({"name": name, "replace": replace, "patch": patch,
                       "cases": list(cases(Tokenizer.from_str(json.dumps(changed))))})
    (SAMPLES / "golden.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


def sentencepiece_samples():
    for kind in ("bpe", "unigram"):
        model = io.BytesIO()
        llama = {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False} if kind == "bpe" else {
            "normalization_rule_name": "identity"}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter((LEARN * 3).splitlines()), model_writer=model, vocab_size=380 if kind == "bpe" else 130, model_type=kind,
            character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, **llama)
        (SAMPLES / f"{kind}.model").write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        found = []
        chance = random.Random(2)
        for text in TEXTS:
            ids = processor.encode(text)
            found.append({"text": text, "ids": ids, "decoded": processor.decode(ids)})
        for _ in range(20):  # ids in any order: broken UTF-8, spaces at the start
            ids = [chance.randrange(processor.get_piece_size()) for _ in range(6)]
            found.append({"ids": ids, "decoded": processor.decode(ids)})
        (SAMPLES / f"{kind}.golden.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")


byte_level_samples()
sentencepiece_samples()
