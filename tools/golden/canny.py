#!/usr/bin/env python3
"""Edges by OpenCV. Writes tests/golden/image/canny.{safetensors,json}.

in.N [h, w] U8; out.K [ceil(h w / 8)] U8: bits of case K, most significant first; case: input, sigma (0: no blur), low, high."""
import hashlib
import json
import pathlib

import cv2
import numpy as np
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/image"
rng = np.random.default_rng(5)


def pictures():
    y, x = np.mgrid[0:150, 0:200]
    a = 127 + 100 * np.sin(x / 9.0) * np.cos(y / 13.0) + rng.normal(0, 8, x.shape)                # soft shapes and noise
    b = np.zeros((240, 256), np.uint8)                                                            # strokes of all directions
    for i in range(40):
        p, q = rng.integers(0, 240, 2), rng.integers(0, 240, 2)
        cv2.line(b, tuple(map(int, p)), tuple(map(int, q)), int(rng.integers(60, 256)), int(rng.integers(1, 5)), cv2.LINE_AA)
    c = rng.integers(0, 256, (61, 47))                                                            # nothing but noise
    d = np.zeros((33, 35)); d[:, 17:] = 255; d[20:, :9] = 128                                     # plateaus: ties
    e = rng.integers(0, 256, (1, 9)); f = rng.integers(0, 256, (7, 1)); g = rng.integers(0, 256, (3, 2))
    return [np.clip(v, 0, 255).astype(np.uint8) for v in (a, b, c, d, e, f, g)]


def main():
    tensors, cases = {}, []
    for i, a in enumerate(pictures()):
        tensors[f"in.{i}"] = a
        for sigma in (0, 0.6, 1.0, 1.4, 2.5):
            for low, high in ((100, 200), (10, 30), (200, 100)):
                s = cv2.GaussianBlur(a, (0, 0), sigma) if sigma else a
                out = cv2.Canny(s, low, high)
                tensors[f"out.{len(cases)}"] = np.packbits(out > 0)
                cases.append(dict(input=i, sigma=sigma, low=low, high=high, edges=int((out > 0).sum())))
    save_file(tensors, ROOT / "canny.safetensors", metadata={"tool": "tools/golden/canny.py"})
    digest = hashlib.sha256((ROOT / "canny.safetensors").read_bytes()).hexdigest()
    (ROOT / "canny.json").write_text(json.dumps(dict(tool="tools/golden/canny.py", opencv=cv2.__version__, seed=5, dtype="U8", sha256=digest, cases=cases), indent=1) + "\n")


main()
