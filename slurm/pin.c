/* What the image's name meant when the job was submitted. srun, salloc and sbatch ask berthd of the submit
 * host once, and every node then runs just that, even if the name gets another image meanwhile
 * (docs/adr/0010).
 *
 * The pin travels in the environment under names that Slurm hands on whatever --export says: "SLURM_SPANK_…"
 * to the job and its steps, "SPANK_…" to its prolog (Slurm 22.05 to 25.11, env.c and plugstack.c). The user
 * can change it, as they can give another image: berthd decides about either.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

enum {
    /* berthd answers in a millisecond or two, the store's file system permitting. */
    RESOLVE_TIMEOUT_MS = 5000,
};

#define PIN "BERTH_PIN"
static const char job_variable[] = "SLURM_SPANK_" PIN;
static const char prolog_variable[] = "SPANK_" PIN;

/* In the variable: what it was pinned to, and after a tab, which no reference holds, the reference it stands
 * for. */
enum { SEPARATOR = '\t' };
typedef char pin_text[2 * sizeof plugin.image];

static bool is_image(const char* text) {
    const struct option_row* row = find_option("image", strlen("image"));
    return value_fault(row, text, strlen(text)) == NULL;
}

/* The pin, if it was made for this reference. */
static bool read_pin(const char* variable, const char* reference, char* pinned, size_t size) {
    const char* separator = strchr(variable, SEPARATOR);
    if (separator == NULL || separator == variable || strcmp(separator + 1, reference) != 0) return false;
    const size_t length = (size_t)(separator - variable);
    if (length >= size) return false;
    memcpy(pinned, variable, length);
    pinned[length] = '\0';
    return true;
}

static void use_pin(const char* variable, char* image, size_t size) {
    static char pinned[sizeof plugin.image];
    if (read_pin(variable, plugin.image, pinned, sizeof pinned) && is_image(pinned))
        snprintf(image, size, "%s", pinned);
    else
        snprintf(image, size, "%s", plugin.image);
}

void pin_of_step(spank_t spank, char* image, size_t size) {
    static pin_text variable;
    if (spank_getenv(spank, job_variable, variable, sizeof variable) != ESPANK_SUCCESS) variable[0] = '\0';
    use_pin(variable, image, size);
}

void pin_of_prolog(char* image, size_t size) {
    const char* variable = getenv(prolog_variable);
    use_pin(variable != NULL ? variable : "", image, size);
}

static void set_pin(spank_t spank, const char* pinned) {
    static pin_text variable;
    snprintf(variable, sizeof variable, "%s%c%s", pinned, SEPARATOR, plugin.image);
    setenv(job_variable, variable, 1);
    spank_job_control_setenv(spank, PIN, variable, 1);
}

/* A file is found on the nodes; only where it is has to be settled here. */
static int pin_file(spank_t spank) {
    if (plugin.image[0] == '/') return 0;
    static char path[sizeof plugin.image];
    struct berth_failure failure;
    if (getcwd(path, sizeof path) == NULL) {
        BERTH_FAIL(&failure, BERTH_OPTION, ("--image", plugin.image),
                   (BERTH_TEXT("the directory that this is relative to: getcwd: %s", strerror(errno))), ());
        return refuse_option(&failure);
    }
    const size_t length = strlen(path);
    if ((size_t)snprintf(path + length, sizeof path - length, "/%s", plugin.image) >= sizeof path - length) {
        BERTH_FAIL(&failure, BERTH_OPTION, ("--image", plugin.image), ("its full path is too long"), ());
        return refuse_option(&failure);
    }
    set_pin(spank, path);
    return 0;
}

static bool is_path(const char* image) {
    return image[0] == '/' || strncmp(image, "./", 2) == 0 || strncmp(image, "../", 3) == 0;
}

/* A component of a heterogeneous command that has the same image means the same by it. */
static struct {
    char image[sizeof plugin.image];
    char pinned[sizeof((berth_v1_ResolveReply*)0)->pinned];
} last;

enum answer { ANSWERED, REFUSED, NO_DAEMON };

/* Has berthd look at the options, and at a reference, if it is not empty. */
static enum answer ask(const char* reference, berth_v1_Reply* reply, struct berth_failure* failure) {
    static berth_v1_Request request;
    BERTH_FD connection = berth_connect(plugin.socket, 0, failure);
    if (connection < 0) return NO_DAEMON;
    request = (berth_v1_Request)berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_resolve_tag;
    request.body.resolve.promise = true;
    forward_request(&request.body.resolve.options);
    snprintf(request.body.resolve.reference, sizeof request.body.resolve.reference, "%s", reference);
    BERTH_DESCRIPTORS none = {.count = 0};
    if (berth_send(connection, &request, failure) < 0 ||
        berth_receive(connection, RESOLVE_TIMEOUT_MS, reply, &none, NULL, failure) < 0)
        return strcmp(failure->code, "BERTH_DAEMON_UNREACHABLE") == 0 ? NO_DAEMON : REFUSED;
    if (reply->which_body == berth_v1_Reply_resolve_tag) return ANSWERED;
    BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply is to another question"), ());
    return REFUSED;
}

static enum answer resolve(struct berth_failure* failure) {
    static berth_v1_Reply reply;
    const enum answer answer = ask(plugin.image, &reply, failure);
    if (answer != ANSWERED) return answer;
    if (!is_image(reply.body.resolve.pinned)) {
        BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply does not say what the image is"), ());
        return REFUSED;
    }
    snprintf(last.image, sizeof last.image, "%s", plugin.image);
    snprintf(last.pinned, sizeof last.pinned, "%s", reply.body.resolve.pinned);
    return ANSWERED;
}

/* Where no name has to be looked up, options that make no sense are told all the same. */
static int check_options(void) {
    static berth_v1_Reply reply;
    struct berth_failure failure;
    if (!choice_has_own_options() || ask("", &reply, &failure) != REFUSED) return 0;
    return refuse_option(&failure);
}

/* Within a job: is there a pin for this image already? */
static bool is_pinned_by_job(void) {
    static char pinned[sizeof plugin.image];
    const char* variable = getenv(job_variable);
    return spank_context() == S_CTX_LOCAL && getenv("SLURM_JOB_ID") != NULL && variable != NULL &&
           read_pin(variable, plugin.image, pinned, sizeof pinned);
}

/* Is it a name, of an image that is missing? What others share, and what only a digest names, is in no
 * registry. */
static bool is_pullable(const struct berth_failure* failure) {
    static const char* const elsewhere[] = {"sha256:", "id:", "user:"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (strncasecmp(plugin.image, elsewhere[i], strlen(elsewhere[i])) == 0) return false;
    }
    return strcmp(failure->code, "BERTH_IMAGE_UNKNOWN") == 0;
}

/* An image that is not there yet. What sbatch prints belongs to the scripts that read it: a pull speaks on
 * standard error. */
static enum command_result pull(void) {
    /* A reference that begins like an option is none. */
    char* const arguments[] = {(char*)"berth", (char*)"pull", (char*)"--", plugin.image, NULL};
    return run_berth(arguments, NULL);
}

int pin_settle(spank_t spank) {
    if (!plugin.has_container) return 0;
    if (plugin.image[0] == '\0') return check_options();
    /* What srun was told itself is relative to where it was told. */
    if (is_pinned_by_job() && !(is_path(plugin.image) && !choice_has_inherited_image()))
        return check_options();
    unsetenv(job_variable);
    if (is_path(plugin.image)) return check_options() < 0 ? -1 : pin_file(spank);
    struct berth_failure failure;
    enum answer answer = strcmp(last.image, plugin.image) == 0 ? ANSWERED : resolve(&failure);
    if (answer == REFUSED && plugin.pull && is_pullable(&failure)) {
        /* A slip of the keys goes to a registry, whose answer says nothing of what is here. */
        const char* suggestion = strstr(failure.hint, "did you mean");
        if (suggestion != NULL)
            slurm_info("berth: %s: %.*s?", failure.what, (int)strcspn(suggestion, "?"), suggestion);
        struct stat file;
        if (stat(plugin.image, &file) == 0 && S_ISREG(file.st_mode))
            slurm_info("berth: %s is taken for a name: the file here is --image=./%s", plugin.image,
                       plugin.image);
        const enum command_result result = pull();
        /* It has told the user why, or the user has ended it. */
        if (result == COMMAND_FAILED) return -1;
        if (result == COMMAND_DONE) answer = resolve(&failure);
    }
    if (answer == REFUSED) return refuse_option(&failure);
    /* Without berthd here, the nodes find out. */
    if (answer == ANSWERED) set_pin(spank, last.pinned);
    return 0;
}
