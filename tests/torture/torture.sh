#!/bin/sh
# torture.sh MAX: generate, probe and check on a tiny model, with at most MAX allocations failing in each.
set -eu
max=$1
bin=$TRESS_BINARY_DIR
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$bin/make_model" --preset tiny --seed 3 "$tmp/model" >/dev/null
ex=$TRESS_SOURCE_DIR/examples
common="--threads 1 --steps 2 -s 1 -m $tmp/model"
# shellcheck disable=SC2086
"$bin/tests/torture" "$max" "$tmp/out.png" -- generate $common --sketch "$ex/sketch/wavy.png" --size 64x64 -p "red hair" -o "$tmp/out.png"
# shellcheck disable=SC2086
"$bin/tests/torture" "$max" "$tmp/out.png" -- generate $common --sketch "$ex/sketch/braid.png" --photo "$ex/photo/ada.png" --matte "$ex/matte/braid.png" \
    --size 64x64 --zero-text -o "$tmp/out.png" --alpha-out "$tmp/alpha.png"
"$bin/tests/torture" "$max" "$tmp/ids.safetensors" -- probe tokenize -m "$tmp/model" --text "long red hair" -o "$tmp/ids.safetensors"
"$bin/tress" synth -q -o "$tmp/set" -n 2 --size 64 -s 5 >/dev/null
"$bin/tests/torture" "$max" "$tmp/sheet.png" -- check --threads 1 --data "$tmp/set" --sheet "$tmp/sheet.png"
