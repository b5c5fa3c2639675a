#!/usr/bin/env python3
"""tress against diffusers + PyTorch on this CPU: the same weights, the same thread count, one run, medians.

    python bench/cpu_vs_diffusers.py [--build build] [--threads 2] [--repeat 5] [--only step,decode,block,first] [--markdown]

What is timed, for both:
    step    one guided step of the small model (make_model --preset mini) at 256x256: ControlNet and transformer on both branches in
            one batch of two, 256 image tokens, 333 text rows
    decode  its VAE, latent 32x32 -> 256x256 pixels
    block   one transformer block of SD3.5-Large's width, 1024 image tokens and 333 text rows, batch 1
    first   process start to the end of the first step: import, load, words of both prompts, sketch through the VAE, one step
    memory  peak resident set of that process, mapped weight pages counted

PyTorch runs in float32, which is its fastest type for exact results on CPUs without AMX; --peer-dtype bfloat16 shows the other.
tress reads the same weights, and a float16 copy of them (how models are shipped), and computes in float32 either way. p is the share of time PyTorch spends inside its own matrix products (aten::addmm, mm, bmm,
convolutions; attention kept apart) by torch.profiler: no more than 1 / p can be had by anybody whose products are as
fast, so the figure to reach is min(2, 0.9 / p).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::mkldnn_convolution", "aten::_slow_conv2d_forward",
            "aten::thnn_conv2d", "aten::_convolution", "mkldnn::_linear_pointwise", "aten::mkldnn_linear")
ATTENTION = ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_softmax")
PROMPT = "long wavy red hair"
SIDE, ROWS = 32, 333


# ---- the peer, each in a process of its own ----------------------------------------------------------------
def peer_time(run, repeat):
    """Median milliseconds, share of products, share of attention."""
    import torch

    run()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as prof:
        for _ in range(3):
            run()
    rows = prof.key_averages()
    total = sum(r.self_cpu_time_total for r in rows)
    share = lambda names: sum(r.self_cpu_time_total for r in rows if r.key in names) / total
    return dict(ms=statistics.median(times), p=share(PRODUCTS), attention=share(ATTENTION))


def peer(args):
    import torch

    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.peer_dtype)
    torch.manual_seed(1)
    with torch.no_grad():
        if args.peer == "step":
            from diffusers import SD3ControlNetModel, SD3Transformer2DModel

            net = SD3Transformer2DModel.from_pretrained(args.model, subfolder="transformer", torch_dtype=dtype).eval()
            control = SD3ControlNetModel.from_pretrained(args.model, subfolder="controlnet", torch_dtype=dtype).eval()
            c = net.config
            x = torch.randn(1, 16, SIDE, SIDE, dtype=dtype)
            words, pooled = torch.randn(2, ROWS, c.joint_attention_dim, dtype=dtype), torch.randn(2, c.pooled_projection_dim, dtype=dtype)
            condition = torch.randn(2, 16, SIDE, SIDE, dtype=dtype)
            t = torch.full((2,), 700.0)

            def run():
                two = torch.cat([x] * 2)
                r = control(hidden_states=net.pos_embed(two), controlnet_cond=condition, pooled_projections=pooled, timestep=t,
                            conditioning_scale=1.0, return_dict=False)[0]
                v = net(hidden_states=two, timestep=t, encoder_hidden_states=words, pooled_projections=pooled,
                        block_controlnet_hidden_states=r, return_dict=False)[0]
                vu, vc = v.chunk(2)
                return vu + 4.5 * (vc - vu)
        elif args.peer == "decode":
            from diffusers import AutoencoderKL

            vae = AutoencoderKL.from_pretrained(args.model, subfolder="vae", torch_dtype=dtype).eval()
            z = torch.randn(1, 16, SIDE, SIDE, dtype=dtype)

            def run():
                return vae.decode(z, return_dict=False)[0]
        else:
            from diffusers.models.attention import JointTransformerBlock

            d = 38 * 64
            block = JointTransformerBlock(dim=d, num_attention_heads=38, attention_head_dim=64, qk_norm="rms_norm").to(dtype).eval()
            x, words, temb = torch.randn(1, 1024, d, dtype=dtype), torch.randn(1, ROWS, d, dtype=dtype), torch.randn(1, d, dtype=dtype)

            def run():
                return block(hidden_states=x, encoder_hidden_states=words, temb=temb)
        print(json.dumps(peer_time(run, args.repeat)))


def peer_first(args):
    """As a user would write it; ends when the first step is done."""
    import torch
    from diffusers import SD3ControlNetModel, StableDiffusion3ControlNetPipeline
    from PIL import Image

    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.peer_dtype)
    control = SD3ControlNetModel.from_pretrained(args.model + "/controlnet", torch_dtype=dtype)
    pipe = StableDiffusion3ControlNetPipeline.from_pretrained(args.model, controlnet=control, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)

    def done(*_):
        print(json.dumps({}), flush=True)
        os._exit(0)

    pipe(PROMPT, control_image=Image.open(args.sketch).convert("RGB"), width=256, height=256, num_inference_steps=28, guidance_scale=4.5,
         generator=torch.Generator().manual_seed(1), callback_on_step_end=done)


# ---- both sides --------------------------------------------------------------------------------------------
def measured(command, env=None):
    """Wall seconds, peak MiB, last JSON line of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return wall, usage.ru_maxrss / 1024, json.loads(lines[-1])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", default=str(ROOT / "build"))
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--repeat", type=int, default=5)
    a.add_argument("--only", default="step,decode,block,first")
    a.add_argument("--peer-dtype", default="float32")
    a.add_argument("--tress-only", action="store_true", help="do not run the peer")
    a.add_argument("--markdown", action="store_true")
    a.add_argument("--work", default=None, help="folder for the models; a temporary one unless given, kept when given")
    a.add_argument("--peer", default=None, help=argparse.SUPPRESS)
    a.add_argument("--model", default=None, help=argparse.SUPPRESS)
    a.add_argument("--sketch", default=None, help=argparse.SUPPRESS)
    args = a.parse_args()
    if args.peer:
        return peer_first(args) if args.peer == "first" else peer(args)

    build = pathlib.Path(args.build)
    held = None if args.work else tempfile.TemporaryDirectory()
    work = pathlib.Path(args.work or held.name)
    work.mkdir(parents=True, exist_ok=True)
    only = args.only.split(",")

    def model(name, preset, dtype, *more):
        folder = work / name
        if not folder.exists():
            subprocess.run([build / "make_model", "--preset", preset, "--dtype", dtype, "--seed", "1", *more, folder], check=True, stdout=subprocess.DEVNULL)
        return str(folder)

    sketch = work / "sketch.ppm.png"
    if "first" in only and not sketch.exists():
        from PIL import Image, ImageDraw

        img = Image.new("RGB", (256, 256))
        for i in range(12):
            ImageDraw.Draw(img).line([(60 + 10 * i, 20), (40 + 14 * i, 120), (70 + 9 * i, 240)], fill=(255, 255, 255), width=2)
        img.save(sketch)

    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), MKL_NUM_THREADS=str(args.threads))
    me = [sys.executable, __file__, "--threads", str(args.threads), "--repeat", str(args.repeat), "--peer-dtype", args.peer_dtype]
    bench = str(build / "bench_cpu")
    rows = []

    def tress(what, folder):
        return measured([bench, what, folder, str(args.threads), str(args.repeat)], env)[2]["ms"]

    for what in ("step", "decode", "block"):
        if what not in only:
            continue
        preset = "wide" if what == "block" else "mini"
        more = ("--modules", "transformer") if what == "block" else ()
        f16 = tress(what, model(preset + "-f16", preset, "f16", *more))
        folder = model(preset + "-f32", preset, "f32", *more)
        f32 = tress(what, folder)
        other = None if args.tress_only else measured([*me, "--peer", what, "--model", folder], env)[2]
        rows.append((what, f32, f16, other))
        if what == "block" and held:                              # two gigabytes that nobody needs any more
            for name in ("wide-f16", "wide-f32"):
                subprocess.run(["rm", "-r", work / name], check=True)
    print(f"{args.threads} threads, medians of {args.repeat}; PyTorch in {args.peer_dtype}")
    line = "| {:8} | {:>10} | {:>10} | {:>12} | {:>7} | {:>11} | {:>7} | {:>7} |" if args.markdown else "{:8} {:>12} {:>12} {:>14} {:>8} {:>13} {:>8} {:>8}"
    print(line.format("", "tress f32", "tress f16", "diffusers", "p", "attention", "ratio", "reach"))
    if args.markdown:
        print("|---" * 8 + "|")
    for what, f32, f16, other in rows:
        if other:
            reach = (1.0 if what == "block" else 2.0, 0.9 / other["p"])
            print(line.format(what, f"{f32:.1f} ms", f"{f16:.1f} ms", f"{other['ms']:.1f} ms", f"{other['p']:.2f}", f"{other['attention']:.2f}",
                              f"{other['ms'] / min(f32, f16):.2f}x", f"{min(reach):.2f}x"))
        else:
            print(line.format(what, f"{f32:.1f} ms", f"{f16:.1f} ms", "", "", "", "", ""))
    if "first" in only:
        walls, peaks = {}, {}
        folders = {"tress f32": model("mini-f32", "mini", "f32"), "tress f16": model("mini-f16", "mini", "f16")}
        for name, folder in folders.items():
            runs = [measured([bench, "first", folder, str(sketch), str(args.threads)], env) for _ in range(args.repeat + 1)][1:]
            walls[name], peaks[name] = statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)
        if not args.tress_only:
            runs = [measured([*me, "--peer", "first", "--model", folders["tress f32"], "--sketch", str(sketch)], env) for _ in range(args.repeat + 1)][1:]
            walls["peer"], peaks["peer"] = statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)
        for title, v, unit, scale, reach in (("first", walls, "ms", 1000, "20.00x"), ("memory", peaks, "MiB", 1, "3.00x")):
            best = min(v["tress f32"], v["tress f16"])
            other = v.get("peer")
            print(line.format(title, f"{v['tress f32'] * scale:.0f} {unit}", f"{v['tress f16'] * scale:.0f} {unit}", f"{other * scale:.0f} {unit}" if other else "",
                              "", "", f"{other / best:.2f}x" if other else "", reach if other else ""))


if __name__ == "__main__":
    main()
