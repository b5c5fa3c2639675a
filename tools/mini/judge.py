"""Judge a small model on held-out scenes with the program itself: what the model card says of it is printed here.

    python3 judge.py MODEL FOLDER [--tress build/tress] [--count 200] [--free] [--lora FILE] [--sheet FILE]

FOLDER keeps the scenes (seeds 50, 100, ...: the renderer of the training leaves multiples of 50 out) and the pictures drawn. Each
scene's sketch and caption are drawn into its bald photo, or with --free on nothing; the render itself is judged too: it is what a
perfect model could reach. Edges count within 1.5 pixels: the strokes are drawn 2 to 4 wide on a canvas twice as large, by an
unsteady hand. Needs numpy, scipy and Pillow."""
import argparse
import glob
import json
import os
import subprocess

import numpy as np
from PIL import Image
from scipy import ndimage as nd

REACH = 1.5


def picture(path, mode): return np.asarray(Image.open(path).convert(mode), np.float64)


def luma(rgb): return rgb @ [.299, .587, .114]


# ---- edges ------------------------------------------------------------------------------------------------------------
def canny(grey, low=60, high=120):
    g = nd.gaussian_filter(grey, 1.0)
    dx, dy = nd.sobel(g, 1), nd.sobel(g, 0)
    m, sector = np.abs(dx) + np.abs(dy), np.round(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    keep = np.zeros(m.shape, bool)
    for k, (y, x) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        keep |= (sector == k) & (m >= np.roll(m, (y, x), (0, 1))) & (m > np.roll(m, (-y, -x), (0, 1)))
    label, n = nd.label(keep & (m > low), np.ones((3, 3)))
    strong = np.zeros(n + 1, bool)
    strong[label[keep & (m > high)]] = True
    strong[0] = False
    return strong[label]


def thin(mask):
    """Zhang and Suen's skeleton."""
    m = np.pad(mask, 1).astype(np.uint8)
    while True:
        before = m.sum()
        for half in (0, 1):
            p = [np.roll(m, s, (0, 1)) for s in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))]   # north, then clockwise
            n, turns = sum(p), sum((p[i] == 0) & (p[(i + 1) % 8] == 1) for i in range(8))
            a, b = (p[0] * p[2] * p[4], p[2] * p[4] * p[6]) if half == 0 else (p[0] * p[2] * p[6], p[0] * p[4] * p[6])
            m[(m == 1) & (n >= 2) & (n <= 6) & (turns == 1) & (a == 0) & (b == 0)] = 0
        if m.sum() == before:
            return m[1:-1, 1:-1] > 0


def edge_lift(edges, strokes, rng):
    """Share of stroke pixels near an edge, over what the same strokes elsewhere would have; and the plain share."""
    far = nd.distance_transform_edt(~edges) if edges.any() else np.full(edges.shape, 1e9)
    near = far <= REACH
    y, x = np.nonzero(strokes)
    recall, chance, (h, w) = near[y, x].mean(), [], edges.shape
    for _ in range(5):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(12, 24)
        sy, sx = np.round(y + length * np.sin(angle)).astype(int), np.round(x + length * np.cos(angle)).astype(int)
        inside = (sy >= 0) & (sy < h) & (sx >= 0) & (sx < w)
        chance.append(near[sy[inside], sx[inside]].mean() if inside.any() else 0)
    chance = np.mean(chance)
    return (recall - chance) / (1 - chance), recall


# ---- directions --------------------------------------------------------------------------------------------------------
def directions(grey):
    dx, dy = (nd.gaussian_filter(grey, 1.2, order=o) for o in ((0, 1), (1, 0)))
    xx, yy, xy = (nd.gaussian_filter(p, 3) for p in (dx * dx, dy * dy, dx * dy))
    spread = np.hypot(xx - yy, 2 * xy)
    return .5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2, (spread / (xx + yy + 1e-6)) ** 2


def agreement(grey, skeleton):
    """Mean cos 2 of the angle between stroke and hair, weighted by how clear the hair's direction is; its median in degrees."""
    theta, clear = directions(grey)
    ys, xs = np.nonzero(skeleton)
    total = weight = 0.
    angles = []
    for y, x in zip(ys, xs):
        y0, x0 = max(0, y - 5), max(0, x - 5)
        py, px = np.nonzero(skeleton[y0:y + 6, x0:x + 6])
        if len(py) < 5:
            continue
        c = np.cov(px, py)
        if np.linalg.eigvalsh(c)[0] > .25 * np.linalg.eigvalsh(c)[1]:
            continue                                                        # a crossing has no direction
        phi = .5 * np.arctan2(2 * c[0, 1], c[0, 0] - c[1, 1])
        y0, x0 = max(0, y - 3), max(0, x - 3)
        part = clear[y0:y + 4, x0:x + 4]
        at = np.unravel_index(part.argmax(), part.shape)
        d, w = theta[y0 + at[0], x0 + at[1]] - phi, part[at]
        total, weight = total + w * np.cos(2 * d), weight + w
        angles.append(np.degrees(abs((d + np.pi / 2) % np.pi - np.pi / 2)))
    return total / max(weight, 1e-9), float(np.median(angles)) if angles else 90.


# ---- crossings -------------------------------------------------------------------------------------------------------
def crossings(sketch, skeleton):
    """Centres of the places where strokes meet: three ways of the skeleton, or the border of two strokes' colours."""
    ways = nd.convolve(skeleton.astype(int), np.ones((3, 3), int), mode="constant") - 1
    meet, stroke = skeleton & (ways >= 3), sketch.max(2) > 0
    for axis in (0, 1):
        a, b = np.roll(stroke, -1, axis), np.roll(sketch, -1, axis)
        border = stroke & a & (sketch != b).any(2)
        border[(-1, slice(None)) if axis == 0 else (slice(None), -1)] = False
        meet |= border
    label, n = nd.label(nd.binary_dilation(meet, iterations=2))
    return np.round(nd.center_of_mass(meet, label, range(1, n + 1))).astype(int).reshape(-1, 2)


def crosses(grey, inside, places):
    """Whether the hair there goes two ways: no clear direction within 4 pixels, or two of them more than 30 degrees apart in a disc of 12,
    each with more than a quarter of the slopes there."""
    dx, dy = (nd.gaussian_filter(grey, 1.2, order=o) for o in ((0, 1), (1, 0)))
    slope, bins = np.hypot(dx, dy), np.floor((np.arctan2(dy, dx) % np.pi) * 36 / np.pi).astype(int) % 36
    clear, yy, xx = directions(grey)[1], *np.mgrid[:grey.shape[0], :grey.shape[1]]
    out = []
    for y, x in places:
        far = np.hypot(yy - y, xx - x)
        disc = (far <= 6) & inside
        if disc.sum() < 40:
            continue
        mass = np.bincount(bins[disc], slope[disc], 36) / max(slope[disc].sum(), 1e-9)
        mode = nd.uniform_filter1d(mass, 7, mode="wrap") * 7                # what lies within 17 degrees
        strong = [k for k in range(36) if mode[k] > .25 and mode[k] >= max(np.roll(mode, s)[k] for s in range(-3, 4))]
        two = any(30 / 5 < min(abs(a - b), 36 - abs(a - b)) for a in strong for b in strong)
        out.append(clear[(far <= 4) & inside].min() < .3 or two)
    return out


def crossing_lift(grey, inside, places, rng):
    """(share of crossings that cross, share of the same places moved elsewhere): lists of hits."""
    moved = []
    for _ in range(5):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(12, 24)
        moved += [(y + length * np.sin(angle), x + length * np.cos(angle)) for y, x in places]
    return crosses(grey, inside, places), crosses(grey, inside, moved)


# ---- colour ------------------------------------------------------------------------------------------------------------
def lab(rgb):
    c = np.asarray(rgb, np.float64) / 255
    c = np.where(c <= .04045, c / 12.92, ((c + .055) / 1.055) ** 2.4)
    t = c @ np.array([[.4124564, .3575761, .1804375], [.2126729, .7151522, .0721750], [.0193339, .1191920, .9503041]]).T / [.95047, 1, 1.08883]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def de00(p, q):
    (l1, a1, b1), (l2, a2, b2) = p, q
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = .5 * (1 - np.sqrt(c7 / (c7 + 25 ** 7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2, h1, h2 = np.hypot(a1, b1), np.hypot(a2, b2), np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    dh = 0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    mean_h = h1 + h2 if c1 * c2 == 0 else (h1 + dh / 2) % 360
    d_h, lm, cm, r = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2)), (l1 + l2) / 2, (c1 + c2) / 2, np.radians
    t = 1 - .17 * np.cos(r(mean_h - 30)) + .24 * np.cos(r(2 * mean_h)) + .32 * np.cos(r(3 * mean_h + 6)) - .2 * np.cos(r(4 * mean_h - 63))
    sl, sc, sh = 1 + .015 * (lm - 50) ** 2 / np.sqrt(20 + (lm - 50) ** 2), 1 + .045 * cm, 1 + .015 * cm * t
    rt = -np.sin(r(60 * np.exp(-((mean_h - 275) / 25) ** 2))) * 2 * np.sqrt(cm ** 7 / (cm ** 7 + 25 ** 7))
    x, y, z = (l2 - l1) / sl, (c2 - c1) / sc, d_h / sh
    return np.sqrt(x * x + y * y + z * z + rt * y * z)


assert abs(de00((50, 2.6772, -79.7751), (50, 0, -82.7485)) - 2.0425) < 1e-4 and abs(de00((50, 2.5, 0), (58, 24, 15)) - 19.4535) < 1e-4
assert abs(de00((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619)) - 2.0373) < 1e-4                    # of Sharma's 34 pairs


def hair_colour(rgb, matte): return np.median(lab(rgb[matte > 229]), 0) if (matte > 229).sum() > 20 else None


# ---- reconstruction ------------------------------------------------------------------------------------------------------
def psnr(a, b, w=None): return 10 * np.log10(255 ** 2 / np.average((a - b) ** 2, weights=None if w is None else np.broadcast_to(w[..., None], a.shape)))


def ssim(a, b):
    a, b = luma(a), luma(b)
    blur = lambda x: nd.gaussian_filter(x, 1.5, truncate=5 / 1.5)
    ma, mb = blur(a), blur(b)
    va, vb, co = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    c1, c2 = (.01 * 255) ** 2, (.03 * 255) ** 2
    return ((2 * ma * mb + c1) * (2 * co + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean()


def says(name, values, digits=3):
    q = np.percentile(values, (25, 50, 75))
    print(f"{name:44s} median {q[1]:.{digits}f}   quartiles {q[0]:.{digits}f} .. {q[2]:.{digits}f}   n {len(values)}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("folder")
    p.add_argument("--tress", default="build/tress")
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--scenes", type=int, default=200, help="scenes that the bands of the colour words come from")
    p.add_argument("--styles", default="straight,wavy,curly,bob,ponytail,bun", help="taken in turn")
    p.add_argument("--steps", default="20")
    p.add_argument("--name", default="out", help="folder of the pictures drawn, inside FOLDER")
    p.add_argument("--free", action="store_true", help="on nothing, not into the bald photo")
    p.add_argument("--lora")
    p.add_argument("--sheet")
    p.add_argument("--reconstructions", help="folder with NNNNNNNN.png: what the autoencoder makes of the photos")
    a = p.parse_args()
    os.makedirs(f"{a.folder}/{a.name}", exist_ok=True)
    scenes, rng = [], np.random.default_rng(0)
    for k in range(max(a.count, a.scenes)):
        seed = 50 * (k + 1)
        at = f"{a.folder}/{seed}"
        if not os.path.exists(f"{at}/scenes.jsonl"):
            subprocess.run([a.tress, "synth", "-q", "-o", at, "-n", "1", "-s", str(seed), "--style", a.styles.split(",")[k % (a.styles.count(",") + 1)], "--bald"], check=True)
        scenes.append(dict(json.loads(open(f"{at}/scenes.jsonl").readline()), at=at))
    bands = {}
    for s in scenes:
        s["file"] = lambda kind, s=s: f"{s['at']}/{kind}/{s['name']}.png"
        c = hair_colour(picture(s["file"]("img"), "RGB"), picture(s["file"]("matte"), "L"))
        if c is not None:
            bands.setdefault(s["colour"], []).append(c)
    bands = {k: np.percentile(v, (10, 90), axis=0) for k, v in bands.items()}
    rows, cells, met = {}, [], {}
    for s in scenes[:a.count]:
        out = f"{a.folder}/{a.name}/{s['name']}.png"
        if not os.path.exists(out):
            where = [] if a.free else ["--photo", s["file"]("bald"), "--matte", s["file"]("matte")]
            subprocess.run([a.tress, "generate", "-q", "-m", a.model, "-o", out, "--sketch", s["file"]("sketch"), "-p", s["caption"], "--steps", a.steps,
                            "-s", str(s["seed"]), *(["--lora", a.lora] if a.lora else []), *where], check=True)
        matte, sketch = picture(s["file"]("matte"), "L"), picture(s["file"]("sketch"), "RGB")
        inside, skeleton = matte > 0, thin(sketch.max(2) > 0)
        places = crossings(sketch, skeleton)
        photo, drawn, bald = (picture(f, "RGB") for f in (s["file"]("img"), out, s["file"]("bald")))
        for name, x in (("drawn", drawn), ("render", photo)):
            lift, recall = edge_lift(canny(luma(x)) & inside, skeleton, rng)
            oa, degrees = agreement(luma(x), skeleton & (matte > 128))
            for k, v in (("edge lift", lift), ("edge recall", recall), ("orientation agreement", oa), ("angle, degrees", degrees)):
                rows.setdefault((k, name), []).append(v)
            for here, there in zip(met.setdefault(name, ([], [])), crossing_lift(luma(x), matte > 128, places, rng)):
                here += there
            c = hair_colour(x, matte)
            if c is not None:
                rows.setdefault(("colour to the word's band, dE00", name), []).append(de00(c, np.clip(c, *bands[s["colour"]])))
        if not a.free:
            rows.setdefault(("pixels changed where the matte is far", "drawn"), []).append(
                float((drawn != bald)[nd.distance_transform_edt(matte == 0) > 24].any(1).sum()))
        if a.reconstructions:
            y = picture(f"{a.reconstructions}/{s['name']}.png", "RGB")
            for k, v in (("PSNR", psnr(y, photo)), ("PSNR in hair", psnr(y, photo, matte)), ("SSIM", ssim(y, photo))):
                rows.setdefault((k, "autoencoder"), []).append(v)
        if len(cells) < 40:
            cells.append((s["file"]("sketch"), s["file"]("img"), out, s["caption"]))
    for (k, name), v in rows.items():
        says(f"{k} ({name})", v, 0 if "pixels" in k else 3)
    for name, (hits, moved) in met.items():
        if hits and moved and np.mean(moved) < 1:
            print(f"{f'crossings that cross ({name})':44s} share {np.mean(hits):.3f}   elsewhere {np.mean(moved):.3f}   "
                  f"lift {(np.mean(hits) - np.mean(moved)) / (1 - np.mean(moved)):.3f}   n {len(hits)}")
    json.dump({f"{k} ({n})": [float(x) for x in v] for (k, n), v in rows.items()}, open(f"{a.folder}/{a.name}.json", "w"))
    if a.sheet:
        sheet = Image.new("RGB", (8 * 256, (len(cells) + 7) // 8 * 256))
        for i, (sketch, _, out, _) in enumerate(cells):
            x = Image.open(out).convert("RGB").resize((256, 256))
            x.paste(Image.open(sketch).convert("RGB").resize((72, 72)), (184, 0))
            sheet.paste(x, (i % 8 * 256, i // 8 * 256))
        sheet.save(a.sheet)


if __name__ == "__main__":
    main()
