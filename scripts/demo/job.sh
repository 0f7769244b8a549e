#!/bin/bash
# What alice runs inside her allocation. Prints "name seconds" lines for the table to $1.
set -eu
results=$1
export OMPI_MCA_mpi_yield_when_idle=1 # four ranks on what may be two cores

timed() {
    name=$1
    shift
    begin=$(date +%s%N)
    "$@"
    end=$(date +%s%N)
    printf '%s\t%d\n' "$name" $(((end - begin) / 1000)) >>"$results"
}

echo "--- where the ranks are: four ranks, one container for each node"
srun -n 4 bash -c 'echo "rank $SLURM_PROCID on $(hostname): $(. /etc/os-release; echo $PRETTY_NAME), mount namespace $(readlink /proc/self/ns/mnt)"' | sort
echo
echo "--- LAMMPS, first run"
timed 'LAMMPS, first srun' srun --mpi=pmix -n 4 lmp -in melt.in -log none | grep -E 'MPI processor|Loop time|Performance'
echo "--- LAMMPS, second run: everything is warm"
timed 'LAMMPS, second srun' srun --mpi=pmix -n 4 lmp -in melt.in -log none | grep -E 'MPI processor|Loop time|Performance'
for round in 1 2 3; do
    timed 'bare srun true' srun --image=none -n 4 true
    timed 'srun true in the container' srun -n 4 true
done
echo
echo "--- where the start time went on n1 (berth ps --timeline)"
srun --image=none -N 1 -n 1 -w n1 berth ps --timeline
