#!/usr/bin/env python3
"""What TensorBoard itself reads from a run's event files, as JSON lines. Needs: pip install tensorboard

usage: read_events.py RUN_FOLDER_OR_EVENT_FILE [...]
For each argument: one line per scalar tag with its (step, value) pairs, one per image tag with its steps and sizes; of points that a
resumed run has made again only the later ones are left, as in TensorBoard's own charts. Exits 1 where nothing can be read."""
import json
import sys


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    from tensorboard.backend.event_processing import event_accumulator as ea
    n = 0
    for path in sys.argv[1:]:
        acc = ea.EventAccumulator(path, size_guidance={ea.SCALARS: 0, ea.IMAGES: 0, ea.TENSORS: 0})
        acc.Reload()
        for tag in acc.Tags()["scalars"]:
            print(json.dumps({"from": path, "scalar": tag, "points": [(e.step, e.value) for e in acc.Scalars(tag)]}))
            n += 1
        for tag in acc.Tags()["images"]:
            images = [(e.step, e.width, e.height, len(e.encoded_image_string), e.encoded_image_string[1:4] == b"PNG") for e in acc.Images(tag)]
            print(json.dumps({"from": path, "image": tag, "step_width_height_bytes_is_png": images}))
            n += 1
    sys.exit(0 if n else 1)


main()
