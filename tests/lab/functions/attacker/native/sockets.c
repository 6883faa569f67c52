/* Tools on sockets: frames, connections, who answers where. */
#include "attack.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { CONNECT_MS = 1000, ANSWER_MS = 3000, AT_ONCE = 500 };

/* frame HEX: on the wire */
void frame(int count, char **arguments)
{
    struct bytes data = unhex(arguments[0]);
    (void)count;
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll wire = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0")};
    if (fd < 0 || sendto(fd, data.at, data.size, 0, (struct sockaddr *)&wire, sizeof wire) < 0)
        failed();
    yes("sent");
}

/* datagram PROTOCOL ADDRESS PORT HEX: to one, or to all that hear it */
void datagram(int count, char **arguments)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
    struct bytes data = unhex(arguments[3]);
    (void)count;
    inet_pton(AF_INET, arguments[1], &there.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, atoi(arguments[0]));
    if (fd < 0)
        failed();
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &(int){1}, sizeof(int));
    if (sendto(fd, data.at, data.size, 0, (struct sockaddr *)&there, sizeof there) < 0)
        failed();
    yes("sent");
}

/* Says a text to a connected socket, if there is any, and tells what came back. */
static void converse(int fd, struct bytes text)
{
    char answer[LONGEST_TEXT + 1] = "";
    size_t have = 0;
    if (text.size && send(fd, text.at, text.size, MSG_NOSIGNAL) < 0)
        failed();
    struct pollfd ready = {fd, POLLIN, 0};
    while (text.size && have < LONGEST_TEXT && poll(&ready, 1, ANSWER_MS) == 1) {
        ssize_t more = recv(fd, answer + have, LONGEST_TEXT - have, 0);
        if (more <= 0)
            break;
        have += (size_t)more;
    }
    if (text.size && !have)
        no("connected, and no answer");
    yes("connected\n%s", answer);
}

static void connect_within(int fd, const struct sockaddr *there, socklen_t size)
{
    struct pollfd ready = {fd, POLLOUT, 0};
    int error = 0;
    socklen_t length = sizeof error;
    if (connect(fd, there, size) == 0)
        return;
    if (errno != EINPROGRESS)
        failed();
    if (poll(&ready, 1, CONNECT_MS) != 1)
        no("ETIMEDOUT");
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    errno = error;
    if (error)
        failed();
}

/* tcp ADDRESS PORT [HEX [SOURCE]] */
void tcp(int count, char **arguments)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    struct sockaddr_in here = {.sin_family = AF_INET};
    inet_pton(AF_INET, arguments[0], &there.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        failed();
    if (count > 3) {
        inet_pton(AF_INET, arguments[3], &here.sin_addr);
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int));
        if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0)
            failed();
    }
    connect_within(fd, (struct sockaddr *)&there, sizeof there);
    converse(fd, unhex(count > 2 ? arguments[2] : ""));
}

/* unix PATH|@NAME [HEX] */
void unix_socket(int count, char **arguments)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    size_t length = strlen(arguments[0]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || length >= sizeof there.sun_path)
        failed();
    memcpy(there.sun_path, arguments[0], length);
    if (there.sun_path[0] == '@')
        there.sun_path[0] = 0;
    connect_within(fd, (struct sockaddr *)&there, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    converse(fd, unhex(count > 1 ? arguments[1] : ""));
}

/* Waits for the first of so many sockets to be connected; closes all. */
static void await_first(struct pollfd *all, const int *ports, int count)
{
    for (int left = count, waited = 0; left > 0 && waited < CONNECT_MS; waited += 50) {
        poll(NULL, 0, 50);
        poll(all, (nfds_t)count, 0);
        for (int i = 0; i < count; i++) {
            int error = 0;
            socklen_t length = sizeof error;
            if (all[i].fd < 0 || !all[i].revents)
                continue;
            getsockopt(all[i].fd, SOL_SOCKET, SO_ERROR, &error, &length);
            if (!error)
                yes("port %d", ports[i]);
            close(all[i].fd);
            all[i].fd = -1;
            left--;
        }
    }
    for (int i = 0; i < count; i++)
        if (all[i].fd >= 0)
            close(all[i].fd);
}

/* scan ADDRESS FIRST-LAST...: the first port where somebody answers */
void scan(int count, char **arguments)
{
    struct pollfd all[AT_ONCE];
    int ports[AT_ONCE], opened = 0, first, last;
    struct sockaddr_in there = {.sin_family = AF_INET};
    inet_pton(AF_INET, arguments[0], &there.sin_addr);
    for (int i = 1; i < count; i++) {
        if (sscanf(arguments[i], "%d-%d", &first, &last) != 2)
            no("%s is no range", arguments[i]);
        for (int port = first; port <= last; port++) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            there.sin_port = htons((uint16_t)port);
            if (fd < 0 || (connect(fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS)) {
                close(fd);
                continue;
            }
            ports[opened] = port;
            all[opened++] = (struct pollfd){fd, POLLOUT, 0};
            if (opened == AT_ONCE) {
                await_first(all, ports, opened);
                opened = 0;
            }
        }
    }
    await_first(all, ports, opened);
    no("nobody answers");
}
