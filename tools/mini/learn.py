"""What every phase of pre-training shares: the rule of the steps, averages of weights, one step as a CUDA graph, files, curves."""
import json
import math
import struct
import time
import zlib

import torch


class Muon:
    """Muon for the matrices within (momentum made orthogonal by five Newton-Schulz steps, scaled to the size of Adam's steps),
    AdamW for the rest. One learning rate, on the device, so that a captured step can change it."""

    def __init__(self, matrices, rest, device, decay=.01, betas=(.9, .98)):
        self.lr, self.decay, shapes = torch.zeros((), device=device), decay, {}
        for p in matrices:
            shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
        self.groups = [(rows, cols, ps, [torch.zeros_like(p) for p in ps]) for (rows, cols), ps in shapes.items()]
        cuda = device == "cuda"
        self.adam = torch.optim.AdamW(rest, lr=self.lr if cuda else 1e-3, betas=betas, weight_decay=decay, fused=cuda, capturable=cuda)
        self.parameters = list(matrices) + list(rest)

    def rate(self, lr):
        self.lr.fill_(lr)
        if self.lr.device.type == "cpu":
            self.adam.param_groups[0]["lr"] = lr

    def zero(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self):
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for rows, cols, ps, means in self.groups:
            grads = [p.grad for p in ps]
            torch._foreach_lerp_(means, grads, .05)
            x = torch.stack([g.reshape(rows, cols) for g in torch._foreach_lerp(grads, means, .95)])
            x = orthogonal(x) * (-.2 * math.sqrt(max(rows, cols)) * self.lr)
            torch._foreach_mul_(ps, 1 - self.decay * self.lr)
            torch._foreach_add_(ps, [u.view(p.shape) for u, p in zip(x, ps)])
        self.adam.step()


def orthogonal(x):
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).to(torch.bfloat16 if x.is_cuda else torch.float32)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.mT if tall else x).float()


class Ema:
    """The mean of the weights over the last steps; what is kept in the end."""

    def __init__(self, modules, horizon, device):
        self.now = [p for m in modules for p in m.parameters()]
        self.mean, self.horizon, self.steps = [p.detach().clone() for p in self.now], horizon, 0
        self.share = torch.zeros((), device=device)

    def next(self):
        self.steps += 1
        self.share.fill_(1 - min(self.horizon, (1 + self.steps) / (10 + self.steps)))

    @torch.no_grad()
    def update(self):
        torch._foreach_mul_(self.mean, 1 - self.share)
        torch._foreach_add_(self.mean, torch._foreach_mul(self.now, self.share))

    @torch.no_grad()
    def swap(self):
        for p, e in zip(self.now, self.mean):
            keep = p.clone()
            p.copy_(e)
            e.copy_(keep)


class Replay:
    """A whole training step as one CUDA graph: no kernel waits for Python, however busy the cores are. Where it is not wanted, plain calls."""

    def __init__(self, step, wanted):
        self.step, self.graph, self.marks = step, None, []
        if not wanted:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.out = step()

    def __call__(self):
        if not self.graph:
            self.out = self.step()
            return self.out
        self.graph.replay()
        self.marks.append(torch.cuda.Event())
        self.marks[-1].record()
        if len(self.marks) > 4:                                             # never far ahead of the clock
            self.marks.pop(0).synchronize()
        return self.out


def rate(t, peak, warm=.02, floor=.02):
    """Learning rate at share t of the budget: linear up, flat, and from a third on down along a cosine."""
    if t < warm:
        return peak * t / warm
    return peak * (floor + (1 - floor) * .5 * (1 + math.cos(math.pi * max(0., t - .33) / .67)))


class Log:
    def __init__(self, path, seconds):
        self.f, self.start, self.seconds = open(path, "w"), time.time(), seconds

    def share(self): return (time.time() - self.start) / self.seconds

    def __call__(self, **kw):
        line = json.dumps({k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in {"seconds": time.time() - self.start, **kw}.items()})
        self.f.write(line + "\n")
        self.f.flush()
        print(line, flush=True)


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


def as_bytes(x): return ((x.float().clamp(-1, 1) * .5 + .5) * 255).round().to(torch.uint8)


def save_sheet(path, pictures, columns):
    """uint8 [n, 3, h, w] into one PNG, by zlib alone."""
    n, _, h, w = pictures.shape
    rows = (n + columns - 1) // columns
    sheet = torch.zeros(rows * h, columns * w, 3, dtype=torch.uint8)
    for i in range(n):
        sheet[i // columns * h:i // columns * h + h, i % columns * w:i % columns * w + w] = pictures[i].permute(1, 2, 0).cpu()
    raw = b"".join(b"\0" + row.numpy().tobytes() for row in sheet)
    def chunk(kind, body): return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns * w, rows * h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 6)) + chunk(b"IEND", b""))
