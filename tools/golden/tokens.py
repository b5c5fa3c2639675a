#!/usr/bin/env python3
"""Strings of many scripts and what the fast tokenizers of transformers make of them.

    tokens.py --live build/tokenize     compare now, every string, every vocabulary; prints what differs
    tokens.py                           write tests/golden/text/tokens.safetensors and .json: a hash of the ids of every string

The strings are put together from tests/golden/text/parts.txt by a seed; tests/text/strings.h does the same in C.
Vocabularies: the project's own in examples/tokenizers, and the real ones in $TRESS_SHARED_DATA/tokenizers (default
../shared/data), of which hashes of ids are all that is stored.
"""
import argparse
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

import seeded

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("TRESS_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
SEED = 20261122
N_STRING = 24000
M64 = (1 << 64) - 1


class Random:
    """xorshift64*: Vigna 2016, arXiv:1402.6246."""

    def __init__(self, seed):
        self.x = seed

    def pick(self, n):
        x = self.x
        x ^= x >> 12
        x ^= x << 25 & M64
        x ^= x >> 27
        self.x = x
        return ((x * 0x2545F4914F6CDD1D & M64) >> 32) % n


def read_parts():
    scripts, pieces, repeats, words = [], [], [], []
    with open(os.path.join(ROOT, "tests", "golden", "text", "parts.txt"), encoding="utf-8") as f:
        for line in f:
            key, *rest = line.split()
            if key == "script":
                scripts.append([tuple(int(x, 16) for x in r.split("-")) for r in rest[1:]])
            elif key == "piece":
                pieces.append(bytes.fromhex(rest[0]).decode())
            elif key == "repeat":
                repeats.append(bytes.fromhex(rest[1]).decode() * int(rest[0]))
            elif key == "word":
                words.append(rest[0])
    return scripts, pieces, repeats, words


def make_strings():
    r = Random(SEED)
    scripts, pieces, repeats, words = read_parts()
    out = pieces + repeats

    def char(script):
        first, last = script[r.pick(len(script))]
        return chr(first + r.pick(last - first + 1))

    def word(script):
        return "".join([char(script) for _ in range(1 + r.pick(9))])

    def any_script():
        return scripts[r.pick(len(scripts))]

    def upper(s, how):                          # ASCII alone: the rest is what the tokenizers are asked about
        up = lambda c: c.upper() if c < "\x80" else c
        return s if how > 1 else "".join(up(c) for c in s) if how == 0 else up(s[0]) + s[1:]

    while len(out) < N_STRING:
        kind = r.pick(100)
        s = ""
        if kind < 22:
            n, how, gap = 1 + r.pick(12), r.pick(6), [" ", " ", ", ", "  ", "\n", "-"][r.pick(6)]
            s = gap.join([upper(words[r.pick(len(words))], how) for _ in range(n)])
        elif kind < 68:
            script = any_script()
            s = " ".join([word(script) for _ in range(1 + r.pick(5))])
        elif kind < 80:
            for _ in range(1 + r.pick(6)):
                s += word(any_script())
                s += ["", " ", "  ", ", ", "-"][r.pick(5)]
        elif kind < 95:
            for _ in range(1 + r.pick(5)):
                what = r.pick(4)
                s += pieces[r.pick(len(pieces))] if what < 2 else words[r.pick(len(words))] if what == 2 else word(any_script())
                s += ["", " "][r.pick(2)]
        else:
            for _ in range(1 + r.pick(40)):
                s += char(any_script())
        out.append(s)
    return out


def vocabularies(bare):
    """name -> (kind, folder, loader, ids asked for). "-file" takes the normaliser and pre-tokeniser of tokenizer.json too."""
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5TokenizerFast
    own, real = os.path.join(ROOT, "examples", "tokenizers"), os.path.join(SHARED, "tokenizers")
    names = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    as_file = lambda d: PreTrainedTokenizerFast(tokenizer_file=os.path.join(d, "tokenizer.json"), **names)
    clip, t5 = CLIPTokenizer.from_pretrained, T5TokenizerFast.from_pretrained
    return {
        "own-clip": ("bpe", os.path.join(own, "tokenizer"), clip, 77),
        "own-clip-2": ("bpe", os.path.join(own, "tokenizer_2"), clip, 77),
        "own-clip-bare": ("bpe", bare["clip"], clip, 77),
        "own-t5": ("unigram", os.path.join(own, "tokenizer_3"), t5, 256),
        "own-t5-file": ("unigram-file", os.path.join(own, "tokenizer_3"), as_file, 256),
        "own-t5-spiece": ("unigram", bare["t5"], t5, 256),
        "real-clip": ("bpe", os.path.join(real, "clip"), clip, 77),
        "real-t5": ("unigram", os.path.join(real, "t5"), t5, 256),
        "real-t5-file": ("unigram-file", os.path.join(real, "t5"), as_file, 256),
    }


def wanted(loader, folder, strings, n):
    return np.array(loader(folder)(strings, padding="max_length", truncation=True, max_length=n).input_ids, np.int32)


def make_bare(folder):
    """Folders with the vocabulary's own files alone: no configuration, and spiece.model in place of tokenizer.json."""
    own = os.path.join(ROOT, "examples", "tokenizers")
    out = {}
    for name, files in (("clip", ("tokenizer/vocab.json", "tokenizer/merges.txt")), ("t5", ("tokenizer_3/spiece.model",))):
        out[name] = os.path.join(folder, name)
        os.mkdir(out[name])
        for f in files:
            os.symlink(os.path.join(own, f), os.path.join(out[name], os.path.basename(f)))
    return out


def hashes(ids):
    """FNV-1a over the 32-bit words of each row."""
    h = np.full(len(ids), 0x811C9DC5, np.uint64)
    for k in range(ids.shape[1]):
        h = ((h ^ ids[:, k].astype(np.uint32)) * np.uint64(0x01000193)) & np.uint64(0xFFFFFFFF)
    return h.astype(np.uint32).view(np.int32)


def live(tool, n_long, bare):
    strings = make_strings()
    blob = b"".join(struct.pack("=I", len(s.encode())) + s.encode() for s in strings)
    bad = 0
    for name, (kind, folder, loader, n) in vocabularies(bare).items():
        if not os.path.isdir(folder):
            print("%-13s skipped: no %s" % (name, folder))
            continue
        for n in (n, n_long):
            r = subprocess.run([tool, kind, folder, str(n)], input=blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if r.returncode:
                print(name, "failed:", r.stderr.decode())
                bad += 1
                continue
            got = np.frombuffer(r.stdout, np.int32).reshape(len(strings), n + 2)[:, :n]
            want = wanted(loader, folder, strings, n)
            differ = np.nonzero((got != want).any(1))[0]
            bad += len(differ)
            print("%-13s n %4d: %d strings, %d differ; %s" % (name, n, len(strings), len(differ), r.stderr.decode().strip()))
            for i in differ[:8]:
                k = max(0, np.nonzero(got[i] != want[i])[0][0] - 1)
                print("   ", i, ascii(strings[i][:80]), "\n      want", want[i, k:k + 9], "\n      got ", got[i, k:k + 9])
    return 1 if bad else 0


def write(bare):
    strings = make_strings()
    list_ = vocabularies(bare)
    tensors = {name: hashes(wanted(loader, folder, strings, n)) for name, (_, folder, loader, n) in list_.items()}
    h = 0x811C9DC5
    for b in "".join(s + "\n" for s in strings).encode():
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    seeded.save("text", "tokens", tensors, SEED, "tools/golden/tokens.py",
                more={"n_string": len(strings), "strings_fnv": h, "n_id": {k: v[3] for k, v in list_.items()}})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--live", metavar="TOOL")
    p.add_argument("--long", type=int, default=2048)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if a.live:
            sys.exit(live(a.live, a.long, make_bare(folder)))
        write(make_bare(folder))


if __name__ == "__main__":
    main()
