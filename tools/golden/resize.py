#!/usr/bin/env python3
"""Resampled and transformed pictures by Pillow. Writes tests/golden/image/resize.{safetensors,json}.

in.N [h, w, c] U8; out.K [h, w, c] U8 is case K of the .json: input, filter, size, box, or an affine map."""
import hashlib
import json
import pathlib

import numpy as np
import PIL
from PIL import Image
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/image"
FILTER = dict(nearest=Image.Resampling.NEAREST, box=Image.Resampling.BOX, bilinear=Image.Resampling.BILINEAR, bicubic=Image.Resampling.BICUBIC,
              lanczos=Image.Resampling.LANCZOS)
rng = np.random.default_rng(11)


def pictures():
    y, x = np.mgrid[0:47, 0:61]
    a = np.stack([x * 4, 255 - y * 5, (x * y) % 256], -1)
    a[10:30, 15:40] = 255                                             # hard edges: overshoot must be clamped alike
    a[20:25, 5:55] = 0
    b = (rng.random((33, 40, 1)) < 0.3) * 255                         # the worst case: salt and pepper
    c = rng.integers(0, 256, (5, 3, 3))
    d = np.zeros((300, 400, 1))
    yy, xx = np.mgrid[0:300, 0:400]
    d[..., 0] = 127.5 + 127.5 * np.sin((xx * xx + yy * yy) / 900.0)   # zone plate
    return [v.astype(np.uint8) for v in (a, b, c, d)]


def image(a):
    return Image.fromarray(a[..., 0] if a.shape[-1] == 1 else a)


def main():
    tensors, cases = {}, []
    ins = pictures()
    for i, a in enumerate(ins):
        tensors[f"in.{i}"] = a

    def add(i, filter, size, box=None):
        im = image(ins[i]).resize(size, FILTER[filter], box=box)
        tensors[f"out.{len(cases)}"] = np.asarray(im).reshape(size[1], size[0], -1)
        cases.append(dict(input=i, filter=filter, width=size[0], height=size[1], box=list(box or (0, 0, ins[i].shape[1], ins[i].shape[0]))))

    for f in FILTER:
        for size in ((31, 20), (1, 1), (61, 47), (7, 5), (17, 60), (90, 70), (61, 20), (30, 47)):
            add(0, f, size)
        for size in ((20, 16), (13, 11), (64, 64)):
            add(1, f, size)
        for size in ((3, 5), (2, 2), (16, 16)):
            add(2, f, size)
        add(3, f, (64, 48))
        add(3, f, (57, 111))
        add(0, f, (20, 20), (10, 5, 50, 45))
        add(0, f, (25, 31), (3.25, 7.5, 44.75, 40.125))
        add(1, f, (40, 40), (8.5, 8.5, 24.5, 24.5))
    affine = []
    for i, f, size, m in ((0, "bilinear", (61, 47), (0.9, 0.2, 3.0, -0.2, 0.9, 8.0)), (0, "nearest", (61, 47), (0.9, 0.2, 3.0, -0.2, 0.9, 8.0)),
                          (1, "bilinear", (80, 66), (0.5, 0, 0, 0, 0.5, 0)), (3, "bilinear", (100, 100), (0.0, 1.0, 10.0, -1.0, 0.0, 200.0))):
        im = image(ins[i]).transform(size, Image.Transform.AFFINE, m, FILTER[f], fillcolor=0)
        tensors[f"affine.{len(affine)}"] = np.asarray(im).reshape(size[1], size[0], -1)
        affine.append(dict(input=i, filter=f, width=size[0], height=size[1], map=list(m)))
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    save_file(tensors, ROOT / "resize.safetensors", metadata={"tool": "tools/golden/resize.py"})
    digest = hashlib.sha256((ROOT / "resize.safetensors").read_bytes()).hexdigest()
    (ROOT / "resize.json").write_text(json.dumps(dict(tool="tools/golden/resize.py", pillow=PIL.__version__, seed=11, dtype="U8", sha256=digest, cases=cases,
                                                      affine=affine), indent=1) + "\n")


main()
