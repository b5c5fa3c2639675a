"""torch.optim.AdamW, one tensor in fp32 on the CPU, step by step: what the op adamw is held to.

For each case: settings F64 [beta1, beta2, eps, weight_decay, grad_scale], lr F64 [STEPS], p, m, v F32 [STEPS + 1, N] before the
first step and after each. The gradients g F32 [STEPS, N] are the same for all: from 1 to 1e-6 by element, some 0, one always.
"""
import numpy as np
import torch

import seeded

SEED, STEPS, N = 5, 300, 24
CASES = {
    "plain": dict(betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4, scale=1.0, lr=lambda t: 1e-4),
    "scaled": dict(betas=(0.95, 0.99), eps=1e-8, weight_decay=0.1, scale=0.37, lr=lambda t: 1e-2 * (1 + np.cos(np.pi * t / STEPS)) / 2),
    "short": dict(betas=(0.4, 0.9), eps=1e-3, weight_decay=0.0, scale=2.0**-3, lr=lambda t: 1e-3 * min(1.0, (t + 1) / 50)),
}


def gradients():
    g = seeded.normal("g", (STEPS, N), SEED).astype(np.float64) * 10.0 ** (-6 * np.arange(N) / (N - 1))
    g[:, 3] = 0
    g[::3, 7] = 0
    g[:100, 11] = 0
    g[150:, 13] = 0
    return g.astype(np.float32)


def run(name, g, betas, eps, weight_decay, scale, lr):
    p = torch.nn.Parameter(seeded.tensor(name + ".p", (N,), SEED))
    with torch.no_grad():
        p[5] = 0
    optimizer = torch.optim.AdamW([p], lr=lr(0), betas=betas, eps=eps, weight_decay=weight_decay, foreach=False, fused=False)
    rows = {k: [torch.zeros(N)] for k in "mv"}
    rows["p"] = [p.detach().clone()]
    rates = []
    for t in range(STEPS):
        rates.append(float(lr(t)))
        optimizer.param_groups[0]["lr"] = rates[-1]
        p.grad = torch.from_numpy(g[t]) * torch.tensor(scale, dtype=torch.float32)
        optimizer.step()
        state = optimizer.state[p]
        rows["p"].append(p.detach().clone())
        rows["m"].append(state["exp_avg"].clone())
        rows["v"].append(state["exp_avg_sq"].clone())
    out = {f"{name}.{k}": torch.stack(v) for k, v in rows.items()}
    out[name + ".settings"] = torch.tensor([*betas, eps, weight_decay, scale], dtype=torch.float64)
    out[name + ".lr"] = torch.tensor(rates, dtype=torch.float64)
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    g = gradients()
    tensors = {"g": torch.from_numpy(g)}
    for name, case in CASES.items():
        tensors |= run(name, g, **case)
    seeded.save("train", "adamw", tensors, SEED, "tools/golden/adamw.py")
