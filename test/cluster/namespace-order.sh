#!/bin/sh
# Finds out in what order the kernel numbers new mount namespaces. See namespace-order.ts for the reason.
#   namespace-order.sh lowest DIRECTORY PROCESSOR...  prints the processor where a new one gets the lowest number
#   namespace-order.sh check DIRECTORY PROCESSOR...   succeeds if one made on any of them can be pinned in this one
# DIRECTORY is an empty directory to mount a tmpfs on for a moment.
set -eu
action=$1 directory=$2
shift 2

# Can a namespace made on a processor be pinned in the current one?
try='mount -t tmpfs probe "$1" && : >"$1/pin" && exec taskset -c "$2" unshare --mount="$1/pin" true'
case $action in
lowest)
	lowest=$1
	for processor in "$@"; do
		taskset -c "$lowest" unshare --mount --propagation private \
			sh -c "$try" probe "$directory" "$processor" 2>/dev/null || lowest=$processor
	done
	echo "$lowest"
	;;
check)
	mount -t tmpfs probe "$directory"
	: >"$directory/pin"
	status=0
	for processor in "$@"; do
		taskset -c "$processor" unshare --mount="$directory/pin" true 2>/dev/null || status=1
		umount "$directory/pin" 2>/dev/null || :
	done
	umount "$directory"
	exit $status
	;;
esac
