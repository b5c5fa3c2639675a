"""Pre-train the small model on procedural hair, one phase at a time, each within a budget of seconds.

    render_scenes DATA 0 60000 256 1700 &          # tools/render_scenes.c, beside the training
    python3 pretrain.py vae     --data DATA --work WORK --out OUT --seconds 400
    python3 pretrain.py dit     --data DATA --work WORK --out OUT --seconds 540
    python3 pretrain.py control --data DATA --work WORK --out OUT --seconds 330

WORK keeps full-precision state between phases (--init FOLDER starts from shipped fp16 files instead, so several runs add
up). OUT receives fp16 files, curves and sample sheets. Needs torch and tokenizers alone."""
import argparse
import json
import math
import os
import random
import struct
import threading
import time

import torch
import torch.nn.functional as F
from torch import nn

import nets
from nets import CONFIG

SIZE = 256
RECORD = 8 * SIZE * SIZE + 256
PLANE = SIZE * SIZE


# ---- data: scenes on the GPU as bytes, growing while the renderer runs -------------------------------------------
class Scenes:
    def __init__(self, path, room, device):
        self.path, self.n, self.device = path, 0, device
        self.pixels = torch.zeros(room, 8, SIZE, SIZE, dtype=torch.uint8, device=device)    # photo, bald, matte, strokes
        self.words = []                                                                     # (caption, style, colour)
        self.stop = False
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        stream = torch.cuda.Stream() if self.device == "cuda" else None
        while not self.stop and self.n < len(self.pixels):
            try:
                ready = min(int(open(self.path + ".count").read() or 0), len(self.pixels))
            except (FileNotFoundError, ValueError):
                ready = 0
            if ready <= self.n:
                time.sleep(0.2)
                continue
            with open(self.path, "rb") as f:
                while self.n < ready:
                    k = min(32, ready - self.n)
                    f.seek(self.n * RECORD)
                    block = torch.frombuffer(bytearray(f.read(k * RECORD)), dtype=torch.uint8).view(k, RECORD)
                    for row in block[:, 8 * PLANE:].numpy():
                        self.words.append(tuple(w.decode() for w in row.tobytes().split(b"\0")[:3]))
                    part = block[:, :8 * PLANE].reshape(k, 8, SIZE, SIZE)
                    if stream:
                        with torch.cuda.stream(stream):
                            self.pixels[self.n:self.n + k].copy_(part.pin_memory(), non_blocking=True)
                        stream.synchronize()
                    else:
                        self.pixels[self.n:self.n + k] = part
                    self.n += k

    def wait(self, n):
        while self.n < n:
            time.sleep(0.1)


# ---- words -------------------------------------------------------------------------------------------------------
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
        self.cache = {}

    def __call__(self, text):
        if text not in self.cache:
            ids = [self.start] + self.bpe.encode(text, add_special_tokens=False).ids[:75] + [self.end]
            t5 = self.t5.encode(text, add_special_tokens=False).ids[:255] + [1]
            self.cache[text] = (ids + [self.end] * (77 - len(ids)), ids + [0] * (77 - len(ids)), t5 + [0] * (256 - len(t5)))
        return self.cache[text]

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


# ---- shared ------------------------------------------------------------------------------------------------------
def write_safetensors(path, state, dtype=torch.float16):
    """Small enough to do by hand, so the machine needs no package for it."""
    code = {torch.float16: "F16", torch.float32: "F32"}[dtype]
    head, at, data = {}, 0, []
    for k in sorted(state):
        t = state[k].detach().to("cpu", dtype).contiguous()
        n = t.numel() * t.element_size()
        head[k] = {"dtype": code, "shape": list(t.shape), "data_offsets": [at, at + n]}
        at += n
        data.append(t.numpy().tobytes())
    text = json.dumps({"__metadata__": {"format": "pt"}, **head}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_safetensors(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(n))
        data = bytearray(f.read())
    out = {}
    for k, v in head.items():
        if k == "__metadata__":
            continue
        b, e = v["data_offsets"]
        out[k] = torch.frombuffer(data, dtype={"F16": torch.float16, "F32": torch.float32}[v["dtype"]], count=(e - b) // {"F16": 2, "F32": 4}[v["dtype"]],
                                  offset=b).view(v["shape"]).float()
    return out


class Ema:
    def __init__(self, modules, horizon):
        self.pairs = [(p, p.detach().clone()) for m in modules for p in m.parameters()]
        self.horizon, self.step = horizon, 0

    @torch.no_grad()
    def update(self):
        self.step += 1
        k = 1 - min(self.horizon, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_([e for _, e in self.pairs], [p for p, _ in self.pairs], k)

    @torch.no_grad()
    def swap(self):
        for p, e in self.pairs:
            keep = p.clone()
            p.copy_(e)
            e.copy_(keep)


def rate(t, peak, warm=.03, floor=.03):
    """Learning rate at share t of the budget: linear up, cosine down."""
    return peak * (t / warm if t < warm else floor + (1 - floor) * .5 * (1 + math.cos(math.pi * (t - warm) / (1 - warm))))


def save_sheet(path, pictures, columns):
    """uint8 [n, 3, h, w] into one PNG, by zlib alone."""
    import zlib
    n, _, h, w = pictures.shape
    rows = (n + columns - 1) // columns
    sheet = torch.zeros(rows * h, columns * w, 3, dtype=torch.uint8)
    for i in range(n):
        sheet[i // columns * h:i // columns * h + h, i % columns * w:i % columns * w + w] = pictures[i].permute(1, 2, 0).cpu()
    raw = b"".join(b"\0" + row.numpy().tobytes() for row in sheet)
    def chunk(kind, body): return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns * w, rows * h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 6)) + chunk(b"IEND", b""))


def as_bytes(x): return ((x.float().clamp(-1, 1) * .5 + .5) * 255).round().to(torch.uint8)


class Log:
    def __init__(self, path, seconds):
        self.f, self.start, self.seconds = open(path, "w"), time.time(), seconds

    def share(self): return (time.time() - self.start) / self.seconds

    def __call__(self, **kw):
        line = json.dumps({k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in {"seconds": time.time() - self.start, **kw}.items()})
        self.f.write(line + "\n")
        self.f.flush()
        print(line, flush=True)


def amp(a): return torch.autocast("cuda", torch.bfloat16, enabled=a.device == "cuda")


def compiled(f, a): return torch.compile(f) if a.compile else f


# ---- phase 1: the autoencoder --------------------------------------------------------------------------------------
def edges(x): return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def train_vae(a):
    torch.manual_seed(1)
    scenes = Scenes(a.data, a.room, a.device)
    vae = nets.Autoencoder().to(a.device)
    if a.init:
        vae.load_state_dict(read_safetensors(f"{a.init}/vae.safetensors"))
    if a.device == "cuda":
        vae = vae.to(memory_format=torch.channels_last)
    run, opt = compiled(vae, a), torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(.9, .99), weight_decay=1e-4, fused=a.device == "cuda")
    ema, log, step, seen = Ema([vae], .998), Log(f"{a.out}/vae.jsonl", a.seconds), 0, 0
    scenes.wait(a.first)
    log.start = time.time()
    while (t := log.share()) < 1:
        b = a.batch_vae
        i = torch.randint(scenes.n, (b,), device=a.device)
        pick = torch.where(torch.rand(b, device=a.device) < .8, 0, 3)
        x = scenes.pixels[i[:, None], pick[:, None] + torch.arange(3, device=a.device)]
        oy, ox = random.randrange(0, 129, 8), random.randrange(0, 129, 8)    # one shape all along: a second one compiles for minutes
        x = x[:, :, oy:oy + 128, ox:ox + 128]
        x = x.float() / 127.5 - 1
        if random.random() < .5:
            x = x.flip(3)
        x = x.contiguous(memory_format=torch.channels_last)
        noise = torch.randn(b, 16, x.shape[2] // 8, x.shape[3] // 8, device=a.device)
        for g in opt.param_groups:
            g["lr"] = rate(t, a.lr or 1.5e-3)
        with amp(a):
            y, mean, logvar = run(x, noise)
        y = y.float()
        l1 = (y - x).abs().mean()
        (yx, yy), (xx, xy) = edges(y), edges(x)
        edge = (yx - xx).abs().mean() + (yy - xy).abs().mean()
        kl = .5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = l1 + .5 * edge + .1 * (y - x).square().mean() + 2e-4 * kl
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        opt.step()
        ema.update()
        step, seen = step + 1, seen + b
        if step % 100 == 0:
            log(step=step, seen=seen, scenes=scenes.n, l1=l1.item(), edge=edge.item(), kl=kl.item(), psnr=10 * math.log10(4 / (y - x).square().mean().item()))
    ema.swap()
    vae.eval()
    with torch.no_grad(), amp(a):
        x = scenes.pixels[:a.probe, :3].float() / 127.5 - 1
        m = torch.cat([vae.encoder(p).float().chunk(2, 1)[0] for p in x.split(16)])
        shift, scale = m.mean().item(), 1 / m.std().item()
        y = torch.cat([vae.decoder(p) for p in m.split(16)]).float().clamp(-1, 1)
        psnr = (10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean().item()
    log(done=True, shift=shift, scale=scale, psnr=psnr, scenes=scenes.n)
    save_sheet(f"{a.out}/vae.png", torch.stack([as_bytes(x[:8]), as_bytes(y[:8])], 1).flatten(0, 1), 8)
    torch.save({"vae": vae.state_dict(), "shift": shift, "scale": scale}, f"{a.work}/vae.pt")
    write_safetensors(f"{a.out}/vae.safetensors", vae.state_dict())
    json.dump({"shift": shift, "scale": scale, "psnr": psnr, "steps": step, "pictures": seen, "scenes": scenes.n}, open(f"{a.out}/vae.json", "w"))


# ---- phase 2: the transformer and the text encoders ------------------------------------------------------------------
class Latents:
    """Encoded scenes: photo and bald, each also mirrored; follows the growing set."""

    def __init__(self, scenes, vae, shift, scale, room, device, control=False):
        self.scenes, self.vae, self.shift, self.scale, self.n = scenes, vae, shift, scale, 0
        self.z = torch.zeros(room, 4, 16, 32, 32, dtype=torch.float16, device=device)
        self.c = torch.zeros(room, 2, 16, 32, 32, dtype=torch.float16, device=device) if control else None

    def encode(self, x):
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
            return ((self.vae.encoder(x).float().chunk(2, 1)[0] - self.shift) * self.scale).half()

    def catch_up(self, most):
        end = min(self.scenes.n, self.n + most)
        while self.n < end:
            k = min(128, end - self.n)
            p = self.scenes.pixels[self.n:self.n + k].float()
            photo, bald = p[:, :3] / 127.5 - 1, p[:, 3:6] / 127.5 - 1
            for j, x in enumerate((photo, photo.flip(3), bald, bald.flip(3))[:4 if self.c is None else 2]):
                self.z[self.n:self.n + k, j] = self.encode(x)
            if self.c is not None:                                      # the vendor's range: 127.5 p + 0.5
                s = (p[:, 7:8] / 255 * 127.5 + .5).expand(-1, 3, -1, -1)
                for j, x in enumerate((s, s.flip(3))):
                    self.c[self.n:self.n + k, j] = self.encode(x)
            self.n += k


def load_vae(a):
    s = torch.load(f"{a.work}/vae.pt", map_location=a.device)
    vae = nets.Autoencoder().to(a.device)
    vae.load_state_dict(s["vae"])
    return vae.eval(), s["shift"], s["scale"]


def sigmas(n, device):
    """The scheduler's list with its double shift: 1 ... 0.0089, 0."""
    def shift(s): return 3 * s / (1 + 2 * s)
    return torch.cat([shift(torch.linspace(1, shift(.001), n, dtype=torch.float64)), torch.zeros(1)]).float().to(device)


@torch.no_grad()
def sample(a, net, text, tokens, vae, shift, scale, prompts, control=None, condition=None, n=20, cfg=4.5, seed=7):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(len(prompts), 16, 32, 32, generator=g).to(a.device)
    with amp(a):
        cx, cy = text(*tokens.batch(list(prompts) + [""] * len(prompts), 256, a.device))
        s = sigmas(n, a.device)
        for i in range(n):
            t, xx, res, tok = s[i].expand(2 * len(x)) * 1000, torch.cat([x, x]), None, None
            if control is not None:
                tok = net.embed(xx)
                res = control(tok, torch.cat([condition, condition]), cy, t)
            v, u = net(xx, cx, cy, t, res, tok).float().chunk(2)
            x = x + (s[i + 1] - s[i]) * (u + cfg * (v - u))
        return as_bytes(torch.cat([vae.decoder(p / scale + shift) for p in x.split(8)]))


def batch_of(a, rng, latents, words, b, bald_share):
    i = torch.randint(latents.n, (b,))
    bald = torch.rand(b) < bald_share
    flip = torch.rand(b) < .5
    prompts = [say(words[int(i[k])], bool(bald[k]), rng) for k in range(b)]
    i, j = i.to(a.device), (bald.int() * 2 + flip.int()).to(a.device)
    return latents.z[i, j].float(), i, flip.int().to(a.device), prompts


def noised(z):
    sigma = torch.sigmoid(torch.randn(len(z), device=z.device))
    noise = torch.randn_like(z)
    s = sigma[:, None, None, None]
    return (1 - s) * z + s * noise, noise - z, sigma


def without_words(cx, cy, share):
    """The training's own zero text: zero rows and a zero pooled vector for some samples."""
    keep = (torch.rand(len(cx), device=cx.device) >= share).to(cx.dtype)
    return cx * keep[:, None, None], cy * keep[:, None]


def init_nets(*modules):
    for m in modules:
        for k, p in m.named_parameters():
            if p.ndim >= 2 and "embedding" not in k and "relative" not in k and "shared" not in k:
                nn.init.xavier_uniform_(p.view(p.shape[0], -1))
            elif k.endswith("bias"):
                nn.init.zeros_(p)
            elif p.ndim >= 2:
                nn.init.normal_(p, std=.05)
        for k, p in m.named_parameters():                               # blocks start as the identity
            if ".norm1" in k and "linear" in k or "norm1_context.linear" in k or "norm_out" in k or k.startswith("proj_out") or k.startswith("controlnet_blocks"):
                nn.init.zeros_(p)


PROMPTS = ["long straight black hair", "long wavy red hair", "blonde hair, bob", "long curly brown hair", "blue hair, ponytail", "platinum blonde hair",
           "grey hair, bun", "pink hair"]


def train_dit(a):
    torch.manual_seed(2)
    rng = random.Random(2)
    scenes, (vae, shift, scale) = Scenes(a.data, a.room, a.device), load_vae(a)
    tokens, net, text = Tokens(a.tokens), nets.Transformer().to(a.device), nets.Text().to(a.device)
    if a.init:
        net.load_state_dict({**read_safetensors(f"{a.init}/transformer-1.safetensors"), **read_safetensors(f"{a.init}/transformer-2.safetensors")})
        text.load_state_dict(read_safetensors(f"{a.init}/text.safetensors"))
    else:
        init_nets(net, text)
    latents = Latents(scenes, vae, shift, scale, a.room, a.device)
    parameters = list(net.parameters()) + list(text.parameters())
    opt = torch.optim.AdamW(parameters, lr=1e-3, betas=(.9, .98), weight_decay=.01, fused=a.device == "cuda")
    ema, run, speak = Ema([net, text], .9995), compiled(net, a), compiled(text, a)
    scenes.wait(a.first)
    latents.catch_up(10 ** 9)
    log, step = Log(f"{a.out}/dit.jsonl", a.seconds), 0
    while (t := log.share()) < 1:
        z, _, _, prompts = batch_of(a, rng, latents, scenes.words, a.batch, .12)
        ids = tokens.batch(prompts, 256, a.device)
        for g in opt.param_groups:
            g["lr"] = rate(t, a.lr or 1e-3)
        x, v, sigma = noised(z)
        with amp(a):
            cx, cy = without_words(*speak(*ids), .12)
            loss = (run(x, cx, cy, sigma * 1000).float() - v).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        opt.step()
        ema.update()
        step += 1
        if step % 40 == 0:
            latents.catch_up(160)
        if step % 100 == 0:
            log(step=step, seen=step * a.batch, scenes=latents.n, loss=loss.item(), rows=333)
    ema.swap()
    torch.save({"net": net.state_dict(), "text": text.state_dict()}, f"{a.work}/dit.pt")
    write_safetensors(f"{a.out}/text.safetensors", text.state_dict())
    state, half = net.state_dict(), sum(t.numel() for t in net.state_dict().values()) / 2
    first, size = {}, 0
    for k in sorted(state):                                             # two files of like size
        if size < half:
            first[k] = state[k]
            size += state[k].numel()
    write_safetensors(f"{a.out}/transformer-1.safetensors", first)
    write_safetensors(f"{a.out}/transformer-2.safetensors", {k: v for k, v in state.items() if k not in first})
    json.dump({"steps": step, "pictures": step * a.batch, "scenes": latents.n, "loss": loss.item()}, open(f"{a.out}/dit.json", "w"))
    save_sheet(f"{a.out}/dit.png", sample(a, net, text, tokens, vae, shift, scale, PROMPTS * a.sheets), 8)


# ---- phase 3: the ControlNet on the frozen base ----------------------------------------------------------------------
def train_control(a):
    torch.manual_seed(3)
    rng = random.Random(3)
    scenes, (vae, shift, scale) = Scenes(a.data, a.room, a.device), load_vae(a)
    tokens, net, text, control = Tokens(a.tokens), nets.Transformer().to(a.device), nets.Text().to(a.device), nets.Control().to(a.device)
    s = torch.load(f"{a.work}/dit.pt", map_location=a.device)
    net.load_state_dict(s["net"])
    text.load_state_dict(s["text"])
    for m in (net, text):
        m.requires_grad_(False)
    if a.init:
        control.load_state_dict(read_safetensors(f"{a.init}/control.safetensors"))
    else:
        init_nets(control)
        control.time_text_embed.load_state_dict(net.time_text_embed.state_dict())
        for i, block in enumerate(control.transformer_blocks):          # the base's image half, where it has the same parts
            own = dict(block.named_parameters())
            for k, p in net.transformer_blocks[i].named_parameters():
                if k in own and not any(w in k for w in ("to_q", "to_k")):
                    own[k].data.copy_(p)
    latents = Latents(scenes, vae, shift, scale, a.room, a.device, control=True)
    opt = torch.optim.AdamW(control.parameters(), lr=1e-3, betas=(.9, .98), weight_decay=.01, fused=a.device == "cuda")
    ema = Ema([control], .999)

    def step_loss(x, v, t, cx, cy, c):
        tok = net.embed(x)
        y = torch.where(zero[:, None], torch.zeros_like(cy), cy)
        return (net(x, cx, cy, t, control(tok, c, y, t), tok).float() - v).square().mean()

    run, speak = compiled(step_loss, a), compiled(text, a)
    scenes.wait(a.first)
    latents.catch_up(10 ** 9)
    log, step = Log(f"{a.out}/control.jsonl", a.seconds), 0
    while (t := log.share()) < 1:
        z, i, flip, prompts = batch_of(a, rng, latents, scenes.words, a.batch, 0)
        c = latents.c[i, flip].float()
        for g in opt.param_groups:
            g["lr"] = rate(t, a.lr or 6e-4)
        x, v, sigma = noised(z)
        zero = torch.rand(len(z), device=a.device) < .3                 # the pooled vector is zero in LoRA training
        with amp(a):
            with torch.no_grad():
                cx, cy = without_words(*speak(*tokens.batch(prompts, 256, a.device)), .2)
            loss = run(x, v, sigma * 1000, cx, cy, c)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(control.parameters(), 1.0)
        opt.step()
        ema.update()
        step += 1
        if step % 40 == 0:
            latents.catch_up(120)
        if step % 100 == 0:
            log(step=step, seen=step * a.batch, scenes=latents.n, loss=loss.item())
    ema.swap()
    torch.save({"control": control.state_dict()}, f"{a.work}/control.pt")
    write_safetensors(f"{a.out}/control.safetensors", control.state_dict())
    json.dump({"steps": step, "pictures": step * a.batch, "scenes": latents.n, "loss": loss.item()}, open(f"{a.out}/control.json", "w"))
    k = 8 * a.sheets
    c, strokes = latents.c[:k, 0].float(), scenes.pixels[:k, 7:8].expand(-1, 3, -1, -1)
    drawn = sample(a, net, text, tokens, vae, shift, scale, (PROMPTS * a.sheets)[:k], control, c)
    rows = torch.stack([strokes.reshape(-1, 8, 3, SIZE, SIZE), scenes.pixels[:k, :3].reshape(-1, 8, 3, SIZE, SIZE), drawn.reshape(-1, 8, 3, SIZE, SIZE)], 1)
    save_sheet(f"{a.out}/control.png", rows.reshape(-1, 3, SIZE, SIZE), 8)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("phase", choices=["vae", "dit", "control"])
    p.add_argument("--data", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--tokens", default="examples/tokenizers")
    p.add_argument("--init", default="")
    p.add_argument("--seconds", type=float, default=400)
    p.add_argument("--room", type=int, default=60000)
    p.add_argument("--first", type=int, default=512, help="scenes to wait for")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--batch-vae", type=int, default=160)
    p.add_argument("--probe", type=int, default=256)
    p.add_argument("--sheets", type=int, default=2)
    p.add_argument("--lr", type=float, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    a = p.parse_args()
    os.makedirs(a.work, exist_ok=True)
    os.makedirs(a.out, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    {"vae": train_vae, "dit": train_dit, "control": train_control}[a.phase](a)
    os._exit(0)                                                         # the follower thread may be reading


if __name__ == "__main__":
    main()
