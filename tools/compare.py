"""Ways of drawing hair into a photo, side by side, on rendered scenes whose answer is known: each scene's sketch, matte and caption are
drawn into its bald photo by every way ("arm") with the same noise, tress eval measures, and medians and paired differences are printed.

    python3 tools/compare.py MODEL FOLDER [--tress build/tress] [--scenes 60] [--seeds 2] [--steps 20] [--arm NAME="OPTIONS"]... [--swap 0]

The first arm is the one that others are held against. Without --arm: inpaint="--inpaint --reference off", off="--reference off", and
clean, staircase where this tress has them. Scenes are seeds 50, 100, ..., which the training of models/mini leaves out. Pictures
stay in FOLDER and are not drawn again; FOLDER/ARM.html shows them. Intervals: 95 % of 1000 bootstraps over scenes.
--swap N draws N scenes once more into the photo of another scene, whose light comes from elsewhere: hair should follow the light of the photo it is
drawn into, so that the angle to that light should be small, and that to the light of the scene that the sketch is from large."""
import argparse
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess

STYLES = "straight wavy curly bob ponytail bun".split()
SHOWN = ("background.changed tone.de00 tone.de00_photo ring.de00 ring.de00_truth seam.ratio seam.ratio_photo sketch.lift sketch.recall direction.agreement "
         "colour.de00 truth.shade light.angle light.truth light.sides").split()


def run(command): return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_scenes(a):
    """FOLDER/data as tress eval reads it: img, matte, sketch, bald and scenes.jsonl."""
    data, lines = f"{a.folder}/data", []
    for kind in ("img", "matte", "sketch", "bald"):
        os.makedirs(f"{data}/{kind}", exist_ok=True)
    for k in range(a.scenes):
        seed, at = 50 * (k + 1), f"{a.folder}/one"
        if not os.path.exists(f"{data}/{seed:08}.json"):
            run([a.tress, "synth", "-q", "-o", at, "-n", "1", "-s", str(seed), "--style", STYLES[k % len(STYLES)], "--bald"])
            for kind in ("img", "matte", "sketch", "bald"):
                shutil.move(f"{at}/{kind}/{seed:08}.png", f"{data}/{kind}/{seed:08}.png")
            shutil.move(f"{at}/scenes.jsonl", f"{data}/{seed:08}.json")
        lines.append(open(f"{data}/{seed:08}.json").read())
    open(f"{data}/scenes.jsonl", "w").writelines(lines)
    return [json.loads(line) for line in lines]


def draw(a, options, scene, photo, out):
    data, last = f"{a.folder}/data", out if a.seeds == 1 else f"{out[:-4]}-{a.seeds}.png"
    if not os.path.exists(last):
        run([a.tress, "generate", "-q", "-m", a.model, "--sketch", f"{data}/sketch/{scene['name']}.png", "--photo", f"{data}/bald/{photo['name']}.png",
             "--matte", f"{data}/matte/{scene['name']}.png", "-p", scene["caption"], "--steps", a.steps, "-s", str(scene["seed"]), "-b", str(a.seeds), "-o", out, *options])


def by_scene(rows, key):
    """Mean over the seeds of each scene that has the metric."""
    all_ = {}
    for r in rows:
        if r[key] is not None:
            all_.setdefault(r["name"][:8], []).append(r[key])
    return {k: statistics.fmean(v) for k, v in all_.items()}


def quartiles(v):
    v = sorted(v)
    def at(q):
        p = (len(v) - 1) * q
        return v[int(p)] + (p - int(p)) * (v[min(int(p) + 1, len(v) - 1)] - v[int(p)])
    return at(.25), at(.5), at(.75)


def paired(one, other):
    """Median difference over the scenes that both have, and its interval."""
    d = [other[k] - one[k] for k in one if k in other]
    if not d:
        return None
    dice = random.Random(1)
    means = sorted(statistics.median(dice.choices(d, k=len(d))) for _ in range(1000))
    return statistics.median(d), means[25], means[974]


def turn(s, t): return abs(math.remainder(math.atan2(s["light"][1], s["light"][0]) - math.atan2(t["light"][1], t["light"][0]), 2 * math.pi))


def swap(a, arms, scenes):
    """Each scene's sketch and matte on the photo whose light comes from most elsewhere. FOLDER/ARM-swap-of-SCENES.html shows them."""
    data, at = f"{a.folder}/data", f"{a.folder}/swap-of-{len(scenes)}"          # who is paired with whom hangs on how many there are
    pairs = [(s, max(scenes, key=lambda t, s=s: turn(s, t))) for s in scenes[:a.swap]]
    for kind in ("img", "matte", "sketch"):
        os.makedirs(f"{at}/{kind}", exist_ok=True)
        for s, other in pairs:
            shutil.copy(f"{data}/bald/{other['name']}.png" if kind == "img" else f"{data}/{kind}/{s['name']}.png", f"{at}/{kind}/{s['name']}.png")
    print(f"{len(pairs)} scenes into another's photo, light.angle to the light of{'the photo':>20s}{'the sketch`s scene':>28s}")
    for arm, options in arms.items():
        os.makedirs(f"{a.folder}/{arm}-swap-of-{len(scenes)}", exist_ok=True)
        line = f"{arm:56s}"
        for s, other in pairs:
            draw(a, options.split(), s, other, f"{a.folder}/{arm}-swap-of-{len(scenes)}/{s['name']}.png")
        for of_photo in (False, True):
            with open(f"{at}/scenes.jsonl", "w") as f:
                f.writelines(json.dumps({"name": s["name"], "light": (other if of_photo else s)["light"]}) + "\n" for s, other in pairs)
            rows = json.loads(run([a.tress, "eval", "-q", "--data", at, "--results", f"{a.folder}/{arm}-swap-of-{len(scenes)}", "--html", f"{a.folder}/{arm}-swap-of-{len(scenes)}.html"]))["rows"]
            v = by_scene(rows, "light.angle").values()
            text = "{1:.1f} [{0:.1f} {2:.1f}]".format(*quartiles(v)) if v else "none"
            line = line[:56] + text.rjust(20) + line[56:].rjust(28) if of_photo else line + text
        print(line)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("folder")
    p.add_argument("--tress", default="build/tress")
    p.add_argument("--scenes", type=int, default=60)
    p.add_argument("--seeds", type=int, default=2)
    p.add_argument("--steps", default="20")
    p.add_argument("--arm", action="append", default=[], help="NAME=\"OPTIONS of tress generate\"")
    p.add_argument("--swap", type=int, default=0)
    a = p.parse_args()
    reference = re.search(r"--reference WORD(.*?)\n +--", run([a.tress, "generate", "--help"]), re.S).group(1)
    arms = dict(x.split("=", 1) for x in a.arm) or {"inpaint": "--inpaint --reference off", "off": "--reference off",
                                                     **{w: f"--reference {w}" for w in ("clean", "staircase") if w in reference}}
    scenes, tables = make_scenes(a), {}
    for arm, options in arms.items():
        os.makedirs(f"{a.folder}/{arm}", exist_ok=True)
        for s in scenes:
            draw(a, options.split(), s, s, f"{a.folder}/{arm}/{s['name']}.png")
        tables[arm] = json.loads(run([a.tress, "eval", "-q", "--data", f"{a.folder}/data", "--results", f"{a.folder}/{arm}", "--html", f"{a.folder}/{arm}.html"]))["rows"]
        tables[arm] = [r for r in tables[arm] if r["name"][:8] in {s["name"] for s in scenes}]
    first = next(iter(arms))
    print(f"{len(scenes)} scenes x {a.seeds} seeds, {a.steps} steps, {a.model}")
    print(f"{'metric':24s}" + "".join(f"{arm:>34s}" for arm in arms))
    for key in SHOWN:
        line, one = f"{key:24s}", by_scene(tables[first], key)
        for arm in arms:
            v = by_scene(tables[arm], key)
            q = quartiles(v.values()) if v else (math.nan,) * 3
            d = paired(one, v) if arm != first else None
            line += f"{q[1]:10.3f}" + (f" {d[0]:+8.3f} [{d[1]:+.3f} {d[2]:+.3f}]" if d else f" [{q[0]:.3f} {q[2]:.3f}]").ljust(24)
        print(line)
    if a.swap:
        swap(a, arms, scenes)


if __name__ == "__main__":
    main()
