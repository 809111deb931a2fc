/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qfd.h: descriptors that stay ours, sockets at paths, messages with descriptors. */
#include "lib/qfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/fixture.h"

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void pair(int sv[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
}

static void close_pair(int sv[2])
{
	qfd_close(&sv[0]);
	qfd_close(&sv[1]);
}

START_TEST(close_is_idempotent_and_keeps_errno)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd;

	ck_assert_int_ge(fd, 0);
	errno = EXDEV;
	qfd_close(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(number, F_GETFD), -1);
	errno = EXDEV;
	qfd_close(&fd);
	ck_assert_int_eq(errno, EXDEV);
	fd = 1000000;	/* close() fails, errno stays */
	qfd_close(&fd);
	ck_assert_int_eq(errno, EXDEV);
}
END_TEST

START_TEST(dup_is_cloexec)
{
	QCLEAN(qfd_close) int fd = open("/dev/null", O_RDONLY);
	QCLEAN(qfd_close) int d = qfd_dup(fd);

	ck_assert_int_ge(d, 3);
	ck_assert(is_cloexec(d));
	ck_assert_int_eq(qfd_dup(-1), -EBADF);
}
END_TEST

START_TEST(nonblock_on_and_off)
{
	int sv[2];
	char c;

	pair(sv);
	ck_assert_int_eq(qfd_nonblock(sv[0], true), 0);
	ck_assert_int_eq(read(sv[0], &c, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(qfd_nonblock(sv[0], false), 0);
	ck_assert(!(fcntl(sv[0], F_GETFL) & O_NONBLOCK));
	ck_assert_int_eq(qfd_nonblock(-1, true), -EBADF);
	close_pair(sv);
}
END_TEST

START_TEST(memfd_keeps_its_size)
{
	QCLEAN(qfd_close) int fd = qfd_memfd("test", 8192);
	char buf[16] = { 1 };
	struct stat st;

	ck_assert_int_ge(fd, 0);
	ck_assert(is_cloexec(fd));
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 8192);
	ck_assert_int_eq(pread(fd, buf, sizeof(buf), 8192 - sizeof(buf)), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0);
	ck_assert_int_eq(ftruncate(fd, 4096), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 12288), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	ck_assert_int_eq(qfd_memfd("huge", UINT64_MAX), -EFBIG);
}
END_TEST

static int sealed_memfd(unsigned flags, int seals)
{
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	if (fd >= 0)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* Whatever its owner can take away from under a mapping, one way or another. */
START_TEST(what_cannot_shrink)
{
	int good = sealed_memfd(0, F_SEAL_SHRINK), loose = sealed_memfd(0, F_SEAL_GROW);
	int huge = sealed_memfd(MFD_HUGETLB, F_SEAL_SHRINK), event = qfd_eventfd();

	ck_assert_int_eq(qfd_check_no_shrink(good), 0);
	ck_assert_int_eq(qfd_check_no_shrink(loose), -EPERM);
	ck_assert_int_eq(qfd_check_no_shrink(event), -EPERM);
	ck_assert_int_eq(qfd_check_no_shrink(-1), -EPERM);
	if (huge >= 0)	/* not every kernel has them */
		ck_assert_int_eq(qfd_check_no_shrink(huge), -EPERM);
	qfd_close(&good);
	qfd_close(&loose);
	qfd_close(&huge);
	qfd_close(&event);
}
END_TEST

START_TEST(eventfd_counts)
{
	QCLEAN(qfd_close) int fd = qfd_eventfd();
	const uint64_t full = UINT64_MAX - 1;

	ck_assert(is_cloexec(fd));
	ck_assert_uint_eq(qfd_event_clear(fd), 0);
	for (int i = 0; i < 3; i++)
		qfd_event_signal(fd);
	ck_assert_uint_eq(qfd_event_clear(fd), 3);
	ck_assert_uint_eq(qfd_event_clear(fd), 0);
	/* Full: signalled already, so nothing to add, nothing to wait for, errno untouched. */
	ck_assert_int_eq(write(fd, &full, sizeof(full)), sizeof(full));
	errno = EXDEV;
	qfd_event_signal(fd);
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_uint_eq(qfd_event_clear(fd), full);
}
END_TEST

/* Who must not wait is told when the listener has no place left, and gets a blocking descriptor. */
START_TEST(connect_now)
{
	char dir[256], path[300];
	int r = 0;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/s", fixture_mkdir(dir, sizeof(dir)));
	ck_assert_int_eq(qfd_connect_unix_now(path), -ENOENT);
	int l = qfd_listen_unix(path, 1);
	ck_assert_int_ge(l, 0);
	int c[8];
	for (; n < Q_ARRAY_LEN(c) && r >= 0; n += r >= 0) {
		r = qfd_connect_unix_now(path);
		if (r >= 0) {
			ck_assert_int_eq(fcntl(r, F_GETFL) & O_NONBLOCK, 0);
			c[n] = r;
		}
	}
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_ge(n, 1);
	while (n > 0)
		qfd_close(&c[--n]);
	qfd_close(&l);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(listen_connect_and_talk)
{
	char dir[128], path[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s/s", fixture_mkdir(dir, sizeof(dir)));
	QCLEAN(qfd_close) int l = qfd_listen_unix(path, 4);
	ck_assert_int_ge(l, 0);
	ck_assert(is_cloexec(l));
	ck_assert(fcntl(l, F_GETFL) & O_NONBLOCK);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(accept4(l, NULL, NULL, SOCK_CLOEXEC), -1);
	ck_assert_int_eq(errno, EAGAIN);

	QCLEAN(qfd_close) int c = qfd_connect_unix(path);
	ck_assert_int_ge(c, 0);
	ck_assert(is_cloexec(c));
	ck_assert(!(fcntl(c, F_GETFL) & O_NONBLOCK));
	QCLEAN(qfd_close) int a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	char word[6] = { 0 };
	ck_assert_int_eq(qfd_write_all(c, "hello", 5), 0);
	ck_assert_int_eq(qfd_read_all(a, word, 5), 0);
	ck_assert_str_eq(word, "hello");
	fixture_rmdir(dir);
}
END_TEST

START_TEST(listen_replaces_the_dead_only)
{
	char dir[128], path[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s/s", fixture_mkdir(dir, sizeof(dir)));
	int dead = qfd_listen_unix(path, 1);
	ck_assert_int_ge(dead, 0);
	qfd_close(&dead);
	QCLEAN(qfd_close) int l = qfd_listen_unix(path, 0);
	ck_assert_int_ge(l, 0);
	/* The first probe waits in the backlog and fills it; the second finds a listener that
	 * answers nobody and is alive all the same. */
	ck_assert_int_eq(qfd_listen_unix(path, 1), -EADDRINUSE);
	ck_assert_int_eq(qfd_listen_unix(path, 1), -EADDRINUSE);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	fixture_rmdir(dir);
}
END_TEST

START_TEST(listen_spares_what_is_no_socket)
{
	char dir[128], path[160];

	snprintf(path, sizeof(path), "%s/s", fixture_mkdir(dir, sizeof(dir)));
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	qfd_close(&fd);
	ck_assert_int_eq(qfd_listen_unix(path, 1), -EADDRINUSE);
	ck_assert_int_eq(access(path, F_OK), 0);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(paths_refused)
{
	struct sockaddr_un sa;
	char path[sizeof(sa.sun_path) + 1];

	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(qfd_listen_unix(path, 1), -ENAMETOOLONG);
	ck_assert_int_eq(qfd_connect_unix(path), -ENAMETOOLONG);
	ck_assert_int_eq(qfd_listen_unix("", 1), -EINVAL);
	ck_assert_int_eq(qfd_connect_unix(""), -EINVAL);
	ck_assert_int_eq(qfd_connect_unix("/nonexistent/s"), -ENOENT);
	ck_assert_int_eq(qfd_listen_unix("/nonexistent/s", 1), -ENOENT);
}
END_TEST

static void on_alarm(int sig)
{
}

static pid_t feed_slowly(int fd, const char *text)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	for (; *text; text++) {
		usleep(5000);
		if (write(fd, text, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

START_TEST(read_all_gathers_pieces_and_survives_signals)
{
	/* No SA_RESTART: every alarm ends a blocked read() with EINTR. */
	const struct sigaction sa = { .sa_handler = on_alarm };
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	int sv[2], status;
	char buf[11] = { 0 };

	pair(sv);
	ck_assert_int_eq(sigaction(SIGALRM, &sa, NULL), 0);
	pid_t pid = feed_slowly(sv[1], "0123456789");
	setitimer(ITIMER_REAL, &often, NULL);
	int r = qfd_read_all(sv[0], buf, 10);
	setitimer(ITIMER_REAL, &never, NULL);
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(buf, "0123456789");
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close_pair(sv);
}
END_TEST

START_TEST(read_all_says_where_the_file_ends)
{
	int sv[2];
	char buf[8];

	pair(sv);
	ck_assert_int_eq(qfd_write_all(sv[1], "abc", 3), 0);
	qfd_close(&sv[1]);
	ck_assert_int_eq(qfd_read_all(sv[0], buf, 0), 0);
	ck_assert_int_eq(qfd_read_all(sv[0], buf, 8), -EPIPE);
	ck_assert_int_eq(qfd_read_all(-1, buf, 1), -EBADF);
	close_pair(sv);
}
END_TEST

START_TEST(write_all_to_a_gone_peer_is_no_signal)
{
	int sv[2], p[2];
	char buf[4] = { 0 };

	pair(sv);
	qfd_close(&sv[1]);
	ck_assert_int_eq(qfd_write_all(sv[0], "abc", 3), -EPIPE);	/* SIGPIPE would end us */
	close_pair(sv);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(qfd_write_all(p[1], "abc", 3), 0);	/* no socket: plain write */
	ck_assert_int_eq(qfd_read_all(p[0], buf, 3), 0);
	ck_assert_str_eq(buf, "abc");
	close_pair(p);
	ck_assert_int_eq(qfd_write_all(-1, "abc", 3), -EBADF);
}
END_TEST

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino &&
	       sa.st_dev == sb.st_dev;
}

static void make_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = qfd_memfd("pass", i + 1);
		ck_assert_int_ge(fds[i], 0);
	}
}

static void close_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		qfd_close(&fds[i]);
}

static const struct {
	unsigned n, max;
	int want;	/* bytes, or -errno */
} pass_rows[] = {
	{ 0, 0, 5 },
	{ 0, 4, 5 },
	{ 1, 1, 5 },
	{ 2, 4, 5 },
	{ QFD_PASS_MAX, QFD_PASS_MAX, 5 },
	{ 1, 0, -EBADMSG },
	{ 5, 4, -EBADMSG },
	{ QFD_PASS_MAX, QFD_PASS_MAX - 1, -EBADMSG },
};

START_TEST(pass_row)
{
	int sv[2], sent[QFD_PASS_MAX], got[QFD_PASS_MAX];
	unsigned n = pass_rows[_i].n, n_got = 99;
	char buf[8];

	pair(sv);
	make_fds(sent, n);
	unsigned before = fixture_count_fds();
	ck_assert_int_eq(qfd_send(sv[0], "hello", 5, sent, n), 5);
	ck_assert_int_eq(qfd_recv(sv[1], buf, sizeof(buf), got, pass_rows[_i].max, &n_got),
			 pass_rows[_i].want);
	if (pass_rows[_i].want < 0) {
		ck_assert_uint_eq(n_got, 0);
		ck_assert_uint_eq(fixture_count_fds(), before);
	} else {
		ck_assert_uint_eq(n_got, n);
		ck_assert_mem_eq(buf, "hello", 5);
		for (unsigned i = 0; i < n_got; i++) {
			ck_assert(same_file(sent[i], got[i]));
			ck_assert(is_cloexec(got[i]));
		}
		close_fds(got, n_got);
	}
	close_fds(sent, n);
	close_pair(sv);
}
END_TEST

/* A peer that does not use qfd_send() and attaches more than there is room for. */
START_TEST(too_many_are_closed)
{
	enum { N = QFD_PASS_MAX + 8 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * N)];
	} ctl = { .bytes = { 0 } };
	char byte = 'x', buf[8];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.bytes,
			      .msg_controllen = sizeof(ctl.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int sv[2], got[QFD_PASS_MAX];
	unsigned n_got = 99;

	pair(sv);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * N);
	for (int i = 0; i < N; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &sv[0], sizeof(int));
	ck_assert_int_eq(sendmsg(sv[0], &msg, 0), 1);
	unsigned before = fixture_count_fds();
	ck_assert_int_eq(qfd_recv(sv[1], buf, sizeof(buf), got, QFD_PASS_MAX, &n_got), -EBADMSG);
	ck_assert_uint_eq(n_got, 0);
	ck_assert_uint_eq(fixture_count_fds(), before);
	close_pair(sv);
}
END_TEST

START_TEST(messages_refused_and_ends)
{
	int sv[2], fds[QFD_PASS_MAX + 1] = { 0 };
	unsigned n_got = 99;
	char buf[4];

	pair(sv);
	ck_assert_int_eq(qfd_send(sv[0], "x", 1, fds, QFD_PASS_MAX + 1), -EINVAL);
	ck_assert_int_eq(qfd_send(sv[0], "x", 0, fds, 1), -EINVAL);
	ck_assert_int_eq(qfd_recv(sv[1], buf, 0, NULL, 0, &n_got), -EINVAL);
	ck_assert_uint_eq(n_got, 0);
	ck_assert_int_eq(qfd_nonblock(sv[1], true), 0);
	n_got = 99;
	ck_assert_int_eq(qfd_recv(sv[1], buf, sizeof(buf), NULL, 0, &n_got), -EAGAIN);
	ck_assert_uint_eq(n_got, 0);
	qfd_close(&sv[0]);
	n_got = 99;
	ck_assert_int_eq(qfd_recv(sv[1], buf, sizeof(buf), NULL, 0, &n_got), 0);
	ck_assert_uint_eq(n_got, 0);
	ck_assert_int_eq(qfd_send(sv[1], "x", 1, NULL, 0), -EPIPE);
	close_pair(sv);
}
END_TEST

START_TEST(send_reports_a_full_socket)
{
	static const char block[65536];
	int sv[2];
	ssize_t n, total = 0;

	pair(sv);
	ck_assert_int_eq(qfd_nonblock(sv[0], true), 0);
	while ((n = qfd_send(sv[0], block, sizeof(block), NULL, 0)) > 0)
		total += n;
	ck_assert_int_eq(n, -EAGAIN);
	ck_assert_int_gt(total, 0);
	close_pair(sv);
}
END_TEST

START_TEST(listening)
{
	char dir[256], path[300];

	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	int fd = qfd_listen_unix(path, 1), other = qfd_connect_unix(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(other, 0);
	ck_assert(qfd_is_listening(fd));
	ck_assert(!qfd_is_listening(other) && !qfd_is_listening(-1) && !qfd_is_listening(1));
	qfd_close(&fd);
	qfd_close(&other);
	fixture_rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qfd");
	TCase *tc = fixture_case(s, "descriptors");

	tcase_add_test(tc, listening);
	tcase_add_test(tc, close_is_idempotent_and_keeps_errno);
	tcase_add_test(tc, dup_is_cloexec);
	tcase_add_test(tc, nonblock_on_and_off);
	tcase_add_test(tc, memfd_keeps_its_size);
	tcase_add_test(tc, what_cannot_shrink);
	tcase_add_test(tc, eventfd_counts);
	tc = fixture_case(s, "paths");
	tcase_add_test(tc, connect_now);
	tcase_add_test(tc, listen_connect_and_talk);
	tcase_add_test(tc, listen_replaces_the_dead_only);
	tcase_add_test(tc, listen_spares_what_is_no_socket);
	tcase_add_test(tc, paths_refused);
	tc = fixture_case(s, "messages");
	tcase_add_test(tc, read_all_gathers_pieces_and_survives_signals);
	tcase_add_test(tc, read_all_says_where_the_file_ends);
	tcase_add_test(tc, write_all_to_a_gone_peer_is_no_signal);
	tcase_add_loop_test(tc, pass_row, 0, Q_ARRAY_LEN(pass_rows));
	tcase_add_test(tc, too_many_are_closed);
	tcase_add_test(tc, messages_refused_and_ends);
	tcase_add_test(tc, send_reports_a_full_socket);
	return fixture_main(s);
}
