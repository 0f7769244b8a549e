/* What a file of Berth's installation is of, for `berth health`: compiled into each of them, and found there
 * by its mark. src/health/notes.ts reads it. */
#include <stdint.h>
#ifdef BERTH_NOTE_SLURM
#include <slurm/slurm.h>
#define BERTH_NOTE_NUMBER SLURM_VERSION_NUMBER
#else
#define BERTH_NOTE_NUMBER 0
#endif

struct note {
    char mark[24];
    char version[24];
    uint32_t slurm; /* SLURM_VERSION_NUMBER, in this machine's byte order; 0 in what is not for Slurm */
};

extern const struct note berth_note;
__attribute__((used))
const struct note berth_note = {"\nberth installation note", BERTH_VERSION, BERTH_NOTE_NUMBER};
