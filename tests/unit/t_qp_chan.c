/* SPDX-License-Identifier: Apache-2.0 */
/* proto/qp_chan.h: frames, the greeting, limits, descriptors, peers that break each rule. */
#include "proto/qp_chan.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

/* One channel, and the naked socket of its peer. */
struct pair {
	struct qp_chan *chan;
	int peer;
};

static struct pair pair_new(void)
{
	struct pair p;
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	p.chan = qp_chan_new(s[0], "test");
	p.peer = s[1];
	ck_assert_ptr_nonnull(p.chan);
	return p;
}

static void pair_free(struct pair *p)
{
	p->chan = qp_chan_free(p->chan);
	qfd_close(&p->peer);
}

static void put_raw(int fd, const void *bytes, size_t len)
{
	ck_assert_int_eq(qfd_write_all(fd, bytes, len), 0);
}

static void put_frame(int fd, const void *bytes, size_t len)
{
	uint32_t w = htole32((uint32_t)len);

	put_raw(fd, &w, sizeof(w));
	put_raw(fd, bytes, len);
}

static const uint8_t hello_1[] = { 0x12, 2, 8, QP_VERSION_MAJOR };
static const uint8_t list_7[] = { 0x08, 7, 0xc2, 0x02, 0 };

static void put_hello(int fd)
{
	put_frame(fd, hello_1, sizeof(hello_1));
}

static int get(struct qp_chan *c, Parley__Envelope **ret)
{
	int fds[QP_FDS_MAX];
	unsigned n_fds = 0;
	int r = qp_chan_recv(c, ret, fds, &n_fds);

	for (unsigned i = 0; i < n_fds; i++)
		qfd_close(&fds[i]);
	return r;
}

START_TEST(says_hello_first)
{
	struct pair p = pair_new();
	uint8_t frame[64];

	ck_assert_int_eq(qfd_read_all(p.peer, frame, 4), 0);
	ck_assert_int_eq(qfd_read_all(p.peer, frame + 4, frame[0]), 0);
	Parley__Envelope *e = parley__envelope__unpack(NULL, frame[0], frame + 4);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(e->body_case, PARLEY__ENVELOPE__BODY_HELLO);
	ck_assert_uint_eq(e->hello->major, QP_VERSION_MAJOR);
	ck_assert_str_eq(e->hello->program, "test");
	ck_assert_int_eq(e->hello->pid, getpid());
	qp_msg_free(e);
	pair_free(&p);
}
END_TEST

/* Byte by byte: nothing is given out before all is there. */
START_TEST(one_byte_at_a_time)
{
	static const uint8_t wire[] = { 4, 0, 0, 0, 0x12, 2, 8, 1, 5, 0, 0, 0, 8, 7, 0xc2, 2, 0 };
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;

	for (size_t i = 0; i < sizeof(wire); i++) {
		ck_assert_int_eq(get(p.chan, &e), QP_AGAIN);
		put_raw(p.peer, wire + i, 1);
	}
	ck_assert_int_eq(get(p.chan, &e), QP_OK);
	ck_assert_uint_eq(e->id, 7);
	ck_assert_int_eq(e->body_case, PARLEY__ENVELOPE__BODY_LIST_REQUEST);
	qp_msg_free(e);
	ck_assert_int_eq(get(p.chan, &e), QP_AGAIN);
	qfd_close(&p.peer);
	ck_assert_int_eq(get(p.chan, &e), QP_CLOSED);
	pair_free(&p);
}
END_TEST

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })
static const struct {
	bool greeted;		/* a good hello went before */
	bool hang_up;
	const uint8_t *wire;
	size_t len;
	const char *fault;
} broken[] = {
	{ false, false, BYTES(0, 0, 0, 0), "frame_size" },
	{ false, false, BYTES(1, 0, 0x10, 0), "frame_size" },
	{ false, false, BYTES(0xff, 0xff, 0xff, 0xff), "frame_size" },
	{ false, false, BYTES(2, 0, 0, 0, 0xff, 0xff), "not_an_envelope" },
	{ false, false, BYTES(2, 0, 0, 0, 8, 1), "empty" },
	{ false, false, BYTES(5, 0, 0, 0, 8, 7, 0xc2, 2, 0), "no_hello" },
	{ false, false, BYTES(4, 0, 0, 0, 0x12, 2, 8, 2), "version" },
	{ false, false, BYTES(4, 0, 0, 0, 0xfa, 0x3f, 1, 0x61), "no_hello" },
	{ true, false, BYTES(4, 0, 0, 0, 0x12, 2, 8, 1), "hello_twice" },
	{ true, false, BYTES(7, 0, 0, 0, 8, 1, 0xd2, 2, 2, 8, 99), "verb" },
	{ true, false, BYTES(8, 0, 0, 0, 8, 1, 0xd2, 2, 3, 0x12, 1, 7), "name" },
	{ true, true, BYTES(5, 0, 0), "cut_off" },
	{ true, true, BYTES(5, 0, 0, 0, 8, 7), "cut_off" },
};

START_TEST(each_rule)
{
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;

	if (broken[_i].greeted)
		put_hello(p.peer);
	put_raw(p.peer, broken[_i].wire, broken[_i].len);
	if (broken[_i].hang_up)
		ck_assert_int_eq(shutdown(p.peer, SHUT_WR), 0);
	ck_assert_int_eq(get(p.chan, &e), QP_FAULT);
	ck_assert_str_eq(qp_chan_fault(p.chan), broken[_i].fault);
	ck_assert_ptr_null(e);
	pair_free(&p);
}
END_TEST

/* Another version is told why before it is left. */
START_TEST(version_is_told)
{
	static const uint8_t hello_9[] = { 0x12, 2, 8, 9 };
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;
	uint8_t bytes[512];

	put_frame(p.peer, hello_9, sizeof(hello_9));
	ck_assert_int_eq(get(p.chan, &e), QP_FAULT);
	ck_assert_int_eq(qfd_read_all(p.peer, bytes, 4), 0);
	ck_assert_int_eq(qfd_read_all(p.peer, bytes, bytes[0]), 0);	/* its hello */
	ck_assert_int_eq(qfd_read_all(p.peer, bytes, 4), 0);
	uint8_t len = bytes[0];
	ck_assert_int_eq(qfd_read_all(p.peer, bytes, len), 0);
	e = parley__envelope__unpack(NULL, len, bytes);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(e->body_case, PARLEY__ENVELOPE__BODY_ERROR);
	ck_assert_int_eq(e->error->code, PARLEY__CODE__E_VERSION);
	qp_msg_free(e);
	pair_free(&p);
}
END_TEST

/* Field 1023, of a version to come: no fault, and no body. */
START_TEST(later_version)
{
	static const uint8_t wire[] = { 8, 5, 0xfa, 0x3f, 1, 0x61 };
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;

	put_hello(p.peer);
	put_frame(p.peer, wire, sizeof(wire));
	ck_assert_int_eq(get(p.chan, &e), QP_OK);
	ck_assert_uint_eq(e->id, 5);
	ck_assert_int_eq(e->body_case, PARLEY__ENVELOPE__BODY__NOT_SET);
	qp_msg_free(e);
	pair_free(&p);
}
END_TEST

/* Two bytes for a structure of a hundred: 1 MiB of them would be 50 MiB here. */
START_TEST(decoding_is_charged)
{
	static uint8_t wire[QP_FRAME_MAX];
	size_t body = QP_FRAME_MAX - 10, at = 0;
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;
	int r;

	/* ListReply (41) as one length-delimited field, all empty VmInfo (1) in it. */
	wire[at++] = 0xca;
	wire[at++] = 0x02;
	for (size_t n = body - at - 3, k = 0; k < 3; k++, n >>= 7)
		wire[at++] = (uint8_t)((n & 0x7f) | (k < 2 ? 0x80 : 0));
	while (at < body) {
		wire[at++] = 0x0a;
		if (at < body)
			wire[at++] = 0;
	}
	put_hello(p.peer);
	ck_assert_int_eq(qfd_nonblock(p.peer, true), 0);
	uint32_t w = htole32((uint32_t)body);
	ck_assert_int_eq(write(p.peer, &w, 4), 4);
	for (size_t sent = 0; sent < body;) {
		ssize_t n = write(p.peer, wire + sent, body - sent);

		sent += n > 0 ? (size_t)n : 0;
		r = get(p.chan, &e);
		if (sent < body)
			ck_assert_int_eq(r, QP_AGAIN);
	}
	while (r == QP_AGAIN)
		r = get(p.chan, &e);
	ck_assert_int_eq(r, QP_FAULT);
	ck_assert_str_eq(qp_chan_fault(p.chan), "not_an_envelope");
	pair_free(&p);
}
END_TEST

static void send_list(struct qp_chan *c, uint32_t id, const int *fds, unsigned n_fds, int want)
{
	Parley__ListRequest l = PARLEY__LIST_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_LIST_REQUEST;
	e.list_request = &l;
	ck_assert_int_eq(qp_chan_send(c, &e, fds, n_fds), want);
}

/* Two channels: descriptors stay with their message. */
START_TEST(descriptors)
{
	int s[2], fds[QP_FDS_MAX], got[QP_FDS_MAX];
	unsigned n = 0;
	Parley__Envelope *e = NULL;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	struct qp_chan *a = qp_chan_new(s[0], "a"), *b = qp_chan_new(s[1], "b");
	for (unsigned i = 0; i < QP_FDS_MAX; i++)
		fds[i] = qfd_eventfd();
	send_list(a, 1, NULL, 0, QP_OK);
	send_list(a, 2, fds, QP_FDS_MAX, QP_OK);
	send_list(a, 3, fds, 1, QP_OK);
	send_list(a, 4, fds, QP_FDS_MAX + 1, -EMSGSIZE);
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(qp_chan_recv(b, &e, got, &n), QP_OK);
		ck_assert_uint_eq(e->id, i);
		ck_assert_uint_eq(n, i == 1 ? 0 : i == 2 ? QP_FDS_MAX : 1);
		for (unsigned k = 0; k < n; k++) {
			ck_assert(fcntl(got[k], F_GETFD) & FD_CLOEXEC);
			qfd_close(&got[k]);
		}
		qp_msg_free(e);
	}
	for (unsigned i = 0; i < QP_FDS_MAX; i++)
		qfd_close(&fds[i]);
	qp_chan_free(a);
	qp_chan_free(b);
}
END_TEST

/* Descriptors that came with a frame that is not finished, or not ours to keep, are closed. */
START_TEST(descriptors_do_not_leak)
{
	struct pair p = pair_new();
	int fd = qfd_eventfd();
	uint32_t w = htole32(sizeof(list_7));
	Parley__Envelope *e = NULL;

	put_hello(p.peer);
	ck_assert_int_eq(qfd_send(p.peer, &w, 4, &fd, 1), 4);
	ck_assert_int_eq(get(p.chan, &e), QP_AGAIN);
	pair_free(&p);
	qfd_close(&fd);
	/* The fixture counts. */
}
END_TEST

/* A frame whose bytes carry descriptors again and again: never more than the limit. */
START_TEST(descriptors_in_every_byte)
{
	static const uint8_t wire[] = { 5, 0, 0, 0, 8, 7, 0xc2, 2, 0 };
	struct pair p = pair_new();
	int fds[4], r = QP_AGAIN;
	Parley__Envelope *e = NULL;

	for (unsigned i = 0; i < 4; i++)
		fds[i] = qfd_eventfd();
	put_hello(p.peer);
	for (size_t i = 0; i < sizeof(wire) && r == QP_AGAIN; i++) {
		ck_assert_int_eq(qfd_send(p.peer, wire + i, 1, fds, 4), 1);
		r = get(p.chan, &e);
	}
	ck_assert_int_eq(r, QP_FAULT);
	ck_assert_str_eq(qp_chan_fault(p.chan), "too_many_descriptors");
	pair_free(&p);
	for (unsigned i = 0; i < 4; i++)
		qfd_close(&fds[i]);
}
END_TEST

/* A peer that does not read costs QP_OUT_MAX and no more; what it reads then is whole. */
START_TEST(a_peer_that_does_not_read)
{
	static char text[QP_STRING_MAX];
	struct pair p = pair_new();
	uint64_t sent = 0;
	int r = QP_OK;

	memset(text, 'x', sizeof(text) - 1);
	while (r == QP_OK && sent < 64u << 20) {
		r = qp_chan_send_error(p.chan, 1, PARLEY__CODE__E_FAILED, 0, "%s", text);
		sent += r == QP_OK ? sizeof(text) : 0;
	}
	ck_assert_int_eq(r, QP_FULL);
	ck_assert_uint_ge(sent, QP_OUT_MAX - 2 * sizeof(text));
	ck_assert(qp_chan_wants_write(p.chan));
	qfd_close(&p.peer);
	ck_assert_int_eq(qp_chan_flush(p.chan), QP_CLOSED);
	pair_free(&p);
}
END_TEST

/* What is quoted in an error cannot end the channel at the other end. */
START_TEST(errors_are_cleaned)
{
	int s[2];
	Parley__Envelope *e = NULL;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	struct qp_chan *a = qp_chan_new(s[0], "a"), *b = qp_chan_new(s[1], "b");
	int r = qp_chan_send_error(a, 3, PARLEY__CODE__E_USAGE, 22, "%s", "no \x1b\xff");
	ck_assert_int_eq(r, QP_OK);
	ck_assert_int_eq(get(b, &e), QP_OK);
	ck_assert_uint_eq(e->id, 3);
	ck_assert_int_eq(e->error->sys_errno, 22);
	ck_assert_str_eq(e->error->text, "no ??");
	qp_msg_free(e);
	qp_chan_free(a);
	qp_chan_free(b);
}
END_TEST

START_TEST(wait_has_a_deadline)
{
	struct pair p = pair_new();
	Parley__Envelope *e = NULL;
	int fds[QP_FDS_MAX];
	unsigned n = 0;
	uint64_t start = qnow_ns();

	int r = qp_chan_wait(p.chan, start + 20 * Q_NSEC_PER_MSEC, &e, fds, &n);
	ck_assert_int_eq(r, QP_TIMEOUT);
	ck_assert_uint_ge(qnow_ns() - start, 20 * Q_NSEC_PER_MSEC);
	put_hello(p.peer);
	put_frame(p.peer, list_7, sizeof(list_7));
	qfd_close(&p.peer);
	/* What it said before it hung up is still read. */
	ck_assert_int_eq(qp_chan_wait(p.chan, qnow_ns() + Q_NSEC_PER_SEC, &e, fds, &n), QP_OK);
	qp_msg_free(e);
	ck_assert_int_eq(qp_chan_wait(p.chan, qnow_ns() + Q_NSEC_PER_SEC, &e, fds, &n), QP_CLOSED);
	pair_free(&p);
}
END_TEST

START_TEST(peer_credentials)
{
	struct pair p = pair_new();
	pid_t pid;
	uid_t uid;
	gid_t gid;

	ck_assert_int_eq(qp_chan_peer(p.chan, &pid, &uid, &gid), 0);
	ck_assert_int_eq(pid, getpid());
	ck_assert_uint_eq(uid, geteuid());
	ck_assert_uint_eq(gid, getegid());
	pair_free(&p);
}
END_TEST

START_TEST(classes)
{
	for (int c = 0; c < 3; c++) {
		Parley__Class back;

		ck_assert_int_eq(qp_class_parse(qp_class_str((Parley__Class)c), &back), 0);
		ck_assert_int_eq(back, c);
	}
	Parley__Class none;
	ck_assert_str_eq(qp_class_str((Parley__Class)3), "unknown");
	ck_assert_int_eq(qp_class_parse("Safety", &none), -EINVAL);
}
END_TEST

/* A listening socket of no file, so that anybody can come; its address. */
static int listen_anywhere(struct sockaddr_un *ret, socklen_t *ret_len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret, sizeof(sa_family_t)), 0);
	*ret_len = sizeof(*ret);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret, ret_len), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

/* As @uid, which root can be; from a process that is gone when this returns. */
static void come_as(uid_t uid, const struct sockaddr_un *sa, socklen_t len)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		_exit((uid != getuid() && setuid(uid) < 0) ||
		      connect(fd, (const struct sockaddr *)sa, len) < 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

START_TEST(a_successor)
{
	struct sockaddr_un sa;
	socklen_t len;
	int fd = listen_anywhere(&sa, &len);
	struct qp_chan *c = NULL;
	pid_t pid = 0;
	uid_t uid = 77;

	ck_assert_int_eq(qp_chan_succeed(fd, "test", getuid(), &c, &pid, &uid), -EAGAIN);
	ck_assert_uint_eq(uid, 77);
	come_as(getuid(), &sa, len);
	ck_assert_int_eq(qp_chan_succeed(fd, "test", getuid(), &c, &pid, &uid), 0);
	ck_assert_uint_eq(uid, getuid());
	ck_assert_int_gt(pid, 1);
	c = qp_chan_free(c);
	/* A stranger; root comes in everywhere, so it must send one to see him refused. */
	uid_t stranger = getuid() ? getuid() : 65534, owner = getuid() ? getuid() + 1 : 0;

	come_as(stranger, &sa, len);
	ck_assert_int_eq(qp_chan_succeed(fd, "test", owner, &c, &pid, &uid), -EACCES);
	ck_assert_uint_eq(uid, stranger);
	ck_assert_ptr_null(c);
	qfd_close(&fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qp_chan");
	TCase *tc = fixture_case(s, "chan");

	tcase_add_test(tc, a_successor);
	tcase_add_test(tc, says_hello_first);
	tcase_add_test(tc, one_byte_at_a_time);
	tcase_add_loop_test(tc, each_rule, 0, Q_ARRAY_LEN(broken));
	tcase_add_test(tc, version_is_told);
	tcase_add_test(tc, later_version);
	tcase_add_test(tc, decoding_is_charged);
	tcase_add_test(tc, descriptors);
	tcase_add_test(tc, descriptors_do_not_leak);
	tcase_add_test(tc, descriptors_in_every_byte);
	tcase_add_test(tc, a_peer_that_does_not_read);
	tcase_add_test(tc, errors_are_cleaned);
	tcase_add_test(tc, wait_has_a_deadline);
	tcase_add_test(tc, peer_credentials);
	tcase_add_test(tc, classes);
	return fixture_main(s);
}
