/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qshm.h: regions that come with the first and go with the last, bells, limits, and looking at
 * them from outside. What other processes do to them is t_qshm_others.c.
 */
#include "lib/qshm.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/qshm_priv.h"
#include "tests/unit/qshm_room.h"

/* ---- names ---- */

static const struct { const char *name; bool want; } name_rows[] = {
	{ "a", true },
	{ "fb_shared", true },
	{ "a.b-c+d:e,f", true },
	{ "12345678901234567890123456789012", true },
	{ "123456789012345678901234567890123", false },
	{ "", false },
	{ ".", false },
	{ "..", false },
	{ ".hidden", false },
	{ "a/b", false },
	{ "a b", false },
	{ "a\n", false },
	{ "a\x7f", false },
	{ "\xc3\xa4", false },
};
START_TEST(names)
{
	struct room r;
	struct qshm_conn *c = NULL;

	ck_assert_int_eq(qshm_name_ok(name_rows[_i].name), name_rows[_i].want);
	room_open(&r);
	ck_assert_int_eq(qshm_join(r.hub, name_rows[_i].name, 1, &c),
			 name_rows[_i].want ? 0 : QSHM_BAD_NAME);
	c = qshm_leave(c);
	room_close(&r);
}
END_TEST

START_TEST(verdicts_have_words)
{
	for (int i = 0; i < QSHM_VERDICTS; i++)
		ck_assert_str_ne(qshm_verdict_str(i), "unknown");
	ck_assert_str_eq(qshm_verdict_str(-1), "unknown");
	ck_assert_str_eq(qshm_verdict_str(QSHM_VERDICTS), "unknown");
}
END_TEST

/* ---- a region's life ---- */

static void put_byte(const struct qshm_conn *c, off_t at, char byte)
{
	ck_assert_int_eq(pwrite(qshm_data_fd(c), &byte, 1, at), 1);
}

static char get_byte(const struct qshm_conn *c, off_t at)
{
	char byte = 0;

	ck_assert_int_eq(pread(qshm_data_fd(c), &byte, 1, at), 1);
	return byte;
}

START_TEST(first_fixes_the_size)
{
	struct room r;
	struct qshm_conn *c = NULL, *d;

	room_open(&r);
	ck_assert_int_eq(qshm_join(r.hub, "x", 0, &c), QSHM_ABSENT);
	ck_assert_int_eq(qshm_join(r.hub, "x", QSHM_PAGES_MAX + 1, &c), QSHM_BAD_SIZE);
	c = joined(r.hub, "x", 3);
	ck_assert_str_eq(qshm_name(c), "x");
	ck_assert_uint_eq(qshm_pages(c), 3);
	ck_assert_uint_eq(qshm_index(c), 0);
	ck_assert_uint_eq(qshm_status(c), 1 << 16);
	put_byte(c, 3 * 4096 - 1, 'x');
	d = joined(r.hub, "x", 100);
	ck_assert_uint_eq(qshm_pages(d), 3);
	ck_assert_uint_eq(qshm_index(d), 1);
	ck_assert_int_eq(get_byte(d, 3 * 4096 - 1), 'x');
	ck_assert_int_eq(ftruncate(qshm_data_fd(d), 4096), -1);
	ck_assert_int_eq(ftruncate(qshm_data_fd(d), 4 * 4096), -1);
	/* The first may go: the region is the others' as well. */
	until(c, 3 << 16);
	qshm_leave(c);
	until(d, 2 << 16);
	c = joined(r.hub, "x", 0);
	ck_assert_uint_eq(qshm_index(c), 0);
	ck_assert_int_eq(get_byte(c, 3 * 4096 - 1), 'x');
	qshm_leave(c);
	qshm_leave(d);
	/* The last takes it away: the next is new, and zero. */
	ck_assert_int_eq(qshm_join(r.hub, "x", 0, &c), QSHM_ABSENT);
	c = joined(r.hub, "x", 5);
	ck_assert_uint_eq(qshm_pages(c), 5);
	ck_assert_int_eq(get_byte(c, 3 * 4096 - 1), 0);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

START_TEST(sixteen_and_no_more)
{
	struct room r;
	struct qshm_conn *c[QSHM_CLIENTS], *more = NULL, *k = NULL;

	room_open(&r);
	for (unsigned i = 0; i < QSHM_CLIENTS; i++) {
		c[i] = joined(r.hub, "x", 1);
		ck_assert_uint_eq(qshm_index(c[i]), i);
	}
	ck_assert_int_eq(qshm_join(r.hub, "x", 1, &more), QSHM_FULL);
	ck_assert_int_eq(qshm_keep(r.hub, "x", 1, &k), 0);
	for (unsigned i = 0; i < QSHM_CLIENTS; i++)
		until(c[i], 0xffff0000);
	qshm_leave(c[7]);
	until(c[15], 0xff7f0000);
	c[7] = joined(r.hub, "x", 1);
	ck_assert_uint_eq(qshm_index(c[7]), 7);
	for (unsigned i = 0; i < QSHM_CLIENTS; i++)
		until(c[i], 0xffff0000);
	for (unsigned i = 0; i < QSHM_CLIENTS; i++)
		qshm_leave(c[i]);
	qshm_leave(k);
	room_close(&r);
}
END_TEST

START_TEST(limit_of_a_process)
{
	struct room r;
	struct qshm_conn *c[QSHM_CONNS_MAX], *more = NULL;
	char name[16];

	room_open(&r);
	for (unsigned i = 0; i < QSHM_CONNS_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		c[i] = joined(r.hub, name, 1);
	}
	ck_assert_int_eq(qshm_join(r.hub, "more", 1, &more), QSHM_LIMIT);
	ck_assert_int_eq(qshm_keep(r.hub, "more", 1, &more), QSHM_LIMIT);
	qshm_leave(c[0]);
	c[0] = joined(r.hub, "more", 1);
	for (unsigned i = 0; i < QSHM_CONNS_MAX; i++)
		qshm_leave(c[i]);
	room_close(&r);
}
END_TEST

START_TEST(kept)
{
	struct room r;
	struct qshm_conn *k = NULL, *c, *k2 = NULL;
	struct stat st;

	room_open(&r);
	ck_assert_int_eq(qshm_keep(r.hub, "x", 0, &k), QSHM_BAD_SIZE);
	ck_assert_int_eq(qshm_keep(r.hub, "x", 256, &k), 0);
	ck_assert_int_eq(fstat(qshm_data_fd(k), &st), 0);
	ck_assert_int_eq(st.st_blocks, 256 * 8);	/* all of it is there */
	ck_assert_uint_eq(qshm_status(k), 0);
	qshm_ring(k, 0xffff);
	c = joined(r.hub, "x", 0);
	ck_assert_uint_eq(qshm_pages(c), 256);
	ck_assert_uint_eq(qshm_index(c), 0);
	put_byte(c, 0, 'k');
	qshm_leave(c);
	c = joined(r.hub, "x", 1);
	ck_assert_int_eq(get_byte(c, 0), 'k');
	ck_assert_int_eq(qshm_keep(r.hub, "x", 1, &k2), 0);
	ck_assert_uint_eq(qshm_pages(k2), 256);
	qshm_leave(k);
	qshm_leave(c);
	c = joined(r.hub, "x", 0);
	ck_assert_int_eq(get_byte(c, 0), 'k');
	qshm_leave(k2);
	qshm_leave(c);
	ck_assert_int_eq(qshm_join(r.hub, "x", 0, &c), QSHM_ABSENT);
	room_close(&r);
}
END_TEST

/* ---- bells ---- */

START_TEST(bells)
{
	struct room r;
	struct qshm_conn *c[4];

	room_open(&r);
	for (unsigned i = 0; i < 4; i++)
		c[i] = joined(r.hub, "x", 1);
	for (unsigned i = 0; i < 4; i++)
		until(c[i], 0xf0000);
	ck_assert(!qshm_changed(c[3]));	/* itself is no news */
	ck_assert(qshm_changed(c[0]));
	ck_assert_uint_eq(qshm_take(c[0], 0), 0xf0000);
	ck_assert(!qshm_changed(c[0]));

	qshm_ring(c[1], 1 << 0 | 1 << 3 | 1 << 9);	/* who is not there is passed over */
	until(c[0], 0xf0002);
	until(c[3], 0xf0002);
	ck_assert_uint_eq(qshm_status(c[2]), 0xf0000);
	ck_assert(qshm_changed(c[0]));
	qshm_ring(c[3], 1 << 0);
	until(c[0], 0xf000a);
	ck_assert_uint_eq(qshm_take(c[0], 0x0002), 0xf000a);	/* one of two */
	ck_assert(qshm_changed(c[0]));
	ck_assert_uint_eq(qshm_take(c[0], 0xffff), 0xf0008);
	ck_assert(!qshm_changed(c[0]));
	ck_assert_uint_eq(qshm_take(c[0], 0xffff), 0xf0000);

	qshm_take(c[1], 0xffff);
	qshm_ring(c[2], 0xffffffff);	/* all but itself */
	for (unsigned i = 0; i < 4; i++)
		if (i != 2)
			until(c[i], 0xf0004 | (i == 3 ? 2 : 0));
	ck_assert_uint_eq(qshm_status(c[2]), 0xf0000);
	qshm_ring(c[2], 1 << 2);	/* itself, by name */
	until(c[2], 0xf0004);
	for (unsigned i = 0; i < 4; i++)
		qshm_leave(c[i]);
	room_close(&r);
}
END_TEST

/* Nobody empties the one's sockets; ringing does not wait for that. */
START_TEST(full_sockets)
{
	struct room r;
	struct qshm_conn *c, *d;

	room_open(&r);
	c = joined(r.hub, "x", 1);
	d = joined(r.hub, "x", 1);
	until(c, 3 << 16);
	pthread_mutex_lock(&r.hub->lock);	/* the thread stands still */
	for (unsigned i = 0; i < 100000; i++)
		if (shm_send(d->peers[0].fd, SHM_BELL, 1, -1) == -EAGAIN)
			break;
	ck_assert_int_eq(shm_send(d->peers[0].fd, SHM_BELL, 1, -1), -EAGAIN);
	pthread_mutex_unlock(&r.hub->lock);
	qshm_ring(d, 1);
	until(c, 3 << 16 | 2);
	qshm_leave(c);
	qshm_leave(d);
	room_close(&r);
}
END_TEST

/* ---- nothing is lost on the way ---- */

START_TEST(ten_thousand_cycles)
{
	struct room r;
	unsigned fds = 0;

	room_open(&r);
	struct qshm_conn *k = NULL;
	ck_assert_int_eq(qshm_keep(r.hub, "x", 1, &k), 0);
	for (unsigned i = 0; i < 10000; i++) {
		struct qshm_conn *c = joined(r.hub, i % 3 ? "x" : "y", 1);

		ck_assert_uint_eq(qshm_index(c), 0);
		qshm_leave(c);
		if (i == 100)
			fds = fixture_count_fds();
	}
	/* The keeper sees strangers go a moment later than they went. */
	ck_assert_uint_le(fixture_count_fds(), fds + SHM_STRANGERS);
	qshm_leave(k);
	room_close(&r);
}
END_TEST

/*
 * Joins that fail for want of descriptors at each step, in us or in the thread that serves us, take
 * nothing with them.
 */
START_TEST(no_descriptors)
{
	struct room r;
	struct rlimit old;
	unsigned n_worked = 0;

	room_open(&r);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	struct qshm_conn *first = joined(r.hub, "x", 1);
	unsigned fds = fixture_count_fds();
	int next = qfd_dup(0);
	qfd_close(&(int){ next });
	for (unsigned n = 0; n < 30; n++) {
		struct rlimit few = { .rlim_cur = (rlim_t)next + n, .rlim_max = old.rlim_max };
		struct qshm_conn *c = NULL;

		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		int res = qshm_join(r.hub, "x", 1, &c);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		ck_assert(res == 0 || res == -EMFILE || res == -ENOMEM || res == QSHM_NO_ANSWER);
		n_worked += res == 0;
		qshm_leave(c);
		until(first, 1 << 16);
	}
	ck_assert_uint_gt(n_worked, 0);
	ck_assert_uint_lt(n_worked, 30);
	ck_assert_uint_le(fixture_count_fds(), fds + SHM_STRANGERS);
	qshm_leave(first);
	room_close(&r);
}
END_TEST

/* ---- from outside ---- */

struct seen {
	unsigned n;
	uint32_t clients[4], keepers[4], pages[4];
	pid_t pid;
	char name[64];
};

static void note(void *arg, const struct qshm_info *i)
{
	struct seen *s = arg;

	ck_assert_uint_lt(s->n, 4);
	s->clients[s->n] = i->clients;
	s->keepers[s->n] = i->keepers;
	s->pages[s->n++] = i->n_pages;
	s->pid = i->clients ? i->client_pids[0] : i->keeper_pids[0];
	snprintf(s->name, sizeof(s->name), "%s", i->name);
}

START_TEST(looking)
{
	struct room r;
	struct seen s = { 0 }, t = { 0 };
	struct qshm_conn *k = NULL;
	int fd = -1;
	uint32_t pages = 0;

	room_open(&r);
	ck_assert_int_eq(qshm_list("/nowhere/at/all", note, &s), 0);
	ck_assert_int_eq(qshm_list(r.dir, note, &s), 0);
	ck_assert_uint_eq(s.n, 0);
	ck_assert_int_eq(qshm_peek(r.dir, "x", &fd, &pages), QSHM_ABSENT);
	ck_assert_int_eq(qshm_peek(r.dir, "../x", &fd, &pages), QSHM_BAD_NAME);
	struct qshm_conn *c = joined(r.hub, "x", 7);
	put_byte(c, 4096, 'p');
	ck_assert_int_eq(qshm_list(r.dir, note, &s), 0);
	ck_assert_uint_eq(s.n, 1);
	ck_assert_uint_eq(s.clients[0], 1);
	ck_assert_uint_eq(s.keepers[0], 0);
	ck_assert_uint_eq(s.pages[0], 7);
	ck_assert_int_eq(s.pid, getpid());
	ck_assert_str_eq(s.name, "x");
	ck_assert_int_eq(qshm_peek(r.dir, "x", &fd, &pages), 0);
	ck_assert_uint_eq(pages, 7);
	char byte = 0;
	ck_assert_int_eq(pread(fd, &byte, 1, 4096), 1);
	ck_assert_int_eq(byte, 'p');
	qfd_close(&fd);
	ck_assert(!qshm_changed(c));	/* nobody noticed */
	ck_assert_int_eq(qshm_keep(r.hub, "y", 2, &k), 0);
	ck_assert_int_eq(qshm_list(r.dir, note, &t), 0);
	ck_assert_uint_eq(t.n, 2);
	ck_assert_uint_eq(t.keepers[0] + t.keepers[1], 1);
	qshm_leave(k);
	qshm_leave(c);
	room_close(&r);
}
END_TEST

/* The run directory lies deeper than a socket's address is long. */
START_TEST(deep_directory)
{
	struct room r;
	char deep[256], shm[264];

	room_open(&r);
	snprintf(deep, sizeof(deep), "%s/%0150d", r.dir, 0);
	snprintf(shm, sizeof(shm), "%s/shm", deep);
	ck_assert_int_eq(mkdir(deep, 0755), 0);
	struct room d = { .hub = NULL };
	ck_assert_int_eq(qshm_new(deep, "t-shm", &d.hub), 0);
	struct qshm_conn *a = joined(d.hub, "12345678901234567890123456789012", 1);
	struct qshm_conn *b = joined(d.hub, "12345678901234567890123456789012", 1);
	until(a, 3 << 16);
	qshm_leave(a);
	qshm_leave(b);
	qshm_free(d.hub);
	ck_assert_int_eq(rmdir(shm), 0);
	ck_assert_int_eq(rmdir(deep), 0);
	room_close(&r);
}
END_TEST

START_TEST(no_directory)
{
	struct qshm *s = NULL;

	ck_assert_int_eq(qshm_new("/proc/nowhere", "t-shm", &s), -ENOENT);
	ck_assert_int_eq(qshm_new("/dev/null", "t-shm", &s), -ENOTDIR);
	ck_assert_ptr_null(s);
	ck_assert_ptr_null(qshm_free(NULL));
	ck_assert_ptr_null(qshm_leave(NULL));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qshm");
	TCase *tc = fixture_case(s, "qshm");

	tcase_add_loop_test(tc, names, 0, Q_ARRAY_LEN(name_rows));
	tcase_add_test(tc, verdicts_have_words);
	tcase_add_test(tc, first_fixes_the_size);
	tcase_add_test(tc, sixteen_and_no_more);
	tcase_add_test(tc, limit_of_a_process);
	tcase_add_test(tc, kept);
	tcase_add_test(tc, bells);
	tcase_add_test(tc, full_sockets);
	tcase_add_test(tc, ten_thousand_cycles);
	tcase_add_test(tc, no_descriptors);
	tcase_add_test(tc, looking);
	tcase_add_test(tc, deep_directory);
	tcase_add_test(tc, no_directory);
	return fixture_main(s);
}
