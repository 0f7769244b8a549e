#pragma once

/* `berth exec`: enters one's own container and runs a command there. Returns an exit status when it could
 * not. */
int berth_exec(int argc, char** argv);
