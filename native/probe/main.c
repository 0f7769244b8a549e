/* The server: reads questions from berthd, has each answered by a child, and passes on what the children
 * say. See probe.h.
 *
 * A question is a 32-bit big-endian length and that many bytes of NUL-terminated words: a number of berthd's
 * choice, milliseconds until the child is killed, the most bytes of output, and the question's own words.
 * What comes back is framed alike: the number (32 bits, big-endian), 'd' and output, or 'e' and how the child
 * ended: "exit N", "signal N", "timeout", "flood" (too much output), or "stuck PID START" for one that was
 * killed and did not die; START is its start time (proc_pid_stat(5)), as pids come round again. "exit N PID
 * START" and "signal N PID START" are a program that ended, and has left behind one that does not die. */
#include "probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_TASKS = 64,
    MOST_QUESTION = 16 * 1024,
    MOST_WORDS = 256,
    CHUNK = 64 * 1024,
    /* How long a killed process may take to die before it is called stuck. */
    DEATH_MS = 300,
};

struct task {
    uint32_t id;
    pid_t pid; /* 0: a free slot */
    int pidfd;
    int output;
    int64_t deadline;
    int64_t bytes_left;
    const char* killed; /* why, or NULL */
    char end[48];       /* how it ended, where others of its process group may still be dying; or empty */
};

static struct task tasks[MOST_TASKS];

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Ends the probe when berthd is gone. */
static void send_whole(const void* bytes, size_t length) {
    const char* at = bytes;
    while (length > 0) {
        const ssize_t sent = send(PROBE_SOCKET, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) _exit(1);
        at += sent;
        length -= (size_t)sent;
    }
}

static void reply(uint32_t id, char kind, const void* body, size_t length) {
    char head[9];
    const uint32_t words[] = {htonl((uint32_t)(5 + length)), htonl(id)};
    memcpy(head, words, 8);
    head[8] = kind;
    send_whole(head, sizeof head);
    if (length > 0) send_whole(body, length);
}

static void reply_end(uint32_t id, const char* text) {
    reply(id, 'e', text, strlen(text));
}

static void close_task(struct task* task) {
    if (task->pidfd >= 0) close(task->pidfd);
    if (task->output >= 0) close(task->output);
    task->pid = 0;
}

static void kill_task(struct task* task, const char* why) {
    /* Its process group: a program may have started others. */
    kill(-task->pid, SIGKILL);
    kill(task->pid, SIGKILL);
    task->killed = why;
    task->deadline = now_ms() + DEATH_MS;
}

/* Passes on what there is. */
static void forward(struct task* task) {
    static char chunk[CHUNK];
    for (;;) {
        const ssize_t got = read(task->output, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        if (got > task->bytes_left) {
            if (task->killed == NULL) kill_task(task, "flood");
            return;
        }
        task->bytes_left -= got;
        reply(task->id, 'd', chunk, (size_t)got);
        if (got < (ssize_t)sizeof chunk) return;
    }
}

/* The first process of a group that is not dead, as "PID START"; false when there is none. */
static bool find_survivor(pid_t group, char* text, size_t size) {
    DIR* directory = opendir("/proc");
    if (directory == NULL) return false;
    bool found = false;
    for (struct dirent* entry; !found && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        char path[300];
        char stat[1024];
        snprintf(path, sizeof path, "%s/stat", entry->d_name);
        const int fd = openat(dirfd(directory), path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        const ssize_t length = read(fd, stat, sizeof stat - 1);
        close(fd);
        stat[length > 0 ? length : 0] = '\0';
        /* ") STATE PARENT GROUP" */
        const char* state = strrchr(stat, ')');
        const char* parent = state != NULL && strlen(state) > 4 ? state + 4 : NULL;
        const char* own_group = parent != NULL ? strchr(parent, ' ') : NULL;
        if (own_group == NULL || state[2] == 'Z' || state[2] == 'X') continue;
        found = strtol(own_group, NULL, 10) == group;
        if (found) snprintf(text, size, "%ld %llu", strtol(entry->d_name, NULL, 10), probe_start_time(stat));
    }
    closedir(directory);
    return found;
}

/* The program has ended, and time was given to what it had started. */
static void end_task(struct task* task) {
    char survivor[48];
    char text[128];
    if (!find_survivor(task->pid, survivor, sizeof survivor))
        snprintf(text, sizeof text, "%s", task->end);
    else if (task->killed != NULL)
        snprintf(text, sizeof text, "stuck %s", survivor);
    else
        snprintf(text, sizeof text, "%s %s", task->end, survivor);
    reply_end(task->id, text);
    close_task(task);
}

static void reap(struct task* task) {
    siginfo_t info = {0};
    /* As long as it is not reaped, no other group has its number. */
    if (waitid((idtype_t)P_PIDFD, (id_t)task->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0)
        return;
    forward(task);
    kill(-task->pid, SIGKILL);
    waitid((idtype_t)P_PIDFD, (id_t)task->pidfd, &info, WEXITED | WNOHANG);
    snprintf(task->end, sizeof task->end, "%s %d", info.si_code == CLD_EXITED ? "exit" : "signal",
             info.si_status);
    if (task->killed != NULL) snprintf(task->end, sizeof task->end, "%s", task->killed);
    const bool alone = kill(-task->pid, 0) < 0;
    if (alone) {
        reply_end(task->id, task->end);
        close_task(task);
        return;
    }
    close(task->pidfd);
    if (task->output >= 0) close(task->output);
    task->pidfd = task->output = -1;
    task->deadline = now_ms() + DEATH_MS;
}

static void give_up(struct task* task) {
    char path[32];
    char stat[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", task->pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0) close(fd);
    stat[length > 0 ? length : 0] = '\0';
    char text[64];
    snprintf(text, sizeof text, "stuck %d %llu", task->pid, probe_start_time(stat));
    reply_end(task->id, text);
    close_task(task);
}

/* What runs in a child before it answers. */
static void run_child(int output, pid_t parent, probe_words words) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (dup2(output, STDOUT_FILENO) < 0) _exit(1);
    const int status = probe_answer(words);
    fflush(stdout);
    _exit(status);
}

static void start_task(uint32_t id, int64_t limit_ms, int64_t most, probe_words words) {
    struct task* task = NULL;
    for (int i = 0; i < MOST_TASKS && task == NULL; i++) {
        if (tasks[i].pid == 0) task = &tasks[i];
    }
    int ends[2];
    if (task == NULL || pipe2(ends, O_CLOEXEC) < 0) {
        reply_end(id, "flood");
        return;
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) run_child(ends[1], parent, words);
    close(ends[1]);
    const int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        close(ends[0]);
        if (pid > 0) kill(pid, SIGKILL);
        reply_end(id, "signal 0");
        return;
    }
    setpgid(pid, pid);
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *task = (struct task){.id = id,
                          .pid = pid,
                          .pidfd = pidfd,
                          .output = ends[0],
                          .deadline = now_ms() + limit_ms,
                          .bytes_left = most};
}

static int read_whole(void* bytes, size_t length) {
    char* at = bytes;
    while (length > 0) {
        const ssize_t got = recv(PROBE_SOCKET, at, length, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        at += got;
        length -= (size_t)got;
    }
    return 0;
}

/* 0, or -1 when berthd has no more questions. */
static int take_question(void) {
    static char bytes[MOST_QUESTION + 1];
    static char* words[MOST_WORDS + 1];
    uint32_t length = 0;
    if (read_whole(&length, sizeof length) < 0) return -1;
    length = ntohl(length);
    if (length > MOST_QUESTION || read_whole(bytes, length) < 0) return -1;
    bytes[length] = '\0';
    int count = 0;
    for (char* word = bytes; word < bytes + length && count < MOST_WORDS; word += strlen(word) + 1)
        words[count++] = word;
    words[count] = NULL;
    if (count < 4) return -1;
    start_task((uint32_t)strtoul(words[0], NULL, 10), strtoll(words[1], NULL, 10),
               strtoll(words[2], NULL, 10), words + 3);
    return 0;
}

static int time_left(void) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < MOST_TASKS; i++) {
        if (tasks[i].pid != 0 && tasks[i].deadline < next) next = tasks[i].deadline;
    }
    if (next == INT64_MAX) return -1;
    const int64_t left = next - now_ms();
    return left > 0 ? (int)left + 1 : 0;
}

static void end_late_tasks(void) {
    const int64_t now = now_ms();
    for (int i = 0; i < MOST_TASKS; i++) {
        if (tasks[i].pid == 0 || tasks[i].deadline > now) continue;
        if (tasks[i].end[0] != '\0') {
            end_task(&tasks[i]);
        } else if (tasks[i].killed == NULL) {
            kill_task(&tasks[i], "timeout");
        } else {
            give_up(&tasks[i]);
        }
    }
}

int main(void) {
    for (int fd = PROBE_SOCKET; fd <= PROBE_NAMESPACE; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
    for (;;) {
        struct pollfd ready[1 + 2 * MOST_TASKS];
        struct task* owners[1 + 2 * MOST_TASKS];
        nfds_t count = 0;
        ready[count++] = (struct pollfd){.fd = PROBE_SOCKET, .events = POLLIN};
        for (int i = 0; i < MOST_TASKS; i++) {
            if (tasks[i].pid == 0) continue;
            owners[count] = &tasks[i];
            ready[count++] =
                (struct pollfd){.fd = tasks[i].killed == NULL ? tasks[i].output : -1, .events = POLLIN};
            owners[count] = &tasks[i];
            ready[count++] = (struct pollfd){.fd = tasks[i].pidfd, .events = POLLIN};
        }
        if (poll(ready, count, time_left()) < 0 && errno != EINTR) return 1;
        for (nfds_t i = 1; i < count; i += 2) {
            if ((ready[i].revents & POLLIN) != 0) forward(owners[i]);
            if (ready[i + 1].revents != 0) {
                reap(owners[i]);
            } else if ((ready[i].revents & POLLIN) == 0 && (ready[i].revents & POLLHUP) != 0) {
                /* It has closed its output and goes on: only its end counts now. */
                close(owners[i]->output);
                owners[i]->output = -1;
            }
        }
        end_late_tasks();
        if (ready[0].revents != 0 && take_question() < 0) break;
    }
    for (int i = 0; i < MOST_TASKS; i++) {
        if (tasks[i].pid != 0) kill_task(&tasks[i], "timeout");
    }
    return 0;
}
