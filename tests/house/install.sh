#!/bin/sh
# What is installed serves a stranger: the header, the shared library and pkg-config are enough to build and run a program;
# the installed command line runs from its new place.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cmake --install "$TRESS_BINARY_DIR" --prefix "$tmp/p" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
pc=$(find "$tmp/p" -name tress.pc)
# the prefix in the file is that of configure time; a moved tree is what pkg-config --define-variable is for
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$tmp/p" --cflags --libs tress)
cat >"$tmp/x.c" <<'C'
#include <stdio.h>
#include <string.h>
#include <tress.h>
int main(void)
{
    tress_image *img = NULL;
    tress *t = NULL;
    if (tress_new(&t, NULL) != TRESS_OK) return 1;
    const int st = tress_image_load(t, &img, "/nonexistent.png");
    printf("%s %d %s\n", tress_version(), tress_exit_code(st), tress_last_error());
    tress_free(t);
    return strstr(tress_last_error(), "/nonexistent.png") ? 0 : 1;
}
C
sanitize=${TRESS_SANITIZE:+-fsanitize=$TRESS_SANITIZE}
# shellcheck disable=SC2086
${CC:-cc} $sanitize -std=c11 -Wall -Wextra -Werror "$tmp/x.c" -o "$tmp/x" $flags
libdir=$(dirname "$(dirname "$pc")")
LD_LIBRARY_PATH=$libdir "$tmp/x" | grep -q ' 6 /nonexistent.png'
"$tmp/p/bin/tress" --version | grep -q '^tress [0-9]'
[ -s "$tmp/p/share/bash-completion/completions/tress" ]
[ -s "$tmp/p/share/zsh/site-functions/_tress" ]
[ -s "$tmp/p/share/fish/vendor_completions.d/tress.fish" ]
[ "$(find "$tmp/p" -name '*.h' | wc -l)" = 1 ]
