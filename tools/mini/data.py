"""Scenes as the renderer leaves them, and the words for them: on the device, growing while the renderer runs."""
import json
import random
import threading
import time

import torch

SIZE = 256
PLANE = SIZE * SIZE
RECORD = 8 * PLANE + 256
ROWS, LAST = 104, 230          # of 77 + 256 text rows the last 230 are padding and equal: one row stands for them
SAYINGS = 8                    # prompts drawn for each scene


class Scenes:
    """pixels [room, 8, 256, 256]: photo, bald, matte, strokes; words: (caption, style, colour). `n` of them are there."""

    def __init__(self, path, room, device):
        self.path, self.n, self.device = path, 0, device
        self.pixels = torch.empty(room, 8, SIZE, SIZE, dtype=torch.uint8, device=device)
        self.count = torch.zeros((), device=device)                         # what a captured step reads
        self.words = []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def ready(self):
        try:
            return min(int(open(self.path + ".count").read() or 0), len(self.pixels))
        except (FileNotFoundError, ValueError):
            return 0

    def follow(self):
        cuda = self.device == "cuda"
        stream, block = torch.cuda.Stream() if cuda else None, torch.empty(128, RECORD, dtype=torch.uint8, pin_memory=cuda)
        while self.n < len(self.pixels):
            if (ready := self.ready()) <= self.n:
                time.sleep(0.2)
                continue
            with open(self.path, "rb") as f:
                f.seek(self.n * RECORD)
                while self.n < ready:
                    k = min(len(block), ready - self.n)
                    f.readinto(memoryview(block[:k].view(-1).numpy()))
                    for row in block[:k, 8 * PLANE:].numpy():
                        self.words.append(tuple(w.decode() for w in row.tobytes().split(b"\0")[:3]))
                    part = block[:k, :8 * PLANE].view(k, 8, SIZE, SIZE) if not cuda else block[:k, :8 * PLANE].reshape(k, 8, SIZE, SIZE)
                    if cuda:
                        with torch.cuda.stream(stream):
                            self.pixels[self.n:self.n + k].copy_(part)
                        stream.synchronize()
                    else:
                        self.pixels[self.n:self.n + k] = part
                    self.n += k

    def wait(self, n):
        while self.n < n:
            time.sleep(0.1)
        self.see()

    def see(self):
        """Tell captured steps how many there are; returns it."""
        n = self.n
        self.count.fill_(n)
        return n


def pick(count, n, device):
    """n indices below the device's own count."""
    return (torch.rand(n, device=device) * count).long()


class Tokens:
    """Ids as diffusers pads them: CLIP-L with its end id, bigG with 0, T5 with 0."""

    def __init__(self, folder):
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, Regex
        vocab = json.load(open(f"{folder}/tokenizer/vocab.json"))
        merges = [tuple(line.split()) for line in open(f"{folder}/tokenizer/merges.txt").read().split("\n")[1:] if line.strip()]
        self.bpe = Tokenizer(models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
        self.bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        split = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
        self.bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(split, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        self.t5 = Tokenizer.from_file(f"{folder}/tokenizer_3/tokenizer.json")
        self.start, self.end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]

    def __call__(self, text):
        ids = [self.start] + self.bpe.encode(text, add_special_tokens=False).ids[:75] + [self.end]
        t5 = self.t5.encode(text, add_special_tokens=False).ids[:255] + [1]
        return ids + [self.end] * (77 - len(ids)), ids + [0] * (77 - len(ids)), t5 + [0] * (256 - len(t5))

    def batch(self, texts, n_t5, device):
        rows = [self(t) for t in texts]
        return [torch.tensor([r[k][:n_t5 if k == 2 else 77] for r in rows], device=device) for k in range(3)]


LEADS = ["a photo of a woman with {}", "a portrait, {}", "{}", "photo of {}", "a person with {}", "{}, studio light"]


def say(words, bald, rng):
    """A prompt for a picture: often the whole caption, often its colour alone, sometimes nothing."""
    caption, style, colour = words
    r = rng.random()
    if r < .10:
        return ""
    if bald:
        return rng.choice(["a bald head", "bald", "a photo of a bald woman"])
    if r < .45:
        return rng.choice([f"{colour} hair", f"{colour} hair", f"{colour} hair, {style}", f"{style} {colour} hair"])
    return rng.choice(LEADS).format(caption)


class Prompts:
    """Encoded prompts by content, and SAYINGS of them for each scene and for its bald twin. The text encoders do not move."""

    def __init__(self, text, tokens, room, device, most=4096):
        self.text, self.tokens, self.device, self.ids, self.rng = text, tokens, device, {}, random.Random(2)
        self.rows = torch.zeros(most, ROWS, 320, dtype=torch.float16, device=device)
        self.pooled = torch.zeros(most, 320, dtype=torch.float16, device=device)
        self.of = torch.zeros(room, 2, SAYINGS, dtype=torch.int64, device=device)
        self.add([""])

    @torch.no_grad()
    def add(self, texts):
        texts = [t for t in dict.fromkeys(texts) if t not in self.ids][:len(self.rows) - len(self.ids)]
        for at in range(0, len(texts), 64):
            some = texts[at:at + 64]
            cx, cy = self.text(*self.tokens.batch(some, 256, self.device))
            spread = (cx[:, ROWS - 1:] - cx[:, -1:]).abs().max() / cx[:, -1:].abs().max()
            assert spread < 1e-3, f"a prompt is longer than {ROWS - 78} pieces, or its padding differs by {spread}"
            k = len(self.ids)
            self.rows[k:k + len(some)], self.pooled[k:k + len(some)] = cx[:, :ROWS].half(), cy.half()
            self.ids.update((t, k + i) for i, t in enumerate(some))

    def catch_up(self, first, words):
        said = [[[say(w, bald, self.rng) for _ in range(SAYINGS)] for bald in (False, True)] for w in words]
        self.add([t for a in said for b in a for t in b])
        self.of[first:first + len(words)] = torch.tensor([[[self.ids.get(t, 0) for t in b] for b in a] for a in said], device=self.device)
