/* Ends what `berth run` has started. */
#pragma once

/* The value of a SIGTERM (sigqueue(3)) that tells a container in the background to kill all that is left in
 * it. */
enum { BERTH_STOP_NOW = 0x57A9 };
