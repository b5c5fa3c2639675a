"""CLIP text transformers, small and random: transformers' CLIPTextModelWithProjection and CLIPTextModel in fp32.

Writes tests/golden/model/clip-*.safetensors and .json. Weights are those of seeded.py under the names a folder has on disk
(with or without "text_model."), ids are stored. A model of k layers gives the state before its last, so the cases with 1, 2
and 4 layers tell embeddings, one layer and depth apart.
"""
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import seeded

SEED = 77
COMMON = dict(vocab_size=300, max_position_embeddings=77, eos_token_id=299, bos_token_id=298, pad_token_id=299)
CASES = {
    # name: (class, config, what names on disk begin with)
    "l": (CLIPTextModelWithProjection, dict(hidden_size=128, intermediate_size=192, num_hidden_layers=4, num_attention_heads=2,
                                            projection_dim=128, hidden_act="quick_gelu"), "text_model."),
    "g": (CLIPTextModelWithProjection, dict(hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=3,
                                            projection_dim=40, hidden_act="gelu"), ""),
    "plain": (CLIPTextModel, dict(hidden_size=64, intermediate_size=80, num_hidden_layers=1, num_attention_heads=4,
                                  hidden_act="gelu_new", layer_norm_eps=1e-3, eos_token_id=2), "text_model."),
}


def ids(case):
    """Three texts: short, none, and one that is cut; a second end token inside one of them. The pad differs as it does in SD3."""
    g = torch.Generator().manual_seed(SEED)
    pad = 0 if case == "g" else 299
    rows = []
    for n in (9, 0, 75):
        words = torch.randint(1, 298, (n,), generator=g).tolist()
        rows.append([298] + words + [299] + [pad] * (75 - n))
    rows[0][6] = 299
    return torch.tensor(rows)


@torch.no_grad()
def main():
    for name, (cls, config, prefix) in CASES.items():
        config = {**COMMON, **config}
        model = cls(CLIPTextConfig(**config, attn_implementation="eager")).eval()
        weights = {}
        for key, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            bare = key.removeprefix("text_model.")
            disk = bare if bare.startswith("text_projection") else prefix + bare
            value.copy_(torch.from_numpy(seeded.weight(disk, value.shape, SEED)))
            weights[disk] = list(value.shape)
        x = ids(name)
        out = model(x, output_hidden_states=True)
        pooled = out.text_embeds if cls is CLIPTextModelWithProjection else out.pooler_output
        exact = model.double()(x, output_hidden_states=True)
        error = float((out.hidden_states[-2].double() - exact.hidden_states[-2]).norm() / exact.hidden_states[-2].norm())
        seeded.save("model", "clip-" + name, {"input_ids": x.int(), "hidden": out.hidden_states[-2], "pooled": pooled}, SEED,
                    "tools/golden/clip.py", {**config, "model_type": "clip_text_model"}, weights, {"error_torch_f32": error})


if __name__ == "__main__":
    main()
