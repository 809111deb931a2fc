/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qstat.h: one writes, others only read; whatever a page says, reading it is safe. */
#include "lib/qstat.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

START_TEST(what_is_written_is_read)
{
	struct qstat_page p;
	struct qstat_view v;
	struct qstat_share s;
	struct qstat_device d;

	ck_assert_int_eq(qstat_page_init(&p, 2, 3), 0);
	qstat_set_name(qstat_page_device(&p, 1)->name, "disk");
	qstat_set_name(qstat_page_share(&p, 2)->name, "a/b\n\x80");
	ck_assert_int_eq(qstat_view_init(&v, p.fd), 0);
	ck_assert_uint_eq(v.head.n_devices, 2);
	ck_assert_uint_eq(v.head.n_shares, 3);
	ck_assert_uint_eq(v.head.writer_pid, (unsigned)getpid());

	qstat_begin(&qstat_page_share(&p, 2)->seq);
	qstat_add(&qstat_page_share(&p, 2)->ops[1], 7);
	ck_assert(!qstat_view_share(&v, 2, &s));	/* in the middle of it, but readable */
	ck_assert_uint_eq(s.ops[1], 7);
	qhist_add(&qstat_page_share(&p, 2)->latency, 1000);
	qstat_end(&qstat_page_share(&p, 2)->seq);
	ck_assert(qstat_view_share(&v, 2, &s));
	ck_assert_uint_eq(s.latency.n, 1);
	ck_assert_uint_eq(s.latency.min_ns, 1000);
	ck_assert_str_eq(s.name, "a/b??");
	ck_assert(qstat_view_share(&v, 1, &s));
	ck_assert_uint_eq(s.ops[1], 0);
	ck_assert_uint_eq(s.latency.min_ns, UINT64_MAX);
	ck_assert(qstat_view_device(&v, 1, &d));
	ck_assert_str_eq(d.name, "disk");

	/* The writer goes: what it said stays. */
	qstat_page_fini(&p);
	ck_assert(qstat_view_share(&v, 2, &s));
	ck_assert_uint_eq(s.ops[1], 7);
	qstat_view_fini(&v);
}
END_TEST

START_TEST(nobody_else_writes)
{
	struct qstat_page p;

	ck_assert_int_eq(qstat_page_init(&p, 1, 1), 0);
	ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0), MAP_FAILED);
	ck_assert_int_eq(pwrite(p.fd, "x", 1, 0), -1);
	ck_assert_int_eq(ftruncate(p.fd, 0), -1);
	ck_assert_int_eq(ftruncate(p.fd, 1 << 20), -1);
	ck_assert_int_eq(fcntl(p.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	qstat_page_fini(&p);
	ck_assert_int_eq(qstat_page_init(&p, 1, QSTAT_SHARES_MAX + 1), -E2BIG);
	ck_assert_int_eq(p.fd, -1);
}
END_TEST

START_TEST(records_come_while_it_is_read)
{
	struct qstat_page p;
	struct qstat_view v;
	struct qstat_share s;
	struct stat st;

	ck_assert_int_eq(qstat_page_init_room(&p, 1, 1, 0, QSTAT_SHARES_MAX), -E2BIG);
	ck_assert_int_eq(qstat_page_init_room(&p, 1, 1, 1, 1000), 0);
	ck_assert_int_eq(fstat(p.fd, &st), 0);
	/* Room takes no memory. */
	ck_assert_int_lt(st.st_blocks * 512, 20 * (off_t)sizeof(s));
	ck_assert_int_eq(qstat_view_init(&v, p.fd), 0);
	ck_assert_uint_eq(qstat_view_n_shares(&v), 1);
	for (unsigned i = 1; i <= 1000; i++) {
		ck_assert_int_eq(qstat_page_add_share(&p), 0);
		qstat_add(&qstat_page_share(&p, i)->ops[0], i);
		ck_assert_uint_eq(qstat_view_n_shares(&v), i + 1);
		ck_assert(qstat_view_share(&v, i, &s));
		ck_assert_uint_eq(s.ops[0], i);
		ck_assert_uint_eq(s.wait.min_ns, UINT64_MAX);
	}
	ck_assert_int_eq(qstat_page_add_share(&p), -ENOSPC);
	ck_assert_int_eq(qstat_page_add_device(&p), 0);
	ck_assert_int_eq(qstat_page_add_device(&p), -ENOSPC);
	ck_assert_uint_eq(qstat_view_n_devices(&v), 2);
	/* Whatever the writer says of them later, nobody reads outside. */
	p.head->n_shares = UINT32_MAX;
	p.head->n_devices = UINT32_MAX;
	ck_assert_uint_eq(qstat_view_n_shares(&v), 1001);
	ck_assert_uint_eq(qstat_view_n_devices(&v), 2);
	qstat_view_fini(&v);
	qstat_page_fini(&p);
}
END_TEST

/* What a head may lie about, and what is not a page at all. */
static const struct lie {
	const char *what;
	size_t at;
	uint32_t value;
} lies[] = {
	{ "magic", offsetof(struct qstat_head, magic), 1 },
	{ "layout", offsetof(struct qstat_head, layout), QSTAT_LAYOUT + 1 },
	{ "devices", offsetof(struct qstat_head, n_devices), QSTAT_DEVICES_MAX + 1 },
	{ "more devices", offsetof(struct qstat_head, n_devices), 64 },
	{ "shares", offsetof(struct qstat_head, n_shares), UINT32_MAX },
	{ "more shares", offsetof(struct qstat_head, n_shares), 5 },
	{ "place", offsetof(struct qstat_head, shares_at), UINT32_MAX - 7 },
	{ "odd place", offsetof(struct qstat_head, devices_at), 65 },
	{ "small record", offsetof(struct qstat_head, share_bytes), 64 },
	{ "odd record", offsetof(struct qstat_head, share_bytes), sizeof(struct qstat_share) + 1 },
	{ "large record", offsetof(struct qstat_head, device_bytes), 1u << 31 },
};

START_TEST(a_lie_is_refused)
{
	struct qstat_page p;
	struct qstat_view v;

	ck_assert_int_eq(qstat_page_init(&p, 2, 2), 0);
	ck_assert_int_eq(qstat_view_init(&v, p.fd), 0);
	qstat_view_fini(&v);
	memcpy((char *)p.head + lies[_i].at, &lies[_i].value, sizeof(lies[_i].value));
	ck_assert_msg(qstat_view_init(&v, p.fd) == -EPROTO, "%s", lies[_i].what);
	qstat_page_fini(&p);

	QCLEAN(qfd_close) int small = qfd_memfd("small", 8);
	ck_assert_int_eq(qstat_view_init(&v, small), -EPROTO);
	QCLEAN(qfd_close) int loose = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(qstat_view_init(&v, loose), -EPERM);
	QCLEAN(qfd_close) int dir = open("/", O_RDONLY | O_CLOEXEC);
	ck_assert_int_lt(qstat_view_init(&v, dir), 0);
}
END_TEST

static struct qstat_page shared;
static _Atomic bool stop;

/* All numbers of a record say the same, whenever it is whole. */
static void *count(void *arg)
{
	struct qstat_share *s = qstat_page_share(&shared, 0);

	while (!atomic_load(&stop)) {
		qstat_begin(&s->seq);
		for (unsigned i = 0; i < QSTAT_OPS; i++) {
			qstat_add(&s->ops[i], 1);
			qstat_add(&s->bytes[i], 1);
		}
		qhist_add(&s->wait, 5);
		qstat_end(&s->seq);
		for (unsigned i = 0; i < 200 && !atomic_load(&stop); i++)
			atomic_thread_fence(memory_order_seq_cst);
	}
	return NULL;
}

START_TEST(a_record_is_of_one_moment)
{
	struct qstat_view v;
	struct qstat_share s;
	unsigned whole = 0;
	pthread_t t;

	ck_assert_int_eq(qstat_page_init(&shared, 1, 1), 0);
	ck_assert_int_eq(qstat_view_init(&v, shared.fd), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, count, NULL), 0);
	while (whole < 2000) {
		if (!qstat_view_share(&v, 0, &s))
			continue;
		whole++;
		for (unsigned i = 0; i < QSTAT_OPS; i++)
			if (s.ops[i] != s.ops[0] || s.bytes[i] != s.ops[0])
				ck_abort_msg("a record of two moments");
		ck_assert_uint_eq(s.wait.n, s.ops[0]);
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	qstat_view_fini(&v);
	qstat_page_fini(&shared);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("qstat");
	TCase *t = tcase_create("qstat");

	fixture_add(t);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_written_is_read);
	tcase_add_test(t, nobody_else_writes);
	tcase_add_test(t, records_come_while_it_is_read);
	tcase_add_loop_test(t, a_lie_is_refused, 0, Q_ARRAY_LEN(lies));
	tcase_add_test(t, a_record_is_of_one_moment);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
