#!/bin/sh
# Fetches the headers of the Slurm of another Debian release, to build the plugin against. Nothing is installed: apt works
# with a configuration of its own in the directory.
#   slurm-headers.sh SUITE DIRECTORY      e.g. trixie; the headers are then in DIRECTORY/usr/include
set -eu
suite=$1
directory=$2
mkdir -p "$directory/apt/lists/partial" "$directory/apt/cache/archives/partial" "$directory/apt/parts"
mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "the sources of apt name no Debian mirror" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$directory/apt/parts/other.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: $keyring
SOURCES
options="-qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$directory/apt/parts -o Dir::State::lists=$directory/apt/lists -o Dir::Cache=$directory/apt/cache -o APT::Sandbox::User=root"
# shellcheck disable=SC2086
apt-get $options update >&2
cd "$directory"
# shellcheck disable=SC2086
apt-get $options download libslurm-dev >&2
for package in libslurm-dev_*.deb; do dpkg-deb --extract "$package" "$directory"; done
rm -rf "$directory/apt" libslurm-dev_*.deb
