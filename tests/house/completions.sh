#!/bin/sh
# The completions are right shell and offer the right words. zsh and fish are asked where they are installed.
set -eu
tress=$TRESS_BINARY_DIR/tress
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for shell in bash zsh fish; do "$tress" completions $shell >"$tmp/$shell"; done

cat >"$tmp/ask.sh" <<'B'
source "$1/bash"
ask() {         # the words so far, the last one to be completed
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    compopt() { :; }
    _tress
    echo " ${COMPREPLY[*]} "
}
expect() { case $(ask "${@:2}") in *" $1 "*) ;; *) echo "no $1 for: ${*:2}" >&2; exit 1 ;; esac; }
refuse() { case $(ask "${@:2}") in *" $1 "*) echo "$1 for: ${*:2}" >&2; exit 1 ;; esac; }
cd "$1"
touch file.png
expect generate     tress ''
expect lora         tress lo
expect --version    tress --v
expect merge        tress lora ''
expect --steps      tress generate --st
expect --strength   tress generate --st
refuse --json       tress generate --
expect dpmpp-2m     tress generate --sampler ''
expect cuda         tress generate --backend cu
expect file.png     tress generate --sketch fi
expect kohya        tress lora convert --format ''
expect vae-decode   tress probe vae
expect zsh          tress completions ''
expect --revision   tress pull --re
B
bash "$tmp/ask.sh" "$tmp"
if command -v zsh >/dev/null 2>&1; then zsh -n "$tmp/zsh"; fi
if command -v fish >/dev/null 2>&1; then fish -n "$tmp/fish"; fi
[ "$(grep -c '' "$tmp/zsh")" -gt 50 ] && [ "$(grep -c '^complete -c tress' "$tmp/fish")" -gt 100 ]
