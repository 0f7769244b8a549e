#!/bin/sh
# Becomes a machine: the first process of a process namespace, with a root of its own, which systemd then runs.
# Usage: boot.sh ROOT [ORDER PROCESSOR...], in new mount, process, network, host name and cgroup namespaces. Ends with 75 where
# ORDER, which is test/cluster/namespace-order.sh, says that namespaces of containers cannot be pinned in this one.
set -eu
root=$1
shift
mount --make-rprivate /
mount -t proc proc /proc
if [ $# -gt 0 ]; then
    order=$1
    shift
    sh "$order" check "$root/mnt" "$@" || exit 75
fi
hostname node
ip link set lo up
# Resolvers look whether the machine has any address of IPv4.
ip address add 192.0.2.1/32 dev lo
mount -t proc proc "$root/proc"
# Read-only, which also keeps udev from starting: the devices are the real machine's.
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# New loop devices show up only in the real one.
mount --bind /dev "$root/dev"
# Open to users, as udev has it.
mknod -m 666 "$root/fuse" c 10 229
mount --bind "$root/fuse" "$root/dev/fuse"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
cd "$root"
mkdir -p old
pivot_root . old
umount -l old
rmdir old
exec env -i container=berth-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target \
    --log-target=journal --show-status=no </dev/null >/dev/null 2>&1
