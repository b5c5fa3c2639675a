"""Whole samplings of small random networks: diffusers' scheduler, guidance and ControlNet loop, written out.

Writes tests/golden/api/sample-large.* and sample-medium.*: the final latents of several settings. The loop is that of
StableDiffusion3ControlNetPipeline.__call__ (step 8) and, for skip-layer guidance, of StableDiffusion3Pipeline; DPM++ 2M is
that of the vendor's sd3_impls.py. Run in float64 over the fp32 sigma table: the golden is exact, and the json says how far
torch's own fp32 run is from it.
"""
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3ControlNetModel, SD3Transformer2DModel

import seeded

SEED = 53
SIZE = (6, 10)
BATCH = 2
N_TEXT = 5
COMMON = dict(sample_size=16, patch_size=2, in_channels=16, out_channels=16, joint_attention_dim=40, pooled_projection_dim=24,
              pos_embed_max_size=8, caption_projection_dim=128, num_attention_heads=2, attention_head_dim=64)
KINDS = {
    "large": (dict(num_layers=4, qk_norm="rms_norm"),
              dict(num_layers=2, joint_attention_dim=None, pos_embed_max_size=None, pos_embed_type=None, use_pos_embed=False,
                   force_zeros_for_pooled_projection=False)),
    "medium": (dict(num_layers=3), dict(num_layers=3, force_zeros_for_pooled_projection=True)),
}
BASE = dict(n=10, cfg=4.5, control=0.0, start=0.0, end=1.0, last="diffusers", pooled="text", sampler="euler", skip=[], shift=3.0)
CASES = {
    "large": {
        "plain": dict(cfg=1.0),
        "guided": dict(),
        "control": dict(control=0.8, start=0.2, end=0.7),
        "vendor": dict(control=1.0, last="vendor"),
        "pooled-zero": dict(control=1.0, pooled="zero"),
        "dpmpp-2m": dict(sampler="dpmpp-2m", control=0.5),
        "skip": dict(skip=[1, 2]),
        "skip-control": dict(skip=[1], control=0.6),
        "shift": dict(shift=1.5, n=6),
    },
    "medium": {"instantx": dict(control=0.9), "instantx-plain": dict(control=0.9, cfg=1.0)},
}


def velocity(transformer, controlnet, x, t, words, condition, o, step):
    rows = 2 if o["cfg"] > 1 else 1
    inputs = torch.cat([x] * rows)
    context, pooled = words
    if rows == 1:
        context, pooled = context[BATCH:], pooled[BATCH:]
    time = torch.full((len(inputs),), t, dtype=x.dtype)
    keep = not (step / o["n"] < o["start"] or (step + 1) / o["n"] > o["end"])
    residuals, handles = None, []
    if o["control"] and keep:
        c = controlnet.config
        zero = o["pooled"] == "zero" or c.force_zeros_for_pooled_projection
        hidden = inputs if controlnet.pos_embed is not None else transformer.pos_embed(inputs)
        residuals = controlnet(hidden_states=hidden, controlnet_cond=condition.repeat(rows * BATCH, 1, 1, 1),
                               conditioning_scale=o["control"], timestep=time,
                               encoder_hidden_states=context if c.joint_attention_dim is not None else None,
                               pooled_projections=torch.zeros_like(pooled) if zero else pooled).controlnet_block_samples
        if o["last"] == "vendor":
            every = len(transformer.transformer_blocks) // len(residuals)
            held = residuals
            handles = [b.register_forward_hook(lambda _, a, out, i=i: (out[0], out[1] + held[i // every]))
                       for i, b in enumerate(transformer.transformer_blocks)]
            residuals = None
    v = transformer(hidden_states=inputs, timestep=time, encoder_hidden_states=context, pooled_projections=pooled,
                    block_controlnet_hidden_states=residuals).sample
    for h in handles:
        h.remove()
    if rows == 2:
        vu, vc = v.chunk(2)
        v = vu + o["cfg"] * (vc - vu)
        if o["skip"] and o["n"] * 0.01 < step < o["n"] * 0.2:
            vs = transformer(hidden_states=x, timestep=time[:BATCH], encoder_hidden_states=context[BATCH:],
                             pooled_projections=pooled[BATCH:], skip_layers=o["skip"]).sample
            v = v + 2.8 * (vc - vs)
    return v


def sample(transformer, controlnet, x, words, condition, o):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=o["shift"])
    scheduler.set_timesteps(o["n"])
    sigmas = scheduler.sigmas.to(x.dtype)
    old = None
    for i in range(o["n"]):
        v = velocity(transformer, controlnet, x, float(scheduler.timesteps[i]), words, condition, o, i)
        if o["sampler"] == "euler":
            x = x + (sigmas[i + 1] - sigmas[i]) * v
            continue
        guess = x - sigmas[i] * v
        if sigmas[i + 1] == 0:
            x = guess
            continue
        h = sigmas[i].log() - sigmas[i + 1].log()
        d = guess
        if old is not None:
            r = (sigmas[i - 1].log() - sigmas[i].log()) / h
            d = (1 + 1 / (2 * r)) * guess - 1 / (2 * r) * old
        x = sigmas[i + 1] / sigmas[i] * x - torch.expm1(-h) * d
        old = guess
    return x


@torch.no_grad()
def main():
    for kind, (t_config, c_config) in KINDS.items():
        t_config = {**COMMON, **t_config}
        c_config = {**COMMON, **c_config}
        transformer = SD3Transformer2DModel(**t_config).eval()
        controlnet = SD3ControlNetModel(**c_config).eval()
        t_shapes, c_shapes = seeded.fill(transformer, SEED), seeded.fill(controlnet, SEED)
        g = lambda name, *shape: seeded.tensor(name, shape, SEED)
        latents, condition = g("latents", BATCH, 16, *SIZE), g("condition", 1, 16, *SIZE)
        # the words of the batch's pictures differ: a mix-up of rows shows
        positive = g("context", BATCH, N_TEXT, 40), g("pooled", BATCH, 24)
        negative = g("context_neg", 1, N_TEXT, 40).repeat(BATCH, 1, 1), g("pooled_neg", 1, 24).repeat(BATCH, 1)
        words = tuple(torch.cat([n, p]) for n, p in zip(negative, positive))
        tensors, errors = {}, {}
        for name, case in CASES[kind].items():
            o = {**BASE, **case}
            single = sample(transformer, controlnet, latents, words, condition, o)
            exact = sample(transformer.double(), controlnet.double(), latents.double(), tuple(w.double() for w in words), condition.double(), o)
            transformer.float(), controlnet.float()
            errors[name] = float((single.double() - exact).norm() / exact.norm())
            tensors[name] = exact.float()
        print(kind, errors)
        config = lambda m, cls: {**{k: v for k, v in m.config.items() if not k.startswith("_")}, "_class_name": cls}
        seeded.save("api", "sample-" + kind, tensors, SEED, "tools/golden/sample.py", more=dict(
            transformer=t_shapes, transformer_config=config(transformer, "SD3Transformer2DModel"),
            controlnet=c_shapes, controlnet_config=config(controlnet, "SD3ControlNetModel"),
            size=list(SIZE), n_text=N_TEXT, cases={k: {**BASE, **v} for k, v in CASES[kind].items()}, error_torch_f32=errors))


if __name__ == "__main__":
    main()
