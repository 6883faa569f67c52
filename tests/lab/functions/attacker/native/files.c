/* Tools on files: what can be read, written, made, and how much of it. */
#include "attack.h"
#include <ftw.h>
#include <glob.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

/* Whether a file can be read, and the needle is in it; a folder can be listed. */
static int holds(const char *path, struct bytes needle, char *buffer)
{
    struct stat about;
    size_t have = 0;
    ssize_t more;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        close(fd);
        return needle.size == 0;
    }
    while (have < LARGEST - PIECE && (more = read(fd, buffer + have, PIECE)) > 0) {
        have += (size_t)more;
        if (!needle.size)
            break;
    }
    int reason = more < 0 ? errno : ENODATA;
    close(fd);
    errno = reason;
    return needle.size ? memmem(buffer, have, needle.at, needle.size) != NULL : have > 0;
}

/* find PATTERN HEX */
void find(int count, char **arguments)
{
    struct bytes needle = unhex(count > 1 ? arguments[1] : "");
    char *buffer = malloc(LARGEST);
    glob_t names;
    int found = 0, reason = ENOENT;
    const char *first = "";
    if (glob(arguments[0], 0, NULL, &names) == 0)
        for (size_t i = 0; i < names.gl_pathc; i++) {
            if (holds(names.gl_pathv[i], needle, buffer))
                first = found++ ? first : names.gl_pathv[i];
            else
                reason = errno;
        }
    errno = reason;
    if (!found)
        failed();
    yes("%s and %d more", first, found - 1);
}

/* open r|w|rw PATTERN: opened and closed, nothing made, nothing cut */
void open_files(int count, char **arguments)
{
    int flags = strcmp(arguments[0], "r") == 0 ? O_RDONLY : strcmp(arguments[0], "w") == 0 ? O_WRONLY : O_RDWR;
    glob_t names;
    int reason = ENOENT;
    if (count > 1 && glob(arguments[1], 0, NULL, &names) == 0)
        for (size_t i = 0; i < names.gl_pathc; i++) {
            if (open(names.gl_pathv[i], flags | O_NONBLOCK | O_CLOEXEC) >= 0)
                yes("%s", names.gl_pathv[i]);
            reason = errno;
        }
    errno = reason;
    failed();
}

/* create PATH: a new file that stays */
void create(int count, char **arguments)
{
    (void)count;
    int fd = open(arguments[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, "attacked\n", 9) < 0)
        failed();
    yes("%s", arguments[0]);
}

/* relink PATH TARGET: a link in a file's place */
void relink(int count, char **arguments)
{
    (void)count;
    if (unlink(arguments[0]) < 0 || symlink(arguments[1], arguments[0]) < 0)
        failed();
    yes("%s", arguments[0]);
}

/* device b|c MAJOR MINOR: made, opened for reading, removed */
void device(int count, char **arguments)
{
    (void)count;
    char name[] = "/tmp/attack-device-XXXXXX";
    mode_t kind = arguments[0][0] == 'b' ? S_IFBLK : S_IFCHR;
    close(mkstemp(name));
    unlink(name);
    if (mknod(name, kind | 0600, makedev((unsigned)atoi(arguments[1]), (unsigned)atoi(arguments[2]))) < 0)
        failed();
    int fd = open(name, O_RDONLY | O_NONBLOCK), reason = errno;
    unlink(name);
    errno = reason;
    if (fd < 0)
        failed();
    yes("opened");
}

static char privileged[LONGEST_TEXT];

static int note_privileged(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    struct statvfs mounted;
    char capability[64];
    (void)where;
    if (kind != FTW_F || !(about->st_mode & 0111))
        return 0;
    if (!(about->st_mode & (S_ISUID | S_ISGID)) && lgetxattr(path, "security.capability", capability, sizeof capability) < 0)
        return 0;
    if (statvfs(path, &mounted) == 0 && !(mounted.f_flag & ST_NOSUID))
        snprintf(privileged, sizeof privileged, "%s", path);
    return privileged[0] != 0;
}

/* setuid: programs that would give it another user's rights */
void setuid_files(int count, char **arguments)
{
    (void)count, (void)arguments;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        no("no_new_privs");
    const char *folders[] = {"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local", "/opt"};
    for (int i = 0; i < 5 && !privileged[0]; i++)
        nftw(folders[i], note_privileged, 32, FTW_PHYS);
    if (!privileged[0])
        no("none");
    yes("%s", privileged);
}

/* fill FOLDER MIB: a file of so much, that has no name any more */
void fill(int count, char **arguments)
{
    static char block[1 << 20];
    char name[512];
    (void)count;
    snprintf(name, sizeof name, "%s/attack-fill-%d", arguments[0], getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        failed();
    unlink(name);
    for (int left = atoi(arguments[1]); left > 0; left--)
        if (write(fd, block, sizeof block) < (ssize_t)sizeof block)
            no("full, %d MiB before its end", left);
    yes("%s MiB", arguments[1]);
}

/* files FOLDER COUNT SECONDS: so many empty files */
void many_files(int count, char **arguments)
{
    char folder[512], name[600];
    int made = 0, most = atoi(arguments[1]), fd = 0;
    time_t end = time(NULL) + atoi(arguments[count - 1]);
    snprintf(folder, sizeof folder, "%s/attack-files-%d", arguments[0], getpid());
    if (mkdir(folder, 0700) < 0)
        failed();
    while (made < most && time(NULL) < end) {
        snprintf(name, sizeof name, "%s/%d", folder, made);
        if ((fd = open(name, O_WRONLY | O_CREAT, 0600)) < 0)
            break;
        close(fd);
        made++;
    }
    int reason = errno;
    for (int i = 0; i < made; i++) {
        snprintf(name, sizeof name, "%s/%d", folder, i);
        unlink(name);
    }
    rmdir(folder);
    errno = reason;
    if (fd < 0)
        failed();
    yes("%d files", made);
}
