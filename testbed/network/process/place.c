/* The first process of a place: enters its small root, gives up every right, runs the program and tells how it ended.
 *
 *   place FOLDER WORKDIR UID HOSTNAME STATUS_FD OPEN_FILES PID_FILE [PROCS_FILE...] -- PROGRAM [ARG...]
 *
 * It is started by a thread that has new mount, PID, IPC and UTS namespaces and has mounted the place's tmpfs at
 * FOLDER, with the root that the program is to see at FOLDER/root (see place.py). FOLDER becomes the root of the mount
 * namespace and FOLDER/root is then changed into: in a chroot the kernel gives user namespaces to nobody.
 *
 * OPEN_FILES is the most that each process may have. PID_FILE gets its number as the lab counts. Each PROCS_FILE is a
 * version 2 group that it joins. STATUS_FD gets a line "start T" when the program is started, T in monotonic ns, and
 * "exit N" or "signal N" when it has ended. Its exit code is the program's; 128 + N when signal N ended it; 125
 * when the place could not be made, and 127 when the program could not be started: the reason is on standard error.
 * Its end is the end of everything in the place.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PROCESSES = 1024, HIGHEST_FD = 65536 };

static void fail(const char *what)
{
    dprintf(2, "its place could not be made: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static void refused_arguments(void)
{
    dprintf(2, "its place could not be made: there is no program to run, or no user of its own to run it as\n");
    _exit(125);
}

#define MUST(call) do { if ((call) < 0) fail(#call); } while (0)

static void put(const char *file, const char *text, int flags)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fail(file);
    close(fd);
}

static void enter_root(const char *folder, const char *workdir)
{
    MUST(chdir(folder));
    MUST(mount("proc", "root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    if (syscall(SYS_pivot_root, ".", ".") == 0)
        MUST(umount2(".", MNT_DETACH));
    else if (errno == EINVAL) { /* the lab stands in a chroot whose root is no mount: cover that instead */
        MUST(mount(".", "/", NULL, MS_MOVE, NULL));
        MUST(chroot("."));
    } else
        fail("pivot_root");
    MUST(chroot("root"));
    MUST(chdir(workdir));
    umask(022);
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "its system calls have to be named here first"
#endif

/* System calls that the kernel offers to anybody, that no function needs, and that reach beyond a place or have often
 * been the way out of one. Of sockets there are the families that programs use; others know no network namespace.
 * fallocate is not supported, and libraries write zeros instead: it could take the disk behind the end of a log. */
static void refuse(void)
{
    static const unsigned refused[] = {
        SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount,
        SYS_fsopen, SYS_fsmount, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_bpf, SYS_perf_event_open, SYS_syslog,
        SYS_userfaultfd, SYS_io_uring_setup, SYS_open_by_handle_at, SYS_init_module, SYS_finit_module, SYS_kexec_load,
    };
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    enum { CALLS = sizeof refused / sizeof *refused, FAMILIES = sizeof families / sizeof *families };
    enum { DENY = CALLS + 9, SOCKET = DENY + 1, ALLOW = SOCKET + FAMILIES + 2, NOT_HERE = ALLOW + 1 };
    enum { FCNTL = NOT_HERE + 1, LENGTH = FCNTL + 4 };
    struct sock_filter code[LENGTH];
    unsigned at = 0;
#define TO(line) ((unsigned char)((line) - at - 1))
#define LOAD(field) (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(how, value, yes, no) (struct sock_filter)BPF_JUMP(BPF_JMP | how | BPF_K, value, yes, no)
#define RETURN(what) (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what)
    code[at] = LOAD(arch), at++;
    code[at] = JUMP(BPF_JEQ, ARCHITECTURE, 0, TO(DENY)), at++;
    code[at] = LOAD(nr), at++;
    code[at] = JUMP(BPF_JGE, 0x40000000, TO(DENY), 0), at++; /* the x32 numbers of the same calls */
    code[at] = JUMP(BPF_JEQ, SYS_socket, TO(SOCKET), 0), at++;
    code[at] = JUMP(BPF_JEQ, SYS_socketpair, TO(SOCKET), 0), at++;
    code[at] = JUMP(BPF_JEQ, SYS_fallocate, TO(NOT_HERE), 0), at++;
    code[at] = JUMP(BPF_JEQ, SYS_fcntl, TO(FCNTL), 0), at++;
    for (unsigned i = 0; i < CALLS; i++)
        code[at] = JUMP(BPF_JEQ, refused[i], TO(DENY), 0), at++;
    code[at] = RETURN(SECCOMP_RET_ALLOW), at++;
    code[at] = RETURN(SECCOMP_RET_ERRNO | EPERM), at++;
    code[at] = LOAD(args[0]), at++; /* its lower half, on the little-endian machines that this is for */
    for (unsigned i = 0; i < FAMILIES; i++)
        code[at] = JUMP(BPF_JEQ, families[i], TO(ALLOW), 0), at++;
    code[at] = RETURN(SECCOMP_RET_ERRNO | EAFNOSUPPORT), at++;
    code[at] = RETURN(SECCOMP_RET_ALLOW), at++;
    code[at] = RETURN(SECCOMP_RET_ERRNO | EOPNOTSUPP), at++;
    code[at] = LOAD(args[1]), at++;
    code[at] = JUMP(BPF_JEQ, F_SETLEASE, 0, 1), at++; /* of its log: whoever reads that would wait */
    code[at] = RETURN(SECCOMP_RET_ERRNO | EPERM), at++;
    code[at] = RETURN(SECCOMP_RET_ALLOW), at++;
    struct sock_fprog program = {(unsigned short)at, code};
    /* Without the flag, kernels before 5.16 take speculation from the program as well, and it would be slower. */
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program));
}

/* Only downwards: a container's root may not raise a limit. */
static void lower(int resource, rlim_t limit)
{
    struct rlimit now;
    MUST(getrlimit(resource, &now));
    if (now.rlim_max < limit)
        limit = now.rlim_max;
    now.rlim_cur = now.rlim_max = limit;
    MUST(setrlimit(resource, &now));
}

static void give_up_rights(uid_t uid, rlim_t open_files)
{
    lower(RLIMIT_NOFILE, open_files);
    lower(RLIMIT_NPROC, MOST_PROCESSES);
    lower(RLIMIT_CORE, 1); /* 0 would still feed a core pattern that begins with a pipe: see core(5) */
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
        ;
    if (errno != EINVAL) /* which says that there is no further one */
        fail("prctl(PR_CAPBSET_DROP)");
    MUST(syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL)); /* until now it is the lab's */
    MUST(setgroups(0, NULL));
    MUST(setresgid(uid, uid, uid));
    MUST(setresuid(uid, uid, uid));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    refuse();
    /* The program, of the same user, neither traces nor reads this process; the change of user sees to it as well, but
     * not where fs.suid_dumpable is 1. */
    MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}

/* Who reads a pipe of the program's is to see its end when the program closes it. */
static void keep_open_only(int fd)
{
    if (fd > 3)
        close_range(3, (unsigned)fd - 1, 0);
    if (close_range((unsigned)fd + 1, ~0U, 0) < 0 && errno == ENOSYS) /* Linux before 5.9 */
        for (int one = 3; one < HIGHEST_FD; one++)
            if (one != fd)
                close(one);
}

static int run(char **program, int status_fd)
{
    sigset_t all, none;
    struct timespec now;
    sigfillset(&all);
    sigemptyset(&none);
    MUST(sigprocmask(SIG_BLOCK, &all, NULL));
    MUST(clock_gettime(CLOCK_MONOTONIC, &now));
    MUST(dprintf(status_fd, "start %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec));
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        setsid();
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(program[0], program);
        dprintf(2, "%s could not be started: %s\n", program[0], strerror(errno));
        _exit(127);
    }
    keep_open_only(status_fd);
    for (;;) {
        int number, status;
        pid_t ended;
        if (sigwait(&all, &number))
            continue;
        if (number != SIGCHLD)
            kill(child, number);
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
            if (ended == child) {
                int signalled = WIFSIGNALED(status);
                int code = signalled ? WTERMSIG(status) : WEXITSTATUS(status);
                dprintf(status_fd, "%s %d\n", signalled ? "signal" : "exit", code);
                return signalled ? 128 + code : code;
            }
    }
}

int main(int argc, char **argv)
{
    char pid[32] = "";
    int at = 7;
    if (argc < 10)
        refused_arguments();
    const char *folder = argv[1], *workdir = argv[2];
    uid_t uid = (uid_t)strtoul(argv[3], NULL, 10);
    if (uid == 0)
        refused_arguments();
    int status_fd = atoi(argv[5]);
    rlim_t open_files = strtoul(argv[6], NULL, 10);
    MUST(fcntl(status_fd, F_SETFD, FD_CLOEXEC));
    MUST(readlink("/proc/self", pid, sizeof pid - 1)); /* the lab's /proc still: its number there */
    put(argv[at++], pid, O_CREAT | O_TRUNC);
    for (; at < argc && strcmp(argv[at], "--"); at++)
        put(argv[at], "0", 0); /* "0" is the writer */
    if (++at >= argc)
        refused_arguments();
    MUST(unshare(CLONE_NEWCGROUP)); /* only now: its own groups are the roots that the place sees */
    MUST(sethostname(argv[4], strlen(argv[4])));
    enter_root(folder, workdir);
    give_up_rights(uid, open_files);

    /* The command line of this process tells where the lab lies, and anybody may read it. */
    int words = argc - at;
    char **program = calloc((size_t)words + 1, sizeof *program);
    if (program == NULL)
        fail("calloc");
    for (int i = 0; i < words; i++)
        if ((program[i] = strdup(argv[at + i])) == NULL)
            fail("strdup");
    char *end = argv[argc - 1] + strlen(argv[argc - 1]);
    memset(argv[1], 0, (size_t)(end - argv[1]));
    return run(program, status_fd);
}
