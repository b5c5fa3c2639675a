"""Goldens of the VAE from diffusers' AutoencoderKL on small random models: tests/golden/model/vae_*.

Weights and inputs come from the formula of seeded.py; a golden holds the stages (every STEP-th element) and the results.
"""
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "2")
import torch
from diffusers import AutoencoderKL

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import seeded

STEP = 13
BASE = dict(in_channels=3, out_channels=3, act_fn="silu", sample_size=64)
CASES = {
    # the topology of SD3 with fewer channels; odd latent sides, two pictures
    "sd3": (dict(block_out_channels=(16, 32, 64, 64), layers_per_block=2, norm_num_groups=8, latent_channels=16, scaling_factor=1.5305,
                 shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False), (2, 5, 7)),
    # quant convs, three levels, no shift, one block a level, channels that are no multiple of 16
    "quant": (dict(block_out_channels=(16, 24, 40), layers_per_block=1, norm_num_groups=8, latent_channels=4, scaling_factor=0.18215), (1, 11, 6)),
    # no attention, equal channels, many blocks, a picture wider than high
    "plain": (dict(block_out_channels=(16, 16), layers_per_block=3, norm_num_groups=4, latent_channels=8, scaling_factor=1.0, shift_factor=0.25,
                   use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False), (1, 9, 23)),
}


def main():
    torch.manual_seed(0)
    for i, (case, (config, (b, h, w))) in enumerate(CASES.items()):
        seed = 100 + i
        n = len(config["block_out_channels"])
        vae = AutoencoderKL(**BASE, **config, down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n).eval()
        weights = seeded.fill(vae, seed)
        f = 2 ** (n - 1)
        image = seeded.tensor("image", (b, 3, f * h, f * w), seed, 0.0, 0.5)
        latent = seeded.tensor("latent", (b, config["latent_channels"], h, w), seed)
        out = {}

        def keep(name):
            return lambda module, args, result: out.__setitem__("stage." + name, result.flatten()[::STEP])

        half = {"encoder": vae.encoder, "decoder": vae.decoder}
        for name, m in half.items():
            m.conv_in.register_forward_hook(keep(name + ".conv_in"))
            m.mid_block.register_forward_hook(keep(name + ".mid_block"))
            for k, block in enumerate(m.down_blocks if name == "encoder" else m.up_blocks):
                # our stage ends before the resampling, which belongs to the next
                block.resnets[-1].register_forward_hook(keep(f"{name}.level.{k}"))
        with torch.no_grad():
            posterior = vae.encode(image).latent_dist
            decoded = vae.decode(latent).sample
        out["mean"], out["logvar"], out["image"] = posterior.mean, posterior.logvar, decoded
        seeded.save("model", "vae_" + case, out, seed, "tools/golden/vae.py", vae.config, weights,
                    {"latent": [b, h, w], "stage_step": STEP})


main()
