/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions in the file system: names, locks, sockets, messages (see qshm_priv.h). No state; any
 * thread. Invariant: a socket's name is removed or replaced only by its owner while it lives, or
 * under the region's lock after the kernel said that nobody listens there.
 *
 * Names are reached through /proc/self/fd, so that they do not become too long for a socket's
 * address, however deep the run directory lies.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qshm_priv.h"

#define MAGIC 0x4d485351u	/* "QSHM" */
#define DIR_MODE 0755
#define LOCK_NAME "lock"
#define LOCK_PAUSE_NS (Q_NSEC_PER_MSEC / 2)
#define BACKLOG 128
#define TRIES_MAX 100

static const char *const verdict_str[] = {
	[QSHM_OK] = "ok",
	[QSHM_BAD_NAME] = "bad_name",
	[QSHM_BAD_SIZE] = "bad_size",
	[QSHM_FULL] = "full",
	[QSHM_LIMIT] = "limit",
	[QSHM_ABSENT] = "absent",
	[QSHM_NO_ANSWER] = "no_answer",
};
static_assert(Q_ARRAY_LEN(verdict_str) == QSHM_VERDICTS, "every verdict has a word");

const char *qshm_verdict_str(int verdict)
{
	return verdict >= 0 && verdict < QSHM_VERDICTS ? verdict_str[verdict] : "unknown";
}

bool qshm_name_ok(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
			return false;
	return len > 0 && len <= QSHM_NAME_BYTES && name[0] != '.';
}

/* ---- messages ---- */

int shm_send(int sock, enum shm_kind kind, unsigned slot, int fd)
{
	const struct shm_msg m = { .magic = MAGIC, .kind = (uint8_t)kind, .slot = (uint8_t)slot };
	ssize_t n = qfd_send(sock, &m, sizeof(m), &fd, fd >= 0);

	return n < 0 ? (int)n : n == sizeof(m) ? 0 : -EIO;
}

static bool msg_ok(const struct shm_msg *m, ssize_t len)
{
	return len == sizeof(*m) && m->magic == MAGIC && !m->zero && m->slot < SHM_SLOTS &&
	       m->kind >= SHM_WELCOME && m->kind <= SHM_BELL;
}

int shm_recv(int sock, struct shm_msg *ret, int *ret_fd)
{
	uint8_t bytes[sizeof(*ret) + 1];	/* a longer one shows */
	int fd = -1;
	unsigned n_fds;
	ssize_t n = qfd_recv(sock, bytes, sizeof(bytes), &fd, 1, &n_fds);

	/* The other left without reading all of ours: told once, before what it said itself. */
	if (n == -ECONNRESET)
		n = qfd_recv(sock, bytes, sizeof(bytes), &fd, 1, &n_fds);
	if (n == 0 && n_fds == 0)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	memcpy(ret, bytes, Q_MIN((size_t)n, sizeof(*ret)));
	if (!msg_ok(ret, n) || (n_fds && ret->kind != SHM_WELCOME)) {
		qfd_close(&fd);
		return -EBADMSG;
	}
	*ret_fd = fd;
	return 0;
}

int shm_data_check(int fd, uint32_t *ret_pages)
{
	struct stat st;
	int r = qfd_check_no_shrink(fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	uint64_t len = (uint64_t)st.st_size;
	if (st.st_size <= 0 || len % QSHM_PAGE_BYTES || len / QSHM_PAGE_BYTES > QSHM_PAGES_MAX)
		return -EINVAL;
	*ret_pages = (uint32_t)(len / QSHM_PAGE_BYTES);
	return 0;
}

/* ---- directories and the lock ---- */

static int make_dir(const char *path)
{
	return mkdir(path, DIR_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

int shm_base_open(const char *run_dir, bool make)
{
	int r = make ? make_dir(run_dir) : 0;
	int run_fd QCLEAN(qfd_close) = -1;

	if (r < 0)
		return r;
	run_fd = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (run_fd < 0)
		return -errno;
	if (make && mkdirat(run_fd, "shm", DIR_MODE) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(run_fd, "shm", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_dir(struct shm_place *p)
{
	p->dir_fd = openat(p->base_fd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return p->dir_fd < 0 ? -errno : 0;
}

int shm_place_open(struct shm_place *p, int base_fd, const char *name)
{
	*p = SHM_PLACE_NULL;
	p->base_fd = base_fd;
	p->name = name;
	return open_dir(p);
}

static int wait_lock(int fd, uint64_t until_ns)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (qnow_ns() >= until_ns)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* -ESTALE: the directory was taken away between two of our steps. */
static int lock_once(struct shm_place *p, bool make, uint64_t until_ns)
{
	struct stat st;

	if (make && mkdirat(p->base_fd, p->name, DIR_MODE) < 0 && errno != EEXIST)
		return -errno;
	int r = open_dir(p);
	if (r < 0)
		return r == -ENOENT && make ? -ESTALE : r;
	p->lock_fd = openat(p->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->lock_fd < 0)	/* a directory without a name takes no files */
		return errno == ENOENT ? -ESTALE : -errno;
	r = wait_lock(p->lock_fd, until_ns);
	if (r == 0 && fstat(p->lock_fd, &st) < 0)
		r = -errno;
	return r == 0 && st.st_nlink == 0 ? -ESTALE : r;
}

int shm_place_lock(struct shm_place *p, int base_fd, const char *name, bool make,
		   uint64_t until_ns)
{
	int r = -ESTALE;

	*p = SHM_PLACE_NULL;
	p->base_fd = base_fd;
	p->name = name;
	for (unsigned i = 0; r == -ESTALE && i < TRIES_MAX; i++) {
		qfd_close(&p->lock_fd);
		qfd_close(&p->dir_fd);
		r = lock_once(p, make, until_ns);
	}
	if (r < 0) {
		qfd_close(&p->lock_fd);
		qfd_close(&p->dir_fd);
	}
	return r == -ESTALE ? -ENOENT : r;
}

static bool is_empty(const struct shm_place *p)
{
	char slot[8];
	struct stat st;

	for (unsigned i = 0; i < SHM_SLOTS; i++) {
		snprintf(slot, sizeof(slot), "%u", i);
		if (fstatat(p->dir_fd, slot, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			return false;
	}
	return true;
}

void shm_place_fini(struct shm_place *p)
{
	/* The lock's name goes first, under the lock: who opened it before will see that. */
	if (p->lock_fd >= 0 && is_empty(p)) {
		unlinkat(p->dir_fd, LOCK_NAME, 0);
		unlinkat(p->base_fd, p->name, AT_REMOVEDIR);
	}
	qfd_close(&p->lock_fd);
	qfd_close(&p->dir_fd);
}

/* ---- sockets ---- */

static struct sockaddr_un slot_addr(const struct shm_place *p, unsigned slot)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%u", p->dir_fd, slot);
	return sa;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int shm_place_connect(const struct shm_place *p, unsigned slot)
{
	const struct sockaddr_un sa = slot_addr(p, slot);
	int fd QCLEAN(qfd_close) = new_socket(), r;

	if (fd < 0)
		return fd;
	do
		r = connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	int ret = fd;
	fd = -1;
	return ret;
}

int shm_place_listen(const struct shm_place *p, unsigned slot)
{
	const struct sockaddr_un sa = slot_addr(p, slot);
	int fd QCLEAN(qfd_close) = new_socket();

	if (fd < 0)
		return fd;
	shm_place_unlink(p, slot);
	/* The file gets the mode of the socket's inode: 0600 from its first instant. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	if (listen(fd, BACKLOG) < 0) {
		int r = -errno;
		shm_place_unlink(p, slot);
		return r;
	}
	int ret = fd;
	fd = -1;
	return ret;
}

void shm_place_unlink(const struct shm_place *p, unsigned slot)
{
	char name[8];

	snprintf(name, sizeof(name), "%u", slot);
	unlinkat(p->dir_fd, name, 0);
}

/* ---- the dead ---- */

static void sweep_region(int base_fd, const char *name)
{
	struct shm_place p QCLEAN(shm_place_fini) = SHM_PLACE_NULL;

	/* Where somebody joins now, he will see to it. */
	if (shm_place_lock(&p, base_fd, name, false, 0) < 0)
		return;
	for (unsigned i = 0; i < SHM_SLOTS; i++) {
		int fd QCLEAN(qfd_close) = shm_place_connect(&p, i);
		if (fd == -ECONNREFUSED)
			shm_place_unlink(&p, i);
	}
}

void shm_sweep(int base_fd)
{
	int fd = openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!dir) {
		qfd_close(&fd);
		return;
	}
	while ((e = readdir(dir)))
		if (qshm_name_ok(e->d_name))
			sweep_region(base_fd, e->d_name);
	closedir(dir);
}

/* ---- the first answer ---- */

/* One message of @sock. 0 with the data, -EAGAIN when it said nothing yet, else it is no use. */
static int take_welcome(int sock, unsigned slot, int *ret_fd, uint32_t *ret_pages)
{
	struct shm_msg m;
	int fd = -1, r = shm_recv(sock, &m, &fd);

	if (r == 0 && (m.kind != SHM_WELCOME || m.slot != slot || fd < 0))
		r = -EBADMSG;
	if (r == 0)
		r = shm_data_check(fd, ret_pages);
	if (r < 0) {
		qfd_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int poll_until(struct pollfd *p, unsigned n, uint64_t until_ns)
{
	uint64_t now = qnow_ns();
	int ms = now >= until_ns ? 0 : (int)((until_ns - now) / Q_NSEC_PER_MSEC + 1);
	int r = poll(p, n, ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r == 0 && ms == 0 ? QSHM_NO_ANSWER : 0;
}

int shm_await_data(int socks[SHM_SLOTS], uint64_t until_ns, int *ret_fd, uint32_t *ret_pages)
{
	for (;;) {
		struct pollfd p[SHM_SLOTS];
		unsigned n = 0;

		for (unsigned i = 0; i < SHM_SLOTS; i++) {
			if (socks[i] < 0)
				continue;
			int r = take_welcome(socks[i], i, ret_fd, ret_pages);
			if (r == 0)
				return 0;
			if (r != -EAGAIN)
				qfd_close(&socks[i]);
			else
				p[n++] = (struct pollfd){ .fd = socks[i], .events = POLLIN };
		}
		if (n == 0)
			return -EPIPE;
		int r = poll_until(p, n, until_ns);
		if (r != 0)
			return r;
	}
}
