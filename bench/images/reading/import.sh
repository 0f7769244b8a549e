#!/bin/sh
# Imports numpy and mpi4py in many processes at once, with the Python of a root file system. MPI is loaded but not
# initialised: that would be about the network.
# Usage: import.sh ROOT PROCESSES
root=$1
processes=$2
program='import mpi4py; mpi4py.rc.initialize = False; import numpy; from mpi4py import MPI'
children=
while [ "$processes" -gt 0 ]; do
    chroot "$root" /usr/bin/python3 -c "$program" &
    children="$children $!"
    processes=$((processes - 1))
done
status=0
for child in $children; do
    wait "$child" || status=1
done
exit "$status"
