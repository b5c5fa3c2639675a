#!/bin/sh
# The shared library exports tress.h and nothing else; the library neither exits nor prints.
set -eu
lib=$TRESS_BINARY_DIR/libtress.so
[ -f "$lib" ]
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
nm -D --defined-only "$lib" | awk '{ print $3 }' | sed 's/@.*//' | sort >"$tmp/exported"
# sanitizers add their own
if grep -vE '^(tress_|__asan_|__ubsan_|__odr_asan|_init$|_fini$|__sancov)' "$tmp/exported"; then
    echo "exported, but not of tress.h" >&2
    exit 1
fi
tr -s '\n' ' ' <"$TRESS_SOURCE_DIR/include/tress.h" | grep -oE '\btress_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$tmp/named"
grep -E '^tress_' "$tmp/exported" | sort -u >"$tmp/ours"
if comm -23 "$tmp/ours" "$tmp/named" | grep .; then echo "exported, but not declared in tress.h" >&2; exit 1; fi
if comm -13 "$tmp/ours" "$tmp/named" | grep .; then echo "declared in tress.h, but not exported" >&2; exit 1; fi

# core/status.c may report a bug of ours and abort: TR_ASSERT. Nothing else may print, and nothing may exit.
nm -A -u "$TRESS_BINARY_DIR/libtress_static.a" | grep -E ' (U|w) ' >"$tmp/used" || true
if grep -E ' U (exit|_exit|_Exit|quick_exit|printf|vprintf|puts|putchar|putc|stdout|perror|psignal|__printf_chk|__vprintf_chk|system|popen|fork|execve?p?|raise|signal|sigaction)$' "$tmp/used"; then
    echo "the library must not exit, print, run programs or take signals" >&2
    exit 1
fi
if grep -E ' U (abort|stderr|fprintf|__fprintf_chk|vfprintf|fputs|fputc|fwrite|dprintf)$' "$tmp/used" | grep -v ':status.c.o:'; then
    echo "only TR_ASSERT may write to stderr or abort" >&2
    exit 1
fi
