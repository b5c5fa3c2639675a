"""Sigma tables of diffusers' FlowMatchEulerDiscreteScheduler: n = 1..100, shifts 1 and 3, and its other spacings.

Writes tests/golden/diffusion/schedule.safetensors and .json. Tables are laid end to end, n + 1 values for each n.
"""
import hashlib
import json
import pathlib

import diffusers
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/diffusion"
KINDS = {
    "shift_1": dict(shift=1.0),
    "shift_3": dict(shift=3.0),
    "karras": dict(shift=3.0, use_karras_sigmas=True),
    "exponential": dict(shift=3.0, use_exponential_sigmas=True),
    "terminal": dict(shift=3.0, shift_terminal=0.1),
}


def table(n, **config):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, **config)
    scheduler.set_timesteps(n)
    return scheduler.sigmas.numpy().astype(np.float32)


def main():
    tensors = {k: np.concatenate([table(n, **c) for n in range(1, 101)]) for k, c in KINDS.items()}
    # img2img: where it begins in the table, get_timesteps of the SD3 pipelines
    cases = [(n, s / 100) for n in (1, 4, 10, 28, 33, 100) for s in range(0, 101, 5)]
    begin = [int(max(n - min(n * s, n), 0)) for n, s in cases]
    tensors["img2img.n"] = np.array([n for n, _ in cases], np.int32)
    tensors["img2img.strength"] = np.array([s for _, s in cases], np.float64)
    tensors["img2img.begin"] = np.array(begin, np.int32)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "schedule.safetensors"
    save_file(tensors, path)
    meta = dict(tool="tools/golden/schedule.py", diffusers=diffusers.__version__, torch=torch.__version__,
                seed=None, dtype="F32", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    path.with_suffix(".json").write_text(json.dumps(meta, indent=2) + "\n")


if __name__ == "__main__":
    main()
