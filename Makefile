# The short way to everything; CMake does the work. Each command does all that it needs, packages included.
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

all: build

setup:
	@scripts/setup

build: setup
	@cmake --preset release >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }; rm -f build.log
	@cmake --build --preset release -j $(JOBS)

test: build
	@ctest --preset release -j $(JOBS)

demo: build
	@scripts/demo

# Fail the nth allocation, for sampled n, through a whole drawing; replay and extend the fuzz corpora under sanitizers.
torture: build
	@scripts/torture

asan: setup
	@cmake --preset asan >/dev/null && cmake --build --preset asan -j $(JOBS) && ctest --preset asan -j $(JOBS)

install: build
	@cmake --install build --prefix $(PREFIX)

docs: build
	@build/tress help --markdown >docs/commands.md

format:
	@git diff --name-only --diff-filter=ACM HEAD -- '*.c' '*.h' | xargs -r clang-format -i

clean:
	@rm -rf build build-debug build-asan build-cpu-only build-fuzz

.PHONY: all setup build test demo torture asan install docs format clean
