"""Put what pretrain.py left into a diffusers folder: configs, weights, tokenizers.

    python3 export.py PARTS examples/tokenizers models/mini"""
import json
import os
import shutil
import sys

from learn import read_safetensors, write_safetensors
from nets import CONFIG as C


def vae_config(scale, shift):
    return dict(act_fn="silu", block_out_channels=list(C["vae"]), down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                in_channels=3, out_channels=3, latent_channels=C["latent"], layers_per_block=2, mid_block_add_attention=True, norm_num_groups=C["groups"],
                sample_size=256, scaling_factor=scale, shift_factor=shift, force_upcast=True, use_quant_conv=False, use_post_quant_conv=False)


def transformer_config():
    return dict(attention_head_dim=C["d"] // C["heads"], caption_projection_dim=C["d"], dual_attention_layers=(), in_channels=16, out_channels=16,
                joint_attention_dim=C["d_context"], num_attention_heads=C["heads"], num_layers=C["blocks"], patch_size=2,
                pooled_projection_dim=C["d_pooled"], pos_embed_max_size=C["pos_max"], qk_norm="rms_norm", sample_size=32)


def controlnet_config():
    return dict(attention_head_dim=C["d"] // C["heads"], caption_projection_dim=2048, dual_attention_layers=(), extra_conditioning_channels=0,
                force_zeros_for_pooled_projection=False, in_channels=16, out_channels=16, joint_attention_dim=None, num_attention_heads=C["heads"],
                num_layers=C["control_blocks"], patch_size=2, pooled_projection_dim=C["d_pooled"], pos_embed_max_size=None, pos_embed_type=None,
                qk_norm=None, sample_size=32, use_pos_embed=False)


def clip_config(which, pad):
    c = C[which]
    return dict(hidden_size=c["d"], intermediate_size=c["ff"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"], hidden_act=c["act"],
                projection_dim=c["d"], vocab_size=c["vocab"], max_position_embeddings=77, layer_norm_eps=1e-5, attention_dropout=0.0,
                bos_token_id=c["vocab"] - 2, eos_token_id=c["vocab"] - 1, pad_token_id=pad)


def t5_config():
    c = C["t5"]
    return dict(d_model=c["d"], d_ff=c["ff"], d_kv=64, num_layers=c["layers"], num_decoder_layers=c["layers"], num_heads=c["heads"], vocab_size=c["vocab"],
                feed_forward_proj="gated-gelu", dense_act_fn="gelu_new", is_gated_act=True, relative_attention_num_buckets=32,
                relative_attention_max_distance=128, layer_norm_epsilon=1e-6, dropout_rate=0.0, tie_word_embeddings=False, use_cache=False,
                pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, is_encoder_decoder=True)


def clip_state(state, like):
    """transformers has kept and dropped the text_model. prefix over time; files keep it."""
    return {k if k in like else k.removeprefix("text_model."): v for k, v in state.items()}


def main(parts, tokenizers, out):
    fit = json.load(open(f"{parts}/vae.json"))

    def put(folder, file, state, config, cls):
        os.makedirs(f"{out}/{folder}", exist_ok=True)
        write_safetensors(f"{out}/{folder}/{file}", state)
        json.dump({**cls, **config}, open(f"{out}/{folder}/config.json", "w"), indent=2, sort_keys=True)

    read, name = lambda f: read_safetensors(f"{parts}/{f}.safetensors"), "diffusion_pytorch_model.safetensors"
    vae = read("vae")
    if os.path.exists(f"{parts}/decoder.safetensors"):
        vae.update({f"decoder.{k}": v for k, v in read("decoder").items()})
    put("vae", name, vae, vae_config(fit["scale"], fit["shift"]), {"_class_name": "AutoencoderKL"})
    put("transformer", name, {**read("transformer-1"), **read("transformer-2")}, transformer_config(), {"_class_name": "SD3Transformer2DModel"})
    put("controlnet", name, read("control"), controlnet_config(), {"_class_name": "SD3ControlNetModel"})
    text = read("text")
    part = lambda p: {k.removeprefix(p): v for k, v in text.items() if k.startswith(p)}
    put("text_encoder", "model.safetensors", part("clip_l."), clip_config("clip_l", C["clip_l"]["vocab"] - 1),
        {"architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model"})
    put("text_encoder_2", "model.safetensors", part("clip_g."), clip_config("clip_g", 0), {"architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model"})
    put("text_encoder_3", "model.safetensors", part("t5."), t5_config(), {"architectures": ["T5EncoderModel"], "model_type": "t5"})
    os.makedirs(f"{out}/scheduler", exist_ok=True)
    json.dump({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}, open(f"{out}/scheduler/scheduler_config.json", "w"), indent=2)
    for t in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        shutil.copytree(f"{tokenizers}/{t}", f"{out}/{t}", dirs_exist_ok=True)
    clip = ["transformers", "CLIPTextModelWithProjection"]
    json.dump({"_class_name": "StableDiffusion3Pipeline", "_diffusers_version": "0.32.0", "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
               "transformer": ["diffusers", "SD3Transformer2DModel"], "vae": ["diffusers", "AutoencoderKL"], "text_encoder": clip, "text_encoder_2": clip,
               "text_encoder_3": ["transformers", "T5EncoderModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
               "tokenizer_2": ["transformers", "CLIPTokenizer"], "tokenizer_3": ["transformers", "T5TokenizerFast"]}, open(f"{out}/model_index.json", "w"), indent=2)


if __name__ == "__main__":
    main(*sys.argv[1:4])
