#!/usr/bin/env python3
"""Do diffusers and PEFT load what `tress lora convert` writes, and add the same to the weights? Live, over the golden files of
tools/golden/lora_formats.py: each is converted to diffusers' and PEFT's layout and loaded there, with and without diffusers' metadata.

    python tools/lora_parity.py --tress build/tress
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from diffusers import StableDiffusion3Pipeline
from peft import PeftModel
from safetensors.torch import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "golden"))
import lora_formats as golden  # noqa: E402

GOLDEN = os.path.join(HERE, "..", "tests", "golden", "model")
CASES = ["diffusers", "diffusers_plain", "old", "processor", "peft", "peft_rslora", "kohya", "kohya_split", "comfyui", "onetrainer"]


def deltas(model):
    return {n.removeprefix("base_model.model."): m.get_delta_weight(list(m.lora_A)[0]).detach().float()
            for n, m in model.named_modules() if hasattr(m, "lora_A") and len(m.lora_A)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tress", default="build/tress")
    tress = p.parse_args().tress
    want_all, worst = load_file(os.path.join(GOLDEN, "lora_delta.safetensors")), 0.0
    with tempfile.TemporaryDirectory() as tmp:
        for name in CASES:
            src = os.path.join(GOLDEN, f"lora_{name}" + ("" if name.startswith("peft") else ".safetensors"))
            want = {k.split("/", 1)[1]: v for k, v in want_all.items() if k.startswith(name + "/")}
            one, folder = os.path.join(tmp, "one.safetensors"), os.path.join(tmp, "peft")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([tress, "lora", "convert", src, one, "--format", "diffusers"], check=True, capture_output=True)
            subprocess.run([tress, "lora", "convert", src, folder, "--format", "peft"], check=True, capture_output=True)
            state, meta = StableDiffusion3Pipeline.lora_state_dict(one, return_lora_metadata=True)
            got = []
            for metadata in (meta, None):
                model = golden.transformer()
                StableDiffusion3Pipeline.load_lora_into_transformer(dict(state), model, metadata=metadata)
                got.append(deltas(model))
            got.append(deltas(PeftModel.from_pretrained(golden.transformer(), folder)))
            for g in got:
                assert set(g) == set(want), (name, sorted(set(g) ^ set(want)))
                worst = max([worst] + [float((g[k] - want[k]).norm() / want[k].norm()) for k in want])
            print(f"{name}: {len(want)} layers")
    print(f"largest relative difference {worst:.2e}")
    sys.exit(0 if worst <= 1e-6 else 1)


if __name__ == "__main__":
    main()
