"""Random weights and inputs by the formula of tests/seeded.h, and goldens written the one way.

Philox 4x32-10 (Salmon et al. 2011), key FNV-1a-64(name) ^ seed, counter (i // 4, 0); normals by Box-Muller in float64.
"""
import hashlib
import json
import os
import platform

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
M64 = (1 << 64) - 1


def key(name, seed):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & M64
    return h ^ (seed & M64)


def philox(k, n_block, stream=0):
    """uint32 [n_block, 4]: blocks 0..n_block-1 of the stream."""
    i = np.arange(n_block, dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c0, c1 = i & low, i >> np.uint64(32)
    c2 = np.full(n_block, stream & 0xFFFFFFFF, np.uint64)
    c3 = np.full(n_block, stream >> 32 & 0xFFFFFFFF, np.uint64)
    k0, k1 = k & 0xFFFFFFFF, k >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c2 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & low, p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], 1).astype(np.uint32)


def normal(name, shape, seed, mean=0.0, std=1.0):
    """float32 array of that shape."""
    n = int(np.prod(shape, dtype=np.int64))
    w = philox(key(name, seed), (n + 3) // 4).astype(np.float64)
    r = np.sqrt(-2.0 * np.log((w[:, 0::2] + 0.5) * 2.0**-32))
    theta = 6.283185307179586476925286766559 * (w[:, 1::2] * 2.0**-32)
    z = np.stack([r * np.cos(theta), r * np.sin(theta)], 2).reshape(-1)[:n].astype(np.float32)
    return (mean + std * z.astype(np.float64)).astype(np.float32).reshape(shape)


def weight(name, shape, seed):
    shape = tuple(shape)
    if len(shape) == 1 and name.endswith("weight"):
        return normal(name, shape, seed, 1.0, 0.1)
    if len(shape) <= 1:
        return normal(name, shape, seed, 0.0, 0.1)
    return normal(name, shape, seed, 0.0, 1 / np.sqrt(float(np.prod(shape[1:], dtype=np.int64))))


def fill(module, seed, prefix=""):
    """Set every parameter and float buffer in module's state dict; returns {name: [extents]} for the golden's json.
    Of tied tensors the first name counts."""
    import torch

    shapes, seen = {}, set()
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if not t.is_floating_point() or t.data_ptr() in seen:
                continue
            seen.add(t.data_ptr())
            t.copy_(torch.from_numpy(weight(prefix + name, t.shape, seed)))
            shapes[prefix + name] = list(t.shape)
    return shapes


def tensor(name, shape, seed, mean=0.0, std=1.0):
    import torch

    return torch.from_numpy(normal(name, shape, seed, mean, std))


def save(room, case, tensors, seed, tool, config=None, weights=None, more=None):
    """tests/golden/<room>/<case>.safetensors and .json. tensors: {name: tensor or array}; `more` joins the json."""
    import diffusers
    import torch
    import transformers
    from safetensors.torch import save_file

    folder = os.path.join(ROOT, "tests", "golden", room)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, case + ".safetensors")
    tensors = {k: torch.as_tensor(v).detach().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, path)
    os.chmod(path, 0o644)
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    note = {
        "tool": tool,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__,
                     "transformers": transformers.__version__},
        "seed": seed,
        "dtype": sorted({str(t.dtype).replace("torch.", "") for t in tensors.values()}),
        "sha256": digest,
    }
    if config is not None:
        note["config"] = {k: v for k, v in dict(config).items() if not k.startswith("_") or k == "_class_name"}
    if weights is not None:
        note["weights"] = weights
    note.update(more or {})
    with open(os.path.join(folder, case + ".json"), "w") as f:
        json.dump(note, f, indent=1, sort_keys=True)
        f.write("\n")
    print(f"{room}/{case}: {os.path.getsize(path)} bytes, {digest[:12]}")


if __name__ == "__main__":
    for v in normal("a.weight", 6, 7):
        print(repr(float(v)))
