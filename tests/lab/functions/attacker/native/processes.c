/* Tools on processes. Others are named by number and by when they began, because a number may be somebody else's. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* Field 22 of /proc/PID/stat, in clock ticks since the machine began; 0 where that is not to be seen. */
static unsigned long long started(const char *pid, char *command)
{
    char name[300], text[1024] = "";
    unsigned long long when = 0;
    snprintf(name, sizeof name, "/proc/%s/stat", pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    char *end = length > 0 ? strrchr(text, ')') : NULL;
    if (!end)
        return 0;
    if (command)
        snprintf(command, 64, "%.*s", (int)(end - strchr(text, '(') - 1), strchr(text, '(') + 1);
    for (int field = 0; field < 20; field++)
        end = strchr(end + 1, ' ');
    sscanf(end, "%llu", &when);
    return when;
}

static pid_t wanted(char **arguments)
{
    unsigned long long when = started(arguments[0], NULL);
    if (!when)
        no("not seen");
    if (when != strtoull(arguments[1], NULL, 10))
        no("another process");
    return (pid_t)atoi(arguments[0]);
}

/* signal PID STARTED NUMBER */
void send_signal(int count, char **arguments)
{
    (void)count;
    if (kill(wanted(arguments), atoi(arguments[2])) < 0)
        failed();
    yes("sent");
}

/* signal-all NUMBER: to every process that it may signal; 23 is SIGURG, which nobody minds */
void signal_all(int count, char **arguments)
{
    (void)count;
    signal(atoi(arguments[0]), SIG_IGN);
    if (kill(-1, atoi(arguments[0])) < 0)
        failed();
    yes("sent");
}

/* trace PID STARTED */
void trace(int count, char **arguments)
{
    (void)count;
    pid_t pid = wanted(arguments);
    if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0)
        failed();
    waitpid(pid, NULL, __WALL);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    yes("attached");
}

/* memory PID HEX: the needle in what another process may write to */
void memory(int count, char **arguments)
{
    char name[64], line[512], rights[8];
    unsigned long from, to;
    struct bytes needle = unhex(count > 1 ? arguments[1] : "");
    char *buffer = malloc(LARGEST);
    snprintf(name, sizeof name, "/proc/%s/mem", arguments[0]);
    int fd = open(name, O_RDONLY);
    snprintf(name, sizeof name, "/proc/%s/maps", arguments[0]);
    FILE *maps = fopen(name, "r");
    if (fd < 0 || !maps)
        failed();
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[1] != 'w')
            continue;
        for (; from < to; from += LARGEST) {
            ssize_t have = pread(fd, buffer, to - from < LARGEST ? to - from : LARGEST, (off_t)from);
            if (have > 0 && memmem(buffer, (size_t)have, needle.at, needle.size))
                yes("read");
        }
    }
    no("not in it");
}

/* steal PID STARTED: a descriptor out of another process */
void steal(int count, char **arguments)
{
    (void)count;
    int holder = (int)syscall(SYS_pidfd_open, wanted(arguments), 0);
    if (holder < 0 || syscall(SYS_pidfd_getfd, holder, 1, 0) < 0)
        failed();
    yes("its output");
}

/* processes: each that is seen, by when it began and its name */
void processes(int count, char **arguments)
{
    (void)count, (void)arguments;
    DIR *folder = opendir("/proc");
    if (!folder)
        failed();
    printf("yes\n");
    for (struct dirent *entry; (entry = readdir(folder));) {
        char command[64] = "";
        unsigned long long when = atoi(entry->d_name) ? started(entry->d_name, command) : 0;
        if (when)
            printf("%llu %s\n", when, command);
    }
    fflush(stdout);
    _exit(0);
}

/* enter PATH [TOOL ARG...]: another namespace, and what to do there */
void enter(int count, char **arguments)
{
    int fd = open(arguments[0], O_RDONLY);
    if (fd < 0 || setns(fd, 0) < 0)
        failed();
    if (count > 1)
        run(count - 1, arguments + 1);
    yes("entered");
}

/* crash: a core dump, as large as it may be */
void crash(int count, char **arguments)
{
    struct rlimit size;
    int status = 0;
    (void)count, (void)arguments;
    pid_t child = fork();
    if (child == 0) {
        getrlimit(RLIMIT_CORE, &size);
        size.rlim_cur = size.rlim_max;
        setrlimit(RLIMIT_CORE, &size);
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || !WCOREDUMP(status))
        no("no core");
    yes("a core");
}

/* orphan SECONDS: a process that belongs to nobody and does not hear SIGTERM */
void orphan(int count, char **arguments)
{
    (void)count;
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        for (int fd = 0; fd < 1024; fd++)
            close(fd);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        alarm(0);
        sleep((unsigned)atoi(arguments[0]));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    yes("left behind");
}

/* bomb COUNT SECONDS: so many processes at once, ended again */
void bomb(int count, char **arguments)
{
    int most = atoi(arguments[0]), born = 0, reason = 0;
    pid_t *children = calloc((size_t)most, sizeof *children);
    time_t end = time(NULL) + atoi(arguments[count - 1]);
    while (born < most && !reason && time(NULL) < end) {
        pid_t child = fork();
        if (child == 0) {
            close(1);
            alarm(60);
            pause();
            _exit(0);
        }
        if (child < 0)
            reason = errno;
        else
            children[born++] = child;
    }
    for (int i = 0; i < born; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    if (reason)
        no("%s after %d", strerrorname_np(reason), born);
    yes("%d processes", born);
}
