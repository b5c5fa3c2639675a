"""Hold nets.py and the tokens of data.py against diffusers and transformers on random weights: prints relative differences."""
import sys

import torch

import nets
from data import Tokens
from nets import CONFIG as C


def difference(a, b): return ((a - b).norm() / b.norm()).item()


@torch.no_grad()
def main(tokenizers):
    from diffusers import AutoencoderKL, SD3ControlNetModel, SD3Transformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast
    torch.manual_seed(0)
    vae, net, control, text = nets.Autoencoder(), nets.Transformer(), nets.Control(), nets.Text()
    for m in (vae, net, control, text):
        for p in m.parameters():
            p.add_(.02 * torch.randn_like(p))
    import export
    ref = AutoencoderKL(**export.vae_config(1.0, 0.0))
    ref.load_state_dict(vae.state_dict())
    x, z = torch.randn(2, 3, 64, 64), torch.randn(2, 16, 8, 8)
    print("vae", difference(vae.encoder(x), ref.encoder(x)), difference(vae.decoder(z), ref.decoder(z)))
    ref = SD3Transformer2DModel(**export.transformer_config())
    ref.load_state_dict(net.state_dict())
    z, cx, cy, t = torch.randn(2, 16, 32, 32), torch.randn(2, 99, C["d_context"]), torch.randn(2, C["d_pooled"]), torch.tensor([500., 31.25])
    print("transformer", difference(net(z, cx, cy, t), ref(z, cx, cy, t, return_dict=False)[0]))
    rc = SD3ControlNetModel(**export.controlnet_config())
    rc.load_state_dict(control.state_dict())
    tok = net.embed(z)
    a, b = control(tok, z, cy, t), rc(tok, z, 1.0, None, cy, t, return_dict=False)[0]
    print("controlnet", max(difference(p, q) for p, q in zip(a, b)))
    ids = torch.randint(5, 2000, (2, 77))
    ids[:, 20:] = 3071
    for name, m, cfg in (("clip_l", text.clip_l, export.clip_config("clip_l", 3071)), ("clip_g", text.clip_g, export.clip_config("clip_g", 0))):
        r = CLIPTextModelWithProjection(CLIPTextConfig(**cfg))
        r.load_state_dict(export.clip_state(m.state_dict(), r.state_dict()))
        o = r(ids, output_hidden_states=True)
        h, p = m(ids)
        print(name, difference(h, o.hidden_states[-2]), difference(p, o.text_embeds))
    r = T5EncoderModel(T5Config(**export.t5_config())).eval()
    r.load_state_dict(text.t5.state_dict(), strict=False)
    print("t5", difference(text.t5(ids[:, :40] % 2000), r(ids[:, :40] % 2000).last_hidden_state))
    tokens = Tokens(tokenizers)
    c, t5 = CLIPTokenizer.from_pretrained(tokenizers + "/tokenizer"), T5TokenizerFast.from_pretrained(tokenizers + "/tokenizer_3")
    for s in ["", "a photo of a woman with long wavy red hair", "platinum blonde hair, two plaits, three-strand braid", "it's 42 Pink  hair!"]:
        assert tokens(s)[0] == c(s, padding="max_length", max_length=77).input_ids, s
        assert tokens(s)[2] == t5(s, padding="max_length", max_length=256).input_ids, s
    print("tokens equal")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "examples/tokenizers")
