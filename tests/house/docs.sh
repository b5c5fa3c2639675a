#!/bin/sh
# docs/commands.md is what the option tables say. To renew it: make docs
set -eu
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
"$TRESS_BINARY_DIR/tress" help --markdown >"$tmp"
diff -u "$TRESS_SOURCE_DIR/docs/commands.md" "$tmp"
