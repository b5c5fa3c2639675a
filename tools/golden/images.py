#!/usr/bin/env python3
"""Small PNG, JPEG and WebP files of every kind that tress reads, and the samples that they hold.

The PNGs are assembled here by hand, so that bit depths, palettes, transparency and interlacing are what the name says and
the expected samples need no decoder. JPEG and WebP come from Pillow, which also decodes them for the expectation.
Writes tests/golden/image/files/*, tests/golden/image/images.safetensors ([h, w, c], U8 or U16, named as the file) and
images.json."""
import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/image"
FILES = ROOT / "files"
W, H = 13, 9
rng = np.random.default_rng(7)
want = {}                                            # file name -> samples as they must be read
about = {}                                           # file name -> other facts


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(rows, depth):
    """rows [h, n] of samples into PNG scanlines without a filter."""
    out = b""
    for row in rows:
        if depth == 16:
            raw = row.astype(">u2").tobytes()
        elif depth == 8:
            raw = row.astype(np.uint8).tobytes()
        else:
            per = 8 // depth
            padded = np.concatenate([row, np.zeros(-len(row) % per, row.dtype)]).reshape(-1, per)
            raw = bytes(sum(int(v) << (8 - depth * (k + 1)) for k, v in enumerate(group)) for group in padded)
        out += b"\x00" + raw
    return out


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]   # x0 y0 dx dy


def png(samples, colour, depth, extra=b"", interlace=False, tail=b""):
    """samples [h, w, c] -> bytes"""
    h, w, c = samples.shape
    if interlace:
        raw = b""
        for x0, y0, dx, dy in PASSES:
            part = samples[y0::dy, x0::dx]
            if part.size:
                raw += pack(part.reshape(part.shape[0], -1), depth)
    else:
        raw = pack(samples.reshape(h, -1), depth)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))) + extra +
            chunk(b"IDAT", zlib.compress(raw, 9)) + tail + chunk(b"IEND", b""))


def put(name, data, samples=None, **facts):
    (FILES / name).write_bytes(data)
    if samples is not None:
        want[name] = np.ascontiguousarray(samples)
    about[name] = facts


def picture(c, depth):
    """A gradient with a little noise: every bit used, small when compressed."""
    top = (1 << depth) - 1
    y, x = np.mgrid[0:H, 0:W]
    planes = [(x * (k + 2) * top // (W * 3) + y * top // (H * 2)) % (top + 1) for k in range(c)]
    s = np.stack(planes, -1)
    s[rng.integers(0, H, 6), rng.integers(0, W, 6)] = rng.integers(0, top + 1, (6, c))
    s[0, 0], s[-1, -1] = 0, top
    return s.astype(np.uint16)


def exif(orientation, little, long=False):
    e = "<" if little else ">"
    entry = struct.pack(e + "HHI", 0x0112, 4 if long else 3, 1) + (struct.pack(e + "I", orientation) if long else struct.pack(e + "HH", orientation, 0))
    other = struct.pack(e + "HHII", 0x0100, 4, 1, 13)             # ImageWidth first: the tag must be searched for
    return (b"II*\0" if little else b"MM\0*") + struct.pack(e + "IH", 8, 2) + other + entry + struct.pack(e + "I", 0)


# Pixels of an upright picture `a` as a camera stores them under each orientation.
STORED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[::-1], 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
          8: lambda a: a.swapaxes(0, 1)[:, ::-1]}

profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
profile[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)          # its date
profile = bytes(profile)
icc_hash = hashlib.sha256(profile).hexdigest()


def main():
    FILES.mkdir(parents=True, exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()

    # PNG: every colour type and depth, plain and interlaced
    for c, colour, depths in ((1, 0, (1, 2, 4, 8, 16)), (2, 4, (8, 16)), (3, 2, (8, 16)), (4, 6, (8, 16))):
        kind = {1: "grey", 2: "ga", 3: "rgb", 4: "rgba"}[c]
        for depth in depths:
            s = picture(c, depth)
            read = s if depth >= 8 else s * (255 // ((1 << depth) - 1))
            read = read.astype(np.uint8 if depth <= 8 else np.uint16)
            put(f"{kind}{depth}.png", png(s, colour, depth), read)
            if depth in (1, 16) or c == 3:
                put(f"{kind}{depth}-adam7.png", png(s, colour, depth, interlace=True), read)
    for depth in (1, 2, 4, 8):
        s = picture(1, depth)
        n = min(1 << depth, 200)
        s = np.minimum(s, n - 1)
        palette = rng.integers(0, 256, (n, 3)).astype(np.uint8)
        put(f"palette{depth}.png", png(s, 3, depth, chunk(b"PLTE", palette.tobytes())), palette[s[..., 0]])
        alpha = rng.integers(0, 256, max(1, n // 2)).astype(np.uint8)
        whole = np.concatenate([alpha, np.full(n - len(alpha), 255, np.uint8)])
        put(f"palette{depth}-trns.png", png(s, 3, depth, chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", alpha.tobytes()), interlace=depth == 4),
            np.concatenate([palette[s[..., 0]], whole[s]], -1))
    s = picture(1, 8)
    put("grey8-trns.png", png(s, 0, 8, chunk(b"tRNS", struct.pack(">H", s[4, 4, 0]))), np.concatenate([s, np.where(s == s[4, 4, 0], 0, 255)], -1).astype(np.uint8))
    s = picture(1, 2)
    put("grey2-trns.png", png(s, 0, 2, chunk(b"tRNS", struct.pack(">H", 1))), np.concatenate([s * 85, np.where(s == 1, 0, 255)], -1).astype(np.uint8))
    s = picture(3, 16)
    hit = (s == s[3, 3]).all(-1, keepdims=True)
    put("rgb16-trns.png", png(s, 2, 16, chunk(b"tRNS", struct.pack(">3H", *s[3, 3]))), np.concatenate([s, np.where(hit, 0, 65535)], -1).astype(np.uint16))
    s = picture(3, 8).astype(np.uint8)
    put("gamma.png", png(s, 2, 8, chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"cHRM", struct.pack(">8I", *[31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]))), s)
    put("icc.png", png(s, 2, 8, chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))), s, icc=icc_hash)
    put("text.png", png(s, 2, 8, chunk(b"tEXt", b"parameters\0red hair\nSteps: 28") + chunk(b"iTXt", b"tress\0\0\0\0\0" + "머리 é".encode()) +
                        chunk(b"zTXt", b"late\0\0" + zlib.compress(b"z")), tail=chunk(b"tEXt", b"after\0behind the pixels")), s)
    for o in (6, 3):
        put(f"exif{o}.png", png(STORED[o](s), 2, 8, chunk(b"eXIf", exif(o, o == 6))), s)
    put("exif-late.png", png(STORED[8](s), 2, 8, tail=chunk(b"eXIf", exif(8, False))), s)

    # JPEG: as Pillow (libjpeg-turbo) decodes it
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (3, 4, 3)).astype(np.uint8)).resize((19, 14), Image.Resampling.BICUBIC))

    def jpeg(name, a, fact=None, **how):
        b = io.BytesIO()
        Image.fromarray(a).save(b, "JPEG", quality=90, **how)
        read = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(b.getvalue()))))
        put(name, b.getvalue(), read.reshape(read.shape[0], read.shape[1], -1), **(fact or {}))

    jpeg("grey.jpg", smooth[..., 0])
    jpeg("rgb444.jpg", smooth, subsampling=0)
    jpeg("rgb422.jpg", smooth, subsampling=1)
    jpeg("rgb420.jpg", smooth, subsampling=2)
    jpeg("progressive.jpg", smooth, progressive=True)
    jpeg("restart.jpg", smooth, restart_marker_blocks=1)
    jpeg("icc.jpg", smooth, dict(icc=icc_hash), icc_profile=profile)
    for o in range(1, 9):
        jpeg(f"exif{o}.jpg", np.ascontiguousarray(STORED[o](smooth)), exif=b"Exif\0\0" + exif(o, o % 2 == 0, o == 5), subsampling=0)
    for name, mode in (("cmyk.jpg", "CMYK"),):
        b = io.BytesIO()
        Image.fromarray(smooth).convert(mode).save(b, "JPEG")
        put(name, b.getvalue(), refused="CMYK")

    # WebP
    def webp(name, a, fact=None, upright=None, **how):
        b = io.BytesIO()
        Image.fromarray(a).save(b, "WEBP", **how)
        read = np.asarray(Image.open(io.BytesIO(b.getvalue()))) if upright is None else upright
        put(name, b.getvalue(), read, **(fact or {}))

    rgba = np.concatenate([smooth, rng.integers(0, 256, (14, 19, 1)).astype(np.uint8)], -1)
    webp("lossy.webp", smooth, quality=80)
    webp("lossless.webp", smooth, lossless=True, upright=smooth)
    webp("alpha.webp", rgba, quality=80)
    webp("alpha-lossless.webp", rgba, lossless=True, exact=True, upright=rgba)
    webp("icc-exif.webp", np.ascontiguousarray(STORED[6](smooth)), dict(icc=icc_hash), lossless=True, exif=exif(6, True), icc_profile=profile, upright=smooth)
    b = io.BytesIO()
    Image.fromarray(smooth).save(b, "WEBP", save_all=True, append_images=[Image.fromarray(smooth[::-1])], lossless=True)
    put("animation.webp", b.getvalue(), refused="animation")

    # files that are no pictures
    put("empty.png", b"", refused="0 bytes")
    put("gif.png", b"GIF89a" + bytes(20), refused="47 49 46 38")
    good = png(s, 2, 8)
    put("bad-crc.png", good[:-13] + bytes([good[-13] ^ 1]) + good[-12:], refused="CRC")
    put("wide.png", png(s, 2, 8).replace(struct.pack(">II", W, H), struct.pack(">II", 70000, 1)), refused="")
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 6, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    put("huge.png", huge, refused="67108864")
    hollow = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 6, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    put("hollow.png", hollow, refused="cannot be whole")
    idat = zlib.compress(pack(s.reshape(H, -1), 8))
    lie = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)) + struct.pack(">I", 0x7ffffff0) + b"IDAT" + idat
    put("long-idat.png", lie, refused="")
    rows = pack(np.concatenate([s, s, s]).reshape(3 * H, -1), 8)
    much = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    put("too-much.png", much, refused="")
    text = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)) + chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(80 << 20), 9)) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    put("text-bomb.png", text)                       # libpng leaves the text out or we refuse; the memory must stay bounded
    j = (FILES / "rgb444.jpg").read_bytes()
    at = j.index(b"\xff\xc0")
    put("huge.jpg", j[:at + 5] + struct.pack(">HH", 60000, 60000) + j[at + 9:], refused="67108864")
    put("hollow.jpg", j[:at + 5] + struct.pack(">HH", 8000, 8000) + j[at + 9:], refused="cannot be whole")

    save_file(want, ROOT / "images.safetensors", metadata={"tool": "tools/golden/images.py"})
    digest = hashlib.sha256((ROOT / "images.safetensors").read_bytes()).hexdigest()
    (ROOT / "images.json").write_text(json.dumps(dict(tool="tools/golden/images.py", pillow=PIL.__version__, seed=7, dtype="U8, U16", sha256=digest,
                                                      files=about), indent=1, sort_keys=True) + "\n")


main()
