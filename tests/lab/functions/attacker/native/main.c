/* An attacker's function as a compiled program, of the same tools and answers as tools.py beside it.
 *
 *   attack serve              HTTP on $port: a request's body is a tool and its arguments, one a line
 *   attack TOOL [ARG...]      one tool, once
 */
#include "attack.h"
#include <arpa/inet.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { REQUEST = 65536, WORDS = 64, PATIENCE_S = 30 };

char inherited[LONGEST_TEXT];

static void say(const char *word, const char *format, va_list values)
{
    printf("%s\n", word);
    vprintf(format, values);
    fflush(stdout);
    _exit(0);
}

void yes(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say("yes", format, values);
    __builtin_unreachable();
}

void no(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say("no", format, values);
    __builtin_unreachable();
}

void failed(void)
{
    const char *name = strerrorname_np(errno);
    no("%s", name ? name : "no reason");
}

struct bytes unhex(const char *text)
{
    struct bytes result = {malloc(strlen(text) / 2 + 1), strlen(text) / 2};
    for (size_t i = 0; i < result.size; i++)
        sscanf(text + 2 * i, "%2hhx", &result.at[i]);
    return result;
}

static void note_descriptors(void)
{
    char name[64], target[512];
    for (int fd = 0; fd < 1024; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(name, target, sizeof target - 1);
        if (length > 0)
            snprintf(inherited + strlen(inherited), sizeof inherited - strlen(inherited), "%d %.*s\n", fd, (int)length, target);
    }
}

static void descriptors(int count, char **arguments)
{
    (void)count, (void)arguments;
    yes("%s", inherited);
}

/* More than the log is to hold; the answer goes another way. */
static void talk(int count, char **arguments)
{
    static char line[1024];
    (void)count;
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (long left = atol(arguments[0]) << 10; left > 0; left--)
        if (write(2, line, sizeof line) < 0)
            failed();
    yes("said");
}

/* As many open files as it may have, held for a second. */
static void hold(int count, char **arguments)
{
    struct rlimit files;
    int held = 0, most = atoi(arguments[0]);
    (void)count;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    while (held < most && open("/dev/null", O_RDONLY) >= 0)
        held++;
    int reason = errno;
    sleep(1);
    errno = reason;
    if (held < most)
        failed();
    yes("%d", held);
}

static const struct {
    const char *name;
    tool *tool;
    int least; /* arguments */
} tools[] = {
    {"find", find, 2}, {"open", open_files, 2}, {"create", create, 1}, {"relink", relink, 2}, {"device", device, 3},
    {"setuid", setuid_files, 0}, {"fill", fill, 2}, {"files", many_files, 3}, {"signal", send_signal, 3},
    {"signal-all", signal_all, 1}, {"trace", trace, 2}, {"memory", memory, 2}, {"steal", steal, 2},
    {"processes", processes, 0}, {"enter", enter, 1}, {"crash", crash, 0}, {"orphan", orphan, 1}, {"bomb", bomb, 2},
    {"call", call, 1}, {"clone", clone_into, 2}, {"clone3", clone3_into, 2}, {"limit", limit, 1}, {"key", key, 2},
    {"netlink", netlink, 2}, {"interface", interface, 2}, {"frame", frame, 1}, {"datagram", datagram, 4}, {"tcp", tcp, 2}, {"scan", scan, 2}, {"unix", unix_socket, 1},
    {"descriptors", descriptors, 0}, {"talk", talk, 1}, {"hold", hold, 1},
};

void run(int count, char **words)
{
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (count > tools[i].least && strcmp(tools[i].name, words[0]) == 0)
            tools[i].tool(count - 1, words + 1);
    no("there is no tool %s with %d arguments", words[0], count - 1);
}

/* Until the whole body is there; the body, or NULL where there is none. */
static char *receive(int connection, char *buffer)
{
    size_t have = 0;
    for (;;) {
        ssize_t more = read(connection, buffer + have, REQUEST - 1 - have);
        if (more <= 0)
            return NULL;
        buffer[have += (size_t)more] = 0;
        char *body = strstr(buffer, "\r\n\r\n"), *length = strcasestr(buffer, "\r\ncontent-length:");
        if (!body)
            continue;
        size_t wanted = length && length < body ? strtoul(length + 17, NULL, 10) : 0;
        if (have >= (size_t)(body + 4 - buffer) + wanted)
            return wanted ? body + 4 : NULL;
    }
}

static void answer(int connection)
{
    static char buffer[REQUEST];
    char *words[WORDS], *body = receive(connection, buffer);
    int count = 0;
    dup2(connection, 1);
    close(connection);
    printf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
    fflush(stdout);
    if (!body)
        yes("ready");
    for (char *word; count < WORDS && (word = strsep(&body, "\n"));)
        words[count++] = word;
    alarm(PATIENCE_S);
    run(count, words);
}

static int serve(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(getenv("port")))};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 128) < 0) {
        perror("attack");
        return 1;
    }
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (connection >= 0 && fork() == 0)
            answer(connection);
        if (connection >= 0)
            close(connection);
    }
}

int main(int count, char **words)
{
    if (count < 2)
        return 2;
    note_descriptors();
    if (strcmp(words[1], "serve") == 0)
        return serve();
    run(count - 1, words + 1);
}
