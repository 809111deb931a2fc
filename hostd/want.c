/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks on disk. Main thread. Invariant: a mark is whole or does not count, because what it must
 * hold is known: the boot.
 */
#include "hostd/want.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"

#define BOOT_ID_BYTES 36u

static int read_some(const char *path, char ret[BOOT_ID_BYTES + 1])
{
	QCLEAN(qfd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, BOOT_ID_BYTES);

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return n == BOOT_ID_BYTES ? 0 : -EIO;
}

static int boot_id(char ret[BOOT_ID_BYTES + 1])
{
	return read_some("/proc/sys/kernel/random/boot_id", ret);
}

/* False when the path is too long: no such mark can be. */
static bool path_of(char buf[PATH_MAX], const char *state_dir, const char *name, const char *end)
{
	int len = snprintf(buf, PATH_MAX, "%s/run/%s.%s", state_dir, name, end);

	return len > 0 && len < PATH_MAX;
}

static int set_mark(const char *state_dir, const char *name, const char *end, bool there)
{
	char path[PATH_MAX], id[BOOT_ID_BYTES + 1];

	if (!path_of(path, state_dir, name, end))
		return -ENAMETOOLONG;
	if (!there)
		return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
	int r = boot_id(id);
	if (r < 0)
		return r;
	QCLEAN(qfd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : qfd_write_all(fd, id, BOOT_ID_BYTES);
}

static bool has_mark(const char *state_dir, const char *name, const char *end)
{
	char path[PATH_MAX], id[BOOT_ID_BYTES + 1], found[BOOT_ID_BYTES + 1];

	return path_of(path, state_dir, name, end) && boot_id(id) == 0 &&
	       read_some(path, found) == 0 && strcmp(id, found) == 0;
}

int hd_want_write(const char *state_dir, const char *name, bool up)
{
	return set_mark(state_dir, name, "want", up);
}

bool hd_want_read(const char *state_dir, const char *name)
{
	return has_mark(state_dir, name, "want");
}

int hd_want_write_again(const char *state_dir, const char *name, bool again)
{
	return set_mark(state_dir, name, "again", again);
}

bool hd_want_read_again(const char *state_dir, const char *name)
{
	return has_mark(state_dir, name, "again");
}

bool hd_want_interrupted(const char *state_dir)
{
	return has_mark(state_dir, "hostd", "boot");
}

int hd_want_working(const char *state_dir, bool yes)
{
	return set_mark(state_dir, "hostd", "boot", yes);
}
