#!/bin/sh
# Builds everything into build/: generated protocol, addon, builder, plugin, command, bundled daemon and CLI.
set -eu
cd "$(dirname "$0")/.."
node scripts/generate.mjs
node_modules/.bin/cmake-js compile --out build/cmake
node scripts/bundle.mjs
