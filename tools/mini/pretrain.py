"""Pre-train the small model on procedural hair, one phase at a time, each within a budget of seconds.

    render_scenes DATA 0 60000 256 1700 &          # tools/render_scenes.c, beside the training
    python3 pretrain.py vae     --data DATA --work WORK --out OUT --init PARTS --seconds 400
    python3 pretrain.py dit     --data DATA --work WORK --out OUT --init PARTS --seconds 540
    python3 pretrain.py control --data DATA --work WORK --out OUT --init PARTS --seconds 330
    python3 pretrain.py both    --data DATA --work WORK --out OUT --init PARTS --seconds 600
    python3 pretrain.py decoder --data DATA --work WORK --out OUT --init PARTS --seconds 150

WORK keeps full-precision state between phases; --init goes on from parts (parts.py splits a model into them) instead of from
nothing, so that several runs add up; `both` goes on with transformer and ControlNet as one, and leaves the autoencoder as PARTS have it. The text encoders learn with the transformer only when they begin from nothing (--words):
later they stay, and a prompt is encoded once. OUT receives fp16 files, curves and sample sheets. Needs torch and tokenizers alone."""
import argparse
import json
import math
import os
import random

import torch
import torch.nn.functional as F
from torch import nn

import nets
from data import LAST, ROWS, SAYINGS, SIZE, Prompts, Scenes, Tokens, pick, say
from learn import Ema, Log, Muon, Replay, as_bytes, rate, read_safetensors, save_sheet, write_safetensors


def amp(a, kind=torch.bfloat16): return torch.autocast("cuda", kind, enabled=a.device == "cuda")


def compiled(a, *modules):
    """Block by block: equal blocks share their code, and one shape all along."""
    if a.compile:
        for m in modules:
            m.compile(dynamic=False)


def eager(a): return torch.compiler.set_stance("force_eager")


def split_parameters(*modules):
    """(matrices inside, the rest): what Muon and AdamW get."""
    inside, rest = [], []
    for m in modules:
        for k, p in m.named_parameters():
            within = ("blocks." in k or "block." in k) and p.ndim >= 2 and "norm" not in k and "controlnet_blocks" not in k and "embed" not in k
            (inside if within else rest).append(p)
    return inside, rest


# ---- phase 1: the autoencoder --------------------------------------------------------------------------------------
def edges(x): return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def difference(y, x, w):
    """L1, slopes and squares, more where hair is."""
    (yx, yy), (xx, xy) = edges(y), edges(x)
    edge = ((yx - xx).abs() * w[..., 1:]).mean() + ((yy - xy).abs() * w[..., 1:, :]).mean()
    return ((y - x).abs() * w).mean() + .5 * edge + .1 * ((y - x).square() * w).mean()


def crops(scenes, b, size, device):
    """b photos (one in ten bald), each at a place of its own, half of them mirrored; and their matte."""
    i, bald = pick(scenes.count, b, device), (torch.rand(b, device=device) < .1).long() * 3
    at = (torch.rand(2, b, 1, device=device) * (SIZE - size + 1)).long() + torch.arange(size, device=device)
    flip = torch.rand(b, 1, device=device) < .5
    col = torch.where(flip, at[1].flip(1), at[1])
    channel = torch.cat([bald[:, None] + torch.arange(3, device=device), torch.full((b, 1), 6, device=device)], 1)
    p = scenes.pixels[i[:, None, None, None], channel[:, :, None, None], at[0][:, None, :, None], col[:, None, None, :]].float()
    return (p[:, :3] / 127.5 - 1).contiguous(memory_format=torch.channels_last), p[:, 3:] / 255


def train_vae(a):
    torch.manual_seed(1)
    scenes, vae = Scenes(a.data, a.room, a.device), nets.Autoencoder().to(a.device)
    if a.init:
        vae.load_state_dict(read_safetensors(f"{a.init}/vae.safetensors"))
    vae = vae.to(memory_format=torch.channels_last)
    compiled(a, vae)
    inside, rest = split_parameters(vae)
    opt, ema = Muon(inside, rest, a.device, decay=1e-4, betas=(.9, .99)), Ema([vae], .999, a.device)

    def step():
        opt.zero()
        x, matte = crops(scenes, a.batch_vae, 128, a.device)
        noise = torch.randn(len(x), 16, 16, 16, device=a.device)
        with amp(a):
            y, mean, logvar = vae(x, noise)
        y = y.float()
        kl = .5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        (difference(y, x, .6 + matte) + 2e-4 * kl).backward()
        opt.step()
        ema.update()
        return (y.detach() - x).square().mean(), kl.detach()

    scenes.wait(a.first)
    run, log, steps = Replay(step, a.graph), Log(f"{a.out}/vae.jsonl", a.seconds), 0
    while (t := log.share()) < 1:
        opt.rate(rate(t, a.lr or 1.5e-3))
        ema.next()
        mse, kl = run()
        steps += 1
        if steps % 20 == 0:
            n = scenes.see()
        if steps % 500 == 0:
            log(step=steps, seen=steps * a.batch_vae, scenes=n, kl=kl.item(), psnr=10 * math.log10(4 / mse.item()))
    ema.swap()
    vae.eval()
    with torch.no_grad(), eager(a), amp(a, torch.float16):
        x = scenes.pixels[:a.probe, :3].float() / 127.5 - 1
        m = torch.cat([vae.encoder(p).float().chunk(2, 1)[0] for p in x.split(16)])
        shift, scale = m.mean().item(), 1 / m.std().item()
        y = torch.cat([vae.decoder(p) for p in m.split(16)]).float().clamp(-1, 1)
        psnr = (10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean().item()
    log(done=True, shift=shift, scale=scale, psnr=psnr, scenes=scenes.n)
    save_sheet(f"{a.out}/vae.png", torch.stack([as_bytes(x[:8]), as_bytes(y[:8])], 1).flatten(0, 1), 8)
    keep_vae(a, vae, shift, scale)
    json.dump({"shift": shift, "scale": scale, "psnr": psnr, "steps": steps, "pictures": steps * a.batch_vae, "scenes": scenes.n}, open(f"{a.out}/vae.json", "w"))


def keep_vae(a, vae, shift, scale):
    torch.save({"vae": vae.state_dict(), "shift": shift, "scale": scale}, f"{a.work}/vae.pt")
    write_safetensors(f"{a.out}/vae.safetensors", vae.state_dict())


def kept_vae(a):
    """That of this run's first phase, or the one that PARTS bring."""
    if os.path.exists(f"{a.work}/vae.pt"):
        return torch.load(f"{a.work}/vae.pt", map_location=a.device)
    return {"vae": read_safetensors(f"{a.init}/vae.safetensors"), **json.load(open(f"{a.init}/vae.json"))}


# ---- phase 2: the transformer ------------------------------------------------------------------------------------------
class Latents:
    """Encoded scenes: photo, its mirror image, bald; with control the strokes and their mirror image too. Follows the growing set."""

    def __init__(self, a, scenes, control=False):
        s = kept_vae(a)
        self.a, self.scenes, self.shift, self.scale, self.n = a, scenes, s["shift"], s["scale"], 0
        self.vae = nets.Autoencoder().to(a.device)
        self.vae.load_state_dict(s["vae"])
        self.vae.eval().requires_grad_(False)
        self.coder = self.vae.encoder.to(memory_format=torch.channels_last)
        room = len(scenes.pixels)
        self.z = torch.zeros(room, 5 if control else 3, 16, 32, 32, dtype=torch.float16, device=a.device)
        self.count = torch.zeros((), device=a.device)

    def encode(self, x):
        """In half precision of eleven bits: eight would be noise in what is learned."""
        with torch.no_grad(), amp(self.a, torch.float16):
            x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.a.batch_encode - len(x))).contiguous(memory_format=torch.channels_last)
            return ((self.coder(x).float().chunk(2, 1)[0] - self.shift) * self.scale).half()

    def catch_up(self, most, prompts=None):
        end, size = min(self.scenes.n, self.n + most), self.a.batch_encode
        while self.n < end:
            k = min(size, end - self.n)
            p = self.scenes.pixels[self.n:self.n + k].float()
            photo, bald, strokes = p[:, :3] / 127.5 - 1, p[:, 3:6] / 127.5 - 1, (p[:, 7:8] * .5 + .5).expand(-1, 3, -1, -1)   # the vendor's range
            for j, x in enumerate((photo, photo.flip(3), bald, strokes, strokes.flip(3))[:self.z.shape[1]]):
                self.z[self.n:self.n + k, j] = self.encode(x)[:k]
            if prompts:
                prompts.catch_up(self.n, self.scenes.words[self.n:self.n + k])
            self.n += k
        self.count.fill_(self.n)


def sigmas(n, device):
    """The scheduler's list with its double shift: 1 ... 0.0089, 0."""
    return torch.cat([shifted(torch.linspace(1, shifted(.001), n, dtype=torch.float64)), torch.zeros(1)]).float().to(device)


def shifted(s): return 3 * s / (1 + 2 * s)


@torch.no_grad()
def sample(a, net, text, tokens, latents, prompts, control=None, condition=None, n=20, cfg=4.5, seed=7):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(len(prompts), 16, 32, 32, generator=g).to(a.device)
    with eager(a), amp(a):
        cx, cy = text(*tokens.batch(list(prompts) + [""] * len(prompts), 256, a.device))
        s = sigmas(n, a.device)
        for i in range(n):
            t, xx, res, tok = s[i].expand(2 * len(x)) * 1000, torch.cat([x, x]), None, None
            if control is not None:
                tok = net.embed(xx)
                res = control(tok, torch.cat([condition, condition]), cy, t)
            v, u = net(xx, cx, cy, t, res, tok).float().chunk(2)
            x = x + (s[i + 1] - s[i]) * (u + cfg * (v - u))
        return as_bytes(torch.cat([latents.vae.decoder(p / latents.scale + latents.shift) for p in x.split(8)]))


def noised(z, share):
    """Noise levels as SD3 learns them (logit-normal), and for a share of the samples where the shifted sampler spends its steps."""
    sigma = torch.sigmoid(torch.randn(len(z), device=z.device))
    sigma = torch.where(torch.rand(len(z), device=z.device) < share, shifted(sigma), sigma)
    noise, s = torch.randn_like(z), sigma[:, None, None, None]
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
    scenes, tokens, net, text = Scenes(a.data, a.room, a.device), Tokens(a.tokens), nets.Transformer().to(a.device), nets.Text().to(a.device)
    if a.init:
        net.load_state_dict({**read_safetensors(f"{a.init}/transformer-1.safetensors"), **read_safetensors(f"{a.init}/transformer-2.safetensors")})
        text.load_state_dict(read_safetensors(f"{a.init}/text.safetensors"))
    else:
        init_nets(net, text)
    learning = [net, text] if a.words else [net]
    latents, prompts, rng = Latents(a, scenes), None if a.words else Prompts(text, tokens, a.room, a.device), random.Random(2)
    compiled(a, *net.transformer_blocks)
    opt, ema = Muon(*split_parameters(*learning), a.device), Ema(learning, .9995, a.device)
    said = torch.zeros(3, a.batch, 256 if a.words else 1, dtype=torch.int64, device=a.device)      # ids, only where words are learned
    place = torch.zeros(2, a.batch, dtype=torch.int64, device=a.device)

    def step():
        opt.zero()
        if a.words:
            i, j = place
            cx, cy = text(said[0, :, :77], said[1, :, :77], said[2])
        else:
            i, bald = pick(latents.count, a.batch, a.device), torch.rand(a.batch, device=a.device) < .12
            j = torch.where(bald, 2, torch.randint(2, (a.batch,), device=a.device))
            which = prompts.of[i, bald.long(), torch.randint(SAYINGS, (a.batch,), device=a.device)]
            cx, cy = prompts.rows[which].float(), prompts.pooled[which].float()
        cx, cy = without_words(cx, cy, .12)
        x, v, sigma = noised(latents.z[i, j].float(), .3)
        with amp(a):
            loss = (net(x, cx, cy, sigma * 1000, last=1 if a.words else LAST).float() - v).square().mean()
        loss.backward()
        opt.step()
        ema.update()
        return loss.detach()

    def draw():
        """A batch drawn by Python, where the text encoders learn."""
        i, bald = torch.randint(latents.n, (a.batch,)), torch.rand(a.batch) < .12
        texts = [say(scenes.words[int(k)], bool(b), rng) for k, b in zip(i, bald)]
        for k, ids in enumerate(tokens.batch(texts, 256, a.device)):
            said[k, :, :ids.shape[1]] = ids
        place.copy_(torch.stack([i, torch.where(bald, 2, torch.randint(2, (a.batch,)))]))

    scenes.wait(a.first)
    latents.catch_up(10 ** 9, prompts)
    if a.words:
        draw()
    run, log, steps, tail = Replay(step, a.graph), Log(f"{a.out}/dit.jsonl", a.seconds), 0, []
    while (t := log.share()) < 1:
        opt.rate(rate(t, a.lr or 1e-3))
        ema.next()
        if a.words:
            draw()
        loss = run()
        steps += 1
        if steps % 20 == 1:
            tail = tail[-50:] + [loss.clone()]
            if scenes.n - latents.n >= a.batch_encode:
                latents.catch_up(a.batch_encode, prompts)
        if steps % 500 == 0:
            log(step=steps, seen=steps * a.batch, scenes=latents.n, loss=torch.stack(tail[-25:]).mean().item())
    ema.swap()
    torch.save({"net": net.state_dict(), "text": text.state_dict()}, f"{a.work}/dit.pt")
    write_safetensors(f"{a.out}/text.safetensors", text.state_dict())
    save_transformer(a.out, net.state_dict())
    json.dump({"steps": steps, "pictures": steps * a.batch, "scenes": latents.n, "loss": torch.stack(tail).mean().item()}, open(f"{a.out}/dit.json", "w"))
    save_sheet(f"{a.out}/dit.png", sample(a, net, text, tokens, latents, PROMPTS * a.sheets), 8)


def save_transformer(out, state):
    """Two files of like size."""
    half, first, size = sum(t.numel() for t in state.values()) / 2, {}, 0
    for k in sorted(state):
        if size < half:
            first[k] = state[k]
            size += state[k].numel()
    write_safetensors(f"{out}/transformer-1.safetensors", first)
    write_safetensors(f"{out}/transformer-2.safetensors", {k: v for k, v in state.items() if k not in first})


# ---- phase 3: the ControlNet on the frozen base ----------------------------------------------------------------------
def train_control(a):
    torch.manual_seed(3)
    scenes, tokens = Scenes(a.data, a.room, a.device), Tokens(a.tokens)
    net, text, control = nets.Transformer().to(a.device), nets.Text().to(a.device), nets.Control().to(a.device)
    s = torch.load(f"{a.work}/dit.pt", map_location=a.device)
    net.load_state_dict(s["net"])
    text.load_state_dict(s["text"])
    net.requires_grad_(False)
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
    latents, prompts = Latents(a, scenes, control=True), Prompts(text, tokens, a.room, a.device)
    compiled(a, *net.transformer_blocks, *control.transformer_blocks)
    opt, ema = Muon(*split_parameters(control), a.device), Ema([control], .999, a.device)

    def step():
        opt.zero()
        i, flip = pick(latents.count, a.batch, a.device), torch.randint(2, (a.batch,), device=a.device)
        which = prompts.of[i, 0, torch.randint(SAYINGS, (a.batch,), device=a.device)]
        cx, cy = without_words(prompts.rows[which].float(), prompts.pooled[which].float(), .2)
        x, v, sigma = noised(latents.z[i, flip].float(), .5)
        y = cy * (torch.rand(len(cy), 1, device=a.device) >= .3)        # the pooled vector is zero in LoRA training
        hair = F.avg_pool2d(scenes.pixels[i, 6].float()[:, None] / 255, 8)
        hair = torch.where(flip[:, None, None, None] == 1, hair.flip(3), hair)
        with amp(a):
            tok = net.embed(x)
            out = net(x, cx, cy, sigma * 1000, control(tok, latents.z[i, 3 + flip].float(), y, sigma * 1000), tok, last=LAST)
        square = (out.float() - v).square()
        (square * (.5 + 1.5 * hair)).mean().backward()
        opt.step()
        ema.update()
        return square.detach().mean()

    scenes.wait(a.first)
    latents.catch_up(10 ** 9, prompts)
    run, log, steps, tail = Replay(step, a.graph), Log(f"{a.out}/control.jsonl", a.seconds), 0, []
    while (t := log.share()) < 1:
        opt.rate(rate(t, a.lr or 1e-3))
        ema.next()
        loss = run()
        steps += 1
        if steps % 20 == 1:
            tail = tail[-50:] + [loss.clone()]
            if scenes.n - latents.n >= a.batch_encode:
                latents.catch_up(a.batch_encode, prompts)
        if steps % 500 == 0:
            log(step=steps, seen=steps * a.batch, scenes=latents.n, loss=torch.stack(tail[-25:]).mean().item())
    ema.swap()
    torch.save({"control": control.state_dict()}, f"{a.work}/control.pt")
    write_safetensors(f"{a.out}/control.safetensors", control.state_dict())
    json.dump({"steps": steps, "pictures": steps * a.batch, "scenes": latents.n, "loss": torch.stack(tail).mean().item()}, open(f"{a.out}/control.json", "w"))
    save_drawn(a, scenes, sample(a, net, text, tokens, latents, PROMPTS * a.sheets, control, latents.z[:8 * a.sheets, 3].float()))


# ---- phases 2 and 3 as one, where both have begun: what the ControlNet says and how the base hears it ----------------
def train_both(a):
    torch.manual_seed(5)
    scenes, tokens = Scenes(a.data, a.room, a.device), Tokens(a.tokens)
    net, text, control = nets.Transformer().to(a.device), nets.Text().to(a.device), nets.Control().to(a.device)
    net.load_state_dict({**read_safetensors(f"{a.init}/transformer-1.safetensors"), **read_safetensors(f"{a.init}/transformer-2.safetensors")})
    text.load_state_dict(read_safetensors(f"{a.init}/text.safetensors"))
    control.load_state_dict(read_safetensors(f"{a.init}/control.safetensors"))
    latents, prompts = Latents(a, scenes, control=True), Prompts(text, tokens, a.room, a.device)
    compiled(a, *net.transformer_blocks, *control.transformer_blocks)
    opt, ema, b = Muon(*split_parameters(net, control), a.device), Ema([net, control], .9995, a.device), a.batch

    def step():
        """Of the pictures 7 in 10 follow their sketch, 2 do without, 1 is bald and does without."""
        opt.zero()
        i, u = pick(latents.count, b, a.device), torch.rand(b, device=a.device)
        flip, bald, drawn = torch.randint(2, (b,), device=a.device), u < .1, (u >= .3).float()[:, None, None]
        which = prompts.of[i, bald.long(), torch.randint(SAYINGS, (b,), device=a.device)]
        cx, cy = without_words(prompts.rows[which].float(), prompts.pooled[which].float(), .15)
        x, v, sigma = noised(latents.z[i, torch.where(bald, 2, flip)].float(), .4)
        y = cy * (torch.rand(b, 1, device=a.device) >= .3)              # the pooled vector is zero in LoRA training
        hair = F.avg_pool2d(scenes.pixels[i, 6].float()[:, None] / 255, 8)
        hair = torch.where(flip[:, None, None, None] == 1, hair.flip(3), hair) * ~bald[:, None, None, None]
        with amp(a):
            tok = net.embed(x)
            said = [drawn * r for r in control(tok, latents.z[i, 3 + flip].float(), y, sigma * 1000)]
            out = net(x, cx, cy, sigma * 1000, said, tok, last=LAST)
        square = (out.float() - v).square()
        (square * (.6 + 1.2 * hair)).mean().backward()
        opt.step()
        ema.update()
        return square.detach().mean()

    scenes.wait(a.first)
    latents.catch_up(10 ** 9, prompts)
    run, log, steps, tail = Replay(step, a.graph), Log(f"{a.out}/both.jsonl", a.seconds), 0, []
    while (t := log.share()) < 1:
        opt.rate(rate(t, a.lr or 1e-3))
        ema.next()
        loss = run()
        steps += 1
        if steps % 20 == 1:
            tail = tail[-50:] + [loss.clone()]
            if scenes.n - latents.n >= a.batch_encode:
                latents.catch_up(2 * a.batch_encode, prompts)
        if steps % 500 == 0:
            log(step=steps, seen=steps * b, scenes=latents.n, loss=torch.stack(tail[-25:]).mean().item())
    ema.swap()
    write_safetensors(f"{a.out}/control.safetensors", control.state_dict())
    write_safetensors(f"{a.out}/text.safetensors", text.state_dict())
    save_transformer(a.out, net.state_dict())
    json.dump({"steps": steps, "pictures": steps * b, "scenes": latents.n, "loss": torch.stack(tail).mean().item()}, open(f"{a.out}/both.json", "w"))
    save_sheet(f"{a.out}/dit.png", sample(a, net, text, tokens, latents, PROMPTS * a.sheets), 8)
    save_drawn(a, scenes, sample(a, net, text, tokens, latents, PROMPTS * a.sheets, control, latents.z[:8 * a.sheets, 3].float()))


def save_drawn(a, scenes, drawn):
    """Rows of strokes, photos and what was drawn of those strokes."""
    k = len(drawn)
    rows = torch.stack([x.reshape(-1, 8, 3, SIZE, SIZE) for x in (scenes.pixels[:k, 7:8].expand(-1, 3, -1, -1), scenes.pixels[:k, :3], drawn)], 1)
    save_sheet(f"{a.out}/control.png", rows.reshape(-1, 3, SIZE, SIZE), 8)


# ---- phase 4: a sharper decoder; the latents stay what they are -----------------------------------------------------
class Judge(nn.Module):
    """Says of each patch of some 30 pixels whether it is rendered or decoded."""

    def __init__(self):
        super().__init__()
        c = [3, 48, 96, 192]
        self.body = nn.ModuleList([nn.Conv2d(c[i], c[i + 1], 4, stride=2, padding=1) for i in range(3)])
        self.norms = nn.ModuleList([nn.Identity(), nn.GroupNorm(8, c[2]), nn.GroupNorm(8, c[3])])
        self.out = nn.Conv2d(c[3], 1, 3, padding=1)

    def forward(self, x):
        for conv, norm in zip(self.body, self.norms):
            x = F.leaky_relu(norm(conv(x)), .2)
        return self.out(x)


def train_decoder(a):
    torch.manual_seed(4)
    scenes = Scenes(a.data, a.room, a.device)
    kept, vae, judge = kept_vae(a), nets.Autoencoder().to(a.device), Judge().to(a.device).to(memory_format=torch.channels_last)
    vae.load_state_dict(kept["vae"])
    vae, spread = vae.to(memory_format=torch.channels_last), 1 / kept["scale"]
    enc, dec = vae.encoder.requires_grad_(False), vae.decoder
    compiled(a, dec)
    inside, rest = split_parameters(dec)
    opt, ema = Muon(inside, rest, a.device, decay=0), Ema([dec], .998, a.device)
    against = torch.optim.AdamW(judge.parameters(), lr=torch.tensor(3e-4, device=a.device) if a.device == "cuda" else 3e-4, betas=(.5, .9), weight_decay=1e-3,
                                fused=a.device == "cuda", capturable=a.device == "cuda")
    share = torch.zeros((), device=a.device)
    b = a.batch_decoder
    turn = torch.arange(b, device=a.device)                            # every scene comes before any comes again

    def step():
        opt.zero()
        turn.add_(b)
        i, j = turn % scenes.count.long(), torch.randint(5, (b,), device=a.device) // 2
        p = scenes.pixels[i]
        x = torch.where((j == 2)[:, None, None, None], p[:, 3:6], p[:, :3]).float() / 127.5 - 1
        m = p[:, 6:7].float() / 255 * (j < 2)[:, None, None, None]
        flip = (j == 1)[:, None, None, None]
        x, m = torch.where(flip, x.flip(3), x).contiguous(memory_format=torch.channels_last), torch.where(flip, m.flip(3), m)
        with torch.no_grad(), amp(a, torch.float16):
            z = enc(x).float().chunk(2, 1)[0]
        z = z + torch.randn_like(z) * .15 * spread * torch.rand(b, 1, 1, 1, device=a.device)       # what a sampler leaves is never exact
        with amp(a):
            y = dec(z)
        y = y.float()
        still = y.detach().requires_grad_(True)
        near = difference(still, x, .6 + m)
        with amp(a):
            real = -judge(still).float().mean()
        g_near, g_real = torch.autograd.grad(near, still)[0], torch.autograd.grad(real, still)[0]
        y.backward(g_near + share * g_real * (g_near.norm() / (g_real.norm() + 1e-12)))
        opt.step()
        ema.update()
        against.zero_grad(set_to_none=True)
        with amp(a):
            loss = F.relu(1 - judge(x).float()).mean() + F.relu(1 + judge(y.detach()).float()).mean()
        loss.backward()
        against.step()
        return (y.detach() - x).square().mean(), loss.detach()

    scenes.wait(a.first)
    run, log, steps = Replay(step, a.graph), Log(f"{a.out}/decoder.jsonl", a.seconds), 0
    while (t := log.share()) < 1:
        opt.rate(rate(t, a.lr or 4e-4))
        share.fill_(a.gan * min(1, max(0, t - .1) / .2))                # the judge learns first
        ema.next()
        mse, loss = run()
        steps += 1
        if steps % 20 == 0:
            scenes.see()
        if steps % 200 == 0:
            log(step=steps, seen=steps * b, scenes=scenes.n, psnr=10 * math.log10(4 / mse.item()), judge=loss.item())
    ema.swap()
    with torch.no_grad(), eager(a), amp(a, torch.float16):
        x = scenes.pixels[:a.probe, :3].float() / 127.5 - 1
        y = torch.cat([dec(enc(p).chunk(2, 1)[0]) for p in x.split(16)]).float().clamp(-1, 1)
        psnr = (10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean().item()
    log(done=True, psnr=psnr)
    save_sheet(f"{a.out}/decoder.png", torch.stack([as_bytes(x[:8]), as_bytes(y[:8])], 1).flatten(0, 1), 8)
    write_safetensors(f"{a.out}/decoder.safetensors", dec.state_dict())
    json.dump({"steps": steps, "pictures": steps * b, "scenes": min(scenes.n, steps * b), "psnr": psnr}, open(f"{a.out}/decoder.json", "w"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("phase", choices=["vae", "dit", "control", "both", "decoder"])
    p.add_argument("--data", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--tokens", default="examples/tokenizers")
    p.add_argument("--init", default="")
    p.add_argument("--words", action="store_true", help="the text encoders learn too")
    p.add_argument("--seconds", type=float, default=400)
    p.add_argument("--room", type=int, default=60000)
    p.add_argument("--first", type=int, default=512, help="scenes to wait for")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--batch-vae", type=int, default=64)
    p.add_argument("--batch-decoder", type=int, default=16)
    p.add_argument("--batch-encode", type=int, default=64)
    p.add_argument("--gan", type=float, default=.4, help="the judge's pull on the decoder, as a share of the other losses' own")
    p.add_argument("--probe", type=int, default=256)
    p.add_argument("--sheets", type=int, default=2)
    p.add_argument("--lr", type=float, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    p.add_argument("--no-graph", dest="graph", action="store_false")
    a = p.parse_args()
    a.graph = a.graph and a.device == "cuda"
    os.makedirs(a.work, exist_ok=True)
    os.makedirs(a.out, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    {"vae": train_vae, "dit": train_dit, "control": train_control, "both": train_both, "decoder": train_decoder}[a.phase](a)
    os._exit(0)                                                         # the follower thread may be reading


if __name__ == "__main__":
    main()
