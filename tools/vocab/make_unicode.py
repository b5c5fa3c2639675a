#!/usr/bin/env python3
"""Write src/text/unicode_newer.h: where the Unicode tables inside the fast tokenizers of transformers differ from those of
utf8proc 2.8 (Unicode 15.0, Debian 12). Each step of theirs has a version of its own: canonical composition is that of
Unicode 9, letters and numbers of 16, lower case and grapheme clusters of 17. Every code point is tried.

    python tools/vocab/make_unicode.py          (needs tokenizers, and libutf8proc.so.2)
"""
import ctypes
import os
import struct
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LETTERS, NUMBERS = (1, 2, 3, 4, 5), (9, 10, 11)                 # utf8proc_category_t
CPS = [c for c in range(1, 0x110000) if not 0xD800 <= c <= 0xDFFF]

u = ctypes.CDLL("libutf8proc.so.2")
u.utf8proc_version.restype = u.utf8proc_unicode_version.restype = ctypes.c_char_p
u.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int]
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]


def u_nfc(s):
    p = ctypes.c_void_p()
    u.utf8proc_map(s.encode(), 0, ctypes.byref(p), 1 | 2 | 8)
    out = ctypes.string_at(p.value).decode()
    libc.free(p)
    return out


def u_clusters(s):
    state, out = ctypes.c_int32(0), s[0]
    for a, b in zip(s, s[1:]):
        out += ("|" if u.utf8proc_grapheme_break_stateful(ord(a), ord(b), ctypes.byref(state)) else "") + b
    return out


def charsmap(rules):
    """A precompiled charsmap (a double array in the layout of darts-clone) with these rules: prefix-free keys of bytes."""
    strings, where = b"", {}
    for k, v in rules.items():
        where[k.encode()] = len(strings)
        strings += v.encode() + b"\0"
    units, base_next = [0], [256]
    trie = {}
    for k, v in where.items():
        node = trie
        for c in k:
            node = node.setdefault(c, {})
        node["leaf"] = v

    def put(node, pos, label):
        base = base_next[0]
        base_next[0] += 256
        units.extend([0] * (base + 256 - len(units)))
        offset = pos ^ base
        assert offset < 1 << 21
        units[pos] = (offset << 10) | (256 if "leaf" in node else 0) | label
        if "leaf" in node:
            units[base] = (1 << 31) | node["leaf"]
        for c, child in node.items():
            if c != "leaf":
                put(child, base ^ c, c)
    put(trie, 0, 0)
    blob = struct.pack("<%dI" % len(units), *units)
    return struct.pack("<I", len(blob)) + blob + strings


def split_class(pattern):
    pre, out = pre_tokenizers.Split(Regex(pattern), "removed", invert=True), set()
    for i in range(0, len(CPS), 4096):
        for piece, _ in pre.pre_tokenize_str("".join(map(chr, CPS[i:i + 4096]))):
            out.update(map(ord, piece))
    return out


def ranges(cps):
    out = []
    for c in sorted(cps):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, cps, what):
    rows = ["{ 0x%X, 0x%X }" % (a, b) for a, b in ranges(cps)]
    text = "/* %s */\nstatic const tr_range %s[] = {\n" % (what, name)
    for i in range(0, len(rows), 5):
        text += "    " + ", ".join(rows[i:i + 5]) + ",\n"
    return text + "};\n\n"


def main():
    nfc, low = normalizers.NFC(), normalizers.Lowercase()
    category = {c: u.utf8proc_category(c) for c in CPS}
    letters = split_class(r"\p{L}") - {c for c in CPS if category[c] in LETTERS}
    numbers = split_class(r"\p{N}") - {c for c in CPS if category[c] in NUMBERS}
    inert = set()
    for c in CPS:
        d = unicodedata.normalize("NFD", chr(c))
        tries = [chr(c), d] + ["q" + chr(c) + chr(o) for o in (0x301, 0x323, 0x334, 0x345)] + ["q" + chr(o) + chr(c) for o in (0x301, 0x323, 0x334, 0x345)]
        if any(nfc.normalize_str(s) != u_nfc(s) for s in tries):
            inert.update([c] + [ord(x) for x in d])
    lower = []
    for c in CPS:
        want = low.normalize_str(chr(c))
        if want != chr(u.utf8proc_tolower(c)) and len(want) == 1:
            delta = ord(want) - c
            if lower and lower[-1][1] == c - 1 and lower[-1][2] == delta:
                lower[-1][1] = c
            else:
                lower.append([c, c, delta])
    # "a" stands before the sign tried: where that joins, the whole cluster becomes what "a" alone becomes. A sign before
    # "e" + U+0301 that joins them keeps the pair from being seen.
    single, pair = (normalizers.Precompiled(charsmap(r)) for r in ({"a": "X"}, {"e\u0301": "X"}))
    joins = lambda s: "|" not in u_clusters(s)
    extend = {c for c in CPS if (single.normalize_str("a" + chr(c)) == "X") != joins("a" + chr(c))}
    prepend = {c for c in CPS if (pair.normalize_str(chr(c) + "e\u0301") == chr(c) + "e\u0301") != joins(chr(c) + "e\u0301")}
    alone = {c for c in extend if joins("a" + chr(c))} | {c for c in prepend if joins(chr(c) + "e\u0301")}
    head = """/* unicode_newer.h - code points whose class in the tokenizers' own Unicode tables is not that of Unicode 15.0, which is the
 * oldest that utf8proc comes with. Written by tools/vocab/make_unicode.py against utf8proc %s. */
#ifndef TRESS_TEXT_UNICODE_NEWER_H
#define TRESS_TEXT_UNICODE_NEWER_H

#include <stdint.h>

typedef struct tr_range { uint32_t first, last; } tr_range;
typedef struct tr_lower_range { uint32_t first, last; int32_t delta; } tr_lower_range;

""" % u.utf8proc_version().decode()
    text = head + table("newer_letter", letters, "letters")
    text += table("newer_number", numbers, "numbers")
    text += table("newer_inert", inert, "marks and pairs that canonical composition leaves alone: they are younger than its tables")
    text += table("newer_extend", extend - alone, "marks that join the cluster before them")
    text += table("newer_prepend", prepend - alone, "signs that join the cluster after them")
    text += table("newer_alone", alone, "signs that join nothing any more")
    text += "/* lower case is the letter + delta */\nstatic const tr_lower_range newer_lower[] = {\n"
    rows = ["{ 0x%X, 0x%X, %d }" % tuple(r) for r in lower]
    for i in range(0, len(rows), 4):
        text += "    " + ", ".join(rows[i:i + 4]) + ",\n"
    text += "};\n\n#endif\n"
    with open(os.path.join(ROOT, "src", "text", "unicode_newer.h"), "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
