#!/bin/sh
# Completes the mount and UTS namespaces of one host and pins them. Usage: host.sh HOST
# Environment: CLUSTER_DIR, SCRIPTS, SOURCE (source of its file systems, which tells whose they are),
# KEEP (paths beneath /tmp and /dev/shm to keep visible, without white space).
set -eu
umask 022
. "$SCRIPTS/keep.sh"
host=$1

echo "$host" >/proc/sys/kernel/hostname
# shellcheck disable=SC2086 # list of paths without white space
keep_open $KEEP
mount --bind "$CLUSTER_DIR/spool/$host" /var/spool/slurmd
mount -t tmpfs -o mode=1777,nosuid,nodev "$SOURCE" /tmp
mount -t tmpfs -o mode=1777,nosuid,nodev "$SOURCE" /dev/shm
mount -t tmpfs -o mode=0755,nosuid,nodev "$SOURCE" /run/berth
# shellcheck disable=SC2086
keep_bind $KEEP

# Descriptor 3 is the mount namespace in which the cluster was started: pins have to be mounted there.
# shellcheck disable=SC2016 # expanded by the inner shell
exec nsenter --mount=/proc/self/fd/3 sh -c '
	mount --no-mtab --bind "/proc/$$/ns/uts" "$1/uts" && mount --no-mtab --no-canonicalize --bind /proc/self/fd/8 "$1/mnt"
' pin "$CLUSTER_DIR/ns/$host" 8</proc/self/ns/mnt
