#pragma once

#include <stdbool.h>

/* `berth exec`: enters one's own container and runs a command there. Returns an exit status when it could
 * not. */
int berth_exec(int argc, char** argv);

/* `berth run`: runs a command in a container of one's own. Returns as that does. */
int berth_run(int argc, char** argv);

/* `berth stop`: ends what `berth run` has started. */
int berth_stop(int argc, char** argv);

/* `berth wait`: waits until containers in the background have ended. */
int berth_wait(int argc, char** argv);

/* `berth logs`: shows what a container in the background has printed. */
int berth_logs(int argc, char** argv);

/* `shifter` on a host: `berth run` in the words of Shifter. Returns as that does. */
int berth_shifter(int argc, char** argv);

/* Slurm asked, and berthd did not answer: `berth health --daemon-dead` has to see whether Slurm is to be
 * told.
 */
enum { BERTH_HEALTH_DEAD = 256 };

/* `berth health`: asks berthd after the node and prints the answer. Returns an exit status, or
 * BERTH_HEALTH_DEAD. */
int berth_health(int argc, char** argv, bool from_slurm);

/* Is this the name under which Slurm calls its HealthCheckProgram? It gives that no arguments. */
bool berth_is_health_check(const char* program);
