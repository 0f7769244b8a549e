#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

struct plugin plugin = {
    .socket = BERTH_SOCKET, .command = BERTH_COMMAND, .pull = true, .wait_ms = 5000, .timeout_ms = 120000};

/* Where the job's environment has an sbatch's options, whatever its --export says (plugstack.c, Slurm 22.05
 * to 25.11). */
static const char* const options_of_job[] = {
    "SLURM_SPANK__SLURM_SPANK_OPTION_berth_image",
    "SLURM_SPANK__SLURM_SPANK_OPTION_berth_container_image",
};

static int set_image(int value, const char* argument, int remote);

static struct spank_option image_option = {
    (char*)"image",
    (char*)"REF",
    (char*)"[berth] run the ranks in a container of this image; \"none\" for no container",
    1,
    0,
    set_image};
static struct spank_option container_image_option = {
    (char*)"container-image", (char*)"REF", (char*)"[berth] the same as --image", 1, 1, set_image};

int refuse_option(const struct berth_failure* failure) {
    slurm_error("berth: %s: %s", failure->code, failure->what);
    slurm_error("berth:   why: %s", failure->why);
    slurm_error("berth:   hint: %s", failure->hint);
    return -1;
}

const char* image_fault(const char* text) {
    if (text == NULL || text[0] == '\0') return "nothing";
    if (strlen(text) >= sizeof plugin.image) return "a name longer than 4095 characters";
    for (const char* c = text; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c)) return "a name with control characters";
    }
    return NULL;
}

/* 0, or -1 after telling the user. */
static int check_image(const char* argument) {
    const char* wrong = image_fault(argument);
    if (wrong == NULL) return 0;
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, ("--image", wrong), ("it takes the name of an image, or none"), ());
    return refuse_option(&failure);
}

/* Called once for the environment's value and once more for the command line's: the last one stands. */
static int set_image(int value, const char* argument, int remote) {
    /* In slurmstepd a refusal would drain the node; srun has checked the same string before. */
    if (check_image(argument) < 0) return remote ? 0 : -1;
    if (!remote && choice_remember(value, argument) < 0) return -1;
    snprintf(plugin.image, sizeof plugin.image, "%s",
             strcmp(argument, BERTH_IMAGE_NONE) == 0 ? "" : argument);
    return 0;
}

void options_recover(spank_t spank) {
    uint32_t step = 0;
    const bool batch =
        spank_get_item(spank, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step == SLURM_BATCH_SCRIPT;
    if (!batch || plugin.image[0] != '\0') return;
    char image[sizeof plugin.image];
    for (size_t i = 0; i < sizeof options_of_job / sizeof options_of_job[0]; i++) {
        if (spank_getenv(spank, options_of_job[i], image, sizeof image) == ESPANK_SUCCESS)
            set_image(0, image, 1);
    }
}

int options_register(spank_t spank) {
    const spank_context_t context = spank_context();
    if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR) choice_inherit();
    if (spank_option_register(spank, &image_option) != ESPANK_SUCCESS) return -1;
    return spank_option_register(spank, &container_image_option) == ESPANK_SUCCESS ? 0 : -1;
}

ssize_t read_command_line(char* words, size_t size) {
    BERTH_FD file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t length = file < 0 ? -1 : read(file, words, size - 1);
    if (length > 0) words[length] = '\0';
    return length;
}

/* srun looks for the program on the submit host when it is to copy it (--bcast, SLURM_BCAST) and fails there,
 * without a word of containers. The option stands in srun's own command line, which the kernel shows. */
static bool asks_for_bcast(void) {
    if (getenv("SLURM_BCAST") != NULL) return true;
    static char words[16384];
    const ssize_t length = read_command_line(words, sizeof words);
    if (length <= 0) return false;
    for (const char* word = words; word < words + length; word += strlen(word) + 1) {
        if (strcmp(word, "--") == 0) return false;
        if (strcmp(word, "--bcast") == 0 || strncmp(word, "--bcast=", 8) == 0) return true;
    }
    return false;
}

void options_warn(void) {
    if (plugin.image[0] == '\0' || !asks_for_bcast()) return;
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_TEST_EXEC, (), ("--bcast copies the program from here to the nodes"), ());
    slurm_info("berth: %s: %s: %s", failure.code, failure.what, failure.why);
    slurm_info("berth:   hint: %s", failure.hint);
}

bool options_query(spank_t spank) {
    char* argument = NULL;
    const bool given = spank_option_getopt(spank, &container_image_option, &argument) == ESPANK_SUCCESS ||
                       spank_option_getopt(spank, &image_option, &argument) == ESPANK_SUCCESS;
    if (given && argument != NULL) set_image(0, argument, 1);
    return plugin.image[0] != '\0';
}

static bool set_seconds(const char* text, int* milliseconds) {
    char* end;
    const long seconds = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || seconds < 0 || seconds > 3600) return false;
    *milliseconds = (int)(seconds * 1000);
    return true;
}

static bool set_contained(const char* list) {
    char copy[64];
    if ((size_t)snprintf(copy, sizeof copy, "%s", list) >= sizeof copy) return false;
    char* rest = NULL;
    for (char* word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        if (strcmp(word, "batch") == 0) {
            plugin.contain_batch = true;
        } else if (strcmp(word, "interactive") == 0) {
            plugin.contain_interactive = true;
        } else {
            return false;
        }
    }
    return true;
}

static bool set_path(const char* path, char* place, size_t size) {
    return path[0] == '/' && (size_t)snprintf(place, size, "%s", path) < size;
}

static bool set_pull(const char* word) {
    plugin.pull = strcmp(word, "yes") == 0;
    return plugin.pull || strcmp(word, "no") == 0;
}

static bool set_argument(const char* argument) {
    static const char* const keys[] = {"socket=", "wait=", "timeout=", "command=", "pull=", "contain="};
    size_t key = 0;
    const size_t count = sizeof keys / sizeof keys[0];
    while (key < count && strncmp(argument, keys[key], strlen(keys[key])) != 0) key++;
    if (key == count) return false;
    const char* value = argument + strlen(keys[key]);
    switch (key) {
        case 0:
            return set_path(value, plugin.socket, sizeof plugin.socket);
        case 1:
            return set_seconds(value, &plugin.wait_ms);
        case 2:
            return set_seconds(value, &plugin.timeout_ms);
        case 3:
            return set_path(value, plugin.command, sizeof plugin.command);
        case 4:
            return set_pull(value);
        default:
            return set_contained(value);
    }
}

int options_configure(int argc, char** argv) {
    int result = 0;
    for (int i = 0; i < argc; i++) {
        if (set_argument(argv[i])) continue;
        slurm_error("berth: BERTH_CONFIG_INVALID: plugstack.conf: %s is not an argument of spank_berth.so",
                    argv[i]);
        slurm_error(
            "berth:   hint: it takes socket=PATH, wait=SECONDS, timeout=SECONDS, command=PATH, pull=yes|no "
            "and "
            "contain=batch,interactive");
        result = -1;
    }
    return result;
}

bool step_is_contained(spank_t spank) {
    if (plugin.image[0] == '\0') return false;
    uint32_t step = 0;
    if (spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS) return true;
    switch (step) {
        case SLURM_EXTERN_CONT:
            return false;
        case SLURM_BATCH_SCRIPT:
            return plugin.contain_batch;
        case SLURM_INTERACTIVE_STEP:
            return plugin.contain_interactive;
        default:
            return true;
    }
}
