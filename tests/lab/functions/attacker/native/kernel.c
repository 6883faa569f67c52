/* Tools on the kernel's interfaces, and on the network's settings. */
#include "attack.h"
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A number; s:TEXT, z:SIZE (zeros) or x:HEX: the address of so many bytes, with zeros behind them. */
static long value(const char *text)
{
    if (strncmp(text, "s:", 2) == 0)
        return (long)(text + 2);
    if (strncmp(text, "z:", 2) == 0)
        return (long)calloc(1, strtoul(text + 2, NULL, 10));
    if (strncmp(text, "x:", 2) == 0) {
        struct bytes given = unhex(text + 2);
        return (long)memcpy(calloc(1, given.size + 256), given.at, given.size);
    }
    return (long)strtoll(text, NULL, 0);
}

/* call NUMBER [VALUE...] */
void call(int count, char **arguments)
{
    long values[7] = {0};
    for (int i = 0; i < count && i < 7; i++)
        values[i] = value(arguments[i]);
    long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
    if (result < 0)
        failed();
    yes("%ld", result);
}

static void born(long child)
{
    if (child == 0)
        _exit(0);
    if (child < 0)
        failed();
    waitpid((pid_t)child, NULL, 0);
    yes("a child");
}

/* clone NUMBER FLAGS: a child in namespaces of its own */
void clone_into(int count, char **arguments)
{
    (void)count;
    born(syscall(atol(arguments[0]), strtoul(arguments[1], NULL, 0) | SIGCHLD, 0, 0, 0, 0));
}

/* clone3 NUMBER FLAGS: the same, where a filter cannot see the flags */
void clone3_into(int count, char **arguments)
{
    (void)count;
    uint64_t how[8] = {strtoull(arguments[1], NULL, 0), 0, 0, 0, SIGCHLD};
    born(syscall(atol(arguments[0]), how, sizeof how));
}

/* limit NUMBER: more than is allowed at most */
void limit(int count, char **arguments)
{
    struct rlimit now;
    (void)count;
    int resource = atoi(arguments[0]);
    getrlimit((__rlimit_resource_t)resource, &now);
    if (now.rlim_max == RLIM_INFINITY)
        yes("there is no limit");
    now.rlim_max++;
    if (setrlimit((__rlimit_resource_t)resource, &now) < 0)
        failed();
    yes("raised");
}

/* key NUMBER NAME: a key of the kernel's keyrings, by the number of keyctl(2) */
void key(int count, char **arguments)
{
    char buffer[256] = "";
    (void)count;
    for (int ring = -5; ring <= -3; ring++) {
        long found = syscall(atol(arguments[0]), 10 /* search */, ring, "user", arguments[1], 0);
        if (found >= 0 && syscall(atol(arguments[0]), 11 /* read */, found, buffer, sizeof buffer - 1) >= 0)
            yes("%s", buffer);
    }
    failed();
}

/* netlink PROTOCOL TYPE: a change of nothing; rights are asked for first */
void netlink(int count, char **arguments)
{
    struct {
        struct nlmsghdr header;
        char body[32];
    } request = {{.nlmsg_len = sizeof request, .nlmsg_type = (uint16_t)atoi(arguments[1]), .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK, .nlmsg_seq = 1}, {0}};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[512];
    } answer;
    struct timeval patience = {.tv_sec = 2};
    (void)count;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, atoi(arguments[0]));
    if (fd < 0)
        failed();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, &request, sizeof request, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
        failed();
    errno = -answer.error.error;
    if (errno)
        failed();
    yes("done");
}

/* interface GET SET: eth0 is given what it has already */
void interface(int count, char **arguments)
{
    struct ifreq device = {.ifr_name = "eth0"};
    (void)count;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, strtoul(arguments[0], NULL, 0), &device) < 0)
        failed();
    if (ioctl(fd, strtoul(arguments[1], NULL, 0), &device) < 0)
        failed();
    yes("set");
}
