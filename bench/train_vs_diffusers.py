#!/usr/bin/env python3
"""A training step of tress against diffusers + PEFT + PyTorch on this CPU: the same weights, the same thread count, one run, medians.

    python bench/train_vs_diffusers.py [--model models/mini] [--build build] [--threads 2] [--repeat 5] [--batch 1,4] [--markdown]
                                       [--peer-only | --tress-only]

The step, for both: cached latents and control latents of 256x256 pixels, noise, sigma; the frozen ControlNet without gradients; the
transformer with zero text and a LoRA of rank 16 on the image's q, k, v and out of every block; masked velocity loss, backward,
clipping, AdamW. Everything in float32. The peer takes 333 rows of zero text, as it must; with and without gradient checkpointing.

ms is per step, not per image. Memory is the peak resident set of the process when the timed steps are done, mapped weight pages counted;
"imports" is what the peer's process holds before it loads a weight. p is the share of time that PyTorch spends inside its own matrix
products, attention kept apart, by torch.profiler: the figure to reach is min(2, 0.9 / p) (bench/cpu_vs_diffusers.py).
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

from cpu_vs_diffusers import ATTENTION, PRODUCTS, ROOT, ROWS, SIDE, measured

RANK = 16
TRAINED = (*ATTENTION, "aten::_scaled_dot_product_flash_attention_for_cpu_backward", "aten::_softmax_backward_data")


def resident(field):
    """MiB of /proc/self/status: VmHWM or VmRSS."""
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    sys.exit(f"/proc/self/status has no {field}")


def peer(args):
    import torch
    from diffusers import SD3ControlNetModel, SD3Transformer2DModel
    from peft import LoraConfig

    imports, batch = resident("VmRSS"), int(args.batch)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    net = SD3Transformer2DModel.from_pretrained(args.model, subfolder="transformer", torch_dtype=torch.float32).requires_grad_(False)
    control = SD3ControlNetModel.from_pretrained(args.model, subfolder="controlnet", torch_dtype=torch.float32).requires_grad_(False)
    net.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    net.train()
    if args.peer == "checkpointing":
        net.enable_gradient_checkpointing()
    lora = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(lora, lr=1e-4, weight_decay=1e-4)
    c = net.config
    latents, condition = torch.randn(batch, 16, SIDE, SIDE), torch.randn(batch, 16, SIDE, SIDE)
    mask = torch.rand(batch, 1, SIDE, SIDE)
    words, pooled = torch.zeros(batch, ROWS, c.joint_attention_dim), torch.zeros(batch, c.pooled_projection_dim)

    def run():
        noise, sigma = torch.randn_like(latents), torch.sigmoid(torch.randn(batch))
        s = sigma.view(-1, 1, 1, 1)
        x, t = (1 - s) * latents + s * noise, 1000 * sigma
        with torch.no_grad():
            r = control(hidden_states=net.pos_embed(x), controlnet_cond=condition, pooled_projections=pooled, timestep=t, return_dict=False)[0]
        v = net(hidden_states=x, timestep=t, encoder_hidden_states=words, pooled_projections=pooled, block_controlnet_hidden_states=r,
                return_dict=False)[0]
        e = v - (noise - latents)
        loss = ((mask * e**2).sum((1, 2, 3)) / (16 * mask.sum((1, 2, 3)))).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora, 1.0)
        optimizer.step()

    run()
    times = []
    for _ in range(args.repeat):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    peak = resident("VmHWM")                                      # before the profiler keeps its events
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as prof:
        for _ in range(3):
            run()
    rows = prof.key_averages()
    total = sum(r.self_cpu_time_total for r in rows)
    share = lambda names: sum(r.self_cpu_time_total for r in rows if r.key in names) / total
    if args.top:
        for r in sorted(rows, key=lambda r: -r.self_cpu_time_total)[:args.top]:
            print(f"{r.key:60} {r.self_cpu_time_total / total:6.1%} {r.count:6}", file=sys.stderr)
    print(json.dumps(dict(ms=statistics.median(times), spread=[min(times), max(times)], peak_mib=peak, imports_mib=imports, p=share(PRODUCTS), attention=share(TRAINED))))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", default=str(ROOT / "models" / "mini"))
    a.add_argument("--build", default=str(ROOT / "build"))
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--repeat", type=int, default=5)
    a.add_argument("--batch", default="1,4")
    a.add_argument("--top", type=int, default=0, help="also the N operators that cost PyTorch most, on stderr")
    a.add_argument("--markdown", action="store_true")
    a.add_argument("--tress-only", action="store_true", help="do not run the peer")
    a.add_argument("--peer-only", action="store_true", help="do not run tress")
    a.add_argument("--peer", default=None, help=argparse.SUPPRESS)
    args = a.parse_args()
    if args.peer:
        return peer(args)

    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), MKL_NUM_THREADS=str(args.threads))
    me = [sys.executable, __file__, "--threads", str(args.threads), "--repeat", str(args.repeat), "--model", args.model, "--top", str(args.top)]
    bench = str(pathlib.Path(args.build) / "bench_cpu")
    print(f"{args.threads} threads, medians of {args.repeat}, float32, {pathlib.Path(args.model).name}, {8 * SIDE}x{8 * SIDE}")
    line = "| {:5} | {:>11} | {:>11} | {:22} | {:>11} | {:>11} | {:>8} | {:>5} | {:>9} | {:>6} | {:>6} | {:>6} |"
    line = line if args.markdown else line.replace("| ", " ").replace(" |", " ")
    print(line.format("batch", "tress", "peak", "diffusers + PEFT", "step", "peak", "imports", "p", "attention", "faster", "reach", "memory"))
    if args.markdown:
        print("|---" * 12 + "|")
    for batch in args.batch.split(","):
        ours = None if args.peer_only else measured([bench, "train", args.model, str(args.threads), str(args.repeat), batch], env)[2]
        mine = (f"{ours['ms']:.1f} ms", f"{ours['peak_mib']:.0f} MiB") if ours else ("", "")
        for kind in () if args.tress_only else ("plain", "checkpointing"):
            p = measured([*me, "--peer", kind, "--batch", batch], env)[2]
            print(line.format(batch, *mine, kind, f"{p['ms']:.1f} ms", f"{p['peak_mib']:.0f} MiB", f"{p['imports_mib']:.0f} MiB", f"{p['p']:.2f}", f"{p['attention']:.2f}",
                              f"{p['ms'] / ours['ms']:.2f}x" if ours else "", f"{min(2.0, 0.9 / p['p']):.2f}x", f"1/{p['peak_mib'] / ours['peak_mib']:.1f}" if ours else ""), flush=True)
        if args.tress_only:
            print(line.format(batch, *mine, *[""] * 9), flush=True)


if __name__ == "__main__":
    main()
