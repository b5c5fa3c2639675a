#!/bin/sh
# Begin: every phase after the other, beside a renderer that is already at work: run.sh DATA WORK OUT PARTS [SHARE]
# SHARE of the full time (1: some 22 minutes); with a small one it shows within two minutes that everything runs.
# The ControlNet begins from the base unless PARTS has control.safetensors.
set -e
here=$(dirname "$0") share=${5:-1}
s() { awk "BEGIN { print $1 * $share }"; }
phase() { python3 "$here/pretrain.py" "$@" --data "$data" --work "$work" --out "$out" > "$out/$1.log" 2>&1 && echo "$1 done" >> "$out/phases"; }
data=$1 work=$2 out=$3
mkdir -p "$work" "$out"
control=
[ -f "$4/control.safetensors" ] && control="--init $4"
phase vae --init "$4" --seconds "$(s 400)" --first 1200
phase dit --init "$4" --seconds "$(s 540)"
phase control $control --seconds "$(s 250)"
phase decoder --seconds "$(s 110)"
echo all >> "$out/phases"
