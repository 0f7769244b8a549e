#include "variables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void berth_variables_free(struct berth_variable_list* list) {
    for (size_t i = 0; i < list->count; i++) free(list->text[i]);
    list->count = 0;
}

const char* berth_variables_add(struct berth_variable_list* list, const char* text) {
    if (text[0] == '\0' || text[0] == '=')
        return "a variable is written NAME=VALUE, or NAME for its value here";
    if (list->count == BERTH_MOST_VARIABLES) return "at most 1024 variables can be set";
    const char* value = strchr(text, '=') == NULL ? getenv(text) : "";
    if (value == NULL) return NULL;
    char* made = NULL;
    const int length =
        strchr(text, '=') == NULL ? asprintf(&made, "%s=%s", text, value) : asprintf(&made, "%s", text);
    if (length < 0) return strerror(ENOMEM);
    list->text[list->count++] = made;
    return NULL;
}

static void close_file(FILE** file) {
    if (*file != NULL) fclose(*file);
}

static void free_line(char** line) {
    free(*line);
}

const char* berth_variables_read(struct berth_variable_list* list, const char* path) {
    FILE* file __attribute__((cleanup(close_file))) = fopen(path, "re");
    if (file == NULL) return strerror(errno);
    char* line __attribute__((cleanup(free_line))) = NULL;
    size_t size = 0;
    for (ssize_t length; (length = getline(&line, &size, file)) >= 0;) {
        if (length > 0 && line[length - 1] == '\n') line[--length] = '\0';
        if ((size_t)length != strlen(line)) return "a line has a NUL in it";
        if (length == 0 || line[0] == '#') continue;
        const char* fault = berth_variables_add(list, line);
        if (fault != NULL) return fault;
    }
    return ferror(file) ? strerror(errno) : NULL;
}
