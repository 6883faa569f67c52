/* What every tool uses: how it answers, and what its arguments mean. A tool is run in a process of its own. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { LARGEST = 8 << 20, PIECE = 1 << 16, LONGEST_TEXT = 4096 };

struct bytes {
    unsigned char *at;
    size_t size;
};

/* main.c: the answer's first word is "yes" or "no"; none of them returns. */
__attribute__((noreturn, format(printf, 1, 2))) void yes(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void no(const char *format, ...);
__attribute__((noreturn)) void failed(void); /* no, and the name of errno */
struct bytes unhex(const char *text);
void run(int count, char **words); /* a tool and its arguments */
extern char inherited[LONGEST_TEXT]; /* what was open when the program began */

typedef void tool(int count, char **arguments);
tool find, open_files, create, relink, device, setuid_files, fill, many_files;        /* files.c */
tool send_signal, signal_all, trace, memory, steal, processes, enter, crash, orphan, bomb; /* processes.c */
tool call, clone_into, clone3_into, limit, key, netlink, interface;          /* kernel.c */
tool frame, datagram, tcp, scan, unix_socket;                                                        /* sockets.c */
