#!/bin/sh
# train.sh KILLS SIGNALS: training through the program itself. KILLS runs, each ended by kill -9 at random moments and resumed until done;
# SIGNALS runs that get a TERM or an INT at a random moment; one run on a disk that is really full, for a while. Each must come to the
# bytes of the run that nothing happened to.
set -eu
kills=$1
signals=$2
# A name space of our own, where a small disk can be mounted, if we may have one.
for way in -rm -m; do
    [ -z "${TRESS_MOUNTS:-}" ] || break
    if unshare $way mount -t tmpfs tress /mnt 2>/dev/null; then
        export TRESS_MOUNTS=yes
        exec unshare $way sh "$0" "$@"
    fi
done
tress=$TRESS_BINARY_DIR/tress
shm=/dev/shm
[ -w "$shm" ] || shm=/tmp
tmp=$(mktemp -d "$shm/tress-train-XXXXXX")
pid=
finish() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    rm -rf "$tmp"
}
trap finish EXIT
"$TRESS_BINARY_DIR/make_model" --preset tiny --dtype f32 --seed 3 "$tmp/model" >/dev/null
cd "$tmp"
"$tress" synth -q -o data -n 12 --size 64 --style bob >/dev/null
mkdir -p runs keep
run=runs/run                                        # the same name each time: checkpoints hold their configuration
options="-m model --data data --resolution 64 --rank 4 --steps 60 --save-every 5 --validate-every 20 --sample-every 30 --sample-count 1
    --sample-steps 1 --threads 1 -s 5 --ema 0.9 --gradient-accumulation 2 --sketch-dropout 0.2 --lora-dropout 0.1 --augment-flip --augment-variants 2
    --lr-schedule cosine --warmup-steps 5 --latent-cache cache"

fail() {
    echo "$*" >&2
    [ ! -s err ] || tail -n 5 err >&2
    exit 1
}
# shellcheck disable=SC2086
start() { "$tress" train $options -o "$run" "$@" >out 2>err & pid=$!; }
end() { code=0; wait "$pid" 2>/dev/null || code=$?; pid=; }
random() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print int($1 / 4294967296 * n) }'; }
now() { date +%s%3N; }                              # milliseconds
pause() { sleep "$(awk -v ms="$1" 'BEGIN { print ms / 1000 }')"; }
# The log without what the clock has a part in.
log() { sed 's/, "images_per_second".*//' "$run/metrics.jsonl"; }
same() {
    cmp -s "$run/lora.safetensors" keep/lora.safetensors || fail "$1: lora.safetensors has other bytes"
    cmp -s "$run/checkpoints/step-000000060.safetensors" keep/step-000000060.safetensors || fail "$1: the last checkpoint has other bytes"
    log | cmp -s - keep/log || fail "$1: metrics.jsonl tells another story"
    [ -z "$(find "$run" cache -name '.tress-*')" ] || fail "$1: a temporary stays"
}

start; end                                          # encodes the pictures
[ $code = 0 ] || fail "the run ends with $code"
rm -rf "$run"
begin=$(now)
start; end
[ $code = 0 ] || fail "the run ends with $code"
length=$(($(now) - begin))
cp "$run/lora.safetensors" "$run/checkpoints/step-000000060.safetensors" keep/
log >keep/log
[ "$(grep -c '"loss"' keep/log)" = 60 ] || fail "the log has not 60 steps"

n_kill=0
i=0
while [ $i -lt "$kills" ]; do
    i=$((i + 1))
    rm -rf "$run"
    n=0
    while :; do
        start --resume latest
        if [ $n -lt 3 ]; then
            pause "$(random $((length / (n + 1))))"
            kill -9 "$pid" 2>/dev/null || true
        fi
        end
        [ $code != 0 ] || break
        [ $code = 137 ] || fail "killed run $i: exit code $code"
        n_kill=$((n_kill + 1))
        n=$((n + 1))
        [ $n -lt 20 ] || fail "killed run $i: never done"
    done
    same "killed run $i"
done
echo "$i runs killed $n_kill times, each with the bytes of the run that was not"

n_saved=0 n_before=0 n_done=0 slowest=0
i=0
while [ $i -lt "$signals" ]; do
    i=$((i + 1))
    rm -rf "$run"
    start
    pause "$(random "$length")"
    begin=$(now)
    if [ $((i % 2)) = 0 ]; then kill -TERM "$pid" 2>/dev/null || true; else kill -INT "$pid" 2>/dev/null || true; fi
    end
    took=$(($(now) - begin))
    case $code in
        0) n_done=$((n_done + 1)) ;;                # it was done already, or had not yet begun to listen to an INT
        8)
            n_saved=$((n_saved + 1))
            [ $took -le $slowest ] || slowest=$took
            step=$(sed -n 's/.*interrupted after step \([0-9]*\) of 60; saved.*/\1/p' err)
            [ -n "$step" ] || fail "signalled run $i does not say after which step it was interrupted"
            [ -f "$(printf '%s/checkpoints/step-%09d.safetensors' "$run" "$step")" ] || fail "signalled run $i: step $step is not saved"
            ;;
        130 | 143)                                  # 143: before it listened to signals
            n_before=$((n_before + 1))
            [ ! -s "$run/metrics.jsonl" ] || ! grep -q '"loss"' "$run/metrics.jsonl" || fail "signalled run $i: exit code $code after a step"
            ;;
        *) fail "signalled run $i: exit code $code" ;;
    esac
    start --resume latest; end
    [ $code = 0 ] || fail "signalled run $i: resumed, it ends with $code"
    same "signalled run $i"
done
echo "$i runs with a signal: $n_saved saved, at most $slowest ms after it, $n_before before the first step, $n_done already done; the same bytes each"

# ---- a full disk ---------------------------------------------------------------------------------------------
# A disk of 8 MiB over runs/, with $1 KiB free until the run has found out.
full() {
    rm -rf "$run"
    dd if=/dev/zero of=runs/ballast bs=65536 2>/dev/null || true        # all there is
    truncate -s $(($(stat -c %s runs/ballast) - $1 * 1024)) runs/ballast
    start
    n=0
    until grep -q "the run waits" err; do
        kill -0 "$pid" 2>/dev/null || { end; fail "with $1 KiB free the disk was never full: exit code $code"; }
        sleep 0.05
        n=$((n + 1))
        [ $n -lt 2000 ] || fail "with $1 KiB free the run does not wait"
    done
    rm runs/ballast
    end
    [ $code = 0 ] || fail "after the disk had been full: exit code $code"
    same "a disk with $1 KiB free"
}
if [ -n "${TRESS_MOUNTS:-}" ]; then
    size=$(du -sk "$run" | cut -f 1)
    mount -t tmpfs -o size=8m tress runs
    for k in 1 2 3 4 5; do full $((size * k / 6)); done
    umount runs
    echo "5 disks full for a while, with up to $((size * 5 / 6)) of the $size KiB needed; the same bytes each"
else
    echo "no tmpfs can be mounted here: the full disk is left out"
fi
