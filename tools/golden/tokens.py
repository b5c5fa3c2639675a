#!/usr/bin/env python3
"""Strings of many scripts and what the fast tokenizers of transformers make of them.

    tokens.py --live build/tokenize     compare now, every string, every vocabulary; prints what differs
    tokens.py                           write tests/golden/text/tokens.bin (the strings, deflated) and tokens-*.bin (their ids)

Vocabularies: the project's own in examples/tokenizers, and the real ones in $TRESS_SHARED_DATA/tokenizers (default
../shared/data), of which only ids are stored.
"""
import argparse
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("TRESS_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
SEED = 20261122
N_STRING = 24000

sys.path.insert(0, os.path.join(ROOT, "tools", "vocab"))
from make_vocab import TEMPLATES, read_words                              # noqa: E402

SCRIPTS = {                     # first and last code points
    "ascii": [(0x20, 0x7E)],
    "latin": [(0x20, 0x7E), (0xA0, 0x24F)],
    "latin more": [(0x1E00, 0x1EFF), (0x250, 0x2AF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF)],
    "accents apart": [(0x61, 0x7A), (0x41, 0x5A), (0x300, 0x345)],
    "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "cyrillic": [(0x400, 0x52F), (0x1C80, 0x1C8A)],
    "armenian georgian": [(0x531, 0x58A), (0x10A0, 0x10FF), (0x1C90, 0x1CBF)],
    "hebrew": [(0x591, 0x5F4), (0xFB1D, 0xFB4F)],
    "arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)],
    "syriac thaana nko": [(0x700, 0x7FF)],
    "devanagari": [(0x900, 0x97F)],
    "bengali to malayalam": [(0x980, 0xD7F)],
    "sinhala thai lao tibetan": [(0xD80, 0xFFF)],
    "burmese ethiopic": [(0x1000, 0x109F), (0x1200, 0x139F)],
    "khmer mongolian": [(0x1780, 0x18AF)],
    "hangul": [(0xAC00, 0xD7A3)],
    "jamo": [(0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xD7B0, 0xD7FB)],
    "kana": [(0x3040, 0x30FF), (0xFF61, 0xFF9F)],
    "han": [(0x4E00, 0x9FFF), (0x3000, 0x303F)],
    "han compatible": [(0xF900, 0xFAD9), (0x2F800, 0x2FA1D), (0x2E80, 0x2FDF)],
    "punctuation symbols": [(0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x23FF)],
    "circled boxes": [(0x2460, 0x27BF)],
    "fullwidth": [(0xFF00, 0xFFEE), (0xFE10, 0xFE6F)],
    "ligatures": [(0xFB00, 0xFB17), (0x61, 0x7A)],
    "maths": [(0x1D400, 0x1D7FF), (0x2200, 0x22FF), (0x30, 0x39)],
    "music": [(0x1D100, 0x1D1FF)],
    "emoji": [(0x1F300, 0x1FAFF), (0x2600, 0x26FF)],
    "controls": [(0x1, 0x1F), (0x7F, 0xA0), (0x61, 0x7A)],
    "blanks": [(0x9, 0xD), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x2064),
               (0x3000, 0x3000), (0xFEFF, 0xFEFF), (0x61, 0x66)],
    "tags variation": [(0xE0020, 0xE007F), (0xFE00, 0xFE0F), (0x1F1E6, 0x1F1FF), (0x61, 0x66)],
    "old scripts": [(0x10000, 0x10FFF), (0x16A0, 0x16FF), (0x13A0, 0x13FF)],
    "indic of the upper plane": [(0x11000, 0x11FFF)],
    "young": [(0x1C89, 0x1C8A), (0xA7CB, 0xA7DC), (0x10D40, 0x10D8F), (0x113C0, 0x113D5), (0x1ACF, 0x1AEB), (0x16D40, 0x16D79), (0x16EA0, 0x16EB8)],
    "any": [(0x1, 0xD7FF), (0xE000, 0x10FFFF)],
    "low planes": [(0x1, 0x2FFF)],
}
EMOJI = ["\U0001F469\u200d\U0001F9B0", "\U0001F468\u200d\U0001F9B1", "\U0001F469\U0001F3FD\u200d\U0001F9B3", "\U0001F487\U0001F3FB\u200d\u2640\ufe0f",
         "\U0001F1F0\U0001F1F7", "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "\u2764\ufe0f\u200d\U0001F525",
         "1\ufe0f\u20e3", "\u00a9\ufe0f", "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\u00ae\u200d", "\U0001F9D1\U0001F3FF"]
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "\u2019s", "''", "...", "\u2026", "!!", "!", "!?", " ! ", "<|startoftext|>", "<|endoftext|>",
          "<|STARTOFTEXT|>", "<|EndOfText|>", "<|endoftext|", "<pad>", "</s>", "<unk>", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "<EXTRA_ID_1>",
          "\uff1cpad\uff1e", "\uff1c/s\uff1e", "\uff1cunk\uff1e", "</w>", "a</w>", "\u2581", "\u2581\u2581a", "\u0120", "1234567", "3.14", "1/2", "\u00bd",
          "\u2122", "\ufb01n", "\u00c5", "A\u030a", "e\u0301", "E\u0301\u0323", "\u1e9e", "\u0130", "\u0131", "\u03a3", "\u039f\u03a3 \u03a3\u0391\u03a3", "\u01c5",
          "\u1f88", "\r\n", "\r", "\n\n", "\t", "\x00", "\x01", "\x7f", "\x85", "\u200b", "\u200d", "\ufeff", "\ufffd", "\u00ad", "\u0344", "\u0958", "\u212b", "\u2126",
          "\u0600a\u0301", "\u0600\u0301", "\u00a9\u200d", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0915\u094d\u0937", "\u0e33", "\u0eb3", "\u0f73", "\u0b94",
          "\U0001d15e", "\ud7a3", "\uf900", "\U00011938", "\U00011935\U00011930", "\u09c7\u09be", "\uffff", "\ufdfa", "\u3300", "\u33a5", "  ", "   ", " "]
HANGUL = "빨간 머리 긴 웨이브 금발 소녀 초상화 사진 땋은 곱슬머리 스튜디오 조명 갈색 단발 포니테일".split()
OTHER = ["cheveux roux ondulés", "lange blonde Haare", "рыжие волосы", "κόκκινα μαλλιά", "שיער אדום", "شعر أحمر طويل", "लाल बाल", "ผมยาวสีแดง",
         "赤い髪の少女", "红色长发", "màu tóc đỏ", "saçları kızıl İSTANBUL ışık", "STRASSE straße GROẞ", "ŉ ǰ ΐ"]


def prompt(rng, words):
    line = rng.choice(TEMPLATES)
    while "{" in line:
        head, tail = line.split("{", 1)
        key, tail = tail.split("}", 1)
        line = head + (str(rng.randrange(10000)) if key == "number" else rng.choice(words[key])) + tail
    return line


def make_strings():
    rng = random.Random(SEED)
    words = read_words()
    char = lambda s: chr(rng.randint(*rng.choice(s)))
    word = lambda s: "".join(char(s) for _ in range(rng.randint(1, 9)))
    out = ["", " ", "a", "red hair", "a photo of a cat", "long wavy blonde hair, studio light", "!" * 300, "a" * 5000, "\u00e9" * 900, "e\u0301" * 700,
           "'" * 999, "1" * 400, " " * 1000, "\U0001F469" * 300, "<" * 500, "ab " * 1500, "\u0301\u0323" * 400, "hair" * 1000]
    out += PIECES + EMOJI + OTHER + HANGUL
    names = list(SCRIPTS)
    while len(out) < N_STRING:
        kind = rng.random()
        if kind < 0.22:
            s = prompt(rng, words)
            if rng.random() < 0.3:
                s = rng.choice([s.upper(), s.title(), s + rng.choice(PIECES), s.replace(" ", rng.choice(["  ", "\t", "\n", "\u3000", " \u200b"]))])
        elif kind < 0.68:
            script = SCRIPTS[rng.choice(names)]
            s = " ".join(word(script) for _ in range(rng.randint(1, 5)))
        elif kind < 0.80:
            s = "".join(word(SCRIPTS[rng.choice(names)]) + rng.choice(["", " ", "  ", ", ", "-"]) for _ in range(rng.randint(1, 6)))
        elif kind < 0.95:
            s = "".join(rng.choice([rng.choice(PIECES), rng.choice(EMOJI), rng.choice(HANGUL), rng.choice(OTHER), prompt(rng, words)[:20],
                                    word(SCRIPTS[rng.choice(names)])]) + rng.choice(["", " "]) for _ in range(rng.randint(1, 5)))
        else:
            s = "".join(char([rng.choice(SCRIPTS[rng.choice(names)])]) for _ in range(rng.randint(1, 40)))
        out.append(s)
    return [s for s in out if not any(0xD800 <= ord(c) <= 0xDFFF for c in s)]


def vocabularies():
    """name -> (kind, folder, loader, ids asked for)"""
    from transformers import CLIPTokenizer, T5TokenizerFast
    own, real = os.path.join(ROOT, "examples", "tokenizers"), os.path.join(SHARED, "tokenizers")
    return {
        "own-clip": ("bpe", os.path.join(own, "tokenizer"), CLIPTokenizer, 77),
        "own-clip-2": ("bpe", os.path.join(own, "tokenizer_2"), CLIPTokenizer, 77),
        "own-t5": ("unigram", os.path.join(own, "tokenizer_3"), T5TokenizerFast, 256),
        "real-clip": ("bpe", os.path.join(real, "clip"), CLIPTokenizer, 77),
        "real-t5": ("unigram", os.path.join(real, "t5"), T5TokenizerFast, 256),
    }


def wanted(loader, folder, strings, n):
    t = loader.from_pretrained(folder)
    return t(strings, padding="max_length", truncation=True, max_length=n).input_ids


def live(tool, n_long):
    strings = make_strings()
    blob = b"".join(struct.pack("=I", len(s.encode())) + s.encode() for s in strings)
    bad = 0
    for name, (kind, folder, loader, n) in vocabularies().items():
        if not os.path.isdir(folder):
            print("%-12s skipped: no %s" % (name, folder))
            continue
        for n in (n, n_long):
            r = subprocess.run([tool, kind, folder, str(n)], input=blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if r.returncode:
                print(name, "failed:", r.stderr.decode())
                bad += 1
                continue
            got = struct.iter_unpack("=%di" % (n + 2), r.stdout)
            differ = [(s, w, list(g[:n])) for s, w, g in zip(strings, wanted(loader, folder, strings, n), got) if list(g[:n]) != w]
            bad += len(differ)
            print("%-12s n %4d: %d strings, %d differ; %s" % (name, n, len(strings), len(differ), r.stderr.decode().strip()))
            for s, w, g in differ[:8]:
                k = next(i for i in range(n) if w[i] != g[i])
                print("   ", ascii(s[:80]), "\n      want", w[max(0, k - 1):k + 8], "\n      got ", g[max(0, k - 1):k + 8])
    return 1 if bad else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--live", metavar="TOOL")
    p.add_argument("--long", type=int, default=2048)
    a = p.parse_args()
    if a.live:
        sys.exit(live(a.live, a.long))


if __name__ == "__main__":
    main()
