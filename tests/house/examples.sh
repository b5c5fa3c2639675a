#!/bin/sh
# The example programs do what they say, on a tiny model and data drawn for it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "$1"; exit 1; }
b=$TRESS_BINARY_DIR
"$b/make_model" --preset tiny --seed 3 "$dir/model" >/dev/null
"$b/tress" synth -q -o "$dir/data" -n 3 --size 64 >/dev/null
cd "$dir"

"$b/example_draw" model data/sketch/00000001.png "red hair" out.png 2>err || fail "draw: $(cat err)"
[ -s out.png ] || fail "draw wrote nothing"
"$b/example_draw" model none.png "red hair" none.out.png 2>err && fail "draw: a sketch that is not there is no failure"
grep -q none.png err || fail "draw does not say what failed: $(cat err)"

"$b/example_train" model data run 3 2>err || fail "train: $(cat err)"
"$b/tress" lora info run/lora.safetensors | grep -q 'steps = 3' || fail "train wrote no LoRA of 3 steps"
grep -q 'train .*3 of 3.*loss' err || fail "train tells no progress: $(cat err)"
grep -q 'verdict *fit' err || fail "train tells no report: $(cat err)"
"$b/example_train" model data run 5 2>err || fail "train, again: $(cat err)"
grep -q 'after step 3' err || fail "train does not go on: $(cat err)"
"$b/tress" lora info run/lora.safetensors | grep -q 'steps = 5' || fail "train did not go on to step 5"
# Ctrl-C: saved, exit code 8.
code=0
"$b/example_train" model data run 100000000 2>err &
pid=$!
i=0
until grep -q '"step": 8,' run/metrics.jsonl; do
    i=$((i + 1))
    [ $i -lt 600 ] || { kill $pid; fail "train does not come to step 8: $(cat err)"; }
    sleep 0.2
done
kill -INT $pid
wait $pid || code=$?
[ $code -eq 8 ] || fail "train, interrupted: exit code $code: $(cat err)"
grep -q 'saved' err || fail "train, interrupted, did not save: $(cat err)"

rm data/matte/00000001.png
code=0
"$b/example_train" model data other 3 2>err || code=$?
[ $code -eq 3 ] || fail "train on unfit data: exit code $code: $(cat err)"
grep -q '00000001' err || fail "train does not name what is unfit: $(cat err)"
