/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qshm.h among others: who is killed (by SIGKILL, at a random moment), who stands still, who
 * lies, who comes in crowds. Processes are real ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/qshm_priv.h"
#include "tests/unit/qshm_room.h"

/* ---- others, alive and dead ---- */

enum { CHILD_READY = 'r' };

/* A process that joins @name and stays, ringing at all when it is told to by a byte. */
static pid_t child_member(const char *dir, const char *name, int *ret_to)
{
	int up[2], down[2];
	char byte;

	ck_assert(!pipe2(up, O_CLOEXEC) && !pipe2(down, O_CLOEXEC));
	pid_t pid = fork();
	if (pid == 0) {
		struct qshm *s;
		struct qshm_conn *c;

		if (qshm_new(dir, "child", &s) || qshm_join(s, name, 4, &c))
			_exit(1);
		byte = CHILD_READY;
		if (write(up[1], &byte, 1) != 1)
			_exit(2);
		close(down[1]);
		while (read(down[0], &byte, 1) == 1)
			qshm_ring(c, 0xffff);
		qshm_leave(c);
		qshm_free(s);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	ck_assert_int_eq(read(up[0], &byte, 1), 1);
	close(up[0]);
	*ret_to = down[1];
	return pid;
}

static int wait_child(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(killed)
{
	struct room r;
	int to, to2;

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "x", 2);
	pid_t pid = child_member(r.dir, "x", &to), other = child_member(r.dir, "x", &to2);
	until(c, 7 << 16);
	ck_assert_int_eq(write(to, "x", 1), 1);
	until(c, 7 << 16 | 2);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	until(c, 5 << 16 | 2);	/* it rang before */
	ck_assert_int_eq(wait_child(pid), -SIGKILL);
	close(to);
	/* Its index is free at once, its socket's file no hindrance. */
	pid = child_member(r.dir, "x", &to);
	until(c, 7 << 16 | 2);
	ck_assert_uint_eq(qshm_take(c, 0xffff), 7 << 16 | 2);
	ck_assert_int_eq(write(to, "x", 1), 1);
	until(c, 7 << 16 | 2);
	close(to);
	ck_assert_int_eq(wait_child(pid), 0);
	/* A region of the killed alone: the next who opens the directory takes it away. */
	qshm_leave(c);
	ck_assert_int_eq(kill(other, SIGKILL), 0);
	ck_assert_int_eq(wait_child(other), -SIGKILL);
	close(to2);
	ck_assert_int_eq(qshm_join(r.hub, "x", 0, &c), QSHM_ABSENT);
	qshm_free(r.hub);
	ck_assert_int_eq(qshm_new(r.dir, "t-shm", &r.hub), 0);
	room_close(&r);
}
END_TEST

static void child_cycle(struct qshm *s, unsigned *seed)
{
	static const char *const regions[] = { "a", "b", "c" };
	struct qshm_conn *c = NULL;
	int r = qshm_join(s, regions[rand_r(seed) % 3], 1 + (unsigned)rand_r(seed) % 8, &c);

	if (r != 0)
		_exit(100 + r);
	qshm_ring(c, (uint32_t)rand_r(seed));
	if (rand_r(seed) % 4)
		qshm_leave(c);	/* else it is left to the kernel, and another time to the limit */
	else
		_exit(0);
}

/* Until just @want are there. What one rang before it was killed may come at any time: taken. */
static void until_alone_with(struct qshm_conn *c, uint32_t want)
{
	uint64_t end = qnow_ns() + WAIT_MS * Q_NSEC_PER_MSEC;
	uint32_t status;

	while ((status = qshm_take(c, 0xffff)) >> 16 != want) {
		struct pollfd p = { .fd = qshm_event_fd(c), .events = POLLIN };

		ck_assert_msg(qnow_ns() < end, "status %#x, expected %#x of it", status, want);
		poll(&p, 1, 100);
		qfd_event_clear(p.fd);
	}
}

/*
 * Processes that join, ring and leave without pause, killed at random moments: by whatever step
 * they were hit, the region works, and in the end nobody is seen who is not there.
 */
START_TEST(killed_at_random)
{
	struct room r;
	pid_t pid[4] = { 0 };
	unsigned seed = 1;

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "a", 2);
	for (unsigned i = 0; i < 150; i++) {
		pid_t *p = &pid[i % 4];

		if (*p) {
			kill(*p, SIGKILL);
			int end = wait_child(*p);
			ck_assert_msg(end == -SIGKILL || end == 0, "a child failed: %d", end);
		}
		*p = fork();
		if (*p == 0) {
			struct qshm *s;
			unsigned mine = i;

			if (qshm_new(r.dir, "child", &s))
				_exit(1);
			for (;;)
				child_cycle(s, &mine);
		}
		usleep((useconds_t)rand_r(&seed) % 3000);
	}
	for (unsigned i = 0; i < 4; i++) {
		kill(pid[i], SIGKILL);
		int end = wait_child(pid[i]);
		ck_assert_msg(end == -SIGKILL || end == 0, "a child failed: %d", end);
	}
	uint32_t me = 1u << qshm_index(c);
	until_alone_with(c, me);
	struct qshm_conn *d = joined(r.hub, "a", 1);
	ck_assert_uint_eq(qshm_pages(d), 2);
	until_alone_with(c, me | 1u << qshm_index(d));
	qshm_leave(d);
	qshm_leave(c);
	qshm_free(r.hub);
	ck_assert_int_eq(qshm_new(r.dir, "t-shm", &r.hub), 0);
	room_close(&r);
}
END_TEST

/*
 * One who rings and is gone before the hub's thread looks again: the bell counts. In the first row
 * it is known, in the second its connection was not even taken.
 */
START_TEST(rings_and_is_gone)
{
	struct room r;
	int to, to2;
	bool known = _i == 0;

	room_open(&r);
	pid_t pid = child_member(r.dir, "x", &to);
	struct qshm_conn *c = joined(r.hub, "x", 1);
	if (!known)
		pthread_mutex_lock(&r.hub->lock);
	pid_t ringer = child_member(r.dir, "x", &to2);
	if (known) {
		until(c, 7 << 16);
		pthread_mutex_lock(&r.hub->lock);
	}
	ck_assert_int_eq(write(to2, "x", 1), 1);
	close(to2);
	ck_assert_int_eq(wait_child(ringer), 0);
	pthread_mutex_unlock(&r.hub->lock);
	until(c, 3 << 16 | 4);
	qshm_leave(c);
	close(to);
	ck_assert_int_eq(wait_child(pid), 0);
	room_close(&r);
}
END_TEST

static void stop_child(pid_t pid)
{
	int status;

	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
}

/* Somebody who stands still is there: his index is not given away, and who needs his answer gets
 * a verdict in the end. */
START_TEST(stopped)
{
	struct room r;
	struct qshm_conn *c = NULL;
	int to;

	room_open(&r);
	pid_t pid = child_member(r.dir, "x", &to);
	stop_child(pid);
	uint64_t start = qnow_ns();
	ck_assert_int_eq(qshm_join(r.hub, "x", 1, &c), QSHM_NO_ANSWER);
	ck_assert_uint_ge(qnow_ns() - start, SHM_WAIT_NS);
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	c = joined(r.hub, "x", 1);
	ck_assert_uint_eq(qshm_index(c), 1);
	/* With one who answers the other is not needed. */
	stop_child(pid);
	struct qshm_conn *d = joined(r.hub, "x", 1);
	ck_assert_uint_eq(qshm_index(d), 2);
	ck_assert_uint_eq(qshm_status(d), 7 << 16);
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	/* It rings at whom it has seen: at d, too, in a while. */
	for (unsigned i = 0; i < WAIT_MS / 10 && qshm_status(d) != (7 << 16 | 1); i++) {
		ck_assert_int_eq(write(to, "x", 1), 1);
		usleep(10000);
	}
	until(d, 7 << 16 | 1);
	qshm_leave(d);
	qshm_leave(c);
	close(to);
	ck_assert_int_eq(wait_child(pid), 0);
	room_close(&r);
}
END_TEST

START_TEST(lock_held)
{
	struct room r;
	struct shm_place p;
	struct qshm_conn *c = NULL;

	room_open(&r);
	ck_assert_int_eq(shm_place_lock(&p, r.hub->base_fd, "x", true, 0), 0);
	ck_assert_int_eq(qshm_join(r.hub, "x", 1, &c), QSHM_NO_ANSWER);
	ck_assert_int_eq(qshm_join(r.hub, "x", 0, &c), QSHM_NO_ANSWER);
	c = joined(r.hub, "y", 1);	/* others' business goes on */
	qshm_leave(c);
	shm_place_fini(&p);
	c = joined(r.hub, "x", 1);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* ---- liars ---- */

/* A socket to slot @slot of region "x". */
static int stranger(const struct room *r, unsigned slot)
{
	struct shm_place p;

	ck_assert_int_eq(shm_place_open(&p, r->hub->base_fd, "x"), 0);
	int fd = shm_place_connect(&p, slot);
	shm_place_fini(&p);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool hung_up(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, wait_ms) == 1 && (p.revents & POLLHUP);
}

static const struct {
	const char *what;
	uint32_t magic;
	uint8_t kind, slot;
	uint16_t zero;
	size_t len;
} liar_rows[] = {
	{ "nothing", 0x4d485351, SHM_HELLO, 5, 0, 0 },
	{ "short", 0x4d485351, SHM_HELLO, 5, 0, 7 },
	{ "long", 0x4d485351, SHM_HELLO, 5, 0, 9 },
	{ "another language", 0x4d485350, SHM_HELLO, 5, 0, 8 },
	{ "a keeper's index", 0x4d485351, SHM_HELLO, 16, 0, 8 },
	{ "no index", 0x4d485351, SHM_HELLO, 200, 0, 8 },
	{ "my own index", 0x4d485351, SHM_HELLO, 0, 0, 8 },
	{ "bell first", 0x4d485351, SHM_BELL, 5, 0, 8 },
	{ "welcome", 0x4d485351, SHM_WELCOME, 5, 0, 8 },
	{ "kind 0", 0x4d485351, 0, 5, 0, 8 },
	{ "kind 4", 0x4d485351, 4, 5, 0, 8 },
	{ "not zero", 0x4d485351, SHM_HELLO, 5, 1, 8 },
};
START_TEST(liars)
{
	struct room r;
	struct {
		struct shm_msg m;
		uint8_t more;
	} w = { { liar_rows[_i].magic, liar_rows[_i].kind, liar_rows[_i].slot,
		  liar_rows[_i].zero }, 0 };

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "x", 1);
	int fd = stranger(&r, 0);
	ck_assert_int_eq(send(fd, &w, liar_rows[_i].len, MSG_NOSIGNAL), liar_rows[_i].len);
	ck_assert_msg(hung_up(fd, WAIT_MS), "%s", liar_rows[_i].what);
	ck_assert_uint_eq(qshm_status(c), 1 << 16);
	qfd_close(&fd);
	/* The same as a second message, from one who was believed. */
	fd = stranger(&r, 0);
	ck_assert_int_eq(shm_send(fd, SHM_HELLO, 6, -1), 0);
	until(c, 0x41 << 16);
	ck_assert_int_eq(send(fd, &w, liar_rows[_i].len, MSG_NOSIGNAL), liar_rows[_i].len);
	ck_assert_msg(hung_up(fd, WAIT_MS), "%s", liar_rows[_i].what);
	until(c, 1 << 16);
	qfd_close(&fd);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* Who says hello with an index that somebody has waits until that one is gone, and is then seen. */
START_TEST(same_index_twice)
{
	struct room r;

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "x", 1);
	int a = stranger(&r, 0), b = stranger(&r, 0), third = stranger(&r, 0);
	ck_assert_int_eq(shm_send(a, SHM_HELLO, 3, -1), 0);
	until(c, 9 << 16);
	ck_assert_int_eq(shm_send(b, SHM_HELLO, 3, -1), 0);
	ck_assert_int_eq(shm_send(b, SHM_BELL, 3, -1), 0);
	ck_assert_int_eq(shm_send(third, SHM_HELLO, 3, -1), 0);
	/* One of the two waits, the other was sent away. */
	ck_assert(hung_up(third, WAIT_MS));
	ck_assert_uint_eq(qshm_status(c), 9 << 16);
	qshm_take(c, 0xffff);
	qfd_close(&a);
	until(c, 9 << 16 | 8);
	ck_assert(qshm_changed(c));
	qfd_close(&b);
	until(c, 1 << 16 | 8);
	/* One who waits and goes before his turn is forgotten. */
	a = stranger(&r, 0);
	b = stranger(&r, 0);
	ck_assert_int_eq(shm_send(a, SHM_HELLO, 3, -1), 0);
	until(c, 9 << 16 | 8);
	ck_assert_int_eq(shm_send(b, SHM_HELLO, 3, -1), 0);
	ck_assert_int_eq(shm_send(b, SHM_BELL, 3, -1), 0);
	qfd_close(&b);
	qfd_close(&third);
	third = stranger(&r, 0);
	ck_assert_int_eq(shm_send(third, SHM_HELLO, 4, -1), 0);
	until(c, 0x19 << 16 | 8);
	qfd_close(&a);
	until(c, 0x11 << 16 | 8);
	qfd_close(&third);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* Many who connect and say nothing: there is room for one who joins in the end. */
START_TEST(silent_strangers)
{
	struct room r;
	int fd[2 * SHM_STRANGERS];

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "x", 1);
	for (unsigned i = 0; i < Q_ARRAY_LEN(fd); i++)
		fd[i] = stranger(&r, 0);
	/* They are sent away one after the other; who joins meanwhile has to wait, or is told. */
	uint64_t end = qnow_ns() + WAIT_MS * Q_NSEC_PER_MSEC;
	struct qshm_conn *d = NULL;
	while (qshm_join(r.hub, "x", 1, &d) == QSHM_NO_ANSWER)
		ck_assert_uint_lt(qnow_ns(), end);
	ck_assert_ptr_nonnull(d);
	until(d, 3 << 16);
	until(c, 3 << 16);
	unsigned gone = 0;
	for (unsigned i = 0; i < Q_ARRAY_LEN(fd); i++) {
		gone += hung_up(fd[i], 0);
		qfd_close(&fd[i]);
	}
	ck_assert_uint_ge(gone, Q_ARRAY_LEN(fd) - SHM_STRANGERS);
	qshm_leave(d);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* While others come without pause and say nothing, who joins is seen by all and sees all. */
START_TEST(crowd)
{
	struct room r;

	room_open(&r);
	struct qshm_conn *c = joined(r.hub, "x", 1);
	pid_t pid = fork();
	if (pid == 0) {
		int fd[24] = { 0 };

		for (unsigned n = 0;; n = (n + 1) % Q_ARRAY_LEN(fd)) {
			if (fd[n] > 0)
				close(fd[n]);
			struct shm_place p;
			shm_place_open(&p, r.hub->base_fd, "x");
			fd[n] = shm_place_connect(&p, 0);
			shm_place_fini(&p);
		}
	}
	uint64_t end = qnow_ns() + WAIT_MS * Q_NSEC_PER_MSEC;
	for (unsigned n = 0; n < 100;) {
		struct qshm_conn *d = NULL;
		int res = qshm_join(r.hub, "x", 1, &d);

		/* The queue of those who come may be full at that moment, which is told. */
		ck_assert_uint_lt(qnow_ns(), end);
		if (res == QSHM_NO_ANSWER)
			continue;
		n++;
		ck_assert_int_eq(res, 0);
		until(d, 3 << 16);
		until(c, 3 << 16);
		qshm_leave(d);
		until(c, 1 << 16);
	}
	kill(pid, SIGKILL);
	wait_child(pid);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* Listens at slot 0 of "x" and gives all who come @fd as the data. */
static int false_member(const struct room *r, struct shm_place *p)
{
	ck_assert_int_eq(shm_place_lock(p, r->hub->base_fd, "x", true, 0), 0);
	int fd = shm_place_listen(p, 0);
	ck_assert_int_ge(fd, 0);
	qfd_close(&p->lock_fd);
	return fd;
}

static int plain_file(uint64_t len)
{
	char path[] = "/tmp/parley-qshm-f.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert(!unlink(path) && !ftruncate(fd, (off_t)len));
	return fd;
}

static int unsealed(uint64_t len)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert(fd >= 0 && !ftruncate(fd, (off_t)len));
	return fd;
}

static int sealed(uint64_t len)
{
	return qfd_memfd("x", len);
}

static const struct {
	const char *what;
	int (*make)(uint64_t len);
	uint64_t len;
} data_rows[] = {
	{ "none", NULL, 0 },
	{ "a file that can shrink", plain_file, 8192 },
	{ "memory that can shrink", unsealed, 8192 },
	{ "empty", sealed, 0 },
	{ "half a page", sealed, 4096 + 2048 },
	{ "too large", sealed, ((uint64_t)QSHM_PAGES_MAX + 1) * 4096 },
};
START_TEST(false_data)
{
	struct room r;
	struct shm_place p;
	struct qshm_conn *c = NULL;
	int data QCLEAN(qfd_close) = -1;

	if (data_rows[_i].make)
		data = data_rows[_i].make(data_rows[_i].len);
	room_open(&r);
	int sock = false_member(&r, &p), took[8];
	pid_t pid = fork();
	if (pid == 0) {	/* answers for ever, as we would, with its own data */
		struct pollfd w = { .fd = sock, .events = POLLIN };

		for (unsigned n = 0;; n = (n + 1) % Q_ARRAY_LEN(took)) {
			poll(&w, 1, -1);
			took[n] = accept(sock, NULL, NULL);
			if (took[n] >= 0)
				shm_send(took[n], SHM_WELCOME, 0, data);
		}
	}
	ck_assert_int_eq(qshm_join(r.hub, "x", 1, &c), QSHM_NO_ANSWER);
	ck_assert_ptr_null(c);
	kill(pid, SIGKILL);
	wait_child(pid);
	qfd_close(&sock);
	shm_place_fini(&p);
	c = joined(r.hub, "x", 1);	/* it is dead: the index is free */
	ck_assert_uint_eq(qshm_index(c), 0);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qshm_others");
	TCase *tc = fixture_case(s, "qshm_others");

	tcase_add_test(tc, killed);
	tcase_add_test(tc, killed_at_random);
	tcase_add_loop_test(tc, rings_and_is_gone, 0, 2);
	tcase_add_test(tc, stopped);
	tcase_add_test(tc, lock_held);
	tcase_add_loop_test(tc, liars, 0, Q_ARRAY_LEN(liar_rows));
	tcase_add_test(tc, same_index_twice);
	tcase_add_test(tc, silent_strangers);
	tcase_add_test(tc, crowd);
	tcase_add_loop_test(tc, false_data, 0, Q_ARRAY_LEN(data_rows));
	return fixture_main(s);
}
