/* In srun, salloc and sbatch: which options hold, out of what the command was told, what its allocation was,
 * and what the environment says. Slurm hands a plugin the values one by one, and to the nodes the last of
 * each option, so what it would get wrong is refused or mended here: a program must not run in another place
 * than its part of the command line says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

/* Of the component that is being read: what stands in a batch script, and in the command line. */
static struct option_lines in_script;
static struct option_lines in_command;

/* Of all components so far. */
static struct option_lines own;
static unsigned settled;        /* components whose options are known */
static unsigned told_by[SLOTS]; /* how many of them were told something */

/* Of the allocation that an srun runs in. */
static struct option_lines inherited;

static bool image_is_inherited;
static bool has_own_options;

static int refuse(const struct option_row* row, const char* value, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, (BERTH_TEXT("--%s", row->name), value), (why), ());
    return refuse_option(&failure);
}

/* What a slot says, for a message: a value, or the option where it has none. */
static void describe(const struct option_lines* lines, enum slot slot, char* text, size_t size) {
    struct option_line line;
    if (!lines_find(lines, slot, &line)) {
        snprintf(text, size, "none");
    } else if (line.value_length == 0) {
        snprintf(text, size, "--%s", line.row->name);
    } else {
        line_value(&line, text, size);
    }
}

static int refuse_together(const struct option_row* one, const struct option_row* other) {
    const char* why = one->takes == NO_VALUE || other->takes == NO_VALUE
                          ? "one says the contrary of the other"
                          : "they are two names of one option";
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION_CONFLICT,
               (BERTH_TEXT("--%s", one->name), BERTH_TEXT("--%s", other->name)), (why), ());
    return refuse_option(&failure);
}

static const char one_for_all[] =
    "Slurm would use the same for the whole command: give each component a command of its own";

static int refuse_both(enum slot slot, const struct option_lines* one, const struct option_lines* other) {
    char first[256];
    char second[256];
    struct option_line line;
    describe(one, slot, first, sizeof first);
    describe(other, slot, second, sizeof second);
    if (!lines_find(one, slot, &line)) lines_find(other, slot, &line);
    const struct option_row* row = line.row;
    if (slot == SLOT_IMAGE) row = find_option("image", strlen("image"));
    return refuse(row, BERTH_TEXT("both %s and %s", first, second), one_for_all);
}

/* The components of a heterogeneous command are separated by words ":". */
static unsigned count_components(void) {
    unsigned count = 1;
    size_t length;
    const char* words = command_line(&length);
    for (const char* word = words; word < words + length; word += strlen(word) + 1) {
        if (strcmp(word, ":") == 0) count++;
    }
    return count;
}

/* Does the command line have this, as --NAME=VALUE, --NAME VALUE or --NAME, where NAME may be shortened? */
static bool is_in_command_line(const struct option_row* row, const char* value) {
    size_t length;
    const char* words = command_line(&length);
    for (const char* word = words; word < words + length; word += strlen(word) + 1) {
        if (strcmp(word, "--") == 0) return false;
        if (strncmp(word, "--", 2) != 0) continue;
        const size_t name = strcspn(word + 2, "=");
        if (name == 0 || strncmp(word + 2, row->name, name) != 0) continue;
        const char* given = word[2 + name] == '=' ? word + 2 + name + 1 : word + strlen(word) + 1;
        if (value[0] == '\0' || (given < words + length && strcmp(given, value) == 0)) return true;
    }
    return false;
}

/* sbatch has its script's options and those of the command line read in one go; the latter count more. */
static struct option_lines* source_of(const struct option_row* row, const char* value) {
    const bool script = spank_context() == S_CTX_ALLOCATOR && !is_in_command_line(row, value);
    return script ? &in_script : &in_command;
}

int choice_remember(const struct option_row* row, const char* value) {
    const char* shown = value[0] != '\0' ? value : "nothing";
    const char* fault = value_fault(row, value, strlen(value));
    if (fault != NULL) return refuse(row, shown, fault);
    struct option_lines* source = source_of(row, value);
    struct option_line before;
    const bool repeated = lines_find(source, row->slot, &before);
    if (repeated && before.row != row) return refuse_together(before.row, row);
    if (repeated && !row->repeats) {
        char first[256];
        line_value(&before, first, sizeof first);
        const bool same =
            before.value_length == strlen(value) && memcmp(before.value, value, before.value_length) == 0;
        return same ? 0 : refuse(row, BERTH_TEXT("both %s and %s", first, value), "it can be given once");
    }
    fault = lines_add(source, row, value);
    return fault == NULL ? 0 : refuse(row, shown, fault);
}

int choice_begin(void) {
    forward_alone(NULL);
    /* A job that is submitted from within another is its own. */
    const bool in_job = spank_context() == S_CTX_LOCAL && getenv("SLURM_JOB_ID") != NULL;
    const char* fault = in_job ? forward_inherit(&inherited) : NULL;
    if (fault == NULL) return 0;
    struct berth_failure failure;
    forward_explain(fault, &failure);
    return refuse_option(&failure);
}

/* The upper lines, and the lower ones of the slots that the upper have not. With `add_up`, both where an
 * option may be repeated, the lower first. */
static const char* overlay(struct option_lines* result, const struct option_lines* upper,
                           const struct option_lines* lower, bool add_up) {
    const char* fault = NULL;
    struct option_line line;
    lines_clear(result);
    for (enum slot slot = 0; slot < SLOTS && fault == NULL; slot++) {
        const bool given = lines_find(upper, slot, &line);
        if (!given || (add_up && line.row->repeats)) fault = lines_copy(result, lower, slot);
        if (fault == NULL) fault = lines_copy(result, upper, slot);
    }
    return fault;
}

/* Takes up what a component was told. Slurm keeps one value for all of them. */
static int settle_component(void) {
    static struct option_lines component;
    const char* fault = overlay(&component, &in_command, &in_script, false);
    lines_clear(&in_command);
    lines_clear(&in_script);
    const unsigned components = count_components();
    for (enum slot slot = 0; slot < SLOTS && fault == NULL; slot++) {
        if (!lines_have(&component, slot)) continue;
        told_by[slot]++;
        const bool before = lines_have(&own, slot);
        /* Components of a batch script are not in the command line ("#SBATCH hetjob"): the first's options
         * are all's. */
        const bool too_late = !before && settled > 0 && components == 1;
        if (too_late || (before && !lines_agree(&own, &component, slot)))
            return refuse_both(slot, &own, &component);
        if (!before) fault = lines_copy(&own, &component, slot);
    }
    if (fault != NULL) return refuse(&option_rows[0], "with more options than fit", fault);
    if (++settled < components) return 0;
    for (enum slot slot = 0; slot < SLOTS; slot++) {
        const bool some_inherit = told_by[slot] > 0 && told_by[slot] < components;
        if (some_inherit && lines_have(&inherited, slot) && !lines_agree(&inherited, &own, slot))
            return refuse_both(slot, &inherited, &own);
    }
    return 0;
}

static bool image_is_none(const struct option_line* line) {
    return line->value_length == strlen(BERTH_IMAGE_NONE) &&
           memcmp(line->value, BERTH_IMAGE_NONE, line->value_length) == 0;
}

static bool have_container(const struct option_lines* lines) {
    struct option_line image;
    return lines_find(lines, SLOT_IMAGE, &image) ? !image_is_none(&image) : lines_have(lines, SLOT_NAME);
}

/* Puts what an environment file says below `lines`, which name it. */
static int include_file(struct option_lines* lines) {
    static struct option_lines of_file;
    static struct option_lines both;
    struct option_line environment;
    if (!lines_find(lines, SLOT_ENVIRONMENT, &environment)) return 0;
    char value[4096];
    line_value(&environment, value, sizeof value);
    if (render_environment(value, &of_file) < 0) return -1;
    const char* fault = overlay(&both, lines, &of_file, true);
    if (fault != NULL) return refuse(environment.row, value, fault);
    lines_drop(&both, SLOT_ENVIRONMENT);
    *lines = both;
    return 0;
}

/* Options that have no container to be for. */
static int refuse_lonely(const struct option_lines* lines) {
    struct option_line line;
    for (const char* at = NULL; lines_next(lines, &at, &line);) {
        if (line.row->slot == SLOT_IMAGE) continue;
        char value[256];
        line_value(&line, value, sizeof value);
        return refuse(line.row, value[0] != '\0' ? value : "without an image",
                      "no container is asked for: --image, --container-name or --environment says which");
    }
    return 0;
}

int choice_settle(struct option_lines* result) {
    static struct option_lines chosen;
    if (settle_component() < 0) return -1;
    chosen = own;
    if (include_file(&chosen) < 0) return -1;
    image_is_inherited = !lines_have(&chosen, SLOT_IMAGE) && lines_have(&inherited, SLOT_IMAGE);
    has_own_options = chosen.count > (lines_have(&chosen, SLOT_IMAGE) ? 1 : 0);
    const char* fault = overlay(result, &chosen, &inherited, false);
    if (fault != NULL) return refuse(&option_rows[0], "with more options than fit", fault);
    if (defaults_add_container(result) < 0 || include_file(result) < 0) return -1;
    if (have_container(result)) return defaults_add_rest(result);
    if (refuse_lonely(&chosen) < 0) return -1;
    for (enum slot slot = SLOT_IMAGE + 1; slot < SLOTS; slot++) lines_drop(result, slot);
    return 0;
}

bool choice_has_own_options(void) {
    return has_own_options;
}

bool choice_has_inherited_image(void) {
    return image_is_inherited;
}
