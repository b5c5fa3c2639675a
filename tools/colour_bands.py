"""What the words of src/eval/wanted.c stand for: the middle four fifths of the hair colours that the renderer makes of each, in Lab.

    build/tress synth -o many -n 512 -s 700001 --style open --size 128
    python3 tools/colour_bands.py many

Needs numpy, scipy and Pillow."""
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "mini"))
from judge import hair_colour, picture

folder, bands = sys.argv[1], {}
for line in open(f"{folder}/scenes.jsonl"):
    s = json.loads(line)
    c = hair_colour(picture(f"{folder}/img/{s['name']}.png", "RGB"), picture(f"{folder}/matte/{s['name']}.png", "L"))
    if c is not None:
        bands.setdefault(s["colour"], []).append(c)
for word, colours in bands.items():
    low, high = np.round(np.percentile(colours, (10, 90), axis=0), 1)
    print(f'{{ "{word}", {{ {{ {", ".join(f"{v:g}" for v in low)} }}, {{ {", ".join(f"{v:g}" for v in high)} }} }} }},   /* of {len(colours)} */')
