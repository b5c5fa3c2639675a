#!/usr/bin/env python3
"""A live diffusers pipeline and `tress generate` on the same folder, prompt, sketch and seed: how far apart are they?

    python tools/parity.py [--model FOLDER | --preset mini] [--prompt TEXT] [--sketch S.png] [--steps 28] [--cfg-scale 4.5] [--seed 1]

StableDiffusion3ControlNetPipeline runs in float32 on the CPU. Two things are brought into line, both of them choices and not
numerics: the control latent is the posterior's mean in both (diffusers draws it from the global generator), and tress uses
`--control-image raw --control-range signed --control-last-block diffusers`, which is what diffusers does to a picture.
The starting noise is not brought into line: each makes its own from the seed. Exit 0 if the final latents are within --bound
(relative, norm of difference over norm) of each other.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from diffusers import SD3ControlNetModel, StableDiffusion3ControlNetPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageDraw
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[1]


def drawn_sketch(path, width, height):
    img = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(img)
    for i in range(14):
        x = width * (i + 3) / 20
        pen.line([(x, height * 0.1), (x - width * 0.06, height * 0.5), (x + width * 0.03, height * 0.92)], fill=(255, 255, 255), width=2)
    img.save(path)


def diffusers_side(a, sketch):
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    control = SD3ControlNetModel.from_pretrained(a.model + "/controlnet", torch_dtype=torch.float32)
    pipe = StableDiffusion3ControlNetPipeline.from_pretrained(a.model, controlnet=control, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(a.prompt, negative_prompt=a.negative, control_image=Image.open(sketch).convert("RGB"), width=a.width, height=a.height,
                   num_inference_steps=a.steps, guidance_scale=a.cfg_scale, controlnet_conditioning_scale=a.control_strength,
                   control_guidance_start=a.control_start, control_guidance_end=a.control_end, num_images_per_prompt=a.batch,
                   generator=torch.Generator().manual_seed(a.seed), output_type="latent").images
    with torch.no_grad():
        raw = latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
        pixels = pipe.image_processor.postprocess(pipe.vae.decode(raw, return_dict=False)[0], output_type="np")
    return latents, (pixels * 255).round().astype(np.uint8)


def tress_side(a, sketch, work):
    out, latents = work / "out.png", work / "latents.safetensors"
    command = [a.tress, "generate", "--model", a.model, "--sketch", sketch, "-p", a.prompt, "-n", a.negative, "--size", f"{a.width}x{a.height}",
               "--steps", a.steps, "--cfg-scale", a.cfg_scale, "-s", a.seed, "-b", a.batch, "--control-strength", a.control_strength,
               "--control-start", a.control_start, "--control-end", a.control_end, "--control-image", "raw", "--control-range", "signed",
               "--control-last-block", "diffusers", "--latents-out", latents, "-o", out]
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    names = [out] if a.batch == 1 else [work / f"out-{i + 1}.png" for i in range(a.batch)]
    return load_file(latents)["latents"], np.stack([np.asarray(Image.open(n)) for n in names])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=None, help="a diffusers folder with a controlnet/ in it; made by make_model unless given")
    p.add_argument("--preset", default="mini")
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--sketch", default=None)
    p.add_argument("--prompt", default="long wavy red hair, studio light")
    p.add_argument("--negative", default="")
    p.add_argument("--width", type=int, default=256)
    p.add_argument("--height", type=int, default=256)
    p.add_argument("--steps", type=int, default=28)
    p.add_argument("--cfg-scale", type=float, default=4.5)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--control-strength", type=float, default=1.0)
    p.add_argument("--control-start", type=float, default=0.0)
    p.add_argument("--control-end", type=float, default=1.0)
    p.add_argument("--bound", type=float, default=1e-3)
    a = p.parse_args()
    a.tress = str(pathlib.Path(a.build) / "tress")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if a.model is None:
            a.model = str(work / "model")
            subprocess.run([pathlib.Path(a.build) / "make_model", "--preset", a.preset, "--dtype", "f32", "--seed", "1", a.model], check=True, stdout=subprocess.DEVNULL)
        sketch = a.sketch
        if sketch is None:
            sketch = work / "sketch.png"
            drawn_sketch(sketch, a.width, a.height)
        ours, our_pixels = tress_side(a, sketch, work)
        theirs, their_pixels = diffusers_side(a, sketch)
    error = float((ours.double() - theirs.double()).norm() / theirs.double().norm())
    apart = np.abs(our_pixels.astype(int) - their_pixels.astype(int))
    print(f"{a.preset if a.model.endswith('/model') else a.model}: {a.steps} steps, guidance {a.cfg_scale}, seed {a.seed}, {a.batch} x {a.width}x{a.height}")
    print(f"final latent   relative difference {error:.3e}, bound {a.bound:g}")
    print(f"pixels         differ by {apart.max()} / 255 at most, {apart.mean():.4f} on average; {100 * (apart.max(-1) == 0).mean():.2f} % are equal")
    return 0 if error <= a.bound else 1


if __name__ == "__main__":
    sys.exit(main())
