#include "lines.h"

#include <stdio.h>
#include <string.h>

static const char too_much[] = "all options together may have 32 KiB, and 512 values";

void lines_clear(struct option_lines* lines) {
    lines->length = 0;
    lines->count = 0;
    lines->text[0] = '\0';
}

static const char* append(struct option_lines* lines, const struct option_row* row, const char* value,
                          size_t length) {
    const char* fault = value_fault(row, value, length);
    if (fault != NULL) return fault;
    const size_t room = sizeof lines->text - lines->length;
    const size_t name = strlen(row->name);
    if (lines->count == MOST_LINES || name + length + 2 >= room) return too_much;
    const int written = snprintf(lines->text + lines->length, room, "%s%s%.*s\n", row->name,
                                 length > 0 ? "=" : "", (int)length, value);
    lines->length += (size_t)written;
    lines->count++;
    return NULL;
}

const char* lines_add(struct option_lines* lines, const struct option_row* row, const char* value) {
    return append(lines, row, value, strlen(value));
}

const char* lines_parse(struct option_lines* lines, const char* text) {
    lines_clear(lines);
    const char* fault = NULL;
    while (*text != '\0' && fault == NULL) {
        const size_t length = strcspn(text, "\n");
        const size_t name = strcspn(text, "=\n");
        const struct option_row* row = find_option(text, name);
        const size_t value = name < length ? name + 1 : name;
        fault = row == NULL ? "it names an option that there is not"
                            : append(lines, row, text + value, length - value);
        text += text[length] == '\n' ? length + 1 : length;
    }
    if (fault != NULL) lines_clear(lines);
    return fault;
}

bool lines_next(const struct option_lines* lines, const char** at, struct option_line* line) {
    const char* start = *at != NULL ? *at : lines->text;
    if (*start == '\0') return false;
    const size_t length = strcspn(start, "\n");
    const size_t name = strcspn(start, "=\n");
    const size_t value = name < length ? name + 1 : name;
    *line = (struct option_line){.row = find_option(start, name),
                                 .whole = start,
                                 .length = length + 1,
                                 .value = start + value,
                                 .value_length = length - value};
    *at = start + length + 1;
    return true;
}

/* The next line of a slot. */
static bool next_of(const struct option_lines* lines, enum slot slot, const char** at,
                    struct option_line* line) {
    while (lines_next(lines, at, line)) {
        if (line->row->slot == slot) return true;
    }
    return false;
}

bool lines_find(const struct option_lines* lines, enum slot slot, struct option_line* line) {
    const char* at = NULL;
    return next_of(lines, slot, &at, line);
}

const char* lines_copy(struct option_lines* lines, const struct option_lines* from, enum slot slot) {
    struct option_line line;
    const char* fault = NULL;
    for (const char* at = NULL; fault == NULL && next_of(from, slot, &at, &line);)
        fault = append(lines, line.row, line.value, line.value_length);
    return fault;
}

void lines_drop(struct option_lines* lines, enum slot slot) {
    struct option_line line;
    while (lines_find(lines, slot, &line)) {
        char* start = lines->text + (line.whole - lines->text);
        lines->length -= line.length;
        lines->count--;
        memmove(start, start + line.length, strlen(start + line.length) + 1);
    }
}

bool lines_agree(const struct option_lines* one, const struct option_lines* other, enum slot slot) {
    const char* at_one = NULL;
    const char* at_other = NULL;
    for (;;) {
        struct option_line mine;
        struct option_line theirs;
        const bool more = next_of(one, slot, &at_one, &mine);
        if (more != next_of(other, slot, &at_other, &theirs)) return false;
        if (!more) return true;
        if (mine.length != theirs.length || memcmp(mine.whole, theirs.whole, mine.length) != 0) return false;
    }
}

void line_value(const struct option_line* line, char* value, size_t size) {
    snprintf(value, size, "%.*s", (int)line->value_length, line->value);
}
