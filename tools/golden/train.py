"""Training steps of small random models: PyTorch's autograd, diffusers' networks, PEFT's LoRA and torch's AdamW, in float64.

    cd tools/golden && python train.py [KIND]...

Writes tests/golden/train/KIND.safetensors and .json for the KINDs below, and KIND-gradients.* where KINDS asks for it. Weights,
starting adapters and the inputs of every step are seeded.py's and not stored. float64 throughout, diffusers' two roundings to
float32 on the way taken out (RMSNorm's variance) or made to the nearest (the sinusoid of the timestep); stored as F32. The json says
how far the same run in torch's float32 is from it (error_torch_f32), as diffusers runs it.

The step, of the batch of samples b with the inputs under "step.N.", N from 1, all of them seeded normals of the json's seed:
    latents, control, noise [batch, 16, h, w] = normal(0, 1); mask [batch, 1, h, w] = normal(0.5, 0.5) clamped to 0..1
    sigma [batch] = the json's sigma[N - 1], multiples of 1 / 1024 so that the timestep, 1000 sigma, is exact
    x = (1 - sigma) latents + sigma noise; ControlNet and transformer at 1000 sigma, zero_text_rows zero rows, zero pooled vectors
    e = velocity - (noise - latents); loss = mean over b of sum(mask e^2) / (16 sum(mask))
    the gradient of all adapters clipped to the norm max_grad_norm by torch's clip_grad_norm_, then AdamW. The limit is one that
    some steps pass and some do not.
KEY is the name in the LoRA file, transformer.transformer_blocks.I.attn.to_q.lora_A.weight and so on: attn and attn2,
to_q, to_k, to_v, to_out.0. At the start A is seeded_weight(KEY), B zero.

KIND.safetensors
    loss [n_step], grad_norm [n_step]           of each step; the norm before clipping
    velocity [batch, 16, h, w]                  the transformer's output in step 1
    grad.N.KEY                                  N = 1, 2, n_step: before clipping
    lora.KEY                                    after n_step steps
    variant.NAME.loss [1], variant.NAME.grad_norm [1], variant.NAME.grad.KEY
        of one step on the inputs of step 1 with adapters that do something: A as above, B = normal(KEY, 0, b_std). The norm is over
        all adapters of the variant; the gradients are those of the blocks in "stored" (null: all of them).
KIND-gradients.safetensors
    grad.KEY [n_step, ...]                      of every step, before clipping: what AdamW ate
KIND.json
    transformer, transformer_config, controlnet, controlnet_config      names and shapes as in sample-*.json
    size, batch, n_step, seed, sigma [n_step][batch], b_std
    step: the options of the twenty steps; variants: NAME: the same with what the variant changes:
        rank, alpha, targets, blocks (null: all), last_block "vendor" | "diffusers", normalize "per-sample" | "per-batch" | "none"
        (per-sample over the samples with any mask; per-batch: one quotient; none: mean of mask e^2 over all elements),
        unmasked (mask = max(mask, unmasked)), zero_text_rows, empty (samples whose mask is zeroed),
        no_sketch (samples whose residuals are left out), accumulate (micro-steps, on the
        inputs of steps 1, 2, ..: the mean of their losses), learning_rate, beta1, beta2, epsilon, weight_decay, max_grad_norm
    lora: {KEY: [extents]}
"""
import sys

import numpy as np
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel
from diffusers.models.normalization import RMSNorm
from peft import LoraConfig, __version__ as peft_version

import mmdit
import seeded

SEED = 71
SIZE = (6, 10)
BATCH = 2
N_STEP = 20
B_STD = 0.02
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
COMMON = dict(mmdit.COMMON, caption_projection_dim=128, num_attention_heads=2, attention_head_dim=64)
CONTROL_8B = dict(joint_attention_dim=None, pos_embed_max_size=None, pos_embed_type=None, use_pos_embed=False, force_zeros_for_pooled_projection=False)
STEP = dict(rank=4, alpha=4, targets=TARGETS, blocks=None, last_block="vendor", normalize="per-sample", unmasked=0.0, zero_text_rows=333, empty=[], no_sketch=[],
            accumulate=1, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=1e-4, max_grad_norm=0.05, stored=None)
MASKS = {
    "per-batch": dict(normalize="per-batch", stored=[0]),
    "unnormalized": dict(normalize="none", stored=[0]),
    "unmasked": dict(unmasked=0.1, stored=[0]),
    "empty": dict(empty=[1], stored=[0]),
}
KINDS = {
    # name: transformer, ControlNet, what differs in the steps, variants, every step's gradients too
    "large": (dict(num_layers=4, qk_norm="rms_norm"), dict(num_layers=2, **CONTROL_8B), {}, {
        "same": {}, **MASKS, "rank": dict(rank=16, alpha=8, stored=[0]), "blocks": dict(blocks=[1, 3]), "last": dict(last_block="diffusers", stored=[0]),
        "rows": dict(zero_text_rows=77, stored=[0]), "accumulate": dict(accumulate=2, stored=[0]),
        "sketch": dict(no_sketch=[0], stored=[0]),
    }, False),
    # the last block has a second attention too: its text stream ends, its image stream does not
    "medium": (dict(num_layers=3, qk_norm="rms_norm", dual_attention_layers=(0, 2)), dict(num_layers=1, **CONTROL_8B), {}, {
        "same": {}, "targets": dict(targets=["to_k", "to_out.0"]), "blocks": dict(blocks=[0]),
    }, False),
    "plain": (dict(num_layers=3), dict(num_layers=3, force_zeros_for_pooled_projection=True), dict(last_block="diffusers"), {
        "same": {}, "last": dict(last_block="vendor", stored=[0]), "rows": dict(zero_text_rows=1, stored=[0]),
    }, True),
}


def rms_norm(self, x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def frozen(model, dtype):
    """The network as a trainer holds it; in float64 without diffusers' roundings to float32."""
    model.requires_grad_(False).train()
    if dtype == torch.float64:
        model.double()
        model.time_text_embed.time_proj.forward = mmdit.sinusoid
        for m in model.modules():
            if isinstance(m, RMSNorm):
                m.forward = rms_norm.__get__(m)
    return model


def build(kind, dtype):
    t_config, c_config = ({**COMMON, **c} for c in KINDS[kind][:2])
    transformer, controlnet = SD3Transformer2DModel(**t_config), SD3ControlNetModel(**c_config)
    shapes = seeded.fill(transformer, SEED), seeded.fill(controlnet, SEED)
    return frozen(transformer, dtype), frozen(controlnet, dtype), shapes


def adapt(transformer, o, b_std):
    """{KEY: parameter} of a fresh adapter."""
    blocks = range(len(transformer.transformer_blocks)) if o["blocks"] is None else o["blocks"]
    names = [f"transformer_blocks.{i}.{attn}.{t}" for i in blocks for attn in ("attn", "attn2") for t in o["targets"]]
    layers = [name for name, _ in transformer.named_modules() if name in names]
    transformer.add_adapter(LoraConfig(r=o["rank"], lora_alpha=o["alpha"], target_modules=layers))
    found = {"transformer." + n.replace(".default.", "."): p for n, p in transformer.named_parameters() if ".lora_" in n}
    assert len(found) == 2 * len(layers) and set(map(id, found.values())) == {id(p) for p in transformer.parameters() if p.requires_grad}
    with torch.no_grad():
        for key, p in found.items():
            p.copy_(torch.from_numpy(seeded.weight(key, p.shape, SEED)) if "lora_A" in key else seeded.tensor(key, p.shape, SEED, 0, b_std))
    return found


def sigmas():
    """Logit-normal, on a grid that makes 1000 sigma exact in fp32."""
    u = seeded.normal("sigma", (N_STEP, BATCH), SEED).astype(np.float64)
    return (np.clip(np.round(1024 / (1 + np.exp(-u))), 1, 1023) / 1024).tolist()


def step_inputs(n, dtype):
    g = lambda name, c, mean=0.0, std=1.0: seeded.tensor(f"step.{n}.{name}", (BATCH, c, *SIZE), SEED, mean, std).to(dtype)
    return dict(latents=g("latents", 16), control=g("control", 16), noise=g("noise", 16), mask=g("mask", 1, 0.5, 0.5).clamp(0, 1),
                sigma=torch.tensor(sigmas()[n - 1], dtype=dtype))


def velocity(transformer, controlnet, x, control, time, o):
    rows = lambda config: x.new_zeros(len(x), o["zero_text_rows"], config.joint_attention_dim)
    pooled = x.new_zeros(len(x), transformer.config.pooled_projection_dim)
    with torch.no_grad():
        residuals = controlnet(
            hidden_states=transformer.pos_embed(x) if controlnet.pos_embed is None else x, controlnet_cond=control, timestep=time,
            encoder_hidden_states=None if controlnet.context_embedder is None else rows(controlnet.config),
            pooled_projections=pooled).controlnet_block_samples
    for b in o["no_sketch"]:
        for r in residuals:
            r[b] = 0
    handles, held = [], residuals
    if o["last_block"] == "vendor":
        every = len(transformer.transformer_blocks) // len(residuals)
        handles = [b.register_forward_hook(lambda _, a, out, i=i: (out[0], out[1] + held[i // every]))
                   for i, b in enumerate(transformer.transformer_blocks)]
        residuals = None
    v = transformer(hidden_states=x, timestep=time, encoder_hidden_states=rows(transformer.config), pooled_projections=pooled,
                    block_controlnet_hidden_states=residuals).sample
    for h in handles:
        h.remove()
    return v


def masked_loss(e, mask, o):
    mask = mask.clamp(min=o["unmasked"])
    for b in o["empty"]:
        mask = torch.stack([m * 0 if i == b else m for i, m in enumerate(mask)])
    error, weight = (mask * e**2).sum((1, 2, 3)), e.shape[1] * mask.sum((1, 2, 3))
    if o["normalize"] == "none":
        return error.sum() / e.numel()
    if o["normalize"] == "per-batch":
        return error.sum() / weight.sum()
    return (error[weight > 0] / weight[weight > 0]).mean()


def loss_of(transformer, controlnet, i, o):
    """Loss and velocity of the inputs i of a step."""
    s = i["sigma"].view(-1, 1, 1, 1)
    v = velocity(transformer, controlnet, (1 - s) * i["latents"] + s * i["noise"], i["control"], 1000 * i["sigma"], o)
    return masked_loss(v - (i["noise"] - i["latents"]), i["mask"], o), v


def adamw(parameters, o):
    return torch.optim.AdamW(parameters, lr=o["learning_rate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"], weight_decay=o["weight_decay"])


def train(kind, dtype):
    """{name: tensor} of the golden and {KEY: [n_step, ...]}."""
    transformer, controlnet, _ = build(kind, dtype)
    o = {**STEP, **KINDS[kind][2]}
    lora = adapt(transformer, o, 0.0)
    optimizer = adamw(lora.values(), o)
    out, losses, norms, every = {}, [], [], {k: [] for k in lora}
    for n in range(1, N_STEP + 1):
        loss, v = loss_of(transformer, controlnet, step_inputs(n, dtype), o)
        optimizer.zero_grad()
        loss.backward()
        for k, p in lora.items():
            every[k].append(p.grad.clone())
        if n == 1:
            out["velocity"] = v.detach()
        norms.append(torch.nn.utils.clip_grad_norm_(lora.values(), o["max_grad_norm"]).detach())
        losses.append(loss.detach())
        optimizer.step()
    out["loss"], out["grad_norm"] = torch.stack(losses), torch.stack(norms)
    every = {k: torch.stack(g) for k, g in every.items()}
    for n in (1, 2, N_STEP):
        out.update({f"grad.{n}.{k}": g[n - 1] for k, g in every.items()})
    out.update({f"lora.{k}": p.detach().clone() for k, p in lora.items()})
    return out, every


def variant(kind, dtype, name, o):
    transformer, controlnet, _ = build(kind, dtype)
    lora = adapt(transformer, o, B_STD)
    total = 0
    for n in range(1, o["accumulate"] + 1):
        loss = loss_of(transformer, controlnet, step_inputs(n, dtype), o)[0] / o["accumulate"]
        loss.backward()
        total = total + loss.detach()
    kept = lambda k: o["stored"] is None or int(k.split(".")[2]) in o["stored"]
    return {f"variant.{name}.loss": total.reshape(1), f"variant.{name}.grad_norm": torch.stack([p.grad.norm() for p in lora.values()]).norm().reshape(1),
            **{f"variant.{name}.grad.{k}": p.grad for k, p in lora.items() if kept(k)}}


def apart(got, want):
    """Relative difference of two dictionaries of tensors, norm over norm."""
    square = lambda values: sum(float((v.double()**2).sum()) for v in values)
    return (square(got[k].double() - want[k].double() for k in want) / square(want.values()))**0.5


def errors(single, exact):
    part = lambda d, start: {k: v for k, v in d.items() if k.startswith(start)}
    each = lambda name: float(((single[name].double() - exact[name].double()).abs() / exact[name].double()).max())
    out = dict(loss=each("loss"), grad_norm=each("grad_norm"), velocity=apart(part(single, "velocity"), part(exact, "velocity")))
    for start in (*(f"grad.{n}." for n in (1, 2, N_STEP)), "lora."):
        out[start[:-1]] = apart(part(single, start), part(exact, start))
    out["lora_b"] = apart(*({k: v for k, v in part(d, "lora.").items() if "lora_B" in k} for d in (single, exact)))
    for name in sorted({k.split(".")[1] for k in exact if k.startswith("variant.")}):
        out["variant." + name] = apart(part(single, f"variant.{name}.grad."), part(exact, f"variant.{name}.grad."))
    return out


def main():
    torch.set_num_threads(2)
    for kind in sys.argv[1:] or KINDS:
        _, _, change, variants, all_steps = KINDS[kind]
        step = {**STEP, **change}
        variants = {name: {**step, **v} for name, v in variants.items()}
        runs = {}
        for dtype in (torch.float32, torch.float64):
            runs[dtype], every = train(kind, dtype)
            for name, o in variants.items():
                runs[dtype].update(variant(kind, dtype, name, o))
        exact = runs[torch.float64]
        off = errors(runs[torch.float32], exact)
        print(kind, "loss", [round(float(v), 4) for v in exact["loss"]], "norm", [round(float(v), 3) for v in exact["grad_norm"]])
        print(kind, {k: f"{v:.1e}" for k, v in off.items()})
        transformer, controlnet, (t_shapes, c_shapes) = build(kind, torch.float32)
        lora = {k: list(p.shape) for k, p in adapt(transformer, step, 0.0).items()}
        config = lambda m, cls: {**{k: v for k, v in m.config.items() if not k.startswith("_")}, "_class_name": cls}
        tool = "tools/golden/train.py"
        seeded.save("train", kind, {k: v.float() for k, v in exact.items()}, SEED, tool, more=dict(
            transformer=t_shapes, transformer_config=config(transformer, "SD3Transformer2DModel"),
            controlnet=c_shapes, controlnet_config=config(controlnet, "SD3ControlNetModel"),
            size=list(SIZE), batch=BATCH, n_step=N_STEP, sigma=sigmas(), b_std=B_STD, step=step, variants=variants, lora=lora, error_torch_f32=off, peft=peft_version))
        if all_steps:
            seeded.save("train", kind + "-gradients", {f"grad.{k}": v.float() for k, v in every.items()}, SEED, tool)


if __name__ == "__main__":
    main()
