"""tress eval against judge.py, which was written on its own, on the renders of scenes: medians of both, mean and largest difference, correlation.

    python3 agree.py DATA [--tress build/tress]

DATA is a folder of tools/compare.py, or of tress synth. The two thin strokes by different methods, so that they read them at slightly
different pixels. Needs numpy, scipy and Pillow."""
import argparse
import json
import subprocess

import numpy as np

import judge

p = argparse.ArgumentParser()
p.add_argument("data")
p.add_argument("--tress", default="build/tress")
p.add_argument("--count", type=int, default=24)
a = p.parse_args()
report = subprocess.run([a.tress, "eval", "-q", "--data", a.data, "--results", f"{a.data}/img"], check=True, capture_output=True, text=True).stdout
rng, found = np.random.default_rng(0), {}
for row in json.loads(report)["rows"][:a.count]:
    photo, matte, sketch = (judge.picture(f"{a.data}/{kind}/{row['name']}.png", mode) for kind, mode in (("img", "RGB"), ("matte", "L"), ("sketch", "RGB")))
    lines, grey = judge.thin(sketch.max(2) > 0), judge.luma(photo)
    lift, recall = judge.edge_lift(judge.canny(grey) & (matte > 0), lines, rng)
    agreement, degrees = judge.agreement(grey, lines & (matte > 128))
    for key, value in (("sketch.lift", lift), ("sketch.recall", recall), ("direction.agreement", agreement), ("direction.angle", degrees)):
        if row[key] is not None:
            found.setdefault(key, []).append((value, row[key]))
for key, pairs in found.items():
    x, y = np.array(pairs).T
    print(f"{key:22s} judge {np.median(x):.3f}   eval {np.median(y):.3f}   difference: mean {abs(x - y).mean():.3f}, most {abs(x - y).max():.3f}   correlation {np.corrcoef(x, y)[0, 1]:.3f}")
