"""LoRA on a small random SD3.5-Medium transformer: PEFT's own layers at run time, one adapter and two with weights.

Writes tests/golden/model/lora-peft.safetensors and .json. Adapter weights are seeded.py's under the names
ADAPTER.LAYER.lora_A.weight and .lora_B.weight; the json lists them.
"""
import torch
from peft import LoraConfig

import mmdit
import seeded
from mmdit import N_TEXT, SEED, TIMESTEP

CONFIG = dict(num_layers=2, num_attention_heads=2, attention_head_dim=64, qk_norm="rms_norm", dual_attention_layers=(0,))
SIZE = (6, 10)
ADAPTERS = {
    # what this project trains, on every attention of the image
    "image": dict(r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0"]),
    # every other linear layer
    "rest": dict(r=3, lora_alpha=3, target_modules=[
        "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2",
        "norm1.linear", "norm1_context.linear", "norm_out.linear", "proj_out", "context_embedder", "linear_1", "linear_2"]),
}
WEIGHTS = {"image": 0.75, "rest": -0.5}


@torch.no_grad()
def main():
    model, shapes, config = mmdit.build(CONFIG)
    args = mmdit.inputs(config, SIZE)
    tensors = {"sample.none": model(**args).sample}
    adapters = {}
    for name, c in ADAPTERS.items():
        model.add_adapter(LoraConfig(**c), adapter_name=name)
        listed = {}
        for key, t in model.named_parameters():
            if f".lora_A.{name}." in key or f".lora_B.{name}." in key:
                plain = key.replace(f".{name}.", ".")
                t.copy_(torch.from_numpy(seeded.weight(f"{name}.{plain}", t.shape, SEED)))
                listed[plain] = list(t.shape)
        adapters[name] = dict(rank=c["r"], alpha=c["lora_alpha"], weight=WEIGHTS[name], tensors=listed)
    model.eval()
    for name in ADAPTERS:
        model.set_adapters([name], [1.0])
        tensors[f"sample.{name}"] = model(**args).sample
    model.set_adapters(list(WEIGHTS), list(WEIGHTS.values()))
    handles = [b.register_forward_hook(lambda _, a, out, i=i: tensors.update({f"image.{i}": out[1].clone()}))
               for i, b in enumerate(model.transformer_blocks)]
    tensors["sample.both"] = model(**args).sample
    for h in handles:
        h.remove()
    more = dict(size=list(SIZE), n_text=N_TEXT, timestep=TIMESTEP, adapters=adapters)
    seeded.save("model", "lora-peft", tensors, SEED, "tools/golden/lora.py", config, shapes, more)


if __name__ == "__main__":
    main()
