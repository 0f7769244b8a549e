#!/bin/sh
# Makes the mount namespace it runs in what all hosts of a cluster have in common.
# Environment: CLUSTER_DIR, SCRIPTS, SOURCE (source of its file systems, which tells whose they are),
# CLOSED (directories other users may not pass), KEEP (paths to keep visible).
# None of the paths contains white space.
set -eu
umask 022
. "$SCRIPTS/keep.sh"

# Namespaces pinned by this and other clusters: each host would carry a copy of all of them.
awk '$(NF - 1) == "berth-cluster-ns" { print $5 }' /proc/self/mountinfo | while read -r target; do
	umount -l "$target"
done

# overlay DIRECTORY ADDITIONS: the machine's directory with further entries, read-only.
overlay() {
	directory=$1 additions=$2 stage=$CLUSTER_DIR/mount-points/stage
	# Mounts beneath the directory, outermost only: an overlay does not show them.
	beneath=$(awk -v prefix="$directory/" '
		index($5, prefix) == 1 {
			if (last == "" || index($5, last "/") != 1) print last = $5
		}' /proc/self/mountinfo)
	mount --rbind "$directory" "$stage"
	mount -t overlay -o "ro,lowerdir=$additions:$directory" "$SOURCE" "$directory"
	for target in $beneath; do
		[ -e "$additions${target#"$directory"}" ] || mount --rbind "$stage${target#"$directory"}" "$target"
	done
	umount -l "$stage"
}

# shellcheck disable=SC2086 # lists of paths without white space
keep_open $KEEP

overlay /etc "$CLUSTER_DIR/etc"
overlay /var/lib "$CLUSTER_DIR/mount-points/lib"
overlay /var/spool "$CLUSTER_DIR/mount-points/spool"

# Bound over the overlay so that later changes of the cluster's own files are seen at once.
for name in passwd group subuid subgid hosts slurm berth; do
	mount --bind "$CLUSTER_DIR/etc/$name" "/etc/$name"
done
mount --bind "$CLUSTER_DIR/store" /var/lib/berth

mount -t tmpfs -o mode=0755,nosuid,nodev "$SOURCE" /run
mkdir /run/munge /run/berth
mkdir -m 1777 /run/lock
mount --bind "$CLUSTER_DIR/run/munge" /run/munge

# From here on the cluster directory itself may be covered.
mount --bind "$CLUSTER_DIR/home" /home
for directory in $CLOSED; do
	mount -t tmpfs -o mode=0755,nosuid,nodev "$SOURCE" "$directory"
done

# shellcheck disable=SC2086
keep_bind $KEEP

# The only change visible outside this namespace: its own pin. Descriptor 3 is the namespace of the caller.
nsenter --mount=/proc/self/fd/3 mount --no-mtab --bind "/proc/$$/ns/mnt" "$CLUSTER_DIR/ns/template"
