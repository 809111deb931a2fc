/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: making them, closing them, passing them over UNIX sockets.
 *
 * Owns nothing and keeps no state; any thread. Invariants: every descriptor made or received here
 * is O_CLOEXEC from its first instant (no fcntl() afterwards that a fork could overtake), EINTR
 * never reaches a caller, and no call here raises SIGPIPE.
 *
 * What arrives in a control message is a peer's doing: qfd_recv() takes all of it or none, so that
 * no number of descriptors, and no kind of truncation, makes one leak or one go astray.
 */
#include "lib/qfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

void qfd_close(int *fd)
{
	if (*fd < 0)
		return;
	int saved = errno;

	/* Not repeated on EINTR: Linux has released the number, and another thread may own it. */
	close(*fd);
	*fd = -1;
	errno = saved;
}

int qfd_dup(int fd)
{
	/* From 3 on: a duplicate never stands in for a closed stdin, stdout or stderr. */
	int dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return dup < 0 ? -errno : dup;
}

int qfd_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

bool qfd_is_listening(int fd)
{
	int yes = 0;
	socklen_t len = sizeof(yes);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

int qfd_memfd(const char *name, uint64_t len_bytes)
{
	/* F_SEAL_SEAL as well: a peer that is handed the descriptor cannot add seals of its own. */
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	if (len_bytes > INT64_MAX)
		return -EFBIG;
	QCLEAN(qfd_close) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int r;
	do
		r = ftruncate(fd, (off_t)len_bytes);
	while (r < 0 && errno == EINTR);
	if (r < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	int ret = fd;
	fd = -1;
	return ret;
}

int qfd_check_no_shrink(int fd)
{
	struct statfs fs;
	int seals = fcntl(fd, F_GET_SEALS);	/* fails on whatever cannot be sealed */

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EPERM;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	return (uint64_t)fs.f_type == HUGETLBFS_MAGIC ? -EPERM : 0;
}

int qfd_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void qfd_event_signal(int fd)
{
	const uint64_t one = 1;
	int saved = errno;
	ssize_t n;

	do
		n = write(fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	errno = saved;
}

uint64_t qfd_event_clear(int fd)
{
	uint64_t count = 0;
	int saved = errno;
	ssize_t n;

	do
		n = read(fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
	errno = saved;
	return n == (ssize_t)sizeof(count) ? count : 0;
}

static int unix_addr(const char *path, struct sockaddr_un *ret_sa)
{
	size_t len = strlen(path);

	if (len == 0)
		return -EINVAL;	/* would be an autobound abstract name */
	if (len >= sizeof(ret_sa->sun_path))
		return -ENAMETOOLONG;
	*ret_sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_sa->sun_path, path, len + 1);
	return 0;
}

static int unix_socket(int flags)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int connect_retry(int fd, const struct sockaddr_un *sa)
{
	int r;

	/* A UNIX connect that was interrupted has not begun: asking again is right here. */
	do
		r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/*
 * Removes the socket file that a dead listener left at @sa. 0 when the name is free now;
 * -EADDRINUSE when somebody listens there, or when it is no socket. Two processes that start on
 * one path at the same moment are kept apart by their folder's owner, not here.
 */
static int unlink_dead(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	/* Nonblocking: a live listener with a full backlog answers -EAGAIN, and is alive. */
	QCLEAN(qfd_close) int probe = unix_socket(SOCK_NONBLOCK);
	if (probe < 0)
		return -errno;
	if (connect_retry(probe, sa) != -ECONNREFUSED)
		return -EADDRINUSE;
	if (unlink(sa->sun_path) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int qfd_listen_unix(const char *path, int backlog)
{
	struct sockaddr_un sa;
	int r = unix_addr(path, &sa);

	if (r < 0)
		return r;
	QCLEAN(qfd_close) int fd = unix_socket(SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* Linux gives the file the mode of the socket's inode: 0600 from the first instant, with
	 * no chmod() race and no umask() that other threads would feel. */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	r = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	if (r == -EADDRINUSE) {
		r = unlink_dead(&sa);
		if (r == 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
			r = -errno;
	}
	if (r < 0)
		return r;
	if (listen(fd, backlog) < 0) {
		r = -errno;
		unlink(path);
		return r;
	}
	int ret = fd;
	fd = -1;
	return ret;
}

static int connect_unix(const char *path, int flags)
{
	struct sockaddr_un sa;
	int r = unix_addr(path, &sa);

	if (r < 0)
		return r;
	QCLEAN(qfd_close) int fd = unix_socket(flags);
	if (fd < 0)
		return -errno;
	r = connect_retry(fd, &sa);
	if (r == 0 && flags)
		r = qfd_nonblock(fd, false);
	if (r < 0)
		return r;
	int ret = fd;
	fd = -1;
	return ret;
}

int qfd_connect_unix(const char *path)
{
	return connect_unix(path, 0);
}

int qfd_connect_unix_now(const char *path)
{
	return connect_unix(path, SOCK_NONBLOCK);
}

/* Moves all of @len bytes in as many calls as it takes; @at is written to only if @move reads. */
static int move_all(ssize_t (*move)(int fd, void *at, size_t len), int fd, char *at, size_t len)
{
	while (len > 0) {
		ssize_t n = move(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int qfd_read_all(int fd, void *buf, size_t len)
{
	return move_all(read, fd, buf, len);
}

/* write(), but a socket whose peer has gone answers -EPIPE instead of killing us with SIGPIPE. */
static ssize_t write_quiet(int fd, void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, buf, len);
	return n;
}

int qfd_write_all(int fd, const void *buf, size_t len)
{
	return move_all(write_quiet, fd, (char *)(uintptr_t)buf, len);
}

union pass_buf {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * QFD_PASS_MAX)];
};

ssize_t qfd_send(int sock, const void *buf, size_t len, const int *fds, unsigned n_fds)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union pass_buf ctl = { .bytes = { 0 } };

	if (n_fds > QFD_PASS_MAX || (n_fds > 0 && len == 0))
		return -EINVAL;
	if (n_fds > 0) {
		msg.msg_control = ctl.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	ssize_t n;
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Gathers every descriptor of @msg into @ret (QFD_PASS_MAX of room, which the control buffer's
 * size makes enough; one that did not fit would be closed). Returns their number. */
static unsigned gather_fds(struct msghdr *msg, int *ret)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < QFD_PASS_MAX)
				ret[n++] = fd;
			else
				qfd_close(&fd);
		}
	}
	return n;
}

ssize_t qfd_recv(int sock, void *buf, size_t len, int *fds, unsigned max_fds, unsigned *ret_n_fds)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	union pass_buf ctl;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.bytes, .msg_controllen = sizeof(ctl.bytes),
	};
	int got[QFD_PASS_MAX];
	ssize_t n;

	*ret_n_fds = 0;
	if (len == 0)
		return -EINVAL;	/* its 0 could not be told from an end of file */
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	unsigned n_got = gather_fds(&msg, got);
	if (n_got > max_fds || (msg.msg_flags & MSG_CTRUNC)) {
		for (unsigned i = 0; i < n_got; i++)
			qfd_close(&got[i]);
		return -EBADMSG;
	}
	if (n_got > 0)
		memcpy(fds, got, n_got * sizeof(int));
	*ret_n_fds = n_got;
	return n;
}
