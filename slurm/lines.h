/* A set of options as one text, which travels in one environment variable: lines NAME=VALUE, or NAME alone
 * for an option without a value, each ended by a line feed, which no value has. `berth env render
 * --for-plugin` prints the same. */
#pragma once

#include "table.h"

enum {
    /* With 4,096 groups beside them they fit into a request (src/protocol/frames.ts REQUEST_LIMIT). */
    MOST_LINES_TEXT = 32 * 1024,
    MOST_LINES = 512,
};

struct option_lines {
    size_t length;
    unsigned count;
    char text[MOST_LINES_TEXT + 1]; /* ended by NUL */
};

struct option_line {
    const struct option_row* row;
    const char* whole; /* with the line feed */
    size_t length;
    const char* value; /* not ended by NUL; empty without one */
    size_t value_length;
};

void lines_clear(struct option_lines* lines);

/* Adds an option. NULL, or what is wrong with it, as an error's "why". */
const char* lines_add(struct option_lines* lines, const struct option_row* row, const char* value);

/* Takes a text from elsewhere, whoever made it. NULL, or what is wrong with it; then there are no lines. */
const char* lines_parse(struct option_lines* lines, const char* text);

/* Goes over the lines: `*at` is NULL at first. False after the last. */
bool lines_next(const struct option_lines* lines, const char** at, struct option_line* line);

/* The first line of a slot; false when there is none. */
bool lines_find(const struct option_lines* lines, enum slot slot, struct option_line* line);
static inline bool lines_have(const struct option_lines* lines, enum slot slot) {
    struct option_line ignored;
    return lines_find(lines, slot, &ignored);
}

/* Copies a slot's lines behind those that are there. NULL, or what is wrong. */
const char* lines_copy(struct option_lines* lines, const struct option_lines* from, enum slot slot);

/* Removes a slot's lines. */
void lines_drop(struct option_lines* lines, enum slot slot);

/* Have both the same for a slot? */
bool lines_agree(const struct option_lines* one, const struct option_lines* other, enum slot slot);

/* A line's value as a string, cut where it is longer than fits. */
void line_value(const struct option_line* line, char* value, size_t size);
