#!/bin/sh
# Builds the executables that berthd starts, those that it puts into containers and the client's half of the protocol with
# AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitize, and feeds them with what they should never get.
#   sanitize.sh [build|wire|opener|spec|builder|children|archives|converter]...     everything without an argument
#
#   build     only build
#   wire      native/client/wire.c against malformed, cut, oversized and random replies; environment.c
#   opener    the opener's reading of random and damaged requests
#   spec      the builder's decoding of random and damaged specifications
#   builder   the builder's own tests (root)
#   children  opener, cachefile, saver, packer, devices, fuse-server, entrypoint and shifter, with real and with bad
#             orders (root)
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

build() {
    mkdir -p "$out"
    {
        cmake -S . -B "$out/cmake" -G Ninja -DBERTH_SANITIZE=ON -DBERTH_OUTPUT="$out"
        cmake --build "$out/cmake" --target sanitized
    } >"$out/build.log" 2>&1 || { cat "$out/build.log" >&2; exit 1; }
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

children() { BERTH_TEST_BUILDER=$out/bin/berth-builder BERTH_TEST_PROGRAMS=$out/bin own_tests children; }

converter() { BERTH_TEST_CONVERTER=$out/bin/berth-converter BERTH_ROUNDS=5 own_tests converter; }

[ $# -gt 0 ] || set -- build wire opener spec builder children archives converter
for step in "$@"; do
    case $step in
    build | wire | opener | spec | builder | children | archives | converter) "$step" ;;
    *) echo "sanitize.sh: there is no step $step" >&2; exit 2 ;;
    esac
done
