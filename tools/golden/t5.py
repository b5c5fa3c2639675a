"""T5 encoders, small and random: transformers' T5EncoderModel in fp32, at several lengths (one sample pads, none is masked).

Writes tests/golden/model/t5-*.safetensors and .json. Weights are those of seeded.py and are not stored; of long outputs every
7th element is. The cases with 1 and 3 layers tell one layer and depth apart.
"""
import torch
from transformers import T5Config, T5EncoderModel

import seeded

SEED = 53
LENGTHS = (5, 77, 256, 300)
EVERY = 7
CASES = {
    "gated": dict(d_model=96, d_ff=160, d_kv=12, num_layers=3, num_heads=3, vocab_size=300, feed_forward_proj="gated-gelu"),
    "one": dict(d_model=64, d_ff=96, d_kv=16, num_layers=1, num_heads=2, vocab_size=300, feed_forward_proj="gated-gelu"),
    "relu": dict(d_model=64, d_ff=80, d_kv=8, num_layers=2, num_heads=4, vocab_size=300, feed_forward_proj="relu",
                 relative_attention_num_buckets=8, relative_attention_max_distance=20, layer_norm_epsilon=1e-4),
}


def ids(n):
    g = torch.Generator().manual_seed(SEED + n)
    x = torch.randint(3, 300, (2, n), generator=g)
    x[0, n // 2] = 1
    x[0, n // 2 + 1:] = 0                   # </s>, then padding, which is attended to
    x[1, -1] = 1
    return x


@torch.no_grad()
def main():
    for name, config in CASES.items():
        model = T5EncoderModel(T5Config(**config, attn_implementation="eager")).eval()
        weights = seeded.fill(model, SEED)
        tensors, errors = {}, {}
        for n in LENGTHS:
            x = ids(n)
            hidden = model(x).last_hidden_state
            tensors["input_ids.%d" % n] = x.int()
            tensors["hidden.%d" % n] = hidden if n < 100 else hidden.flatten()[::EVERY].contiguous()
            errors[n] = hidden
        model.double()
        for n in LENGTHS:
            exact = model(ids(n)).last_hidden_state
            errors[n] = float((errors[n].double() - exact).norm() / exact.norm())
        seeded.save("model", "t5-" + name, tensors, SEED, "tools/golden/t5.py", {**config, "model_type": "t5"}, weights,
                    {"every": EVERY, "error_torch_f32": errors})


if __name__ == "__main__":
    main()
