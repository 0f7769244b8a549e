#!/bin/sh
# Builds the builder and the client's half of the protocol with AddressSanitizer and UndefinedBehaviorSanitizer into
# build/sanitize, and feeds them with what they should never get.
#   sanitize.sh [build|wire|spec|builder]...     everything without an argument
#
#   build     only build
#   wire      native/client/wire.c against malformed, cut, oversized and random replies
#   spec      the builder's decoding of random and damaged specifications
#   builder   the builder's own tests (root)
#
# BERTH_SEED sets the seed of what is random, BERTH_ROUNDS how much of it there is.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
out=$root/build/sanitize
seed=${BERTH_SEED:-$(date +%s)}
rounds=${BERTH_ROUNDS:-50000}
flags="-D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -Ibuild/generated"

build() {
    mkdir -p "$out/bin"
    cc -c -fPIC test/native/sanitizer-options.c -o "$out/options.o"
    {
        cmake -S . -B "$out/cmake" -G Ninja -DBERTH_SANITIZE=ON -DBERTH_OUTPUT="$out" -DCMAKE_EXE_LINKER_FLAGS="$out/options.o"
        cmake --build "$out/cmake" --target berth-builder client
    } >"$out/build.log" 2>&1 || { cat "$out/build.log" >&2; exit 1; }
    # shellcheck disable=SC2086
    cc -std=gnu11 $flags test/native/wire-test.c "$out/cmake/libclient.a" "$out/cmake/libprotocol.a" -lprotobuf-nanopb \
        -o "$out/bin/wire-test"
    # shellcheck disable=SC2086
    c++ -std=c++17 $flags test/native/spec-fuzz.cc native/builder/spec.cc "$out/cmake/libprotocol.a" -lprotobuf-nanopb \
        -o "$out/bin/spec-fuzz"
}

wire() { "$out/bin/wire-test" "$seed" "$rounds" </dev/null; }

spec() { "$out/bin/spec-fuzz" "$seed" "$rounds"; }

# A report of a sanitizer need not fail a test: it fails this script.
builder() {
    status=0
    BERTH_TEST_BUILDER=$out/bin/berth-builder node_modules/.bin/vitest run --project kernel test/kernel/builder- \
        >"$out/builder.log" 2>&1 || status=$?
    if grep -q -e Sanitizer -e 'runtime error' "$out/builder.log"; then status=1; fi
    if [ "$status" != 0 ]; then cat "$out/builder.log" >&2; exit 1; fi
    grep -a 'Tests' "$out/builder.log"
}

[ $# -gt 0 ] || set -- build wire spec builder
for step in "$@"; do
    case $step in
    build | wire | spec | builder) "$step" ;;
    *) echo "sanitize.sh: there is no step $step" >&2; exit 2 ;;
    esac
done
