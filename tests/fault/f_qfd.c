/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qfd.h without descriptors, and with every call interrupted. */
#include "lib/qfd.h"

#include <errno.h>
#include <sys/socket.h>

#include "tests/fault/fault.h"
#include "tests/unit/fixture.h"

static int make_each(void)
{
	QCLEAN(qfd_close) int mem = qfd_memfd("x", 4096);
	if (mem < 0)
		return mem;
	QCLEAN(qfd_close) int event = qfd_eventfd();
	if (event < 0)
		return event;
	QCLEAN(qfd_close) int dup = qfd_dup(mem);
	return dup < 0 ? dup : 0;
}

/* A dead socket file, a listener in its place, a client. The folder stays as clean as it was. */
static int listen_and_connect(void)
{
	char dir[] = "/tmp/parley-fault.XXXXXX", path[64];

	if (!mkdtemp(dir))
		return -errno;
	snprintf(path, sizeof(path), "%s/s", dir);
	int dead = qfd_listen_unix(path, 1);	/* where this fails, nobody is to be replaced */
	qfd_close(&dead);
	QCLEAN(qfd_close) int l = qfd_listen_unix(path, 1);
	int r = l;
	if (l >= 0) {
		QCLEAN(qfd_close) int c = qfd_connect_unix(path);
		r = c < 0 ? c : 0;
	}
	unlink(path);
	FAULT_CHECK(rmdir(dir) == 0);
	return r;
}

static int talk(void)
{
	int sv[2], got[2], r;
	unsigned n_got = 0;
	char buf[8] = { 0 };

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	QCLEAN(qfd_close) int a = sv[0];
	QCLEAN(qfd_close) int b = sv[1];
	r = qfd_write_all(a, "abc", 3);
	if (r == 0)
		r = qfd_read_all(b, buf, 3);
	if (r < 0)
		return r;
	FAULT_CHECK(!strcmp(buf, "abc"));
	ssize_t n = qfd_send(a, "de", 2, &a, 1);
	if (n < 0)
		return (int)n;
	n = qfd_recv(b, buf, sizeof(buf), got, 2, &n_got);
	if (n < 0)
		return (int)n;
	FAULT_CHECK(n == 2 && n_got == 1);
	for (unsigned i = 0; i < n_got; i++)
		qfd_close(&got[i]);
	return 0;
}

/* Signals have nowhere to report to: one that is interrupted arrives all the same. */
static int signal_and_clear(void)
{
	QCLEAN(qfd_close) int fd = qfd_eventfd();

	if (fd < 0)
		return fd;
	qfd_event_signal(fd);
	qfd_event_signal(fd);
	return qfd_event_clear(fd) == 2 ? 0 : -EIO;
}

static const struct fault_row rows[] = {
	{ "no descriptors", make_each, FAULT_FD, EMFILE, -EMFILE },
	{ "no size", make_each, FAULT_SIZE, EFBIG, -EFBIG },
	{ "no seals", make_each, FAULT_SEAL, EINVAL, -EINVAL },
	{ "no sockets", listen_and_connect, FAULT_FD, EMFILE, FAULT_EITHER },
	{ "reads fail", talk, FAULT_READ, EIO, -EIO },
	{ "writes fail", talk, FAULT_WRITE, ECONNRESET, -ECONNRESET },
	{ "interrupted", talk, FAULT_READ | FAULT_WRITE, EINTR, 0 },
	{ "signals interrupted", signal_and_clear, FAULT_READ | FAULT_WRITE, EINTR, 0 },
};

START_TEST(row)
{
	fault_walk(&rows[_i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fault: qfd");
	TCase *tc = fixture_case(s, "rows");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
