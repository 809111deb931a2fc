/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is flock() on <dir>/pid: it goes with the process however that ends, so a file that a
 * killed qvm left behind hinders nobody. The file is removed with the lock held; who opened it
 * before and locks it after finds that it has no name any more, and opens anew.
 */
#include "qvm/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"

#define DIR_MODE  0755
#define TRIES_MAX 10

static int make_dir(const char *path)
{
	return mkdir(path, DIR_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

static bool usable(const char *path)
{
	return make_dir(path) == 0 && access(path, W_OK | X_OK) == 0;
}

int rundir_base(struct rundir *d, const char *given)
{
	const char *env = getenv("PARLEY_RUN_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (!given)
		given = env && *env ? env : NULL;
	d->base[0] = '\0';
	if (given && strlen(given) >= sizeof(d->base))
		return -ENAMETOOLONG;
	if (given || usable(RUNDIR_DEFAULT)) {
		snprintf(d->base, sizeof(d->base), "%s", given ? given : RUNDIR_DEFAULT);
		return 0;
	}
	if (!xdg || !*xdg)
		return 0;
	int n = snprintf(d->base, sizeof(d->base), "%s/parley", xdg);
	if (n < 0 || (size_t)n >= sizeof(d->base) || !usable(d->base))
		d->base[0] = '\0';
	return 0;
}

static bool is_name(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/') && strlen(s) < 64;
}

static int read_pid(int fd)
{
	char buf[16] = "";

	if (pread(fd, buf, sizeof(buf) - 1, 0) <= 0)
		return 0;
	return (int)strtol(buf, NULL, 10);
}

/* Opens and locks @path. -ESTALE: it lost its name meanwhile, try again. */
static int lock_once(const char *path, int *ret_fd, int *ret_pid)
{
	struct stat mine, there;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return -errno;
	int r = 0;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (r == -EBUSY)
		*ret_pid = read_pid(fd);
	if (r == 0 && (fstat(fd, &mine) < 0 || stat(path, &there) < 0 ||
		       mine.st_ino != there.st_ino || mine.st_dev != there.st_dev))
		r = -ESTALE;
	if (r < 0) {
		qfd_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int write_pid(int fd)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, buf, (size_t)n, 0) != n)
		return errno ? -errno : -EIO;
	return 0;
}

/* Removes the files and sockets of the directory but for the lock. */
static void sweep(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		qfd_close(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (strcmp(e->d_name, "pid") != 0)
			unlinkat(dir_fd, e->d_name, 0); /* refuses "." and ".." */
	closedir(dir);
}

int rundir_lock(struct rundir *d, const char *system, int *ret_pid)
{
	char path[640];
	int r = make_dir(d->base), fd = -1;

	if (!is_name(system))
		return -EINVAL;
	snprintf(path, sizeof(path), "%s/qvm", d->base);
	if (r == 0)
		r = make_dir(path);
	snprintf(d->dir, sizeof(d->dir), "%s/qvm/%s", d->base, system);
	snprintf(path, sizeof(path), "%s/pid", d->dir);
	if (r < 0)
		return r;
	for (int i = 0; i < TRIES_MAX; i++) {
		r = make_dir(d->dir);
		if (r == 0)
			r = lock_once(path, &fd, ret_pid);
		/* The one before us may have removed the directory between our two steps. */
		if (r != -ESTALE && r != -ENOENT)
			break;
	}
	if (r == 0)
		r = write_pid(fd);
	if (r == 0) {
		d->dir_fd = open(d->dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		r = d->dir_fd < 0 ? -errno : 0;
	}
	if (r < 0) {
		qfd_close(&fd);
		return r;
	}
	d->pid_fd = fd;
	sweep(d->dir_fd);
	return 0;
}

void rundir_fini(struct rundir *d)
{
	char path[640];

	if (d->pid_fd < 0)
		return;
	sweep(d->dir_fd);
	snprintf(path, sizeof(path), "%s/pid", d->dir);
	unlink(path);
	rmdir(d->dir);
	qfd_close(&d->dir_fd);
	qfd_close(&d->pid_fd);
}
