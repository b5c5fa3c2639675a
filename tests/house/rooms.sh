#!/bin/sh
# The rooms of this checkout stand right; and check_rooms finds every kind of forbidden include when one is planted.
set -eu
check=$TRESS_SOURCE_DIR/tools/check_rooms
sh "$check" "$TRESS_SOURCE_DIR"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
plant() {       # ROOM LINE WORD: with LINE in a file of ROOM, check_rooms must fail and say WORD
    rm -rf "$tmp/src" "$tmp/include"
    mkdir -p "$tmp/src/$1" "$tmp/include"
    echo '/* nothing */' >"$tmp/include/tress.h"
    printf '/* a file */\n%s\n' "$2" >"$tmp/src/$1/planted.c"
    if out=$(sh "$check" "$tmp"); then
        echo "not found: $2 in $1" >&2
        exit 1
    fi
    case $out in
    *"planted.c:2:"*"$3"*) ;;
    *) echo "of '$2' in $1 it says: $out" >&2; exit 1 ;;
    esac
}
allow() {
    rm -rf "$tmp/src"
    mkdir -p "$tmp/src/$1" "$tmp/include"
    echo '/* nothing */' >"$tmp/include/tress.h"
    printf '%s\n' "$2" >"$tmp/src/$1/fine.c"
    sh "$check" "$tmp" || { echo "refused: $2 in $1" >&2; exit 1; }
}
plant core      '#include "tensor/tensor.h"'     'tensor (floor 1)'
plant tensor    '#include "backend/cpu/cpu.h"'   'backend'
plant tensor    '#include "io/io.h"'             'io (floor 2)'
plant io        '#include "image/image.h"'       'image (floor 2)'
plant image     '  #  include "io/io.h"'         'io (floor 2)'
plant text      '#include "model/model.h"'       'model (floor 3)'
plant model     '#include "text/text.h"'         'text (floor 3)'
plant model     '#include "diffusion/schedule.h"' 'diffusion'
plant diffusion '#include "data/data.h"'         'data (floor 4)'
plant generate  '#include "train/train.h"'       'train (floor 5)'
plant train     '#include "generate/generate.h"' 'generate (floor 5)'
plant generate  '#include "api/api_int.h"'       'stays inside api'
plant diffusion '#include "model/block_int.h"'   'stays inside model'
plant cli       '#include "core/core.h"'         'tress.h alone'
plant cli       '#include "api/api_int.h"'       'tress.h alone'
plant serve     '#include "generate/generate.h"' 'tress.h alone'
plant model     '#include "nowhere/x.h"'         'in no room'
plant model     '#include "layer.h"'             'with its room'
plant attic     '#include "core/core.h"'         'no floor'
plant model     '#include <jansson.h>'           'belongs to core,cli'
plant model     '#include <png.h>'               'belongs to image'
plant api       '#include <cblas.h>'             'belongs to backend'
plant io        '#include <openssl/evp.h>'       'belongs to core'
plant model     '#include <tress.h>'             'with quotes'
allow backend/cpu '#include "tensor/ops.h"'
allow model     '#include "io/io.h"'
allow api       '#include "generate/generate.h"'
allow cli       '#include "cli.h"'
allow core      '#include "tress.h"'
rm -rf "$tmp/src"; mkdir -p "$tmp/src"
echo '#include "core/core.h"' >"$tmp/include/tress.h"
if sh "$check" "$tmp" >/dev/null; then echo "tress.h may include nothing of ours" >&2; exit 1; fi
