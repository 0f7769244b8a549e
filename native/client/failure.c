#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void berth_failure_begin(struct berth_failure* failure, const char* code, uint32_t exit_status) {
    memset(failure, 0, sizeof *failure);
    snprintf(failure->code, sizeof failure->code, "%s", code);
    failure->exit_status = exit_status;
}

int berth_failure_say(char* text, unsigned size, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, size, format, arguments);
    va_end(arguments);
    for (unsigned char* c = (unsigned char*)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
    }
    return -1;
}

struct berth_text berth_text(const char* format, ...) {
    struct berth_text result;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result.text, sizeof result.text, format, arguments);
    va_end(arguments);
    return result;
}

const char* berth_host(void) {
    static char name[256];
    if (gethostname(name, sizeof name - 1) < 0) snprintf(name, sizeof name, "this node");
    return name;
}
