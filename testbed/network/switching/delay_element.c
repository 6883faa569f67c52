/* delay_element: a trunk in user space, for machines whose kernel has no netem.
 *
 *   delay_element NETNS_A NAME_A NETNS_B NAME_B [SEED]
 *
 * Makes a TAP interface in each of two network namespaces (paths such as /proc/123/ns/net) and carries
 * every frame from one to the other: one-way delay, jitter, loss and rate alike in both directions, order
 * kept, at most QUEUE_LIMIT frames waiting each way (tail drop). It prints "ready" and then answers one
 * JSON line to each line on standard input:
 *
 *   set DELAY_NS JITTER_NS LOSS_PPM RATE_BPS     (rate 0: unlimited)
 *   get
 *
 * It ends at end of file on standard input. SCHED_FIFO keeps its tail short while other programs are busy;
 * without the right to it, the element goes on and says so in "realtime".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 65536
#define FRAME_USUAL 2048
#define QUEUE_LIMIT 10000
#define BURST 64
#define NEVER UINT64_MAX
#define TIMER_EARLY_NS 60000

struct frame {
    uint64_t due_ns;
    uint32_t length, capacity;
    uint8_t *bytes;
};

struct direction {
    int in, out;
    struct frame *queue;
    unsigned head, waiting;
    uint64_t last_due_ns, line_free_ns;
    uint64_t received, sent, lost, overflowed, failed;
    uint64_t late_total_ns, late_max_ns;
};

struct settings {
    uint64_t delay_ns, jitter_ns, loss_ppm, rate_bps;
};

static struct settings settings;
static uint64_t random_state = 88172645463325252ull;

static void die(const char *what)
{
    fprintf(stderr, "delay element: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static int open_tap(const char *namespace_path, const char *name)
{
    int namespace_fd = open(namespace_path, O_RDONLY | O_CLOEXEC);
    if (namespace_fd < 0 || setns(namespace_fd, CLONE_NEWNET) < 0)
        die(namespace_path);
    close(namespace_fd);

    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0)
        die("/dev/net/tun");
    struct ifreq request = {0};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tap, TUNSETIFF, &request) < 0)
        die(name);

    int control = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_qlen = 1000;
    ioctl(control, SIOCSIFTXQLEN, &request);
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0)
        die(name);
    request.ifr_flags |= IFF_UP;
    if (ioctl(control, SIOCSIFFLAGS, &request) < 0)
        die(name);
    close(control);
    return tap;
}

static uint64_t due_time(struct direction *d, uint64_t arrived_ns, uint32_t length)
{
    uint64_t due = arrived_ns;
    if (settings.rate_bps) { /* the line is busy until the frame before has left */
        uint64_t start = d->line_free_ns > arrived_ns ? d->line_free_ns : arrived_ns;
        due = d->line_free_ns = start + (uint64_t)length * 8u * 1000000000ull / settings.rate_bps;
    }
    due += settings.delay_ns;
    if (settings.jitter_ns) {
        uint64_t offset = next_random() % (2 * settings.jitter_ns + 1);
        due = due + offset > settings.jitter_ns ? due + offset - settings.jitter_ns : 0;
    }
    if (due < d->last_due_ns) /* order is kept, as on a wire */
        due = d->last_due_ns;
    return d->last_due_ns = due;
}

static void receive(struct direction *d)
{
    static uint8_t buffer[FRAME_MAX];
    for (int i = 0; i < BURST; i++) {
        ssize_t length = read(d->in, buffer, sizeof buffer);
        if (length <= 0)
            return;
        d->received++;
        if (settings.loss_ppm && next_random() % 1000000 < settings.loss_ppm) {
            d->lost++;
            continue;
        }
        if (d->waiting == QUEUE_LIMIT) {
            d->overflowed++;
            continue;
        }
        struct frame *f = &d->queue[(d->head + d->waiting) % QUEUE_LIMIT];
        if (f->capacity < (uint32_t)length) {
            free(f->bytes);
            f->capacity = length <= FRAME_USUAL ? FRAME_USUAL : FRAME_MAX;
            f->bytes = malloc(f->capacity);
            if (!f->bytes)
                die("memory");
        }
        memcpy(f->bytes, buffer, (size_t)length);
        f->length = (uint32_t)length;
        f->due_ns = due_time(d, now_ns(), f->length);
        d->waiting++;
    }
}

static void deliver(struct direction *d, uint64_t now)
{
    while (d->waiting && d->queue[d->head].due_ns <= now) {
        struct frame *f = &d->queue[d->head];
        uint64_t late = now - f->due_ns;
        d->late_total_ns += late;
        if (late > d->late_max_ns)
            d->late_max_ns = late;
        if (write(d->out, f->bytes, f->length) < 0)
            d->failed++;
        else
            d->sent++;
        d->head = (d->head + 1) % QUEUE_LIMIT;
        d->waiting--;
    }
}

static void report(const struct direction d[2], int realtime)
{
    printf("{\"delay_ns\":%lu,\"jitter_ns\":%lu,\"loss_ppm\":%lu,\"rate_bps\":%lu,\"realtime\":%s,\"directions\":[",
           settings.delay_ns, settings.jitter_ns, settings.loss_ppm, settings.rate_bps, realtime ? "true" : "false");
    for (int i = 0; i < 2; i++)
        printf("%s{\"received\":%lu,\"sent\":%lu,\"lost\":%lu,\"overflowed\":%lu,\"failed\":%lu,"
               "\"late_mean_ns\":%lu,\"late_max_ns\":%lu}",
               i ? "," : "", d[i].received, d[i].sent, d[i].lost, d[i].overflowed, d[i].failed,
               d[i].sent ? d[i].late_total_ns / d[i].sent : 0, d[i].late_max_ns);
    printf("]}\n");
    fflush(stdout);
}

/* Returns 0 at end of file. Lines are short and their sender waits for the answer: one read holds whole lines. */
static int obey(const struct direction d[2], int realtime)
{
    char text[512];
    ssize_t length = read(STDIN_FILENO, text, sizeof text - 1);
    if (length <= 0)
        return 0;
    text[length] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        struct settings s;
        if (sscanf(line, "set %lu %lu %lu %lu", &s.delay_ns, &s.jitter_ns, &s.loss_ppm, &s.rate_bps) == 4)
            settings = s;
        report(d, realtime);
    }
    return 1;
}

static void wait_for_work(struct pollfd polled[3], const struct direction d[2])
{
    uint64_t next = NEVER, now = now_ns();
    for (int i = 0; i < 2; i++)
        if (d[i].waiting && d[i].queue[d[i].head].due_ns < next)
            next = d[i].queue[d[i].head].due_ns;
    /* A timer wakes late by some 70 us on a virtual machine: set it early and look at the clock for the rest. */
    uint64_t wait = next == NEVER || next <= now + TIMER_EARLY_NS ? 0 : next - now - TIMER_EARLY_NS;
    struct timespec timeout = {(time_t)(wait / 1000000000ull), (long)(wait % 1000000000ull)};
    if (ppoll(polled, 3, next == NEVER ? NULL : &timeout, NULL) < 0) /* on error revents are undefined */
        polled[0].revents = polled[1].revents = polled[2].revents = 0;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: delay_element NETNS_A NAME_A NETNS_B NAME_B [SEED]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    if (argc > 5)
        random_state ^= strtoull(argv[5], NULL, 10) * 0x9E3779B97F4A7C15ull;

    struct direction d[2] = {{0}};
    d[0].in = d[1].out = open_tap(argv[1], argv[2]);
    d[1].in = d[0].out = open_tap(argv[3], argv[4]);
    for (int i = 0; i < 2; i++)
        if (!(d[i].queue = calloc(QUEUE_LIMIT, sizeof(struct frame))))
            die("memory");
    struct sched_param priority = {.sched_priority = 10};
    int realtime = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
    puts("ready");
    fflush(stdout);

    struct pollfd polled[3] = {{d[0].in, POLLIN, 0}, {d[1].in, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (;;) {
        wait_for_work(polled, d);
        if (polled[2].revents && !obey(d, realtime))
            return 0;
        for (int i = 0; i < 2; i++) {
            if (polled[i].revents & POLLNVAL)
                return 0;
            if (polled[i].revents & POLLIN)
                receive(&d[i]);
        }
        uint64_t now = now_ns();
        deliver(&d[0], now);
        deliver(&d[1], now);
    }
}
