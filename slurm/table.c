#include "table.h"

#include <ctype.h>
#include <string.h>

#include "contain.h"

#define HELP "[berth] "

const struct option_row option_rows[OPTION_ROWS] = {
    {"image", "REF", HELP "run the ranks in a container of this image; \"none\" for no container", SLOT_IMAGE,
     ONE_VALUE, false},
    {"container-image", "REF", HELP "the same as --image", SLOT_IMAGE, ONE_VALUE, false},
    {"volume", "SRC:DST[:FLAGS]",
     HELP
     "have SRC appear as DST in the container; may be given several times, or several with \";\" between",
     SLOT_MOUNTS, ONE_VALUE, true},
    {"container-mounts", "SRC:DST[:FLAGS][,...]", HELP "the same as --volume, with Pyxis's syntax",
     SLOT_MOUNTS, ONE_VALUE, true},
    {"container-workdir", "DIR", HELP "start in this directory of the container", SLOT_WORKDIR, ONE_VALUE,
     false},
    {"container-name", "NAME[:MODE]",
     HELP "name the container, and use it again in the job; MODE is auto, create, exec or no_exec", SLOT_NAME,
     ONE_VALUE, false},
    {"container-save", "FILE", HELP "save the container as an image file when the step ends", SLOT_SAVE,
     ONE_VALUE, false},
    {"container-mount-home", NULL, HELP "have the home directory in the container", SLOT_MOUNT_HOME, NO_VALUE,
     false},
    {"no-container-mount-home", NULL, HELP "have no home directory in the container", SLOT_MOUNT_HOME,
     NO_VALUE, false},
    {"container-remap-root", NULL, HELP "be root in the container, with no more rights than outside",
     SLOT_REMAP_ROOT, NO_VALUE, false},
    {"no-container-remap-root", NULL, HELP "be oneself in the container", SLOT_REMAP_ROOT, NO_VALUE, false},
    {"container-entrypoint", NULL, HELP "run the image's entrypoint before the program", SLOT_ENTRYPOINT,
     NO_VALUE, false},
    {"no-container-entrypoint", NULL, HELP "do not run the image's entrypoint", SLOT_ENTRYPOINT, NO_VALUE,
     false},
    {"container-entrypoint-log", NULL, HELP "show what the image's entrypoint prints", SLOT_ENTRYPOINT_LOG,
     NO_VALUE, false},
    {"container-writable", "[SIZE|DIR]",
     HELP "let files be changed; that goes to memory (up to SIZE, as 2G) or to DIR", SLOT_WRITABLE,
     PERHAPS_A_VALUE, false},
    {"container-readonly", NULL, HELP "let the container's files not be changed", SLOT_WRITABLE, NO_VALUE,
     false},
    {"container-env", "NAME[,...]", HELP "keep the value that these variables have outside", SLOT_ENV,
     ONE_VALUE, true},
    {"container-unshare", "net,ipc,uts",
     HELP "have a network, System V IPC or host name of the container's own", SLOT_UNSHARE, ONE_VALUE, false},
    {"module", "NAME[,...]", HELP "add the site's modules to the container; \"none\" for none at all",
     SLOT_MODULE, ONE_VALUE, true},
    {"environment", "FILE|NAME", HELP "take image and options from an environment file", SLOT_ENVIRONMENT,
     ONE_VALUE, false},
    {"container-contain", "batch,interactive",
     HELP "what of the job is in the container beside its steps: script, shell of salloc; or \"none\"",
     SLOT_CONTAIN, ONE_VALUE, false},
    {"mount", NULL, NULL, SLOT_MOUNTS, ONE_VALUE, true},
    {"env", NULL, NULL, SLOT_VARIABLES, ONE_VALUE, true},
};

const struct option_row* find_option(const char* name, size_t length) {
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        const struct option_row* row = &option_rows[i];
        if (strlen(row->name) == length && memcmp(row->name, name, length) == 0) return row;
    }
    return NULL;
}

const char* value_fault(const struct option_row* row, const char* value, size_t length) {
    struct containment ignored;
    if (row->takes == ONE_VALUE && length == 0) return "it needs a value";
    if (row->takes == NO_VALUE && length > 0) return "it takes no value";
    for (size_t i = 0; i < length; i++) {
        if (iscntrl((unsigned char)value[i])) return "there is a control character in it";
    }
    if (row->slot == SLOT_IMAGE && length > LONGEST_IMAGE)
        return "an image's name has at most 4095 characters";
    if (row->slot == SLOT_CONTAIN && !parse_containment(value, length, &ignored))
        return "it takes batch, interactive, both with a comma between, or none";
    return NULL;
}
