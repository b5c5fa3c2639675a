#!/usr/bin/env python3
"""Original-layout weight files in small, for tests/model/original.c.

Weights of small diffusers and transformers models are renamed, fused, swapped and transposed here into the layouts of the original
files, by numpy alone; then diffusers' own single-file converters must give the models' weights back. The golden holds the files and,
in the .json, the SHA-256 of every tensor under its diffusers name. The 8B ControlNet's converter is a script outside the diffusers
package: its table was read from scripts/convert_sd3_controlnet_to_diffusers.py.

    OMP_NUM_THREADS=1 python tools/golden/original.py
"""
import hashlib
import json
import os

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, SD3ControlNetModel, SD3Transformer2DModel
from diffusers.loaders import single_file_utils as sf
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

SEED = 11
OUT = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden", "model")


def weights(model, seed):
    """Seeded values for every tensor, buffers included, in F16."""
    g = torch.Generator().manual_seed(seed)
    return {k: torch.randn(v.shape, generator=g).half().numpy() for k, v in model.state_dict().items() if v.is_floating_point()}


def swap(a):
    half = a.shape[0] // 2
    return np.concatenate([a[half:], a[:half]])


def fuse(sd, names, suffix):
    return np.concatenate([sd[n + suffix] for n in names])


def original_mmdit(sd, n_block):
    o = {"pos_embed": sd["pos_embed.pos_embed"]}
    for s in (".weight", ".bias"):
        o["x_embedder.proj" + s] = sd["pos_embed.proj" + s]
        for ours, theirs in (("timestep", "t"), ("text", "y")):
            for i, j in ((1, 0), (2, 2)):
                o[f"{theirs}_embedder.mlp.{j}{s}"] = sd[f"time_text_embed.{ours}_embedder.linear_{i}{s}"]
        o["context_embedder" + s] = sd["context_embedder" + s]
        o["final_layer.linear" + s] = sd["proj_out" + s]
        o["final_layer.adaLN_modulation.1" + s] = swap(sd["norm_out.linear" + s])
        for i in range(n_block):
            a, b, last = f"transformer_blocks.{i}.", f"joint_blocks.{i}.", i == n_block - 1
            o[b + "x_block.attn.qkv" + s] = fuse(sd, [a + f"attn.to_{c}" for c in "qkv"], s)
            o[b + "context_block.attn.qkv" + s] = fuse(sd, [a + f"attn.add_{c}_proj" for c in "qkv"], s)
            o[b + "x_block.attn.proj" + s] = sd[a + "attn.to_out.0" + s]
            o[b + "x_block.adaLN_modulation.1" + s] = sd[a + "norm1.linear" + s]
            o[b + "x_block.mlp.fc1" + s] = sd[a + "ff.net.0.proj" + s]
            o[b + "x_block.mlp.fc2" + s] = sd[a + "ff.net.2" + s]
            m = sd[a + "norm1_context.linear" + s]
            o[b + "context_block.adaLN_modulation.1" + s] = swap(m) if last else m
            if not last:
                o[b + "context_block.attn.proj" + s] = sd[a + "attn.to_add_out" + s]
                o[b + "context_block.mlp.fc1" + s] = sd[a + "ff_context.net.0.proj" + s]
                o[b + "context_block.mlp.fc2" + s] = sd[a + "ff_context.net.2" + s]
            if a + "attn2.to_q" + s in sd:
                o[b + "x_block.attn2.qkv" + s] = fuse(sd, [a + f"attn2.to_{c}" for c in "qkv"], s)
                o[b + "x_block.attn2.proj" + s] = sd[a + "attn2.to_out.0" + s]
    for i in range(n_block):
        a, b = f"transformer_blocks.{i}.", f"joint_blocks.{i}."
        for c in "qk":
            o[b + f"x_block.attn.ln_{c}.weight"] = sd[a + f"attn.norm_{c}.weight"]
            o[b + f"context_block.attn.ln_{c}.weight"] = sd[a + f"attn.norm_added_{c}.weight"]
            if a + "attn2.norm_q.weight" in sd:
                o[b + f"x_block.attn2.ln_{c}.weight"] = sd[a + f"attn2.norm_{c}.weight"]
    return o


def original_controlnet(sd, n_block):
    o = {k: v for k, v in sd.items() if not k.startswith("transformer_blocks.")}
    for i in range(n_block):
        a = f"transformer_blocks.{i}."
        for s in (".weight", ".bias"):
            o[a + "attn.qkv" + s] = fuse(sd, [a + f"attn.to_{c}" for c in "qkv"], s)
            o[a + "attn.proj" + s] = sd[a + "attn.to_out.0" + s]
            o[a + "mlp.fc1" + s] = sd[a + "ff.net.0.proj" + s]
            o[a + "mlp.fc2" + s] = sd[a + "ff.net.2" + s]
            o[a + "adaLN_modulation.1" + s] = sd[a + "norm1.linear" + s]
    o["control_type"] = np.array([1], np.int32)
    return o


def original_vae(sd):
    o = {}
    for k, v in sd.items():
        if ".attentions.0.to_" in k and v.ndim == 2:
            v = v[:, :, None, None]
        for a, b in (("conv_norm_out", "norm_out"), ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
                     ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"), ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
                     ("mid_block.attentions.0.to_", "mid.attn_1."), ("down_blocks.", "down."), ("resnets.", "block."),
                     ("conv_shortcut", "nin_shortcut"), ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample")):
            k = k.replace(a, b)
        for i in range(4):
            k = k.replace(f"up_blocks.{i}.", f"up.{3 - i}.")
        o[k] = v
    return o


def original_openclip(sd, n_layer):
    o = {"token_embedding.weight": sd["text_model.embeddings.token_embedding.weight"],
         "positional_embedding": sd["text_model.embeddings.position_embedding.weight"],
         "text_projection": np.ascontiguousarray(sd["text_projection.weight"].T),
         "logit_scale": np.array(4.6, np.float16)}
    for s in (".weight", ".bias"):
        o["ln_final" + s] = sd["text_model.final_layer_norm" + s]
        for i in range(n_layer):
            a, b = f"text_model.encoder.layers.{i}.", f"transformer.resblocks.{i}."
            o[b + "attn.in_proj" + s.replace(".", "_")] = fuse(sd, [a + f"self_attn.{c}_proj" for c in "qkv"], s)
            o[b + "attn.out_proj" + s] = sd[a + "self_attn.out_proj" + s]
            for x, y in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
                o[b + y + s] = sd[a + x + s]
    return o


def same(got, want, what):
    missing = set(want) ^ set(got)
    assert not missing, (what, sorted(missing)[:5])
    for k in want:
        g = got[k].numpy() if torch.is_tensor(got[k]) else got[k]
        assert g.shape == want[k].shape and np.array_equal(g, want[k]), (what, k)


def torched(d):
    return {k: torch.from_numpy(np.array(v)) for k, v in d.items()}


def with_prefix(d, p):
    return {p + k: v for k, v in d.items()}


def clip_names(sd):
    """text_model. in front, whatever this transformers calls it in memory."""
    return {k if k.startswith(("text_model.", "text_projection")) else "text_model." + k: v for k, v in sd.items()}


def main():
    torch.manual_seed(SEED)
    mmdit = SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=8, num_attention_heads=2,
                                  joint_attention_dim=24, caption_projection_dim=16, pooled_projection_dim=20, out_channels=16,
                                  pos_embed_max_size=6, dual_attention_layers=(0, 1), qk_norm="rms_norm")
    control = SD3ControlNetModel(sample_size=8, num_layers=2, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=None,
                                 caption_projection_dim=2048, pooled_projection_dim=20, pos_embed_max_size=None, pos_embed_type=None,
                                 use_pos_embed=False, force_zeros_for_pooled_projection=False)
    vae = AutoencoderKL(block_out_channels=(4, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                        layers_per_block=2, latent_channels=16, norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False)
    clip = {d: CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=d, intermediate_size=2 * d, num_hidden_layers=2, num_attention_heads=2,
                                                          vocab_size=32, max_position_embeddings=7, projection_dim=d)) for d in (8, 12)}
    t5 = T5EncoderModel(T5Config(d_model=24, d_ff=32, d_kv=4, num_heads=2, num_layers=2, vocab_size=32, feed_forward_proj="gated-gelu"))

    sd = {"transformer": weights(mmdit, 1), "controlnet": weights(control, 2), "vae": weights(vae, 3),
          "text_encoder": clip_names(weights(clip[8], 4)), "text_encoder_2": clip_names(weights(clip[12], 5)), "text_encoder_3": weights(t5, 6)}
    sd["text_encoder_3"].pop("encoder.embed_tokens.weight", None)         # tied to shared.weight
    sd["text_encoder"]["text_projection.weight"] = np.eye(8, dtype=np.float16)

    original = {"transformer": original_mmdit(sd["transformer"], 3), "controlnet": original_controlnet(sd["controlnet"], 2),
                "vae": original_vae(sd["vae"]), "openclip": original_openclip(sd["text_encoder_2"], 2)}

    # diffusers' own way back
    same(sf.convert_sd3_transformer_checkpoint_to_diffusers(with_prefix(torched(original["transformer"]), "model.diffusion_model.")),
         sd["transformer"], "transformer")
    got = sf.convert_ldm_vae_checkpoint(with_prefix(torched(original["vae"]), "first_stage_model."), dict(vae.config))
    same(got, sd["vae"], "vae")
    got = sf.convert_open_clip_checkpoint(clip[12], torched(original["openclip"]), prefix="")
    same(got, sd["text_encoder_2"], "openclip")
    for name, p in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")):
        got = sf.convert_ldm_clip_checkpoint(with_prefix(torched(sd[name]), f"text_encoders.{p}.transformer."), f"text_encoders.{p}.transformer.")
        same(got, sd[name], name)
    same(sf.convert_sd3_t5_checkpoint_to_diffusers(with_prefix(torched(sd["text_encoder_3"]), "text_encoders.t5xxl.transformer.")),
         sd["text_encoder_3"], "t5")

    clip_l = {k: v for k, v in sd["text_encoder"].items() if k != "text_projection.weight"}
    whole = {**with_prefix(original["transformer"], "model.diffusion_model."), **with_prefix(original["vae"], "first_stage_model."),
             **with_prefix(clip_l, "text_encoders.clip_l.transformer."),
             "text_encoders.clip_l.transformer.text_model.embeddings.position_ids": np.arange(7, dtype=np.int64)[None],
             **with_prefix(sd["text_encoder_2"], "text_encoders.clip_g.transformer."),
             **with_prefix(sd["text_encoder_3"], "text_encoders.t5xxl.transformer.")}
    os.makedirs(OUT, exist_ok=True)
    files = {"original_whole": whole, "original_controlnet": original["controlnet"], "original_openclip": original["openclip"]}
    for name, tensors in files.items():
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, os.path.join(OUT, name + ".safetensors"))
    note = {"tool": f"tools/golden/original.py, diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}",
            "seed": SEED, "dtype": "F16",
            "file_sha256": {n: hashlib.sha256(open(os.path.join(OUT, n + ".safetensors"), "rb").read()).hexdigest() for n in files},
            "tensors": {m: {k: {"shape": list(v.shape), "sha256": hashlib.sha256(np.ascontiguousarray(v).tobytes()).hexdigest()}
                            for k, v in sorted(d.items())} for m, d in sd.items()}}
    with open(os.path.join(OUT, "original.json"), "w") as f:
        json.dump(note, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
