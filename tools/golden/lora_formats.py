#!/usr/bin/env python3
"""LoRA files in every layout, and what each adds to the weights, for tests/model/lora_formats.c.

diffusers and PEFT write theirs; kohya, ComfyUI and OneTrainer files are written here by their rules (docs/lora.md). The difference
that an adapter makes is PEFT's own get_delta_weight, except where a layout holds something else than the PEFT adapter: then it is
computed here from the file's tensors.

    OMP_NUM_THREADS=1 python tools/golden/lora_formats.py
"""
import hashlib
import json
import os
import shutil
import tempfile

import diffusers
import numpy as np
import peft
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

SEED = 5
OUT = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden", "model")
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
D, BLOCKS, RANK = 16, 2, 3


def transformer():
    torch.manual_seed(SEED)
    return SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=16, num_layers=BLOCKS, attention_head_dim=8, num_attention_heads=2,
                                 joint_attention_dim=24, caption_projection_dim=D, pooled_projection_dim=20, out_channels=16,
                                 pos_embed_max_size=6, dual_attention_layers=(), qk_norm="rms_norm")


def adapted(config):
    m = transformer()
    m.add_adapter(config)
    g = torch.Generator().manual_seed(SEED)
    for name, p in m.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape, generator=g) * 0.3
    delta = {}
    for name, layer in m.named_modules():
        if hasattr(layer, "get_delta_weight") and hasattr(layer, "lora_A") and len(layer.lora_A):
            delta[name] = layer.get_delta_weight("default").detach().float()
    return m, delta


def pairs(m):
    """{layer: (A, B)} as PEFT holds them."""
    sd = get_peft_model_state_dict(m)
    return {k[: -len(".lora_A.weight")]: (v, sd[k.replace("lora_A", "lora_B")]) for k, v in sd.items() if k.endswith(".lora_A.weight")}


def flat(s):
    return s.replace(".", "_")


def main():
    os.makedirs(OUT, exist_ok=True)
    files, deltas, tmp = {}, {}, tempfile.mkdtemp()

    def keep(name, tensors, delta, metadata=None):
        save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(OUT, f"lora_{name}.safetensors"), metadata=metadata)
        files[name] = f"lora_{name}.safetensors"
        deltas[name] = delta

    # diffusers, with and without its metadata: alpha 6 over rank 3, one block with another rank and alpha
    config = LoraConfig(r=RANK, lora_alpha=6, target_modules=TARGETS, rank_pattern={"transformer_blocks.1.attn.to_q": 5},
                        alpha_pattern={"transformer_blocks.1.attn.to_k": 1.5, "transformer_blocks.1.attn.to_q": 4})
    m, delta = adapted(config)
    sd = get_peft_model_state_dict(m)
    StableDiffusion3Pipeline.save_lora_weights(tmp, transformer_lora_layers=dict(sd), **_collate_lora_metadata({"transformer": m}))
    shutil.copy(os.path.join(tmp, "pytorch_lora_weights.safetensors"), os.path.join(OUT, "lora_diffusers.safetensors"))
    files["diffusers"], deltas["diffusers"] = "lora_diffusers.safetensors", delta
    plain = {k: (b @ a).float() for k, (a, b) in pairs(m).items()}        # no metadata: scale 1
    StableDiffusion3Pipeline.save_lora_weights(tmp, transformer_lora_layers=dict(sd))
    shutil.copy(os.path.join(tmp, "pytorch_lora_weights.safetensors"), os.path.join(OUT, "lora_diffusers_plain.safetensors"))
    files["diffusers_plain"], deltas["diffusers_plain"] = "lora_diffusers_plain.safetensors", plain

    # the 2023 layouts of diffusers
    keep("old", {f"transformer.{k}.lora.{x}.weight": t for k, (a, b) in pairs(m).items() for x, t in (("down", a), ("up", b))}, plain)
    keep("processor", {f"transformer.{k.replace('attn.', 'attn.processor.').replace('to_out.0', 'to_out')}_lora.{x}.weight": t
                       for k, (a, b) in pairs(m).items() for x, t in (("down", a), ("up", b))}, plain)

    # PEFT: rank-stabilised scale, and the patterns
    for name, cfg in (("peft", config), ("peft_rslora", LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, use_rslora=True))):
        mm, dd = adapted(cfg)
        folder = os.path.join(OUT, f"lora_{name}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        save_file({f"base_model.model.{k}": v.contiguous() for k, v in get_peft_model_state_dict(mm).items()},
                  os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
        cfg = mm.peft_config["default"]
        cfg.inference_mode = True
        cfg.save_pretrained(folder)
        files[name], deltas[name] = f"lora_{name}", dd

    # kohya: fused q, k, v, an alpha tensor; also the last block's text modulation, whose halves are swapped, and zero alpha
    g = torch.Generator().manual_seed(SEED + 1)
    rnd = lambda *s: torch.randn(*s, generator=g) * 0.3
    t, dk = {}, {}
    for i in range(BLOCKS):
        for side, names in (("x_block", ["to_q", "to_k", "to_v"]), ("context_block", ["add_q_proj", "add_k_proj", "add_v_proj"])):
            down, up, alpha = rnd(4, D), rnd(3 * D, 4), 2.0
            mod = f"lora_unet_joint_blocks_{i}_{side}_attn_qkv"
            t.update({mod + ".lora_down.weight": down, mod + ".lora_up.weight": up, mod + ".alpha": torch.tensor(alpha)})
            for k, n in enumerate(names):
                dk[f"transformer_blocks.{i}.attn.{n}"] = (up[k * D:(k + 1) * D] @ down) * (alpha / 4)
    for mod, layer, n_out, n_in, swap in (("joint_blocks_0_x_block_attn_proj", "transformer_blocks.0.attn.to_out.0", D, D, False),
                                          ("joint_blocks_0_x_block_mlp_fc1", "transformer_blocks.0.ff.net.0.proj", 4 * D, D, False),
                                          ("joint_blocks_0_context_block_mlp_fc2", "transformer_blocks.0.ff_context.net.2", D, 4 * D, False),
                                          ("joint_blocks_0_context_block_adaLN_modulation_1", "transformer_blocks.0.norm1_context.linear", 6 * D, D, False),
                                          ("joint_blocks_1_context_block_adaLN_modulation_1", "transformer_blocks.1.norm1_context.linear", 2 * D, D, True),
                                          ("final_layer_adaLN_modulation_1", "norm_out.linear", 2 * D, D, True),
                                          ("final_layer_linear", "proj_out", 64, D, False), ("context_embedder", "context_embedder", D, 24, False)):
        down, up = rnd(2, n_in), rnd(n_out, 2)
        t.update({f"lora_unet_{mod}.lora_down.weight": down, f"lora_unet_{mod}.lora_up.weight": up, f"lora_unet_{mod}.alpha": torch.tensor(0.0)})
        d = up @ down
        dk[layer] = torch.cat([d[n_out // 2:], d[: n_out // 2]]) if swap else d
    keep("kohya", t, dk, {"ss_network_module": "networks.lora_sd3", "ss_network_dim": "4", "ss_network_alpha": "2"})

    # kohya from split training: rank 3 r in blocks; alpha 3 times that of the parts
    t, dk = {}, {}
    for i in range(BLOCKS):
        a, b = [rnd(2, D) for _ in range(3)], [rnd(D, 2) for _ in range(3)]
        mod = f"lora_unet_joint_blocks_{i}_x_block_attn_qkv"
        t.update({mod + ".lora_down.weight": torch.cat(a), mod + ".lora_up.weight": torch.block_diag(*b), mod + ".alpha": torch.tensor(3.0)})
        for k, n in enumerate("qkv"):
            dk[f"transformer_blocks.{i}.attn.to_{n}"] = b[k] @ a[k] * 0.5
    keep("kohya_split", t, dk)

    # ComfyUI: original names with dots, no alpha (scale 1), F16; OneTrainer: our names with underscores and an alpha
    t, dc = {}, {}
    for i in range(BLOCKS):
        down, up = rnd(3, D).half(), rnd(3 * D, 3).half()
        mod = f"diffusion_model.joint_blocks.{i}.x_block.attn.qkv"
        t.update({mod + ".lora_A.weight": down, mod + ".lora_B.weight": up})
        for k, n in enumerate("qkv"):
            dc[f"transformer_blocks.{i}.attn.to_{n}"] = up[k * D:(k + 1) * D].float() @ down.float()
    keep("comfyui", t, dc)
    t = {}
    for k, (a, b) in pairs(m).items():
        mod = "lora_transformer_" + flat(k)
        t.update({mod + ".lora_down.weight": a, mod + ".lora_up.weight": b, mod + ".alpha": torch.tensor(1.25)})
    keep("onetrainer", t, {k: (b @ a).float() * (1.25 / a.shape[0]) for k, (a, b) in pairs(m).items()})

    # with a text encoder's adapters beside the transformer's
    t = {f"transformer.{k}.lora_{x}.weight": v for k, (a, b) in pairs(m).items() for x, v in (("A", a), ("B", b))}
    t.update({"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": rnd(2, 8),
              "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight": rnd(8, 2)})
    keep("with_text", t, plain)

    save_file({f"{n}/{k}": v.contiguous().clone() for n, d in deltas.items() for k, v in d.items()}, os.path.join(OUT, "lora_delta.safetensors"))
    names = sorted(os.listdir(OUT))
    note = {"tool": f"tools/golden/lora_formats.py, diffusers {diffusers.__version__}, peft {peft.__version__}, torch {torch.__version__}",
            "seed": SEED, "dtype": "F32", "files": files,
            "sha256": {n: hashlib.sha256(open(os.path.join(OUT, n), "rb").read()).hexdigest() for n in names if n.startswith("lora_") and n.endswith(".safetensors")}}
    with open(os.path.join(OUT, "lora_formats.json"), "w") as f:
        json.dump(note, f, indent=1)
        f.write("\n")
    shutil.rmtree(tmp)


if __name__ == "__main__":
    main()
