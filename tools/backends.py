#!/usr/bin/env python3
"""One model on the CPU and on a GPU, module by module, and a whole drawing: how far apart are they?

    python tools/backends.py [--tress build/tress] [--model models/mini] [--sketch S.png] [--photo P.png --matte M.png] [--dtype f32 f16 bf16]

`tress probe` runs each module on the same random inputs, on the CPU in f32 and on the GPU; `tress generate` draws 20 guided steps, without a
photo and with one in each way of referring to it; `tress train` learns for 20 on pictures of `tress synth`, is stopped after 10 and goes on.
One line of JSON for each: norm of difference over norm. Exit 1 beyond 2e-5 (f32), 5e-3 (f16), 4e-2 (bf16) for a module or the losses of a run,
or ten times that for the final latents, which add up twenty steps, or if the run that was stopped has another LoRA than the one that was not.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

BOUND = {"f32": 2e-5, "f16": 5e-3, "bf16": 4e-2}


def configs(model):
    read = lambda part: json.loads((model / part / "config.json").read_text())
    return read("transformer"), read("vae")


def inputs(model):
    t, v = configs(model)
    g = np.random.default_rng(1)
    n = t["sample_size"]
    f = lambda *shape: g.standard_normal(shape).astype(np.float32)
    time = np.array([640.0, 40.0], np.float32)
    latent = dict(hidden_states=f(2, 16, n, n), pooled_projections=f(2, t["pooled_projection_dim"]), timestep=time)
    ids = np.minimum(g.integers(3, 900, (1, 77)), 2000).astype(np.int32)
    return {
        "transformer": dict(latent, encoder_hidden_states=f(2, 90, t["joint_attention_dim"])),
        "controlnet": dict(latent, controlnet_cond=f(2, 16, n, n)),
        "vae-encode": dict(image=np.clip(f(1, 3, 8 * n, 8 * n), -1, 1)),
        "vae-decode": dict(latent=f(1, 16, n, n)),
        "train-step": dict(latents=f(2, 16, n, n), control=f(2, 16, n, n), noise=f(2, 16, n, n), mask=g.random((2, 1, n, n)).astype(np.float32),
                           sigma=np.array([0.3, 0.8], np.float32)),
        "clip-l": dict(input_ids=ids), "clip-g": dict(input_ids=ids), "t5": dict(input_ids=ids),
    }


def far(a, b):
    if "loss" in b:     # a training step: the loss, and all gradients as one; the adapters after it are AdamW's first step, the gradient's sign
        whole = lambda t: np.concatenate([t[k].ravel() for k in sorted(t) if k.startswith("grad.")])
        a, b = dict(loss=a["loss"], grad=whole(a)), dict(loss=b["loss"], grad=whole(b))
    return max(float(np.linalg.norm(a[k].astype(np.float64) - b[k]) / np.linalg.norm(b[k].astype(np.float64))) for k in b)


def train(a, work, tell):
    losses = lambda where: np.array([json.loads(line)["loss"] for line in open(f"{work}/{where}/metrics.jsonl") if '"loss"' in line])
    subprocess.run([a.tress, "synth", "-o", f"{work}/data", "--style", "braids", "-n", "12", "-q"], check=True, stdout=subprocess.DEVNULL)

    def run(out, where, *more):
        command = [a.tress, "train", "--model", str(a.model), "--backend", where, "-o", f"{work}/{out}", "-q", *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(json.dumps(dict(what="train", run=out, backend=where, error=done.stderr.strip()[-300:])), flush=True)
        return done.returncode == 0

    fresh = ["--data", f"{work}/data", "--batch", "2", "--learning-rate", "1e-3", "--validate-every", "10", "--sample-every", "0", "--save-every", "5"]
    if not run("cpu", "cpu", *fresh, "--steps", "20"):
        return False
    good = True
    for dtype in a.dtype:
        precision = dict(f32="no", f16="fp16", bf16="bf16")[dtype]
        if not run(dtype, "cuda", *fresh, "--steps", "20", "--mixed-precision", precision):
            good = False
            continue
        tell("train", dtype, float(np.linalg.norm(losses(dtype) - losses("cpu")) / np.linalg.norm(losses("cpu"))), BOUND[dtype])
        lora = [pathlib.Path(f"{work}/{where}/lora.safetensors") for where in (dtype, dtype + "-stopped")]
        whole = (run(dtype + "-stopped", "cuda", *fresh, "--steps", "10", "--mixed-precision", precision, "--latent-cache", f"{work}/{dtype}/latents")
                 and run(dtype + "-stopped", "cuda", "--resume", "latest", "--steps", "20") and lora[0].read_bytes() == lora[1].read_bytes())
        print(json.dumps(dict(what="resume", dtype=dtype, same_bytes=bool(whole))), flush=True)
        good = good and whole
    return good


def drawings(a):
    plain = ["generate", "--sketch", a.sketch, "-p", "long wavy red hair", "--steps", "20", "-s", "3"]
    photo = [*plain, "--photo", a.photo, "--matte", a.matte]
    return {
        "generate": plain,
        "generate clean": [*photo, "--reference", "clean", "--control-strength-outside", "0.5"],
        "generate staircase": [*photo, "--reference", "staircase", "-b", "2"],
        "generate noised": [*photo, "--reference", "noised", "--colour-start", "0.92", "--colour-guide", "0.3"],
        "generate edit": [*photo, "--reference", "clean", "--draw-tokens", "edit", "--colour-reference", "0.5"],
    }


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tress", default="build/tress")
    p.add_argument("--model", default="models/mini", type=pathlib.Path)
    p.add_argument("--sketch", default="examples/sketch/bob.png")
    p.add_argument("--photo", default="examples/photo/ada.png")
    p.add_argument("--matte", default="examples/matte/bob.png")
    p.add_argument("--dtype", nargs="+", default=["f32", "f16", "bf16"])
    a = p.parse_args()
    good = True

    def tell(what, dtype, distance, bound):
        nonlocal good
        good = good and distance <= bound
        print(json.dumps(dict(what=what, dtype=dtype, distance=distance, bound=bound)), flush=True)

    with tempfile.TemporaryDirectory() as work:
        def run(args, where, dtype, out):
            command = [a.tress, *args, "--model", str(a.model), "--backend", where, "--dtype", dtype, "-q"]
            done = subprocess.run([*command, *out], capture_output=True, text=True)
            if done.returncode:
                print(json.dumps(dict(what=args[1] if len(args) > 1 else args[0], dtype=dtype, backend=where, error=done.stderr.strip()[-300:])), flush=True)
            return done.returncode == 0

        for module, tensors in inputs(a.model).items():
            save_file(tensors, f"{work}/in.safetensors")
            args = ["probe", module, "--in", f"{work}/in.safetensors"]
            if not run(args, "cpu", "f32", ["-o", f"{work}/cpu.safetensors"]):
                good = False
                continue
            for dtype in a.dtype:
                if run(args, "cuda", dtype, ["-o", f"{work}/gpu.safetensors"]):
                    tell(module, dtype, far(load_file(f"{work}/gpu.safetensors"), load_file(f"{work}/cpu.safetensors")), BOUND[dtype])
                else:
                    good = False
        for what, args in drawings(a).items():
            first = run(args, "cpu", "f32", ["--latents-out", f"{work}/cpu.safetensors", "-o", f"{work}/cpu.png"])
            good = good and first
            for dtype in a.dtype if first else []:
                if run(args, "cuda", dtype, ["--latents-out", f"{work}/gpu.safetensors", "-o", f"{work}/gpu.png"]):
                    tell(what, dtype, far(load_file(f"{work}/gpu.safetensors"), load_file(f"{work}/cpu.safetensors")), 10 * BOUND[dtype])
                else:
                    good = False
        good = train(a, work, tell) and good
    return 0 if good else 1


sys.exit(main())
