"""SD3 ControlNets of both kinds, small and random, stage by stage: diffusers' SD3ControlNetModel in fp32.

Writes tests/golden/model/controlnet-*.safetensors and .json; see mmdit.py.
"""
import torch
from diffusers import SD3ControlNetModel

import mmdit
import seeded
from mmdit import N_TEXT, SEED, TIMESTEP

CASES = {
    # the released nets of SD3.5-Large: image stream alone, embedded by the transformer
    "8b": (dict(num_layers=3, num_attention_heads=2, attention_head_dim=64, joint_attention_dim=None, use_pos_embed=False,
                pos_embed_type=None, pos_embed_max_size=None, force_zeros_for_pooled_projection=False), (6, 10)),
    # InstantX: joint blocks, own embeddings, zeros for the pooled text
    "instantx": (dict(num_layers=3, num_attention_heads=2, attention_head_dim=64), (6, 10)),
    # an inpainting net: one more channel; with what SD3.5-Medium adds
    "extra": (dict(num_layers=2, num_attention_heads=4, attention_head_dim=32, extra_conditioning_channels=1,
                   qk_norm="rms_norm", dual_attention_layers=(1,), force_zeros_for_pooled_projection=False), (10, 6)),
}


@torch.no_grad()
def main():
    for name, (config, size) in CASES.items():
        model, shapes, config = mmdit.build(config, SD3ControlNetModel)
        b, d = len(TIMESTEP), model.inner_dim
        args = dict(
            controlnet_cond=seeded.tensor("condition", (b, config["in_channels"] + config.get("extra_conditioning_channels", 0), *size), SEED),
            pooled_projections=seeded.tensor("pooled", (b, config["pooled_projection_dim"]), SEED),
            timestep=torch.tensor(TIMESTEP),
        )
        if config.get("force_zeros_for_pooled_projection", True):
            args["pooled_projections"] = torch.zeros_like(args["pooled_projections"])
        if model.pos_embed is None:
            args["hidden_states"] = seeded.tensor("tokens", (b, size[0] * size[1] // 4, d), SEED)
        else:
            args["hidden_states"] = seeded.tensor("x", (b, config["in_channels"], *size), SEED)
        if model.context_embedder is not None:
            args["encoder_hidden_states"] = seeded.tensor("context", (b, N_TEXT, config["joint_attention_dim"]), SEED)
        stages = mmdit.Stages(model)
        residuals = model(**args).controlnet_block_samples
        tensors = {**stages.stop(), **{f"residual.{i}": r for i, r in enumerate(residuals)}}
        more = dict(size=list(size), n_text=N_TEXT, timestep=TIMESTEP)
        seeded.save("model", "controlnet-" + name, tensors, SEED, "tools/golden/controlnet.py", config, shapes, more)


if __name__ == "__main__":
    main()
