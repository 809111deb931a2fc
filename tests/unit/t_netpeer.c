/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/netpeer*.c: two ends find each other in every order, say what disagrees, and come back; and a
 * hostile process on the endpoint, or with the rings in its hands, ends a session and nothing else.
 * Each end has a real I/O thread; the vdev is a stand-in that counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "qvm/loop.h"
#include "qvm/netpeer_vm.h"
#include "tests/unit/fixture.h"

#define WAIT_NS (20 * Q_NSEC_PER_SEC)

struct end {
	struct vdev v;
	struct vdev *vp;
	struct loop *loop;
	pthread_mutex_t lock;
	struct vd_config cfg;
	struct vd_arg arg;
	struct vd_net *net;
	struct cf_errors errs;
	unsigned n_links, n_readable, n_writable;
	unsigned n_got;
	uint8_t last[VD_NET_BUF_BYTES];
	ssize_t last_len;
};

static char dir[64];

static struct end *end_of(struct vdev *v)
{
	return Q_CONTAINER_OF(v, struct end, v);
}

static void on_link(struct vdev *v)
{
	end_of(v)->n_links++;
}

static void on_readable(struct vdev *v, unsigned pair)
{
	struct end *e = end_of(v);
	ssize_t len;

	e->n_readable++;
	do {
		while ((len = e->net->ops->recv(e->net, pair, e->last)) > 0) {
			e->last_len = len;
			e->n_got++;
		}
	} while (e->net->ops->listen(e->net, pair));
	e->net->ops->flush(e->net);
}

static void on_writable(struct vdev *v)
{
	end_of(v)->n_writable++;
}

static const struct vd_option peer_opt = { "peer" };

static int end_open(struct end *e, const char *system, const char *name, const char *peer)
{
	const struct netpeer_host host = {
		.lock = &e->lock, .v = &e->vp, .run_dir = dir, .system = system,
		.system_given = *system, .loop = e->loop,
	};
	struct netpeer_host h = host;
	struct vd_net_cfg c = {
		.cfg = &e->cfg, .peer = &e->arg, .features = 0x3bc3, .pairs = 2,
		.link = on_link, .readable = on_readable, .writable = on_writable,
	};
	char path[512];

	*e = (struct end){ .cfg = { .name = name }, .arg = { &peer_opt, peer, 0, "t", 1, 1 } };
	pthread_mutex_init(&e->lock, NULL);
	snprintf(path, sizeof(path), "%s/qvm/%s", dir, system);
	mkdir(path, 0755);
	ck_assert_int_eq(loop_new(&e->loop), 0);
	h.loop = e->loop;
	int r = netpeer_open(&h, &c, &e->errs, &e->net);
	if (r < 0)
		return r;
	pthread_mutex_lock(&e->lock);
	e->vp = &e->v;
	for (unsigned i = 0; i < c.pairs; i++)	/* as a guest that is there does */
		e->net->ops->listen(e->net, i);
	pthread_mutex_unlock(&e->lock);
	ck_assert_int_eq(loop_start(e->loop, "t"), 0);
	return 0;
}

static void end_close(struct end *e)
{
	loop_stop(e->loop);
	pthread_mutex_lock(&e->lock);
	if (e->net)
		e->net->ops->close(e->net);
	e->net = NULL;
	pthread_mutex_unlock(&e->lock);
	e->loop = loop_free(e->loop);
	cf_errors_fini(&e->errs);
}

static bool is_up(struct end *e)
{
	pthread_mutex_lock(&e->lock);
	bool up = e->net->link_up;
	pthread_mutex_unlock(&e->lock);
	return up;
}

static void wait_link(struct end *e, bool up)
{
	uint64_t until = qnow_ns() + WAIT_NS;

	while (is_up(e) != up) {
		ck_assert_msg(qnow_ns() < until, "link is not %s", up ? "up" : "down");
		usleep(1000);
	}
}

static unsigned count(struct end *e, const unsigned *n)
{
	pthread_mutex_lock(&e->lock);
	unsigned v = *n;
	pthread_mutex_unlock(&e->lock);
	return v;
}

static void wait_count(struct end *e, const unsigned *n, unsigned want)
{
	uint64_t until = qnow_ns() + WAIT_NS;

	while (count(e, n) < want) {
		ck_assert_msg(qnow_ns() < until, "%u of %u", count(e, n), want);
		usleep(1000);
	}
}

static int send_one(struct end *e, unsigned pair, uint32_t len, uint8_t seed)
{
	static uint8_t buf[VD_NET_BUF_BYTES];
	const struct iovec iov = { buf, len };

	memset(buf, seed, len);
	pthread_mutex_lock(&e->lock);
	int r = e->net->ops->send(e->net, pair, &iov, 1, len);
	e->net->ops->flush(e->net);
	pthread_mutex_unlock(&e->lock);
	return r;
}

/* What was said on stderr since the test began. */
static int saved_err = -1, err_fd = -1;

static bool said(const char *what)
{
	static char text[65536];
	ssize_t n = pread(err_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return strstr(text, what);
}

static void wait_said(const char *what)
{
	uint64_t until = qnow_ns() + WAIT_NS;

	while (!said(what)) {
		ck_assert_msg(qnow_ns() < until, "not said: %s", what);
		usleep(1000);
	}
}

static void setup(void)
{
	char path[300];

	fixture_setup();
	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/qvm", dir);
	mkdir(path, 0755);
	saved_err = dup(2);
	err_fd = memfd_create("err", MFD_CLOEXEC);
	dup2(err_fd, 2);
	qlog_init("t", NULL);
}

static void teardown(void)
{
	static const char *const sub[] = { "qvm/a", "qvm/b", "qvm/c", "qvm" };
	char path[300], text[4096];

	ssize_t n = pread(err_fd, text, sizeof(text), 0);
	dup2(saved_err, 2);
	qfd_close(&saved_err);
	qfd_close(&err_fd);
	if (n > 0)
		fwrite(text, 1, (size_t)n, stderr);
	for (unsigned i = 0; i < Q_ARRAY_LEN(sub); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, sub[i]);
		if (access(path, F_OK) == 0)
			fixture_rmdir(path);	/* fails when an endpoint was left behind */
	}
	rmdir(dir);
	fixture_teardown();
}

/* Both orders of start; frames both ways on both pairs; every length. */
START_TEST(meet)
{
	static struct end a, b;

	ck_assert_int_eq(_i ? end_open(&a, "a", "x", "b/y") : end_open(&b, "b", "y", "a/x"), 0);
	if (_i > 1)
		usleep(100000);
	ck_assert_int_eq(_i ? end_open(&b, "b", "y", "/dev/qvm/a/x") :
			      end_open(&a, "a", "x", "b/y"), 0);
	wait_link(&a, true);
	wait_link(&b, true);
	for (uint32_t i = 0; i < 50; i++) {
		uint32_t len = i % 7 ? 26 + i * 29 : VD_NET_BUF_BYTES;

		ck_assert_int_eq(send_one(&a, i % 2, len, (uint8_t)i), 0);
		wait_count(&b, &b.n_got, i + 1);
		ck_assert_int_eq(b.last_len, len);
		ck_assert_uint_eq(b.last[0], i);
		ck_assert_uint_eq(b.last[len - 1], i);
		ck_assert_int_eq(send_one(&b, i % 2, len, (uint8_t)i), 0);
		wait_count(&a, &a.n_got, i + 1);
	}
	end_close(&a);
	wait_link(&b, false);
	ck_assert_int_eq(send_one(&b, 0, 60, 1), -ENOLINK);
	end_close(&b);
}
END_TEST

/* Either may go and come back, again and again; the other sees down and up. */
START_TEST(come_back)
{
	static struct end a, b;
	struct end *stays = _i ? &a : &b, *goes = _i ? &b : &a;

	ck_assert_int_eq(end_open(&a, "a", "x", "b/y"), 0);
	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	for (unsigned round = 0; round < 4; round++) {
		wait_link(&a, true);
		wait_link(&b, true);
		ck_assert_int_eq(send_one(goes, 0, 60, 1), 0);
		wait_count(stays, &stays->n_got, round + 1);
		end_close(goes);
		wait_link(stays, false);
		ck_assert_uint_ge(count(stays, &stays->n_links), 2 * round + 2);
		ck_assert_int_eq(_i ? end_open(&b, "b", "y", "a/x") : end_open(&a, "a", "x", "b/y"),
				 0);
	}
	wait_link(stays, true);
	end_close(&a);
	end_close(&b);
}
END_TEST

/* A full ring says so, and tells when there is room; nothing is lost. */
START_TEST(room)
{
	static struct end a, b;
	unsigned n = 0;

	ck_assert_int_eq(end_open(&a, "a", "x", "b/y"), 0);
	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	wait_link(&a, true);
	wait_link(&b, true);
	pthread_mutex_lock(&b.lock);	/* its I/O thread cannot take anything */
	while (send_one(&a, 0, 60000, (uint8_t)n) == 0)
		n++;
	ck_assert_uint_eq(n, NP_RING_BYTES / 60008);
	ck_assert_uint_eq(count(&a, &a.n_writable), 0);
	pthread_mutex_unlock(&b.lock);
	wait_count(&b, &b.n_got, n);
	wait_count(&a, &a.n_writable, 1);
	ck_assert_int_eq(send_one(&a, 0, 60000, 1), 0);
	end_close(&a);
	end_close(&b);
}
END_TEST

/* What disagrees is said, at both ends, and once. */
static const struct {
	const char *a_peer, *b_peer, *says, *says_too;
} disagree_rows[] = {
	{ "b/y", "c/x", "its configuration says peer c/x, and we are a/x",
	  "our configuration says peer c/x" },
	{ "c/y", "a/x", "its configuration says peer c/y, and we are b/y",
	  "our configuration says peer c/y" },
	{ "b/z", "a/x", "its configuration says peer b/z, and we are b/y",
	  "has no virtio-net of this name" },
};
START_TEST(disagree)
{
	static struct end a, b;
	char path[300];

	ck_assert_int_eq(end_open(&a, "a", "x", disagree_rows[_i].a_peer), 0);
	ck_assert_int_eq(end_open(&b, "b", "y", disagree_rows[_i].b_peer), 0);
	snprintf(path, sizeof(path), "%s/qvm/b/pid", dir);
	int pid_fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	qfd_close(&pid_fd);
	wait_said(disagree_rows[_i].says);
	wait_said(disagree_rows[_i].says_too);
	ck_assert(!is_up(&a) && !is_up(&b));
	end_close(&a);
	end_close(&b);
}
END_TEST

static const struct {
	const char *system, *name, *peer, *says;
} refused_rows[] = {
	{ "", "x", "b/y", "begin with system NAME" },
	{ "a", "x", "a/x", "that is this vdev itself" },
	{ "a", "0123456789012345678901234567890123456789" "0123456789012345678901234567890123456789"
	  "0123456789", "b/y",
	  "too long" },
	{ "a", "x", "b", "expected SYSTEM/NAME" },
};
START_TEST(refused)
{
	static struct end a;

	ck_assert_int_lt(end_open(&a, refused_rows[_i].system, refused_rows[_i].name,
				  refused_rows[_i].peer), 0);
	ck_assert_uint_eq(a.errs.n_errors, 1);
	ck_assert_ptr_nonnull(strstr(a.errs.v[0].text, refused_rows[_i].says));
	end_close(&a);
}
END_TEST

/* Two vdevs of one VM, and an endpoint that a killed one left behind. */
START_TEST(same_vm)
{
	static struct end a, b;
	char path[300];

	snprintf(path, sizeof(path), "%s/qvm/a", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/qvm/a/x", dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	qfd_close(&fd);
	ck_assert_int_eq(end_open(&a, "a", "x", "a/y"), 0);
	ck_assert_int_eq(end_open(&b, "a", "y", "a/x"), 0);
	wait_link(&a, true);
	wait_link(&b, true);
	end_close(&a);
	end_close(&b);
}
END_TEST

START_TEST(addresses)
{
	uint8_t mac[3][6];

	netpeer_mac("a", "bc", mac[0]);
	netpeer_mac("ab", "c", mac[1]);
	netpeer_mac("a", "bc", mac[2]);
	ck_assert_int_ne(memcmp(mac[0], mac[1], 6), 0);
	ck_assert_int_eq(memcmp(mac[0], mac[2], 6), 0);
	ck_assert_uint_eq(mac[0][0] & 3, 2);
	ck_assert_uint_eq(mac[1][0] & 3, 2);
}
END_TEST

/* ---- hostile ---- */

static int raw_connect(const char *end)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint64_t until = qnow_ns() + WAIT_NS;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/qvm/%s", dir, end);
	while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		ck_assert(qnow_ns() < until);
		usleep(1000);
	}
	return fd;
}

/* What it answers: a message's type, 0 for a hang-up. */
static int answer_of(int fd, struct np_msg *ret)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t buf[NP_MSG_BYTES + 8];
	uint32_t version;

	ck_assert_int_eq(poll(&p, 1, (int)(WAIT_NS / Q_NSEC_PER_MSEC)), 1);
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	if (n <= 0)
		return 0;
	ck_assert_int_eq(np_msg_get(buf, (size_t)n, ret, &version), NP_MSG_OK);
	return (int)ret->type;
}

static void say_raw(int fd, enum np_type type, const char *from, const char *to, uint32_t pairs,
		    int pass_fd)
{
	struct np_msg m = { .type = type, .pairs = pairs, .mtu = 1500,
			    .ring_bytes = NP_RING_BYTES };
	uint8_t buf[NP_MSG_BYTES];

	snprintf(m.from, sizeof(m.from), "%s", from);
	snprintf(m.to, sizeof(m.to), "%s", to);
	np_msg_put(&m, buf);
	ck_assert_int_eq(qfd_send(fd, buf, sizeof(buf), &pass_fd, pass_fd >= 0), sizeof(buf));
}

/* Whoever calls is refused, unless he says and brings the right things. b/y is the one called. */
enum brings { GOOD_MEM, NO_MEM, SHORT_MEM, OPEN_MEM, PIPE, BRINGS };
static const struct {
	enum np_type type;
	const char *from, *to;
	uint32_t pairs;
	enum brings brings;
	int answer;		/* 0: it hangs up */
	enum np_why why;
} call_rows[] = {
	{ NP_CALL, "a/x", "b/y", 2, GOOD_MEM, NP_ACCEPT, 0 },
	{ NP_CALL, "a/x", "b/y", 1, SHORT_MEM, NP_ACCEPT, 0 },
	{ NP_CALL, "a/z", "b/y", 2, GOOD_MEM, NP_REFUSE, NP_WHY_OTHER_PEER },
	{ NP_CALL, "a/x", "b/z", 2, GOOD_MEM, NP_REFUSE, NP_WHY_NOT_ME },
	{ NP_CALL, "a/x", "b/y", 2, NO_MEM, NP_REFUSE, NP_WHY_RINGS },
	{ NP_CALL, "a/x", "b/y", 2, SHORT_MEM, NP_REFUSE, NP_WHY_RINGS },
	{ NP_CALL, "a/x", "b/y", 2, OPEN_MEM, NP_REFUSE, NP_WHY_RINGS },
	{ NP_CALL, "a/x", "b/y", 2, PIPE, NP_REFUSE, NP_WHY_RINGS },
	{ NP_KNOCK, "a/x", "b/y", 2, NO_MEM, NP_REFUSE, NP_WHY_ORDER },
	{ NP_KNOCK, "a/x", "b/y", 2, GOOD_MEM, NP_REFUSE, NP_WHY_ORDER },
	{ NP_ACCEPT, "a/x", "b/y", 2, NO_MEM, 0, 0 },
	{ NP_REFUSE, "a/x", "b/y", 2, GOOD_MEM, 0, 0 },
};

static int bring(enum brings what)
{
	int p[2], fd = -1;

	switch (what) {
	case GOOD_MEM:
		return qfd_memfd("t", np_shared_bytes(2));
	case SHORT_MEM:
		return qfd_memfd("t", np_shared_bytes(1));
	case OPEN_MEM:
		fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ck_assert_int_eq(ftruncate(fd, (off_t)np_shared_bytes(2)), 0);
		return fd;
	case PIPE:
		ck_assert_int_eq(pipe(p), 0);
		qfd_close(&p[1]);
		return p[0];
	default:
		return -1;
	}
}

START_TEST(calls)
{
	const typeof(call_rows[0]) *row = &call_rows[_i];
	static struct end b;
	struct np_msg m = { 0 };
	int mem = bring(row->brings);

	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	int fd = raw_connect("b/y");
	say_raw(fd, row->type, row->from, row->to, row->pairs, mem);
	ck_assert_int_eq(answer_of(fd, &m), row->answer);
	ck_assert_int_eq(m.why, row->why);
	if (row->answer == NP_ACCEPT)
		wait_link(&b, true);
	else
		ck_assert(!is_up(&b));
	qfd_close(&fd);
	qfd_close(&mem);
	wait_link(&b, false);
	end_close(&b);
}
END_TEST

/* A caller that was accepted, and then is as bad as can be: the session ends, the next is fine. */
enum badness { RUBBISH, LONG_BELL, FD_WITH_BELL, HEAD, LENGTH, TAIL, SILENCE, BADNESSES };
START_TEST(sessions)
{
	static struct end b;
	struct np_msg m;
	int mem = qfd_memfd("t", np_shared_bytes(2));

	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	int fd = raw_connect("b/y");
	say_raw(fd, NP_CALL, "a/x", "b/y", 2, mem);
	ck_assert_int_eq(answer_of(fd, &m), NP_ACCEPT);
	wait_link(&b, true);
	struct np_ctl *ctl = mmap(NULL, np_shared_bytes(2), PROT_READ | PROT_WRITE, MAP_SHARED,
				  mem, 0);
	ck_assert_ptr_ne(ctl, MAP_FAILED);
	uint8_t *to_b = (uint8_t *)ctl + 4096;
	const uint8_t bell = NP_BELL;
	switch (_i) {
	case RUBBISH:
		ck_assert_int_eq(send(fd, "x", 1, 0), 1);
		break;
	case LONG_BELL:
		ck_assert_int_eq(send(fd, "BB", 2, 0), 2);
		break;
	case FD_WITH_BELL:
		ck_assert_int_eq(qfd_send(fd, &bell, 1, &mem, 1), 1);
		break;
	case HEAD:
		atomic_store(&ctl[0].head, 0xdeadbee8u);
		ck_assert_int_eq(send(fd, &bell, 1, 0), 1);
		break;
	case LENGTH:
		memset(to_b, 0xff, 4);
		atomic_store(&ctl[0].head, NP_RING_BYTES);
		ck_assert_int_eq(send(fd, &bell, 1, 0), 1);
		break;
	case TAIL:
		atomic_store(&ctl[1].tail, 0x12345678u);
		for (unsigned i = 0; i < 8; i++)	/* found out when room is looked for */
			send_one(&b, 0, 60000, 1);
		break;
	default:
		break;	/* silent, and not even reading: what is sent stops at its room */
	}
	if (_i == SILENCE) {
		unsigned n = 0;

		while (send_one(&b, 0, 60000, 1) == 0)
			ck_assert_uint_lt(n++, 100);
		for (unsigned i = 0; i < 2000; i++)	/* unread bells do not block us */
			send_one(&b, 1, 60, 1);
		ck_assert(is_up(&b));
		qfd_close(&fd);
	}
	wait_link(&b, false);
	munmap(ctl, np_shared_bytes(2));
	qfd_close(&fd);
	qfd_close(&mem);
	static struct end a;
	ck_assert_int_eq(end_open(&a, "a", "x", "b/y"), 0);
	wait_link(&a, true);
	wait_link(&b, true);
	end_close(&a);
	end_close(&b);
}
END_TEST

/*
 * A bell for what was taken already: the other end has struck out the wish for the next bell, so
 * that there must be a new one, or nobody hears of the next frame.
 */
START_TEST(idle_bell)
{
	static struct end b;
	const uint8_t bell = NP_BELL;
	struct np_msg m;
	int mem = qfd_memfd("t", np_shared_bytes(2));

	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	int fd = raw_connect("b/y");
	say_raw(fd, NP_CALL, "a/x", "b/y", 2, mem);
	ck_assert_int_eq(answer_of(fd, &m), NP_ACCEPT);
	wait_link(&b, true);
	struct np_ctl *ctl = mmap(NULL, np_shared_bytes(2), PROT_READ | PROT_WRITE, MAP_SHARED,
				  mem, 0);
	ck_assert_ptr_ne(ctl, MAP_FAILED);
	for (unsigned i = 0; i < 20; i++) {
		struct np_ctl *c = &ctl[i % 2 * 2];	/* of either pair */
		uint64_t until = qnow_ns() + WAIT_NS;

		while (!atomic_load(&c->want_data))
			ck_assert_msg(qnow_ns() < until, "nobody waits any more, after %u", i);
		atomic_store(&c->want_data, 0);
		ck_assert_int_eq(send(fd, &bell, 1, 0), 1);
	}
	munmap(ctl, np_shared_bytes(2));
	qfd_close(&fd);
	qfd_close(&mem);
	end_close(&b);
}
END_TEST

/* Connections that say nothing, or nonsense, do not keep the peer out. */
START_TEST(crowd)
{
	static struct end a, b;
	int fd[20];

	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	for (unsigned i = 0; i < Q_ARRAY_LEN(fd); i++) {
		fd[i] = raw_connect("b/y");
		if (i % 2)
			ck_assert_int_gt(send(fd[i], "nonsense", 8, MSG_NOSIGNAL), 0);
	}
	ck_assert_int_eq(end_open(&a, "a", "x", "b/y"), 0);
	wait_link(&a, true);
	wait_link(&b, true);
	for (unsigned i = 0; i < Q_ARRAY_LEN(fd); i++)
		qfd_close(&fd[i]);
	end_close(&a);
	end_close(&b);
}
END_TEST

/* A peer of another version is named. */
START_TEST(other_version)
{
	static struct end b;
	uint8_t buf[NP_MSG_BYTES];
	const struct np_msg m = { .type = NP_CALL, .from = "a/x", .to = "b/y", .pairs = 1 };

	ck_assert_int_eq(end_open(&b, "b", "y", "a/x"), 0);
	int fd = raw_connect("b/y");
	np_msg_put(&m, buf);
	buf[8] = 9;
	ck_assert_int_eq(send(fd, buf, sizeof(buf), 0), sizeof(buf));
	wait_said("ours=1 theirs=9");
	qfd_close(&fd);
	end_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("netpeer");
	TCase *tc = tcase_create("netpeer");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, meet, 0, 3);
	tcase_add_loop_test(tc, come_back, 0, 2);
	tcase_add_test(tc, room);
	tcase_add_loop_test(tc, disagree, 0, Q_ARRAY_LEN(disagree_rows));
	tcase_add_loop_test(tc, refused, 0, Q_ARRAY_LEN(refused_rows));
	tcase_add_test(tc, same_vm);
	tcase_add_test(tc, addresses);
	tcase_add_loop_test(tc, calls, 0, Q_ARRAY_LEN(call_rows));
	tcase_add_loop_test(tc, sessions, 0, BADNESSES);
	tcase_add_test(tc, idle_bell);
	tcase_add_test(tc, crowd);
	tcase_add_test(tc, other_version);
	suite_add_tcase(s, tc);
	return fixture_main(s);
}
