#!/usr/bin/env python3
"""Make the project's own small vocabularies in the layout of a diffusers SD3 folder:

    examples/tokenizers/tokenizer/     byte-pair encoding as CLIP has it, pad = <|endoftext|>
    examples/tokenizers/tokenizer_2/   the same, pad = "!" (id 0), as OpenCLIP bigG has it
    examples/tokenizers/tokenizer_3/   unigram as T5 has it: tokenizer.json and spiece.model

The text they are trained on is put together from words.txt beside this file and a seed, so nothing but this folder is
needed to make them again:

    python tools/vocab/make_vocab.py            (needs tokenizers, sentencepiece, transformers)
"""
import argparse
import base64
import collections
import json
import os
import random
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Regex, normalizers, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SEED = 20251122
N_SENTENCE = 40000
BPE_SIZE = 3072                 # 512 byte symbols, merges, <|startoftext|>, <|endoftext|>
UNIGRAM_SIZE = 1948             # + 100 <extra_id_n> = 2048
N_EXTRA = 100

SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

TEMPLATES = [
    "a {quality} {person} with {length} {texture} {colour} hair",
    "{picture} of a {quality} {person}, {colour} hair in a {style}, {light} {light}",
    "{texture} {colour} {style}, {length} {style}, {picture}, {light}",
    "{length} {colour} {style} {verb} over the {thing}, {place} in the {place}",
    "the {person} is {verb} a {colour} {thing} and {verb} {function} the {place}",
    "{colour} hair", "{texture} hair", "{length} hair", "{colour} {style}", "{texture} {style} with {colour} {thing}",
    "{picture}, {quality} {person} {verb} by the {place}, {colour} and {colour} {style}",
    "{person}'s {thing} {function} {word} {word}, {number} {style}",
    "{function} {word} {function} {word} {function} {function} {word}",
    "{word} {word}s {verb} {function} {colour}-{colour} {thing}; {word}!",
    "{accented} {style}, {number}mm, f/{number}, {picture}",
    "it's {quality}, they're {quality}, i'd {word} it, we've {word}, don't {verb}",
    "{word}er {word}ing {word}ed {word}ly",
    "({colour} {style}) \"{word}\" - {word}/{word} & {word}: {number}% #{number} @{word} + {word}?",
    "{word}-{word} {thing}... {word}less un{word} re{word} {number}x{number}",
]


def read_words():
    out = {}
    with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                key, rest = line.split(":", 1)
                out[key.strip()] = rest.split()
    return out


def make_text():
    rng = random.Random(SEED)
    words = read_words()
    lines = []
    for i in range(N_SENTENCE):
        line = TEMPLATES[rng.randrange(len(TEMPLATES))]
        while "{" in line:
            head, tail = line.split("{", 1)
            key, tail = tail.split("}", 1)
            pick = str(rng.choice([rng.randrange(10), rng.randrange(100), rng.randrange(10000)])) if key == "number" else rng.choice(words[key])
            line = head + pick + tail
        if rng.random() < 0.3:
            line = line[0].upper() + line[1:]
        lines.append(line)
    for key in words:                                   # every word often enough to be learnt whole
        lines += [" ".join(rng.sample(words[key], len(words[key]))) for _ in range(3)]
    return lines


def byte_symbols():
    """The 256 characters that stand for bytes, in the order of their ids: 33..126, 161..172, 174..255, then the rest."""
    whole = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in whole]
    return [chr(b) for b in whole] + [chr(256 + i) for i in range(len(rest))]


def write_json(path, obj, indent=None):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(obj, f, ensure_ascii=False, indent=indent)
        f.write("\n")


def added(content, normalized=False):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}


def train_bpe(lines, n_merge):
    """The most frequent adjacent pair first, ties in the order of the characters: the same merges on every run, which the
    trainer of `tokenizers` does not promise."""
    norm = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "removed", invert=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    count = collections.Counter(w for line in lines for w, _ in pre.pre_tokenize_str(norm.normalize_str(line)))
    words = [(list(w[:-1]) + [w[-1] + "</w>"], n) for w, n in sorted(count.items())]
    where, total = collections.defaultdict(set), collections.Counter()
    for i, (w, n) in enumerate(words):
        for pair in zip(w, w[1:]):
            where[pair].add(i)
            total[pair] += n
    merges = []
    while len(merges) < n_merge:
        best = min(total, key=lambda pair: (-total[pair], pair))
        merges.append(best)
        for i in list(where[best]):
            w, n = words[i]
            for pair in zip(w, w[1:]):
                where[pair].discard(i)
                total[pair] -= n
                if total[pair] == 0:
                    del total[pair]
            out, k = [], 0
            while k < len(w):
                if tuple(w[k:k + 2]) == best:
                    out.append(w[k] + w[k + 1])
                    k += 2
                else:
                    out.append(w[k])
                    k += 1
            words[i] = (out, n)
            for pair in zip(out, out[1:]):
                where[pair].add(i)
                total[pair] += n
    return merges


def make_bpe(lines, folder, folder_2):
    merges = train_bpe(lines, BPE_SIZE)
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols]
    kept = []
    for a, b in merges:
        if len(tokens) == BPE_SIZE - 2:
            break
        if a + b not in tokens:
            tokens.append(a + b)
        kept.append((a, b))
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == len(set(tokens)) == BPE_SIZE, len(tokens)
    vocab = {s: i for i, s in enumerate(tokens)}
    start, end = "<|startoftext|>", "<|endoftext|>"
    for path, pad in ((folder, end), (folder_2, "!")):
        os.makedirs(path, exist_ok=True)
        write_json(os.path.join(path, "vocab.json"), vocab)
        with open(os.path.join(path, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join("%s %s\n" % m for m in kept))
        decoder = {str(BPE_SIZE - 2): dict(added(start, True), special=True), str(BPE_SIZE - 1): dict(added(end, True), special=True)}
        if pad != end:
            decoder = dict({str(vocab[pad]): dict(added(pad), special=True)}, **decoder)
        write_json(os.path.join(path, "special_tokens_map.json"),
                   {"bos_token": added(start, True), "eos_token": added(end, True), "pad_token": pad, "unk_token": added(end, True)}, 2)
        write_json(os.path.join(path, "tokenizer_config.json"),
                   {"add_prefix_space": False, "added_tokens_decoder": decoder, "bos_token": start, "clean_up_tokenization_spaces": True,
                    "do_lower_case": True, "eos_token": end, "errors": "replace", "model_max_length": 77, "pad_token": pad,
                    "tokenizer_class": "CLIPTokenizer", "unk_token": end}, 2)


def charsmap_rules():
    """Compatibility forms of the characters that prompts meet: NFKC of the small blocks below, composition of Latin letters
    with the common accents, blanks and control characters to a space or to nothing."""
    rules = {}
    blocks = [(0xA0, 0x17F), (0x1C4, 0x1F5), (0x2000, 0x206F), (0x2070, 0x209F), (0x2100, 0x218F), (0x2460, 0x24FF), (0x3000, 0x3001),
              (0xFB00, 0xFB06), (0xFF01, 0xFF5E)]
    for a, b in blocks:
        for c in range(a, b + 1):
            k = unicodedata.normalize("NFKC", chr(c))
            if k != chr(c):
                rules[chr(c)] = k
    for c in [*range(0xC0, 0x180), 0x1E9E]:
        d = unicodedata.normalize("NFD", chr(c))
        if len(d) == 2:
            rules[d] = chr(c)
    for c in [*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]:
        rules[chr(c)] = ""
    for c in [9, 10, 12, 13, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xA0, 0xFEFF, 0xFFFD, 0x2581]:
        rules[chr(c)] = " "
    return rules


def make_unigram(lines, folder):
    os.makedirs(folder, exist_ok=True)
    tmp = os.path.join(folder, "make_vocab")
    hexes = lambda s: " ".join("%X" % ord(c) for c in s)
    with open(tmp + ".tsv", "w") as f:
        for k, v in sorted(charsmap_rules().items()):
            f.write("%s\t%s\n" % (hexes(k), hexes(v)))
    with open(tmp + ".txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=tmp + ".txt", model_prefix=tmp, model_type="unigram", vocab_size=UNIGRAM_SIZE, character_coverage=1.0,
        normalization_rule_tsv=tmp + ".tsv", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1,
        shuffle_input_sentence=False, minloglevel=2)
    model = pb.ModelProto()
    with open(tmp + ".model", "rb") as f:
        model.ParseFromString(f.read())
    for end in (".txt", ".tsv", ".model", ".vocab"):
        os.remove(tmp + end)
    for field in ("input", "model_prefix", "normalization_rule_tsv"):         # no paths of this machine in the file
        (model.normalizer_spec if "rule" in field else model.trainer_spec).ClearField(field)
    model.normalizer_spec.name = "tress"
    with open(os.path.join(folder, "spiece.model"), "wb") as f:
        f.write(model.SerializeToString(deterministic=True))
    pieces = [[p.piece, p.score] for p in model.pieces]
    extra = ["<extra_id_%d>" % i for i in reversed(range(N_EXTRA))]
    vocab = pieces + [[e, 0.0] for e in extra]
    assert [p[0] for p in vocab[:3]] == ["<pad>", "</s>", "<unk>"] and len(vocab) == UNIGRAM_SIZE + N_EXTRA
    specials = [(i, vocab[i][0]) for i in [0, 1, 2, *range(UNIGRAM_SIZE, len(vocab))]]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    one = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    two = [{"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    write_json(os.path.join(folder, "tokenizer.json"), {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [dict(added(s), id=i, special=True) for i, s in specials],
        "normalizer": {"type": "Precompiled",
                       "precompiled_charsmap": base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {"type": "TemplateProcessing", "single": one, "pair": one + two,
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False}})
    names = ["<extra_id_%d>" % i for i in range(N_EXTRA)]
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(os.path.join(folder, "special_tokens_map.json"), dict({"additional_special_tokens": names}, **special), 2)
    write_json(os.path.join(folder, "tokenizer_config.json"), dict({
        "added_tokens_decoder": {str(i): dict(added(s), special=True) for i, s in specials},
        "additional_special_tokens": names, "clean_up_tokenization_spaces": True, "extra_ids": N_EXTRA, "legacy": True,
        "model_max_length": 512, "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer"}, **special), 2)


def check(folder):
    from transformers import CLIPTokenizer, T5TokenizerFast
    for name, cls in (("tokenizer", CLIPTokenizer), ("tokenizer_2", CLIPTokenizer), ("tokenizer_3", T5TokenizerFast)):
        t = cls.from_pretrained(os.path.join(folder, name))
        print(name, len(t), "pad", t.pad_token_id, t("long wavy red hair, studio light!").input_ids)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", default=os.path.join(ROOT, "examples", "tokenizers"))
    out = p.parse_args().out
    lines = make_text()
    make_bpe(lines, os.path.join(out, "tokenizer"), os.path.join(out, "tokenizer_2"))
    make_unigram(lines, os.path.join(out, "tokenizer_3"))
    check(out)


if __name__ == "__main__":
    main()
