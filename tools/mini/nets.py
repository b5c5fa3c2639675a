"""The networks of the small model, with diffusers' and transformers' own parameter names, so that a state dict is a model file.

Written out here so that training compiles to few kernels; tools/mini/check.py holds each against diffusers / transformers."""
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(
    d=256, heads=4, blocks=6, control_blocks=3, d_context=320, d_pooled=320, pos_max=64,
    vae=(32, 64, 128, 128), groups=16, latent=16,
    clip_l=dict(d=128, layers=4, heads=2, ff=512, act="quick_gelu", vocab=3072),
    clip_g=dict(d=192, layers=4, heads=3, ff=768, act="gelu", vocab=3072),
    t5=dict(d=320, layers=3, heads=5, ff=512, vocab=2048))


# ---- autoencoder ------------------------------------------------------------------------------------------------
class Res(nn.Module):
    def __init__(self, a, b, groups):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, a, eps=1e-6), nn.Conv2d(a, b, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, b, eps=1e-6), nn.Conv2d(b, b, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(a, b, 1) if a != b else None

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.conv_shortcut(x) if self.conv_shortcut is not None else x) + h


class MidAttention(nn.Module):
    def __init__(self, d, groups):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, d, eps=1e-6)
        self.to_q, self.to_k, self.to_v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.to_out = nn.ModuleList([nn.Linear(d, d)])

    def forward(self, x):
        b, c, h, w = x.shape
        t = self.group_norm(x).flatten(2).transpose(1, 2)
        o = F.scaled_dot_product_attention(self.to_q(t)[:, None], self.to_k(t)[:, None], self.to_v(t)[:, None])[:, 0]
        return x + self.to_out[0](o).transpose(1, 2).reshape(b, c, h, w)


class Conv(nn.Module):
    def __init__(self, d, stride):
        super().__init__()
        self.stride, self.conv = stride, nn.Conv2d(d, d, 3, stride=stride, padding=1 if stride == 1 else 0)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.stride == 1 else F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    def __init__(self, a, b, n, groups, down=False, up=False):
        super().__init__()
        self.resnets = nn.ModuleList([Res(a if i == 0 else b, b, groups) for i in range(n)])
        if down:
            self.downsamplers = nn.ModuleList([Conv(b, 2)])
        if up:
            self.upsamplers = nn.ModuleList([Conv(b, 1)])

    def forward(self, x):
        for r in self.resnets:
            x = r(x)
        for s in list(getattr(self, "downsamplers", [])) + list(getattr(self, "upsamplers", [])):
            x = s(x)
        return x


class Mid(nn.Module):
    def __init__(self, d, groups):
        super().__init__()
        self.resnets = nn.ModuleList([Res(d, d, groups), Res(d, d, groups)])
        self.attentions = nn.ModuleList([MidAttention(d, groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, c, groups, latent):
        super().__init__()
        self.conv_in = nn.Conv2d(3, c[0], 3, padding=1)
        self.down_blocks = nn.ModuleList([Level(c[max(i - 1, 0)], c[i], 2, groups, down=i < 3) for i in range(4)])
        self.mid_block = Mid(c[3], groups)
        self.conv_norm_out, self.conv_out = nn.GroupNorm(groups, c[3], eps=1e-6), nn.Conv2d(c[3], 2 * latent, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for b in self.down_blocks:
            x = b(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    def __init__(self, c, groups, latent):
        super().__init__()
        r = c[::-1]
        self.conv_in = nn.Conv2d(latent, r[0], 3, padding=1)
        self.mid_block = Mid(r[0], groups)
        self.up_blocks = nn.ModuleList([Level(r[max(i - 1, 0)], r[i], 3, groups, up=i < 3) for i in range(4)])
        self.conv_norm_out, self.conv_out = nn.GroupNorm(groups, r[3], eps=1e-6), nn.Conv2d(r[3], 3, 3, padding=1)

    def forward(self, z):
        x = self.mid_block(self.conv_in(z))
        for b in self.up_blocks:
            x = b(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.encoder, self.decoder = Encoder(c["vae"], c["groups"], c["latent"]), Decoder(c["vae"], c["groups"], c["latent"])

    def forward(self, x, noise):
        mean, logvar = self.encoder(x).float().chunk(2, 1)
        logvar = logvar.clamp(-30, 20)
        return self.decoder(mean + torch.exp(0.5 * logvar) * noise), mean, logvar


# ---- transformer and ControlNet ---------------------------------------------------------------------------------
class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        f = x.float()
        return (f * torch.rsqrt(f.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * self.weight.to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, d):
        super().__init__()
        first = nn.Module()
        first.proj = nn.Linear(d, 4 * d)
        self.net = nn.ModuleList([first, nn.Identity(), nn.Linear(4 * d, d)])

    def forward(self, x):
        return self.net[2](F.gelu(self.net[0].proj(x), approximate="tanh"))


class Modulation(nn.Module):
    def __init__(self, d, n):
        super().__init__()
        self.linear, self.n = nn.Linear(d, n * d), n

    def forward(self, e):
        return self.linear(e)[:, None].chunk(self.n, -1)


def modulate(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def together(x, *layers):
    """Several layers over the same rows as one product."""
    y = F.linear(x, torch.cat([m.weight for m in layers]), torch.cat([m.bias for m in layers]))
    return y.chunk(len(layers), -1)


class Attention(nn.Module):
    def __init__(self, d, heads, joint, last, norm):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.to_out = nn.ModuleList([nn.Linear(d, d)])
        self.norm_q, self.norm_k = (RMS(d // heads), RMS(d // heads)) if norm else (nn.Identity(), nn.Identity())
        if joint:
            self.add_q_proj, self.add_k_proj, self.add_v_proj = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
            self.norm_added_q, self.norm_added_k = (RMS(d // heads), RMS(d // heads)) if norm else (nn.Identity(), nn.Identity())
            if not last:
                self.to_add_out = nn.Linear(d, d)

    def split(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x, c=None, last=1):
        """last: how many equal rows the last row of c stands for."""
        q, k, v = map(self.split, together(x, self.to_q, self.to_k, self.to_v))
        q, k = self.norm_q(q), self.norm_k(k)
        if c is not None:
            cq, ck, cv = map(self.split, together(c, self.add_q_proj, self.add_k_proj, self.add_v_proj))
            cq, ck, more = self.norm_added_q(cq), self.norm_added_k(ck), (-1, -1, last - 1, -1)
            q = torch.cat([q, cq], 2)
            k = torch.cat([k, ck, ck[:, :, -1:].expand(*more)], 2)
            v = torch.cat([v, cv, cv[:, :, -1:].expand(*more)], 2)
        o = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if c is None:
            return self.to_out[0](o), None
        n = x.shape[1]
        return self.to_out[0](o[:, :n]), self.to_add_out(o[:, n:]) if hasattr(self, "to_add_out") else None


class Block(nn.Module):
    """A joint block; with joint=False the image half alone, as in the ControlNet of the 8B kind."""

    def __init__(self, d, heads, joint=True, last=False, norm=True):
        super().__init__()
        self.joint, self.last = joint, last
        self.norm1 = Modulation(d, 6)
        self.attn = Attention(d, heads, joint, last, norm)
        self.ff = FeedForward(d)
        if joint:
            self.norm1_context = Modulation(d, 2 if last else 6)
            if not last:
                self.ff_context = FeedForward(d)

    def forward(self, x, c, e, last=1):
        s1, k1, g1, s2, k2, g2 = self.norm1(e)
        if not self.joint:
            x = x + g1 * self.attn(modulate(x, s1, k1))[0]
            return x + g2 * self.ff(modulate(x, s2, k2)), None
        if self.last:
            ck, cs = self.norm1_context(e)
        else:
            cs, ck, cg1, cs2, ck2, cg2 = self.norm1_context(e)
        ax, ac = self.attn(modulate(x, s1, k1), modulate(c, cs, ck), last)
        x = x + g1 * ax
        x = x + g2 * self.ff(modulate(x, s2, k2))
        if self.last:
            return x, None
        c = c + cg1 * ac
        return x, c + cg2 * self.ff_context(modulate(c, cs2, ck2))


class Embedder(nn.Module):
    def __init__(self, a, d):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(a, d), nn.Linear(d, d)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class TimeText(nn.Module):
    def __init__(self, d, pooled):
        super().__init__()
        self.timestep_embedder, self.text_embedder = Embedder(256, d), Embedder(pooled, d)

    def forward(self, t, y):
        f = torch.exp(-math.log(10000) * torch.arange(128, device=t.device, dtype=torch.float32) / 128)
        a = t.float()[:, None] * f
        return self.timestep_embedder(torch.cat([a.cos(), a.sin()], 1).to(y.dtype)) + self.text_embedder(y)


class Patch(nn.Module):
    def __init__(self, c, d, table=None):
        super().__init__()
        self.proj = nn.Conv2d(c, d, 2, stride=2)
        if table is not None:
            self.register_buffer("pos_embed", table)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


def position_table(d, size, base=64):
    """SD3's own scale: the centre base x base carries coordinates 0, 1/4, 1/2 ... around its middle."""
    q, c = d // 4, (torch.arange(size, dtype=torch.float64) - (size - base) / 2) / 4
    a = c[:, None] * 10000.0 ** (-torch.arange(q, dtype=torch.float64) / q)
    s = torch.cat([a.sin(), a.cos()], 1)                                    # [size, d / 2]
    col, row = s[None].expand(size, -1, -1), s[:, None].expand(-1, size, -1)
    return torch.cat([col, row], 2).reshape(1, size * size, d).float()


class Transformer(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        d = c["d"]
        self.pos_max, self.patch_out = c["pos_max"], c["latent"]
        self.pos_embed = Patch(c["latent"], d, position_table(d, c["pos_max"]))
        self.time_text_embed = TimeText(d, c["d_pooled"])
        self.context_embedder = nn.Linear(c["d_context"], d)
        self.transformer_blocks = nn.ModuleList([Block(d, c["heads"], last=i == c["blocks"] - 1) for i in range(c["blocks"])])
        norm = nn.Module()
        norm.linear = nn.Linear(d, 2 * d)
        self.norm_out, self.proj_out = norm, nn.Linear(d, 4 * c["latent"])

    def embed(self, x):
        h, w, p = x.shape[2] // 2, x.shape[3] // 2, self.pos_max
        top, left = (p - h) // 2, (p - w) // 2
        table = self.pos_embed.pos_embed.view(p, p, -1)[top:top + h, left:left + w].reshape(1, h * w, -1)
        return self.pos_embed(x) + table.to(x.dtype)

    def forward(self, x, context, pooled, t, residuals=None, tokens=None, last=1):
        """last: the last row of context stands for so many equal rows: exact, and rows of padding are equal."""
        b, ch, hh, ww = x.shape
        e = F.silu(self.time_text_embed(t, pooled))
        x = self.embed(x) if tokens is None else tokens
        c, n = self.context_embedder(context), len(self.transformer_blocks)
        for i, block in enumerate(self.transformer_blocks):
            x, c = block(x, c, e, last)
            if residuals is not None:                                       # the vendor's rule: after the last block too
                x = x + residuals[i // (n // len(residuals))]
        scale, shift = self.norm_out.linear(e)[:, None].chunk(2, -1)
        z = self.proj_out(modulate(x, shift, scale)).view(b, hh // 2, ww // 2, 2, 2, self.patch_out)
        return z.permute(0, 5, 1, 3, 2, 4).reshape(b, self.patch_out, hh, ww)


class Control(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        d = c["d"]
        self.pos_embed_input = Patch(c["latent"], d)
        self.time_text_embed = TimeText(d, c["d_pooled"])
        self.transformer_blocks = nn.ModuleList([Block(d, c["heads"], joint=False, norm=False) for _ in range(c["control_blocks"])])
        self.controlnet_blocks = nn.ModuleList([nn.Linear(d, d) for _ in range(c["control_blocks"])])

    def forward(self, tokens, condition, pooled, t):
        e, out = F.silu(self.time_text_embed(t, pooled)), []
        x = tokens + self.pos_embed_input(condition)
        for block, proj in zip(self.transformer_blocks, self.controlnet_blocks):
            x, _ = block(x, None, e)
            out.append(proj(x))
        return out


# ---- text encoders ----------------------------------------------------------------------------------------------
class ClipLayer(nn.Module):
    def __init__(self, d, heads, ff, act):
        super().__init__()
        self.heads, self.act = heads, act
        self.self_attn, self.mlp = nn.Module(), nn.Module()
        for k in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self.self_attn, k, nn.Linear(d, d))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(d, ff), nn.Linear(ff, d)

    def forward(self, x):
        b, n, d = x.shape
        h, a = self.layer_norm1(x), self.self_attn
        q, k, v = (p(h).view(b, n, self.heads, -1).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
        x = x + a.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        h = self.mlp.fc1(self.layer_norm2(x))
        return x + self.mlp.fc2(h * torch.sigmoid(1.702 * h) if self.act == "quick_gelu" else F.gelu(h))


class Clip(nn.Module):
    def __init__(self, d, layers, heads, ff, act, vocab):
        super().__init__()
        self.text_model, e, enc = nn.Module(), nn.Module(), nn.Module()
        e.token_embedding, e.position_embedding = nn.Embedding(vocab, d), nn.Embedding(77, d)
        enc.layers = nn.ModuleList([ClipLayer(d, heads, ff, act) for _ in range(layers)])
        self.text_model.embeddings, self.text_model.encoder, self.text_model.final_layer_norm = e, enc, nn.LayerNorm(d)
        self.text_projection, self.end = nn.Linear(d, d, bias=False), vocab - 1

    def forward(self, ids):
        m = self.text_model
        x = m.embeddings.token_embedding(ids) + m.embeddings.position_embedding.weight
        for i, layer in enumerate(m.encoder.layers):
            if i == len(m.encoder.layers) - 1:
                hidden = x
            x = layer(x)
        end = (ids == self.end).int().argmax(1)
        x = m.final_layer_norm(x)
        return hidden, self.text_projection(x[torch.arange(len(ids), device=ids.device), end])


class T5Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        f = x.float()
        return self.weight * (f * torch.rsqrt(f.square().mean(-1, keepdim=True) + 1e-6)).to(self.weight.dtype)


class T5Block(nn.Module):
    def __init__(self, d, heads, ff, first):
        super().__init__()
        a, f, self.heads = nn.Module(), nn.Module(), heads
        a.SelfAttention, a.layer_norm = nn.Module(), T5Norm(d)
        for k in ("q", "k", "v", "o"):
            setattr(a.SelfAttention, k, nn.Linear(d, d, bias=False))
        if first:
            a.SelfAttention.relative_attention_bias = nn.Embedding(32, heads)
        f.DenseReluDense, f.layer_norm = nn.Module(), T5Norm(d)
        f.DenseReluDense.wi_0, f.DenseReluDense.wi_1 = nn.Linear(d, ff, bias=False), nn.Linear(d, ff, bias=False)
        f.DenseReluDense.wo = nn.Linear(ff, d, bias=False)
        self.layer = nn.ModuleList([a, f])

    def forward(self, x, bias):
        a, f = self.layer
        b, n, d = x.shape
        h, s = a.layer_norm(x), a.SelfAttention
        q, k, v = (p(h).view(b, n, self.heads, -1).transpose(1, 2) for p in (s.q, s.k, s.v))
        x = x + s.o(F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0).transpose(1, 2).flatten(2))
        h, m = f.layer_norm(x), f.DenseReluDense
        return x + m.wo(F.gelu(m.wi_0(h), approximate="tanh") * m.wi_1(h))


class T5(nn.Module):
    def __init__(self, d, layers, heads, ff, vocab):
        super().__init__()
        self.shared, self.encoder = nn.Embedding(vocab, d), nn.Module()
        self.encoder.block = nn.ModuleList([T5Block(d, heads, ff, i == 0) for i in range(layers)])
        self.encoder.final_layer_norm = T5Norm(d)

    def forward(self, ids):
        n = ids.shape[1]
        rel = torch.arange(n, device=ids.device)[None] - torch.arange(n, device=ids.device)[:, None]
        a = rel.abs()
        far = 8 + (torch.log(a.float().clamp(min=1) / 8) / math.log(16) * 8).long()
        bucket = torch.where(rel > 0, 16, 0) + torch.where(a < 8, a, far.clamp(max=15))
        bias = self.encoder.block[0].layer[0].SelfAttention.relative_attention_bias(bucket).permute(2, 0, 1)[None]
        x = self.shared(ids)
        for block in self.encoder.block:
            x = block(x, bias)
        return self.encoder.final_layer_norm(x)


class Text(nn.Module):
    """Words to context [b, 77 + n, 320] and pooled [b, 320]."""

    def __init__(self, c=CONFIG):
        super().__init__()
        self.clip_l, self.clip_g, self.t5 = Clip(**c["clip_l"]), Clip(**c["clip_g"]), T5(**c["t5"])

    def forward(self, ids_l, ids_g, ids_t5):
        hl, pl = self.clip_l(ids_l)
        hg, pg = self.clip_g(ids_g)
        t = self.t5(ids_t5)
        lg = torch.cat([hl, hg], -1)
        lg = F.pad(lg, (0, t.shape[-1] - lg.shape[-1]))
        return torch.cat([lg, t.to(lg.dtype)], 1), torch.cat([pl, pg], -1)
