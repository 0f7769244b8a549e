/* What the entrypoint helper tells the rank that started it, through a descriptor: one report.
 *
 * The image's entrypoint prepares things for a program: it exports variables, changes the directory, and then
 * executes what it was given as arguments. Here that is this helper, which reports what was prepared, and
 * ends; the rank takes it over and starts the program itself (docs/adr/0017).
 *
 * In the container, berthd has to provide
 *   /.berth/entrypoint        this executable (berth-entrypoint), bound read-only;
 *   /.berth/entrypoint.argv   the image's Entrypoint (OCI image specification 1.1, config.md): each word
 * ended by a NUL. */
#pragma once

#include <stdint.h>

#define ENTRYPOINT_HELPER "/.berth/entrypoint"
#define ENTRYPOINT_WORDS "/.berth/entrypoint.argv"

/* How the helper is called: by the rank, and by the entrypoint. The descriptor's number follows. */
#define ENTRYPOINT_START "--start"
#define ENTRYPOINT_REPORT "--report"

enum entrypoint_result {
    ENTRYPOINT_FAILED = 1,  /* the text says why */
    ENTRYPOINT_PREPARED = 2 /* texts, each ended by a NUL: directory, umask (octal), then the environment */
};

struct entrypoint_report {
    uint32_t result;
    uint32_t length; /* bytes that follow */
};

/* execve(2) allows no more by default: a quarter of the stack's 8 MiB. */
enum { ENTRYPOINT_MOST_BYTES = 2 * 1024 * 1024 };
