/* Lets the ranks of each pair talk for the first time, the lower one beginning, and sums their numbers over
 * all and sends a value once around the ring. Rank 0 says how it went. */
#include <mpi.h>
#include <stdio.h>

/* Two ranks that connect to each other at the same moment, on processors with too much to do, are more than
 * Open MPI 4.1 always bears, with Slurm alone as well. That is not what is tried here. */
static void meet(int rank, int size) {
    char word = 0;
    for (int low = 0; low < size; low++) {
        for (int high = low + 1; high < size; high++) {
            if (rank == low) {
                MPI_Send(&word, 1, MPI_CHAR, high, 1, MPI_COMM_WORLD);
                MPI_Recv(&word, 1, MPI_CHAR, high, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            } else if (rank == high) {
                MPI_Recv(&word, 1, MPI_CHAR, low, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
                MPI_Send(&word, 1, MPI_CHAR, low, 1, MPI_COMM_WORLD);
            }
        }
    }
}

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    meet(rank, size);

    const int number = rank + 1;
    int sum = 0;
    MPI_Allreduce(&number, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);

    const int next = (rank + 1) % size;
    const int previous = (rank + size - 1) % size;
    int value = 0;
    if (rank == 0) {
        MPI_Send(&value, 1, MPI_INT, next, 0, MPI_COMM_WORLD);
        MPI_Recv(&value, 1, MPI_INT, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        printf("%d ranks: sum %d, ring %d\n", size, sum, value);
    } else {
        MPI_Recv(&value, 1, MPI_INT, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        value++;
        MPI_Send(&value, 1, MPI_INT, next, 0, MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return sum == size * (size + 1) / 2 ? 0 : 1;
}
