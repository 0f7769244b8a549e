/* How the settled options come from srun, salloc and sbatch to the nodes, to the prolog and to the sruns in
 * the job: as lines (lines.h) in the environment, under names that Slurm hands on whatever --export says:
 * "SLURM_SPANK_…" to the job and its steps, "SPANK_…" to its prolog (docs/adr/0010). Slurm's own way keeps
 * one value of an option that was given several times.
 *
 * Users can change them, as they can give other options: berthd decides about either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

#define OPTIONS "BERTH_OPTIONS"
static const char job_variable[] = "SLURM_SPANK_" OPTIONS;
static const char prolog_variable[] = "SPANK_" OPTIONS;

const char* forward_inherit(struct option_lines* lines) {
    const char* text = getenv(job_variable);
    return text == NULL ? NULL : lines_parse(lines, text);
}

void forward_explain(const char* fault, struct berth_failure* failure) {
    BERTH_FAIL(failure, BERTH_OPTION, (job_variable, "what is no list of options"), (fault), ());
}

void forward_alone(spank_t spank) {
    static const char prefix[] = "SLURM_SPANK_";
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        char variable[128];
        snprintf(variable, sizeof variable, "%s_SLURM_SPANK_OPTION_berth_%s", prefix, option_rows[i].name);
        for (char* c = variable; *c != '\0'; c++) {
            if (*c == '-') *c = '_';
        }
        const char* slurms = variable + strlen(prefix);
        unsetenv(variable);
        unsetenv(slurms);
        if (spank != NULL) spank_job_control_unsetenv(spank, slurms);
    }
}

/* Has the plugin do what these options say. */
static void use(const struct option_lines* lines) {
    struct option_line line;
    plugin.options = *lines;
    plugin.image[0] = '\0';
    if (lines_find(lines, SLOT_IMAGE, &line)) line_value(&line, plugin.image, sizeof plugin.image);
    const bool is_none = strcmp(plugin.image, BERTH_IMAGE_NONE) == 0;
    if (is_none) plugin.image[0] = '\0';
    plugin.has_container = plugin.image[0] != '\0' || (!is_none && lines_have(lines, SLOT_NAME));
    if (lines_find(lines, SLOT_CONTAIN, &line))
        parse_containment(line.value, line.value_length, &plugin.contain);
}

/* In a container this is an srun, salloc or sbatch that the site has put there: what it starts is in one only
 * if it says so itself. */
static void forget_own_container(void) {
    static const char* const variables[] = {"BERTH_CONTAINER", "BERTH_IMAGE", "BERTH_IMAGE_DIGEST"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) unsetenv(variables[i]);
}

void forward_send(spank_t spank, const struct option_lines* lines) {
    forget_own_container();
    use(lines);
    forward_alone(spank);
    if (lines->length == 0) {
        unsetenv(job_variable);
        spank_job_control_unsetenv(spank, OPTIONS);
    } else {
        setenv(job_variable, lines->text, 1);
        spank_job_control_setenv(spank, OPTIONS, lines->text, 1);
    }
}

/* With no such text, what Slurm itself has brought has to do: the job was submitted without this plugin. */
static void use_text(const char* text, const struct option_lines* otherwise) {
    static struct option_lines lines;
    if (text == NULL) {
        use(otherwise);
        return;
    }
    plugin.fault = lines_parse(&lines, text);
    use(&lines);
}

void forward_receive_step(spank_t spank) {
    static char text[MOST_LINES_TEXT + 1];
    const spank_err_t got = spank_getenv(spank, job_variable, text, sizeof text);
    if (got == ESPANK_NOSPACE) plugin.fault = "all options together may have 32 KiB";
    if (got != ESPANK_NOSPACE) use_text(got == ESPANK_SUCCESS ? text : NULL, options_forwarded());
}

void forward_receive_prolog(spank_t spank) {
    const char* text = getenv(prolog_variable);
    use_text(text, text == NULL ? options_of_job(spank) : NULL);
}

void forward_request(pb_callback_t* field) {
    /* berth_request_options wants strings, and all to last until the request is sent. */
    static char text[sizeof plugin.options.text + MOST_LINES];
    static struct berth_option list[MOST_LINES];
    static struct berth_options options;
    struct option_line line;
    char* at = text;
    options = (struct berth_options){.list = list};
    for (const char* place = NULL; lines_next(&plugin.options, &place, &line);) {
        if (is_for_plugin(line.row->slot)) continue;
        list[options.count++] = (struct berth_option){.name = line.row->name, .value = at};
        memcpy(at, line.value, line.value_length);
        at[line.value_length] = '\0';
        at += line.value_length + 1;
    }
    berth_request_options(field, &options);
}
