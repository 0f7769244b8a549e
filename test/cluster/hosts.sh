#!/bin/sh
# Makes hosts, one after the other, from the template namespace it runs in. Usage: hosts.sh HOST...
set -eu
for host in "$@"; do
	unshare --mount --uts --propagation unchanged sh "$SCRIPTS/host.sh" "$host"
done
