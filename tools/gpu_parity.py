#!/usr/bin/env python3
"""Full-size modules on a GPU: tress and diffusers in half precision, both held against diffusers in float32 on the same weights.

    python tools/gpu_parity.py [--tress build/tress] [--work DIR] [--small] [--dtype f16 bf16] [transformer controlnet vae clip-l clip-g t5]

Random weights are made on the card, rounded to the type, and saved as a diffusers folder; `tress probe` reads that folder. One line of
JSON for each output: the relative distance (norm of difference over norm) of tress and of diffusers' own half-precision run from
float32, and their ratio. Exit 1 if tress is more than 1.1 times as far as diffusers, or beyond 2e-3 (f16) or 1e-2 (bf16) where
diffusers is within: with some random weights bf16 itself is further off than that.
"""
import argparse
import gc
import json
import pathlib
import shutil
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file, save_file

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
BOUND = {"f16": 2e-3, "bf16": 1e-2, "f32": 1e-5}
LARGE = dict(sample_size=128, patch_size=2, in_channels=16, num_layers=38, attention_head_dim=64, num_attention_heads=38, joint_attention_dim=4096,
             caption_projection_dim=2432, pooled_projection_dim=2048, out_channels=16, pos_embed_max_size=192, qk_norm="rms_norm")
CANNY = dict(sample_size=128, patch_size=2, in_channels=16, num_layers=19, attention_head_dim=64, num_attention_heads=38, joint_attention_dim=None,
             caption_projection_dim=2048, pooled_projection_dim=2048, out_channels=16, pos_embed_max_size=None, pos_embed_type=None,
             use_pos_embed=False, force_zeros_for_pooled_projection=False)
VAE = dict(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
           block_out_channels=[128, 256, 512, 512], layers_per_block=2, act_fn="silu", latent_channels=16, norm_num_groups=32, sample_size=1024,
           scaling_factor=1.5305, shift_factor=0.0609, force_upcast=True, use_quant_conv=False, use_post_quant_conv=False)
CLIP_L = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=49408, projection_dim=768,
              hidden_act="quick_gelu", eos_token_id=49407)
CLIP_G = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, vocab_size=49408, projection_dim=1280,
              hidden_act="gelu", eos_token_id=49407)
T5 = dict(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, vocab_size=32128, feed_forward_proj="gated-gelu")


def shrink(side):
    """The same shapes in small, to try this program where there is little memory."""
    LARGE.update(num_layers=2, num_attention_heads=2, caption_projection_dim=128, joint_attention_dim=96, pooled_projection_dim=80)
    CANNY.update(num_layers=1, num_attention_heads=2, pooled_projection_dim=80)
    VAE.update(block_out_channels=[16, 16, 32, 32], norm_num_groups=4)
    CLIP_L.update(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, projection_dim=32)
    CLIP_G.update(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, projection_dim=48)
    T5.update(d_model=96, d_ff=128, num_heads=2, num_layers=2)
    side.update(latent=16, image=64, rows=20)


SIDE = dict(latent=128, image=1024, rows=333)


def made(cls, config):
    """A model with random weights whose outputs are neither tiny nor huge."""
    torch.manual_seed(1)
    with torch.device(DEVICE):
        model = cls(config) if not isinstance(config, dict) else cls(**config)
    return model.requires_grad_(False).eval()


def random(*shape):
    return torch.randn(*shape, device=DEVICE)


def transformer(dtype):
    from diffusers import SD3Transformer2DModel
    model, n = made(SD3Transformer2DModel, LARGE), SIDE["latent"]
    x = dict(hidden_states=random(2, 16, n, n), encoder_hidden_states=random(2, SIDE["rows"], LARGE["joint_attention_dim"]),
             pooled_projections=random(2, LARGE["pooled_projection_dim"]), timestep=torch.tensor([712.5, 712.5], device=DEVICE))
    r = [0.3 * random(2, n * n // 4, LARGE["num_attention_heads"] * 64) for _ in range(CANNY["num_layers"])]
    extra = {f"residuals.{i}": t for i, t in enumerate(r)}
    run = lambda m, t: {"sample": m(**{k: v if k == "timestep" else v.to(t) for k, v in x.items()}, block_controlnet_hidden_states=[v.to(t) for v in r]).sample}
    return model, "transformer", {**x, **extra}, run, [("transformer", None)]


def controlnet(dtype):
    from diffusers import SD3ControlNetModel, SD3Transformer2DModel
    model, n = made(SD3ControlNetModel, CANNY), SIDE["latent"]
    for m in [*model.controlnet_blocks, model.pos_embed_input.proj]:            # zero until trained
        torch.nn.init.normal_(m.weight, std=m.weight[0].numel() ** -0.5)
        torch.nn.init.normal_(m.bias, std=0.1)
    embed = made(SD3Transformer2DModel, {**LARGE, "num_layers": CANNY["num_layers"]})         # tress opens it beside the ControlNet
    for p in embed.parameters():
        p.data = p.data.to(dtype).float()
    x = dict(hidden_states=random(2, 16, n, n), controlnet_cond=random(2, 16, n, n), pooled_projections=random(2, LARGE["pooled_projection_dim"]),
             timestep=torch.tensor([712.5, 712.5], device=DEVICE))

    def run(m, t):
        tokens = embed.pos_embed(x["hidden_states"]).to(t)
        out = m(hidden_states=tokens, controlnet_cond=x["controlnet_cond"].to(t), pooled_projections=x["pooled_projections"].to(t), timestep=x["timestep"])
        return {f"residuals.{i}": r for i, r in enumerate(out.controlnet_block_samples)}
    return model, "controlnet", x, run, [("controlnet", None), ("transformer", embed)]


def vae(dtype):
    from diffusers import AutoencoderKL
    model, n = made(AutoencoderKL, VAE), SIDE["image"]
    # Random convolutions shrink what goes through them; a trained one does not.
    for m in model.modules():
        if isinstance(m, torch.nn.Conv2d):
            torch.nn.init.normal_(m.weight, std=(m.weight[0].numel()) ** -0.5)
    image, latent = random(1, 3, n, n).clamp(-1, 1), random(1, 16, n // 8, n // 8)

    def run(m, t):
        moments = m.encode(image.to(t)).latent_dist
        return {"mean": moments.mean, "logvar": moments.logvar, "image": m.decode(latent.to(t)).sample}
    return model, ["vae-encode", "vae-decode"], dict(image=image, latent=latent), run, [("vae", None)]


def clip(config, folder, module):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    c = CLIPTextConfig(**config)
    model = made(CLIPTextModelWithProjection, c)
    ids = torch.randint(1, 49000, (2, 77), device=DEVICE, dtype=torch.int32)
    ids[:, 20:] = 49407

    def run(m, t):
        out = m(ids.long(), output_hidden_states=True)
        return {"hidden": out.hidden_states[-2], "pooled": out.text_embeds}
    return model, module, dict(input_ids=ids), run, [(folder, None)]


def t5(dtype):
    from transformers import T5Config, T5EncoderModel
    model = made(T5EncoderModel, T5Config(**T5))
    ids = torch.randint(1, 32000, (1, 256), device=DEVICE, dtype=torch.int32)
    run = lambda m, t: {"hidden": m(ids.long()).last_hidden_state}
    return model, "t5", dict(input_ids=ids), run, [("text_encoder_3", None)]


MODULES = {"transformer": transformer, "controlnet": controlnet, "vae": vae, "clip-l": lambda d: clip(CLIP_L, "text_encoder", "clip-l"),
           "clip-g": lambda d: clip(CLIP_G, "text_encoder_2", "clip-g"), "t5": t5}


def distance(a, b):
    a, b = a.double().cpu(), b.double().cpu()
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def compare(a, name, key):
    dtype, work, t0 = TYPES[key], pathlib.Path(a.work), time.time()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    model, probes, inputs, run, folders = MODULES[name](dtype)
    for p in model.parameters():
        p.data = p.data.to(dtype).float()
    for k, v in inputs.items():
        if v.is_floating_point() and k != "timestep":
            v.copy_(v.to(dtype).float())
    want = {k: v.float().cpu() for k, v in run(model, torch.float32).items()}
    model.to(dtype)
    half = {k: v.float().cpu() for k, v in run(model, dtype).items()}
    for folder, other in folders:
        (other.to(dtype) if other is not None else model).save_pretrained(str(work / folder), max_shard_size="100GB")
    model.cpu() if DEVICE == "cpu" else None
    del model, run, folders
    gc.collect()
    torch.cuda.empty_cache()
    save_file({k: v.contiguous().cpu() for k, v in inputs.items()}, str(work / "in.safetensors"))
    t1, got = time.time(), {}
    for probe in probes if isinstance(probes, list) else [probes]:
        command = [a.tress, "probe", probe, "--model", str(work), "--backend", a.backend, "--dtype", key, "--in", str(work / "in.safetensors"), "-o", str(work / "out.safetensors"),
                   "--control-last-block", "diffusers"]
        if probe == "controlnet":
            command += ["--control-net", str(work / "controlnet")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(json.dumps(dict(module=name, dtype=key, error=done.stderr.strip()[-400:], exit=done.returncode)), flush=True)
            return False
        got.update(load_file(str(work / "out.safetensors")))
    good, worst = True, {}
    for k, w in want.items():
        mine, theirs = distance(got[k], w), distance(half[k], w)
        part = k.split(".")[0]
        if part not in worst or not mine <= worst[part]["tress"]:
            worst[part] = dict(tress=mine, diffusers=theirs, ratio=mine / theirs if theirs else None, output=k)
        good = good and (mine <= BOUND[key] if key == "f32" else mine <= 1.1 * theirs and (mine <= BOUND[key] or theirs > BOUND[key]))
    for part, w in worst.items():
        print(json.dumps(dict(module=name, dtype=key, **w, good=good, reference_s=round(t1 - t0, 1), tress_s=round(time.time() - t1, 1))), flush=True)
    return good


def main():
    p = argparse.ArgumentParser()
    p.add_argument("module", nargs="*", default=[])
    p.add_argument("--tress", default="build/tress")
    p.add_argument("--work", default="/tmp/tress_gpu_parity")
    p.add_argument("--backend", default="cuda")
    p.add_argument("--dtype", nargs="+", default=["f16", "bf16"])
    p.add_argument("--small", action="store_true")
    a = p.parse_args()
    if a.small:
        shrink(SIDE)
    good = True
    for key in a.dtype:
        for name in a.module or MODULES:
            good &= compare(a, name, key)
    shutil.rmtree(a.work, ignore_errors=True)
    return 0 if good else 1


sys.exit(main())
