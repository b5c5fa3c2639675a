#!/bin/sh
# Every header compiles alone, as C11 and as C++17, without a warning.
set -eu
cd "$TRESS_SOURCE_DIR"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# { 0 } is how C zeroes a struct; C++ would warn of it
flags="-fsyntax-only -Wall -Wextra -Werror -Wno-missing-field-initializers -Iinclude -Isrc -DTR_VEC=1 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE"
flags="$flags $(pkg-config --cflags jansson libpng libjpeg libwebp libutf8proc)"
n=0 bad=0
for h in $(cd include && find . -name '*.h' | sed 's,^\./,,') $(cd src && find . -name '*.h' | sed 's,^\./,,' | LC_ALL=C sort); do
    case $h in
    *_inl.h | *_kernels.h) continue ;;      # text that is compiled once for each instruction set, no header
    backend/cuda/*) continue ;;             # CUDA C++, which nvcc alone reads
    cli/*) inc=${h#cli/}; more=-Isrc/cli ;;
    *) inc=$h; more= ;;
    esac
    # twice: its guard works
    printf '#include "%s"\n#include "%s"\n' "$inc" "$inc" >"$tmp/x.c"
    cp "$tmp/x.c" "$tmp/x.cc"
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 $flags $more "$tmp/x.c" || { echo "not alone in C11: $h" >&2; bad=1; }
    # shellcheck disable=SC2086
    ${CXX:-c++} -std=c++17 $flags $more "$tmp/x.cc" || { echo "not alone in C++17: $h" >&2; bad=1; }
    n=$((n + 1))
done
[ "$n" -gt 40 ] || { echo "only $n headers found" >&2; exit 1; }
exit $bad
