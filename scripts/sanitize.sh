#!/bin/sh
# Builds the builder, the opener, the converter and the client's half of the protocol with AddressSanitizer and UndefinedBehaviorSanitizer into
# build/sanitize, and feeds them with what they should never get.
#   sanitize.sh [build|wire|opener|spec|builder|archives|converter]...     everything without an argument
#
#   build     only build
#   wire      native/client/wire.c against malformed, cut, oversized and random replies; environment.c
#   opener    the opener's reading of random and damaged requests
#   spec      the builder's decoding of random and damaged specifications
#   builder   the builder's own tests (root)
#   archives  the converter, on damaged archives and layer files
#   converter the converter's own tests (root)
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
        cmake --build "$out/cmake" --target berth-builder berth-opener berth-converter client
    } >"$out/build.log" 2>&1 || { cat "$out/build.log" >&2; exit 1; }
    for test in wire-test environment-test; do
        # shellcheck disable=SC2086
        cc -std=gnu11 $flags "test/native/$test.c" "$out/cmake/libclient.a" "$out/cmake/libprotocol.a" -lprotobuf-nanopb \
            -o "$out/bin/$test"
    done
    # shellcheck disable=SC2086
    c++ -std=c++17 $flags test/native/spec-fuzz.cc native/builder/spec.cc "$out/cmake/libprotocol.a" -lprotobuf-nanopb \
        -o "$out/bin/spec-fuzz"
    # shellcheck disable=SC2086
    c++ -std=c++17 $flags test/native/opener-fuzz.cc native/opener/request.cc -o "$out/bin/opener-fuzz"
    # shellcheck disable=SC2046,SC2086
    c++ -std=c++17 $flags test/native/converter-fuzz.cc $(ls native/converter/*.cc | grep -v /main.cc) "$out/options.o" \
        $(pkg-config --libs libsquashfs1 libarchive libcrypto zlib) -o "$out/bin/converter-fuzz"
}

wire() { "$out/bin/environment-test" && "$out/bin/wire-test" "$seed" "$rounds" </dev/null; }

opener() { "$out/bin/opener-fuzz" "$seed" "$rounds"; }

spec() { "$out/bin/spec-fuzz" "$seed" "$rounds"; }

# A round of it is much more work than one of the others.
archives() { "$out/bin/converter-fuzz" "$seed" $((rounds / 20)); }

# A report of a sanitizer need not fail a test: it fails this script.
own_tests() {
    status=0
    node_modules/.bin/vitest run --project kernel "test/kernel/$1-" >"$out/$1.log" 2>&1 || status=$?
    if grep -q -e Sanitizer -e 'runtime error' "$out/$1.log"; then status=1; fi
    if [ "$status" != 0 ]; then cat "$out/$1.log" >&2; exit 1; fi
    grep -a 'Tests' "$out/$1.log"
}

builder() { BERTH_TEST_BUILDER=$out/bin/berth-builder own_tests builder; }

converter() { BERTH_TEST_CONVERTER=$out/bin/berth-converter BERTH_ROUNDS=5 own_tests converter; }

[ $# -gt 0 ] || set -- build wire opener spec builder archives converter
for step in "$@"; do
    case $step in
    build | wire | opener | spec | builder | archives | converter) "$step" ;;
    *) echo "sanitize.sh: there is no step $step" >&2; exit 2 ;;
    esac
done
