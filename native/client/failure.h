/* An error of the table in src/errors/errors.json, as C code meets it: made here, or received from berthd. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "berth_errors.h"

struct berth_failure {
    char code[48];
    uint32_t exit_status;
    char what[1024];
    char why[1024];
    char hint[512];
};

/* Fills in a row of the table; always -1. The three argument lists are for the braces of its three sentences:
 * BERTH_FAIL(failure, BERTH_JOIN_FAILED, (host), (BERTH_TEXT("setns: %s", reason)), ()). An empty list leaves
 * the sentence as it is. */
#define BERTH_FAIL(failure, NAME, WHAT, WHY, HINT)                                                       \
    (berth_failure_begin((failure), #NAME, NAME##_EXIT),                                                 \
     berth_failure_say((failure)->what, sizeof((failure)->what), NAME##_WHAT BERTH_FAIL_ARGUMENTS WHAT), \
     berth_failure_say((failure)->why, sizeof((failure)->why), NAME##_WHY BERTH_FAIL_ARGUMENTS WHY),     \
     berth_failure_say((failure)->hint, sizeof((failure)->hint), NAME##_HINT BERTH_FAIL_ARGUMENTS HINT))
#define BERTH_FAIL_ARGUMENTS(...) __VA_OPT__(, ) __VA_ARGS__

void berth_failure_begin(struct berth_failure* failure, const char* code, uint32_t exit_status);

/* As snprintf(3), with control characters replaced: a name from elsewhere must not steer a terminal. Always
 * -1. */
__attribute__((format(printf, 3, 4))) int berth_failure_say(char* text, unsigned size, const char* format,
                                                            ...);

/* A text made for one of those arguments; it lasts until the end of the full expression. */
#define BERTH_TEXT(...) (berth_text(__VA_ARGS__).text)
struct berth_text {
    char text[512];
};
__attribute__((format(printf, 1, 2))) struct berth_text berth_text(const char* format, ...);

/* This node's name, for messages. */
const char* berth_host(void);
