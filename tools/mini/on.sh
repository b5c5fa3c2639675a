#!/bin/sh
# Go on from a model: base and ControlNet as one, then the decoder, beside a renderer that is already at work: on.sh DATA WORK OUT PARTS [SHARE]
# SHARE of the full time (1: some 15 minutes on an H100). OUT is then what export.py takes.
set -e
here=$(dirname "$0") share=${5:-1}
s() { awk "BEGIN { print $1 * $share }"; }
phase() { python3 "$here/pretrain.py" "$@" --data "$data" --work "$work" --out "$out" --init "$parts" > "$out/$1.log" 2>&1 && echo "$1 done" >> "$out/phases"; }
data=$1 work=$2 out=$3 parts=$4
mkdir -p "$work" "$out"
cp "$parts/vae.safetensors" "$out/"
phase both --seconds "$(s 630)"
phase decoder --batch-decoder 32 --no-compile --seconds "$(s 130)"
cp "$parts/vae.json" "$out/"
echo all >> "$out/phases"
