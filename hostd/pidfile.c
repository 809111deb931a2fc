/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with a pid in them. A pid alone may have been given to somebody else meanwhile: the start
 * time that the kernel keeps for it tells. Main thread. Invariant: a pid file is whole or not
 * there.
 */
#include "hostd/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"

#define STAT_STARTTIME 20	/* fields behind the one of the name */

/* In clock ticks since boot, 0 when there is no such process. */
static uint64_t start_time(pid_t pid)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	QCLEAN(qfd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The name stands in parentheses and may hold anything, these too. */
	const char *s = strrchr(text, ')');
	if (s && (strncmp(s, ") Z", 3) == 0 || strncmp(s, ") X", 3) == 0))
		return 0;	/* over, and only not yet reaped */
	for (unsigned i = 0; s && i < STAT_STARTTIME; i++)
		s = strchr(s + 1, ' ');
	return s ? strtoull(s, NULL, 10) : 0;
}

static int path_of(char *buf, size_t n, const char *state_dir, const char *name, const char *end)
{
	int len = snprintf(buf, n, "%s/run/%s.%s", state_dir, name, end);

	return len < 0 || (size_t)len >= n ? -ENAMETOOLONG : 0;
}

int hd_pidfile_write(const char *state_dir, const char *name, pid_t pid)
{
	char path[PATH_MAX], tmp[PATH_MAX], text[64];
	int r = path_of(path, sizeof(path), state_dir, name, "pid");

	if (r == 0)
		r = path_of(tmp, sizeof(tmp), state_dir, name, "tmp");
	if (r < 0)
		return r;
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, start_time(pid));
	QCLEAN(qfd_close) int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = qfd_write_all(fd, text, (size_t)n);
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	return r;
}

void hd_pidfile_remove(const char *state_dir, const char *name)
{
	static const char *const ends[] = { "pid", "sock" };
	char path[PATH_MAX];

	for (size_t i = 0; i < Q_ARRAY_LEN(ends); i++)
		if (path_of(path, sizeof(path), state_dir, name, ends[i]) == 0)
			unlink(path);
}

bool hd_takeover_path(const char *state_dir, const char *name, char *buf, size_t buf_bytes)
{
	return path_of(buf, buf_bytes, state_dir, name, "sock") == 0;
}

pid_t hd_pidfile_alive(const char *state_dir, const char *name)
{
	char path[PATH_MAX], text[64];
	int pid = 0;
	uint64_t started = 0;

	if (path_of(path, sizeof(path), state_dir, name, "pid") < 0)
		return 0;
	QCLEAN(qfd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	char *end;
	pid = (int)strtol(text, &end, 10);
	started = strtoull(end, NULL, 10);
	return pid > 1 && started != 0 && start_time(pid) == started ? pid : 0;
}

bool hd_pidfile_there(const char *state_dir, const char *name)
{
	char path[PATH_MAX];

	return path_of(path, sizeof(path), state_dir, name, "pid") == 0 && access(path, F_OK) == 0;
}

static pid_t read_pid(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

int hd_state_lock(const char *state_dir, pid_t *ret_other)
{
	char path[PATH_MAX], text[32];

	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/run", state_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/hostd.lock", state_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = errno == EWOULDBLOCK ? -EBUSY : -errno;

		*ret_other = read_pid(fd);
		close(fd);
		return r;
	}
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	int r = ftruncate(fd, 0) < 0 ? -errno : qfd_write_all(fd, text, (size_t)n);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
