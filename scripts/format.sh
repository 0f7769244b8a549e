#!/bin/sh
# Formats everything in place.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
prettier --write --log-level warn '{src,test,bench,scripts}/**/*.{ts,mjs}' '*.{mjs,json}' 'src/page/*.{html,css}'
git ls-files --cached --others --exclude-standard 'native/*.cc' 'native/*.h' 'native/*.c' 'slurm/*.c' 'slurm/*.h' | xargs clang-format -i
