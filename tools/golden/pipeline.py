"""The whole pipeline on make_model's tiny model: words, sketch, ControlNet, guidance, VAE, by diffusers in fp32.

Writes tests/golden/api/pipeline-KIND.*: encodings of the prompt, the starting noise's first values, final latents and pixels.
    cd tools/golden && python pipeline.py [BUILD]        BUILD holds make_model; ../../build unless given
The model is made by `make_model --preset PRESET --seed 5 --dtype f32`, as the test makes it, and the sketch is three bars, as the
test draws it. The control latent is the posterior's mean (diffusers draws it from the global generator).
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from diffusers import SD3ControlNetModel, StableDiffusion3ControlNetPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

import seeded

PRESETS = {"tiny": "tiny", "medium": "sd35-medium-tiny", "instantx": "instantx-tiny"}
PROMPT, NEGATIVE = "long wavy red hair, 37 braids", "grey"
W, H, STEPS, CFG, SEED = 96, 80, 6, 4.5, 1234


def sketch():
    a = np.zeros((H, W, 3), np.float32)
    for i in range(3):
        a[20:64, 30 + 14 * i:32 + 14 * i] = 1
    return torch.from_numpy(a).permute(2, 0, 1)[None] * 2 - 1


@torch.no_grad()
def main():
    build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(seeded.ROOT, "build")
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    for kind, preset in PRESETS.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(build, "make_model"), "--preset", preset, "--seed", "5", "--dtype", "f32", folder + "/m"],
                           check=True, stdout=subprocess.DEVNULL)
            control = SD3ControlNetModel.from_pretrained(folder + "/m/controlnet", torch_dtype=torch.float32)
            pipe = StableDiffusion3ControlNetPipeline.from_pretrained(folder + "/m", controlnet=control, torch_dtype=torch.float32)
            pipe.set_progress_bar_config(disable=True)
            embeds, _, pooled, _ = pipe.encode_prompt(PROMPT, None, None, do_classifier_free_guidance=False, device="cpu")
            latents = pipe(PROMPT, negative_prompt=NEGATIVE, control_image=sketch(), width=W, height=H, num_inference_steps=STEPS,
                           guidance_scale=CFG, generator=torch.Generator().manual_seed(SEED), output_type="latent").images
            raw = latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
            pixels = pipe.image_processor.postprocess(pipe.vae.decode(raw, return_dict=False)[0], output_type="np")[0]
            seeded.save("api", "pipeline-" + kind, {
                "encoder_hidden_states": embeds.reshape(-1)[::7], "pooled_projections": pooled, "latents": latents,
                "pixels": torch.from_numpy((pixels * 255).round().astype(np.uint8)),
            }, SEED, "tools/golden/pipeline.py", more=dict(preset=preset, prompt=PROMPT, negative=NEGATIVE, size=[W, H], steps=STEPS, cfg_scale=CFG))


if __name__ == "__main__":
    main()
