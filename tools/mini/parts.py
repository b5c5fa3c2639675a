"""Split a model folder into the parts that pretrain.py --init goes on from.

    python3 parts.py models/mini PARTS"""
import json
import os
import sys

from learn import read_safetensors, write_safetensors
from pretrain import save_transformer


def main(model, out):
    os.makedirs(out, exist_ok=True)
    name = "diffusion_pytorch_model.safetensors"
    write_safetensors(f"{out}/vae.safetensors", read_safetensors(f"{model}/vae/{name}"))
    write_safetensors(f"{out}/control.safetensors", read_safetensors(f"{model}/controlnet/{name}"))
    save_transformer(out, read_safetensors(f"{model}/transformer/{name}"))
    text = {}
    for prefix, folder in (("clip_l.", "text_encoder"), ("clip_g.", "text_encoder_2"), ("t5.", "text_encoder_3")):
        text.update({prefix + k: v for k, v in read_safetensors(f"{model}/{folder}/model.safetensors").items()})
    write_safetensors(f"{out}/text.safetensors", text)
    c = json.load(open(f"{model}/vae/config.json"))
    json.dump({"shift": c["shift_factor"], "scale": c["scaling_factor"]}, open(f"{out}/vae.json", "w"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
