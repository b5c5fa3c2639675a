"""Reference Attention on a small random SD3.5 transformer: diffusers' blocks in float64 with an attention that concatenates keys.

Writes tests/golden/model/reference.safetensors and .json. A reference's rows (some tokens of another latent, zero text of 333 rows) go
through the blocks alone; the drawing's image queries then see their keys beside their own, with a logarithm of a weight added to the
logits at each query and in each block. One softmax over one list of keys: what tress merges.
  key.BLOCK, value.BLOCK   [1, rows, heads, width] of the reference at timestep 0
  sample.one               one reference for both samples         sample.two   two references, one for each, at timesteps 600 and 300
  sample.both              that of two samples and that of one together
  sample.rows              only some tokens are drawn
"""
import torch
import torch.nn.functional as F

import seeded
from mmdit import N_TEXT, SEED, build, inputs, sinusoid

ROWS = [14, 2, 3, 7, 9, 0, 11]          # of 15 tokens: any order is legal
DRAWN = [1, 4, 5, 6, 8, 10, 12, 13]
WINDOW = (1, 4)
ZERO_ROWS = 333


class Attend:
    """Joint attention of a block. keep: a list that gets (k, v) of the image. see: [(k, v, logw [t])] of this block."""

    def __init__(self):
        self.keep, self.see = None, []

    def heads(self, attn, x, names):
        def one(name, norm):
            y = getattr(attn, name)(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            return norm(y) if norm is not None else y
        added = names[0].startswith("add")
        nq, nk = (attn.norm_added_q, attn.norm_added_k) if added else (attn.norm_q, attn.norm_k)
        return one(names[0], nq), one(names[1], nk), one(names[2], None)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        q, k, v = self.heads(attn, hidden_states, ("to_q", "to_k", "to_v"))
        if self.keep is not None:
            self.keep.append((k, v))
        b, _, t, d = q.shape
        keys, values, bias = [k], [v], [q.new_zeros(t, t)]
        if encoder_hidden_states is not None:
            cq, ck, cv = self.heads(attn, encoder_hidden_states, ("add_q_proj", "add_k_proj", "add_v_proj"))
            keys.append(ck), values.append(cv), bias.append(q.new_zeros(t, ck.shape[2]))
        own_k, own_v = torch.cat(keys, 2), torch.cat(values, 2)
        for rk, rv, logw in self.see:
            keys.append(rk.expand(b, -1, -1, -1)), values.append(rv.expand(b, -1, -1, -1))
            bias.append(logw[:, None].expand(t, rk.shape[2]))
        o = F.scaled_dot_product_attention(q, torch.cat(keys, 2), torch.cat(values, 2), attn_mask=torch.cat(bias, 1))
        o = attn.to_out[0](o.transpose(1, 2).flatten(2))
        if encoder_hidden_states is None:
            return o
        c = F.scaled_dot_product_attention(cq, own_k, own_v).transpose(1, 2).flatten(2)
        return o, c if attn.context_pre_only else attn.to_add_out(c)


class Net:
    def __init__(self, config):
        self.model, self.shapes, self.config = build(config)
        self.model = self.model.double()
        self.attend = []
        for block in self.model.transformer_blocks:
            a = Attend()
            block.attn.set_processor(a)
            if getattr(block, "attn2", None) is not None:
                block.attn2.set_processor(Attend())
            self.attend.append(a)

    def tokens(self, x):
        return self.model.pos_embed(x)

    def blocks(self, hidden, context, temb):
        for block in self.model.transformer_blocks:
            context, hidden = block(hidden_states=hidden, encoder_hidden_states=context, temb=temb)
        return hidden

    def reference(self, latent, timestep):
        m, b = self.model, latent.shape[0]
        temb = m.time_text_embed(timestep, latent.new_zeros(b, self.config["pooled_projection_dim"]))
        context = m.context_embedder(latent.new_zeros(b, ZERO_ROWS, self.config["joint_attention_dim"]))
        for a in self.attend:
            a.keep, a.see = [], []
        self.blocks(self.tokens(latent)[:, ROWS], context, temb)
        kept = [a.keep[0] for a in self.attend]
        for a in self.attend:
            a.keep = None
        return kept

    def draw(self, args, references, logw, drawn=None):
        m = self.model
        for i, a in enumerate(self.attend):
            a.see = [(*r[i], w[i]) for r, w in zip(references, logw)] if WINDOW[0] <= i < WINDOW[1] else []
        temb = m.time_text_embed(args["timestep"], args["pooled_projections"])
        tokens = self.tokens(args["hidden_states"])
        hidden = self.blocks(tokens if drawn is None else tokens[:, drawn], m.context_embedder(args["encoder_hidden_states"]), temb)
        out = m.proj_out(m.norm_out(hidden, temb))
        if drawn is not None:
            full = out.new_zeros(*tokens.shape[:2], out.shape[-1])
            full[:, drawn] = out
            out = full
        b, c, h, w = args["hidden_states"].shape
        return out.reshape(b, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def weights(name, n_block, n):
    w = seeded.tensor(name, (n_block, n), SEED).double()
    w[:, 1::4] = -torch.inf
    return w


@torch.no_grad()
def main():
    size = (6, 10)
    net = Net(dict(num_layers=4, num_attention_heads=3, attention_head_dim=64, qk_norm="rms_norm"))
    args = {k: v.double() for k, v in inputs(net.config, size).items()}
    # The sinusoid is rounded where diffusers rounds it, as in mmdit.py.
    net.model.time_text_embed.time_proj.forward = lambda t: sinusoid(t.float()).double()
    photo = seeded.tensor("photo", (2, 16, *size), SEED).double()
    one = net.reference(photo[:1], torch.zeros(1).double())
    two = net.reference(photo, torch.tensor([600.0, 300.0]).double())
    w1, w2 = weights("logw.one", 4, 15), weights("logw.two", 4, 15)
    tensors = {}
    for i in range(*WINDOW):
        tensors[f"key.{i}"], tensors[f"value.{i}"] = (x.transpose(1, 2).contiguous().float() for x in one[i])
    tensors["sample.one"] = net.draw(args, [one], [w1])
    tensors["sample.two"] = net.draw(args, [two], [w2])
    tensors["sample.both"] = net.draw(args, [two, one], [w2, w1])
    tensors["sample.rows"] = net.draw(args, [one], [w1[:, DRAWN]], DRAWN)
    tensors = {k: v.float() for k, v in tensors.items()}
    seeded.save("model", "reference", tensors, SEED, "tools/golden/reference.py", net.config, net.shapes,
                dict(size=list(size), n_text=N_TEXT, timestep=[float(t) for t in args["timestep"]], rows=ROWS, drawn=DRAWN, window=list(WINDOW)))


if __name__ == "__main__":
    main()
