#!/usr/bin/env python3
"""A training step of tress beside the same step in PyTorch + diffusers + PEFT, and a LoRA of tress in other programs' hands.

    python tools/train_parity.py [--model models/mini] [--tress build/tress] [--only step,file] [--size 32] [--batch 2] [--rank 16]
                                 [--zero-text-rows 333] [--mask-normalize per-sample] [--control-last-block vendor] [--lora FILE]

step    `tress probe train-step` on random latents, control latents, noise, soft mask and sigmas, twice: from adapters whose B is zero
        and from some that do something. Both sides start from the same file; alpha is the rank, so that the file holds what is
        trained. The reference is float64 (tools/golden/train.py says where diffusers rounds); torch's own float32 is shown beside.
        The adapters after the step are held against torch's AdamW fed with tress's own gradients, for AdamW's first step is the
        gradient's sign, whoever computed it.
file    the LoRA (--lora, else the one of the step above's start) through `tress probe transformer`, and through diffusers
        (load_lora_weights, load_lora_adapter), PEFT (set_peft_model_state_dict, and PeftModel on the folder of `tress lora convert`),
        and the converted kohya, ComfyUI and OneTrainer files added to the weights by hand: W += alpha / r B A.

Exit 0 if loss and gradients are within 1e-5, the optimiser within 1e-6 and the outputs within 1e-4 (norm of difference over norm).
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.utils import logging
from peft import LoraConfig, PeftModel, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import train as golden  # noqa: E402

SEED = 7
BOUND = dict(loss=1e-5, gradient=1e-5, optimiser=1e-6, output=1e-4)
worst = {}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stderr.strip()}")


def note(kind, error):
    worst[kind] = max(worst.get(kind, 0.0), error if error == error else float("inf"))


def transformer(a, dtype=torch.float32):
    return golden.frozen(SD3Transformer2DModel.from_pretrained(a.model, subfolder="transformer", torch_dtype=torch.float32), dtype)


def rand(g, *shape):
    return torch.randn(*shape, generator=g)


# ---- the step ----------------------------------------------------------------------------------------------
def options(a):
    return {**golden.STEP, "rank": a.rank, "alpha": a.rank, "zero_text_rows": a.zero_text_rows, "normalize": a.mask_normalize,
            "last_block": a.control_last_block, "learning_rate": 1e-4, "max_grad_norm": 1.0}


def inputs(a):
    g = torch.Generator().manual_seed(SEED)
    latent = lambda: rand(g, a.batch, 16, a.size, a.size)
    sigma = (torch.sigmoid(rand(g, a.batch)) * 1024).round().clamp(1, 1023) / 1024
    return dict(latents=latent(), control=latent(), noise=latent(), mask=(rand(g, a.batch, 1, a.size, a.size) * 0.5 + 0.5).clamp(0, 1), sigma=sigma)


def peer_step(a, dtype, i, start):
    net = transformer(a, dtype)
    control = golden.frozen(SD3ControlNetModel.from_pretrained(a.control_net or a.model + "/controlnet", torch_dtype=torch.float32), dtype)
    lora = golden.adapt(net, options(a), 0.0)
    with torch.no_grad():
        for k, p in lora.items():
            p.copy_(start[k])
    loss, _ = golden.loss_of(net, control, {k: v.to(dtype) for k, v in i.items()}, options(a))
    loss.backward()
    return float(loss.detach()), {k: p.grad for k, p in lora.items()}


def optimiser(a, start, grads):
    """torch's AdamW in float64 on gradients from anywhere."""
    o = options(a)
    parameters = {k: torch.nn.Parameter(v.double()) for k, v in start.items()}
    for k, p in parameters.items():
        p.grad = grads[k].double()
    torch.nn.utils.clip_grad_norm_(parameters.values(), o["max_grad_norm"])
    golden.adamw(parameters.values(), o).step()
    return {k: p.detach() for k, p in parameters.items()}


def start_file(a, path, b_std):
    lora = golden.adapt(transformer(a), options(a), b_std)
    start = {k: p.detach().clone() for k, p in lora.items()}
    save_file(start, path)
    return start


def step(a, tmp):
    i = inputs(a)
    save_file(i, tmp / "in.safetensors")
    print(f"{a.model}: {a.batch} x {a.size}x{a.size} latents, rank {a.rank}, {a.zero_text_rows} zero rows, {a.mask_normalize}, {a.control_last_block}")
    line = "{:34} {:>12} {:>12}"
    for title, b_std in (("B zero", 0.0), ("B not zero", golden.B_STD)):
        start = start_file(a, tmp / "start.safetensors", b_std)
        more = ["--control-net", a.control_net] if a.control_net else []
        run(a.tress, "probe", "train-step", "--model", a.model, "--in", tmp / "in.safetensors", "--out", tmp / "out.safetensors", "--lora",
            tmp / "start.safetensors", "--rank", a.rank, "--alpha", a.rank, "--zero-text-rows", a.zero_text_rows, "--mask-normalize",
            a.mask_normalize, "--control-last-block", a.control_last_block, *more)
        out = load_file(tmp / "out.safetensors")
        ours = {k: out["grad." + k] for k in start}
        exact_loss, exact = peer_step(a, torch.float64, i, start)
        single_loss, single = peer_step(a, torch.float32, i, start)
        stray = sorted(set(out) - {"loss"} - {p + k for k in start for p in ("grad.", "lora.")})
        if stray:
            sys.exit(f"tress wrote {len(stray)} tensors that the peer has not, {stray[0]} the first")

        print(line.format(title, "tress", "torch f32"))
        errors = abs(float(out["loss"][0]) - exact_loss) / exact_loss, abs(single_loss - exact_loss) / exact_loss
        note("loss", errors[0])
        print(line.format(f"loss {exact_loss:.6f}", *(f"{e:.1e}" for e in errors)))
        errors = golden.apart(ours, exact), golden.apart(single, exact)
        note("gradient", errors[0])
        print(line.format(f"gradient, {len(exact)} tensors", *(f"{e:.1e}" for e in errors)))
        for part in ["lora_A", "lora_B"] if b_std else ["lora_B"]:
            for layer in sorted({k.split(".", 3)[3].split(".lora_")[0] for k in exact}):
                of = lambda d: {k: v for k, v in d.items() if f".{layer}.{part}" in k}
                print(line.format(f"  {layer} {part}", *(f"{golden.apart(of(d), of(exact)):.1e}" for d in (ours, single))))
        if not b_std:
            bad = [k for k in ours if "lora_A" in k and int(torch.count_nonzero(ours[k]))]
            note("gradient", float(len(bad)))
            print(line.format("  lora_A", "not zero" if bad else "zero", "zero"))
        want = optimiser(a, start, ours)
        error = golden.apart({k: out["lora." + k] for k in start}, want)
        note("optimiser", error)
        print(line.format("adapters, same gradients", f"{error:.1e}", ""))


# ---- the file ----------------------------------------------------------------------------------------------
LAYOUTS = ("kohya", "comfyui", "onetrainer")


def by_hand(path, net):
    """{layer: what the file adds to its weight}, from the layout's own rules."""
    t, out = load_file(path), {}
    flat = {n.replace(".", "_"): n for n, m in net.named_modules() if isinstance(m, torch.nn.Linear)}
    for down in [k for k in t if k.endswith((".lora_down.weight", ".lora_A.weight"))]:
        name = re.sub(r"\.lora_(down|A)\.weight$", "", down)
        low, high = t[down].float(), t[down.replace("lora_down", "lora_up").replace("lora_A", "lora_B")].float()
        alpha = t.get(name + ".alpha")
        delta = high @ low * (float(alpha) / len(low) if alpha is not None else 1.0)
        plain = re.sub(r"^(lora_unet_|lora_transformer_|diffusion_model\.)", "", name).replace(".", "_")
        original = re.fullmatch(r"joint_blocks_(\d+)_x_block_(attn2?)_(qkv|proj)", plain)
        if not original:
            out[flat[plain]] = delta
        elif original[3] == "proj":
            out[f"transformer_blocks.{original[1]}.{original[2]}.to_out.0"] = delta
        else:
            for part, rows in zip("qkv", delta.chunk(3)):
                out[f"transformer_blocks.{original[1]}.{original[2]}.to_{part}"] = rows
    return out


@torch.no_grad()
def file(a, tmp):
    lora = pathlib.Path(a.lora or tmp / "start.safetensors")
    if not a.lora:
        start_file(a, lora, golden.B_STD)
    state = load_file(lora)
    layers = sorted({k.split(".lora_")[0].removeprefix("transformer.") for k in state})
    net = transformer(a).eval()
    g = torch.Generator().manual_seed(SEED)
    i = dict(hidden_states=rand(g, a.batch, 16, a.size, a.size), encoder_hidden_states=rand(g, a.batch, 77, net.config.joint_attention_dim),
             pooled_projections=rand(g, a.batch, net.config.pooled_projection_dim), timestep=torch.linspace(900, 100, a.batch))
    save_file(i, tmp / "x.safetensors")
    run(a.tress, "probe", "transformer", "--model", a.model, "--lora", lora, "--in", tmp / "x.safetensors", "--out", tmp / "y.safetensors")
    ours, base = load_file(tmp / "y.safetensors")["sample"], net(**i).sample
    effect = float((ours - base).norm() / base.norm())
    print(f"{lora.name}: {len(layers)} layers, changes the output by {effect:.2e}")
    if not effect > 10 * BOUND["output"]:
        sys.exit("that is too little to see whether it does the same elsewhere")

    def show(title, model):
        error = float((ours.double() - model.eval()(**i).sample.double()).norm() / ours.double().norm())
        note("output", error)
        print(f"  {title:44} {error:.1e}")

    nothing = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"))
    pipe = StableDiffusion3Pipeline.from_pretrained(a.model, transformer=transformer(a), **nothing)
    pipe.load_lora_weights(str(lora))
    show("diffusers load_lora_weights", pipe.transformer)
    net = transformer(a)
    net.load_lora_adapter(state, prefix="transformer")
    show("diffusers load_lora_adapter", net)

    rank = {k.split(".lora_")[0].removeprefix("transformer."): len(v) for k, v in state.items() if ".lora_A." in k}
    net = inject_adapter_in_model(LoraConfig(r=max(rank.values()), lora_alpha=max(rank.values()), target_modules=layers, rank_pattern=rank,
                                             alpha_pattern=rank), transformer(a))
    result = set_peft_model_state_dict(net, {k.removeprefix("transformer."): v for k, v in state.items()})
    if result.unexpected_keys:
        sys.exit(f"PEFT does not know {result.unexpected_keys[:3]}")
    show("PEFT set_peft_model_state_dict", net)
    run(a.tress, "lora", "convert", lora, tmp / "peft", "--format", "peft")
    show("PEFT PeftModel, converted", PeftModel.from_pretrained(transformer(a), tmp / "peft"))

    for layout in LAYOUTS:
        run(a.tress, "lora", "convert", lora, tmp / f"{layout}.safetensors", "--format", layout)
        net = transformer(a)
        deltas = by_hand(tmp / f"{layout}.safetensors", net)
        if sorted(deltas) != layers:
            sys.exit(f"{layout}: the converted file has {sorted(set(deltas) ^ set(layers))[:3]} too many or too few")
        for name, delta in deltas.items():
            net.get_submodule(name).weight += delta
        show(f"{layout}, converted, by hand", net)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=str(ROOT / "models" / "mini"))
    p.add_argument("--control-net", default=None)
    p.add_argument("--tress", default=str(ROOT / "build" / "tress"))
    p.add_argument("--only", default="step,file")
    p.add_argument("--size", type=int, default=32, help="sides of the latent")
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--zero-text-rows", type=int, default=333)
    p.add_argument("--mask-normalize", default="per-sample", choices=["per-sample", "per-batch", "none"])
    p.add_argument("--control-last-block", default="vendor", choices=["vendor", "diffusers"])
    p.add_argument("--lora", default=None, help="a LoRA in diffusers' layout, as tress trains them")
    a = p.parse_args()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        for part in a.only.split(","):
            dict(step=step, file=file)[part](a, pathlib.Path(folder))
    print("worst: " + ", ".join(f"{k} {v:.1e} (bound {BOUND[k]:g})" for k, v in worst.items()))
    return 0 if all(v <= BOUND[k] for k, v in worst.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
