"""SD3 transformers of every kind, small and random, stage by stage: diffusers' SD3Transformer2DModel in fp32.

Writes tests/golden/model/mmdit-*.safetensors and .json. Weights and inputs are those of seeded.py and are not stored; stages
are named as tress's probe names them: STAGE, or STAGE.BLOCK.
"""
import numpy as np
import torch
from diffusers import SD3Transformer2DModel

import seeded

SEED = 35
CASES = {
    # name: (config, latent height and width)
    "sd3-medium": (dict(num_layers=3, num_attention_heads=2, attention_head_dim=64), (6, 10)),
    "sd35-medium": (dict(num_layers=4, num_attention_heads=2, attention_head_dim=64, qk_norm="rms_norm",
                         dual_attention_layers=(0, 1, 3)), (10, 6)),
    "sd35-large": (dict(num_layers=4, num_attention_heads=3, attention_head_dim=64, qk_norm="rms_norm"), (6, 10)),
    "heads-32": (dict(num_layers=2, num_attention_heads=4, attention_head_dim=32, qk_norm="rms_norm", in_channels=4,
                      out_channels=6), (14, 2)),
}
COMMON = dict(sample_size=16, patch_size=2, in_channels=16, out_channels=16, joint_attention_dim=40, pooled_projection_dim=24,
              pos_embed_max_size=8)
TIMESTEP = [937.3125, 12.25]
N_TEXT = 5


def build(config, cls=SD3Transformer2DModel):
    config = {**COMMON, **config}
    config["caption_projection_dim"] = config["num_attention_heads"] * config["attention_head_dim"]
    model = cls(**config).eval()
    shapes = seeded.fill(model, SEED)
    return model, shapes, {**config, "_class_name": cls.__name__}


def inputs(config, size):
    b = len(TIMESTEP)
    return dict(
        hidden_states=seeded.tensor("x", (b, config["in_channels"], *size), SEED),
        encoder_hidden_states=seeded.tensor("context", (b, N_TEXT, config["joint_attention_dim"]), SEED),
        pooled_projections=seeded.tensor("pooled", (b, config["pooled_projection_dim"]), SEED),
        timestep=torch.tensor(TIMESTEP),
    )


class Stages:
    """Collects what goes through a model, under the probe's names."""

    def __init__(self, model):
        self.seen, self.handles = {}, []
        self.take(model.time_text_embed, "temb")
        if model.context_embedder is not None:
            self.take(model.context_embedder, "context")
        for i, block in enumerate(model.transformer_blocks):
            self.take(block.norm1, f"norm.{i}", 0)
            self.take(block.attn.to_out[0], f"attention.{i}", None)
            self.take(block, f"image.{i}", 1 if hasattr(block, "norm1_context") else 0)
            if getattr(block, "attn2", None) is not None:
                self.take(block.attn2.to_out[0], f"attention2.{i}", None)
            if hasattr(block, "norm1_context"):
                self.take(block.norm1_context, f"norm_context.{i}", 0)
                if not block.context_pre_only:
                    self.take(block.attn.to_add_out, f"attention_context.{i}", None)
                    self.take(block, f"text.{i}", 0)

    def take(self, module, name, item=0):
        """item None: the module's input."""
        def keep(_, args, kwargs, out):
            t = args[0] if item is None else out[item] if isinstance(out, tuple) else out
            self.seen[name] = t.detach().clone()
        self.handles.append(module.register_forward_hook(keep, with_kwargs=True))

    def stop(self):
        for h in self.handles:
            h.remove()
        return self.seen


def vendor(model, residuals, skip, args):
    """The vendor's rule: residual i // (L // n) after every block that ran, the last one too."""
    n_block = len(model.transformer_blocks)
    step = n_block // len(residuals)
    handles = [
        block.register_forward_hook(lambda _, a, out, i=i: (out[0], out[1] + residuals[i // step]))
        for i, block in enumerate(model.transformer_blocks)
    ]
    out = model(**args, skip_layers=skip).sample
    for h in handles:
        h.remove()
    return out


def sinusoid(t):
    f = np.exp((np.float32(-np.log(10000.0)) * np.arange(128, dtype=np.float32) / np.float32(128)).astype(np.float64)).astype(np.float32)
    a = (t.numpy().astype(np.float32)[:, None] * f[None]).astype(np.float64)
    return torch.from_numpy(np.concatenate([np.cos(a), np.sin(a)], 1).astype(np.float32)).to(t.dtype)


@torch.no_grad()
def main():
    for name, (config, size) in CASES.items():
        model, shapes, config = build(config)
        args = inputs(config, size)
        stages = Stages(model)
        stages.take(model.pos_embed, "tokens")
        stages.take(model.norm_out, "norm_out")
        sample = model(**args).sample
        tensors = {**stages.stop(), "sample": sample}
        more = dict(size=list(size), n_text=N_TEXT, timestep=TIMESTEP)
        if name == "sd35-large":
            b, t, d = tensors["tokens"].shape
            residual = [seeded.tensor(f"residual.{i}", (b, t, d), SEED) for i in range(3)]
            scaled = [0.75 * r for r in residual]
            for n, skip in ((1, []), (2, []), (3, []), (2, [1]), (3, [0, 3])):
                tag = f"{n}" + "".join(f"-{i}" for i in skip)
                tensors[f"sample.diffusers.{tag}"] = model(**args, block_controlnet_hidden_states=scaled[:n], skip_layers=skip).sample
                if 4 % n == 0:
                    tensors[f"sample.vendor.{tag}"] = vendor(model, scaled[:n], skip, args)
            tensors["sample.skip"] = model(**args, skip_layers=[2]).sample
            # float64, to see whose rounding is whose. The sinusoid is rounded where diffusers rounds it, but each time to the
            # nearest: torch's own exp is sometimes a bit off, which an angle near 1000 makes 6e-5.
            model.time_text_embed.time_proj.forward = sinusoid
            rounded = model(**args).sample
            exact = model.double()(**{k: v.double() for k, v in args.items()}).sample
            tensors["sample.f64"] = exact
            more["error_torch_f32"] = float((rounded.double() - exact).norm() / exact.norm())
            print("torch fp32 against float64:", more["error_torch_f32"])
        seeded.save("model", "mmdit-" + name, tensors, SEED, "tools/golden/mmdit.py", config, shapes, more)


if __name__ == "__main__":
    main()
