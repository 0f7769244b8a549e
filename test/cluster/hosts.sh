#!/bin/sh
# Makes hosts, one after the other, from the template namespace it runs in. Usage: hosts.sh HOST...
# Environment besides that of host.sh: PROCESSOR on which to make the namespaces, PROCESSORS for all else.
set -eu
for host in "$@"; do
	taskset -c "$PROCESSOR" unshare --mount --uts --propagation unchanged \
		taskset -c "$PROCESSORS" sh "$SCRIPTS/host.sh" "$host"
done
