"""What the autoencoder makes of photos, for judge.py --reconstructions.

    python3 reconstruct.py MODEL OUT PHOTO.png ...

Needs torch, numpy and Pillow."""
import os
import sys

import numpy as np
import torch
from PIL import Image

import nets
from learn import as_bytes, read_safetensors


@torch.no_grad()
def main(model, out, *photos):
    vae = nets.Autoencoder().eval()
    vae.load_state_dict(read_safetensors(f"{model}/vae/diffusion_pytorch_model.safetensors"))
    os.makedirs(out, exist_ok=True)
    for path in photos:
        x = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
        y = as_bytes(vae.decoder(vae.encoder(x).chunk(2, 1)[0]))[0]
        Image.fromarray(y.permute(1, 2, 0).numpy()).save(f"{out}/{os.path.basename(path)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
