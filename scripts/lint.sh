#!/bin/sh
# What every commit has to pass: types, type-aware lint rules, formatting, generated documentation in step, and for C
# and C++ formatting and clang-tidy. Reports only; scripts/format.sh mends the formatting.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
node scripts/generate.mjs --check
tsc --noEmit -p .
tsc --noEmit -p src/page
eslint .
prettier --check --log-level warn '{src,test,bench,scripts}/**/*.{ts,mjs}' '*.{mjs,json}' 'src/page/*.{html,css}'
git ls-files 'native/*.cc' 'native/*.h' 'native/*.c' 'slurm/*.c' 'slurm/*.h' | xargs clang-format --dry-run --Werror
git ls-files 'native/*.cc' 'native/*.c' 'slurm/*.c' |
  xargs -P "$(nproc)" -n 6 clang-tidy --quiet -p build/cmake 2>/dev/null
