/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side: against a device that lies in the used ring, and against the real device
 * side: random chains, indices that go round, kicks and interrupts counted. One thread:
 * t_qring_race.c has two.
 */
#include <errno.h>

#include "lib/qdriver.h"
#include "lib/qmem.h"
#include "lib/qring.h"
#include "lib/qring_wire.h"
#include "tests/unit/fixture.h"

#define RING_AT 0x0ull		/* 1 MiB for the ring */
#define TABLES_AT 0x100000ull	/* 1 MiB for indirect tables */
#define DATA_AT 0x200000ull	/* two regions of 1 MiB that touch */
#define MIB 0x100000ull
#define PARTS_MAX 12u
#define INDIRECT_MAX 8u

/* For what runs a million times: an assertion of Check's is a system call, passed or not. */
#define expect(cond) ((cond) ? (void)0 : ck_abort_msg("%s", #cond))

static struct qmem *mem;
static struct qdriver drv;
static struct qring dev;

static void setup(void)
{
	mem = qmem_new();
	ck_assert_ptr_nonnull(mem);
	ck_assert_int_eq(qmem_add(mem, gpa(RING_AT), MIB, 0, "ring"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(TABLES_AT), MIB, 0, "tables"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(DATA_AT), MIB, 0, "data0"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(DATA_AT + MIB), MIB, 0, "data1"), 0);
}

static void teardown(void)
{
	qdriver_fini(&drv);
	qring_fini(&dev);
	mem = qmem_unref(mem);
}

/* Both sides of one ring, their indices at @start. */
static void open_both(uint32_t num, unsigned features, uint16_t start)
{
	ck_assert_int_eq(qdriver_init(&drv, mem, gpa(RING_AT), num, features, gpa(TABLES_AT),
				      INDIRECT_MAX), 0);
	drv.avail_idx = drv.kicked_idx = drv.last_used = start;
	if (!(features & QRING_PACKED)) {
		qring_store(&((struct qring_avail *)drv.avail)->w_idx, start,
			    memory_order_relaxed);
		qring_store(&((struct qring_used *)drv.used)->w_idx, start, memory_order_relaxed);
		qring_store(qring_avail_event(drv.used, num), start, memory_order_relaxed);
		qring_store(qring_used_event(drv.avail, num), start, memory_order_relaxed);
	}

	struct qring_cfg cfg = drv.cfg;
	cfg.base = start;
	ck_assert_int_eq(qring_init(&dev, mem, &cfg), 0);
}

static enum qdriver_verdict add_one(uint64_t at, uint32_t len, bool write, void *token)
{
	struct qdriver_buf b = { .at = gpa(at), .len_bytes = len, .device_writes = write };

	return qdriver_add(&drv, &b, 1, token);
}

static const struct {
	uint32_t num;
	uint64_t at;
	unsigned features, indirect_max;
	int want;
} init_rows[] = {
	{ 1, RING_AT, 0, 0, 0 },
	{ 256, RING_AT, QRING_INDIRECT, 130, 0 },
	{ 32768, RING_AT, 0, 0, 0 },
	{ 0, RING_AT, 0, 0, -EINVAL },
	{ 6, RING_AT, 0, 0, -EINVAL },
	{ 65536, RING_AT, 0, 0, -EINVAL },
	{ 8, RING_AT + 64, 0, 0, -EINVAL },
	{ 8, 0x900000, 0, 0, -EFAULT },
	{ 32768, 0x80000, 0, 0, -EFAULT },	/* ends outside its region */
	{ 8192, RING_AT, QRING_INDIRECT, 9, -EFAULT },
	{ 8192, RING_AT, 0, 9, 0 },		/* not negotiated, not looked at */
	{ 6, RING_AT, QRING_PACKED, 0, 0 },
	{ 1, RING_AT, QRING_PACKED | QRING_INDIRECT, 130, 0 },
	{ 32768, RING_AT, QRING_PACKED, 0, 0 },
	{ 0, RING_AT, QRING_PACKED, 0, -EINVAL },
	{ 32769, RING_AT, QRING_PACKED, 0, -EINVAL },
	{ 8, 0x900000, QRING_PACKED, 0, -EFAULT },
	{ 8, RING_AT, QRING_INDIRECT, QRING_SIZE_MAX + 1, -EINVAL },
};

START_TEST(init_row)
{
	ck_assert_int_eq(qdriver_init(&drv, mem, gpa(init_rows[_i].at), init_rows[_i].num,
				      init_rows[_i].features, gpa(TABLES_AT),
				      init_rows[_i].indirect_max),
			 init_rows[_i].want);
	ck_assert_ptr_eq(init_rows[_i].want ? drv.slot : NULL, NULL);
}
END_TEST

START_TEST(layout_holds)
{
	for (uint32_t num = 1; num <= QRING_SIZE_MAX; num *= 2) {
		uint64_t avail, used, len = qdriver_layout(num, &avail, &used);

		ck_assert_uint_ge(avail, 16ull * num);
		ck_assert_uint_ge(used, avail + 6 + 2ull * num);
		ck_assert_uint_ge(len, used + 6 + 8ull * num);
		ck_assert_uint_eq(avail % 2 + used % 4 + len % 4096, 0);
	}
}
END_TEST

START_TEST(full_and_free_again)
{
	struct qdriver_buf b[9] = { 0 };
	uint32_t written;
	void *token;
	struct qring_chain c;
	struct iovec iov[9];

	for (unsigned i = 0; i < 9; i++)
		b[i] = (struct qdriver_buf){ gpa(DATA_AT + i), 1, false };
	open_both(8, _i ? QRING_PACKED : 0, 0);
	ck_assert_int_eq(qdriver_add(&drv, b, 9, &drv), QDRIVER_FULL);
	ck_assert_int_eq(qdriver_add(&drv, b, 5, &drv), QDRIVER_OK);
	ck_assert_int_eq(qdriver_add(&drv, b, 4, &drv), QDRIVER_FULL);
	ck_assert_int_eq(qdriver_add(&drv, b, 3, &dev), QDRIVER_OK);
	ck_assert_int_eq(qdriver_add(&drv, b, 1, &drv), QDRIVER_FULL);
	ck_assert_uint_eq(qdriver_outstanding(&drv), 2);
	ck_assert_int_eq(qdriver_poll(&drv, &token, &written), QDRIVER_EMPTY);
	ck_assert(!qring_pending(&dev));
	ck_assert(qdriver_publish(&drv));
	ck_assert_int_eq(qring_pop(&dev, iov, 9, &c), QRING_OK);
	ck_assert_int_eq(qring_pop(&dev, iov, 9, &c), QRING_OK);
	ck_assert_uint_eq(c.n_out, 3);
	qring_push(&dev, c.head, 0);
	ck_assert_int_eq(qdriver_poll(&drv, &token, &written), QDRIVER_EMPTY);
	qring_publish(&dev);
	ck_assert_int_eq(qdriver_poll(&drv, &token, &written), QDRIVER_OK);
	ck_assert_ptr_eq(token, &dev);
	ck_assert_int_eq(qdriver_add(&drv, b, 4, &drv), QDRIVER_FULL);
	ck_assert_int_eq(qdriver_add(&drv, b, 3, &drv), QDRIVER_OK);
}
END_TEST

/* The device says: used.idx moved by @ahead, and the first element is this. Two chains are
 * published: head 0 takes 10 bytes, head 1 none; head 2 is added and not published. */
static const struct {
	uint16_t ahead;
	uint32_t id, len;
	enum qdriver_verdict want;
} used_rows[] = {
	{ 0, 0, 0, QDRIVER_EMPTY },
	{ 1, 0, 10, QDRIVER_OK },
	{ 1, 0, 0, QDRIVER_OK },
	{ 1, 1, 0, QDRIVER_OK },
	{ 1, 0, 11, QDRIVER_BAD_USED },
	{ 1, 1, 1, QDRIVER_BAD_USED },
	{ 1, 0, UINT32_MAX, QDRIVER_BAD_USED },
	{ 1, 3, 0, QDRIVER_BAD_USED },
	{ 1, 4, 0, QDRIVER_BAD_USED },
	{ 1, 0x10000, 0, QDRIVER_BAD_USED },
	{ 1, UINT32_MAX, 0, QDRIVER_BAD_USED },
	{ 2, 0, 0, QDRIVER_OK },
	{ 3, 0, 0, QDRIVER_BAD_USED },
	{ 0xffff, 0, 0, QDRIVER_BAD_USED },
};

START_TEST(used_row)
{
	uint32_t written = 77;
	void *token = &written;
	uint16_t start = _i & 1 ? 0xffff : 0;

	open_both(4, 0, start);
	struct qring_used *u = drv.used;
	ck_assert_int_eq(add_one(DATA_AT, 10, true, &drv), QDRIVER_OK);
	ck_assert_int_eq(add_one(DATA_AT, 10, false, &dev), QDRIVER_OK);
	ck_assert(qdriver_publish(&drv));
	ck_assert_int_eq(add_one(DATA_AT, 10, true, &mem), QDRIVER_OK);
	u->ring[start & 3].w_id = htole32(used_rows[_i].id);
	u->ring[start & 3].w_len = htole32(used_rows[_i].len);
	qring_store(&u->w_idx, start + used_rows[_i].ahead, memory_order_release);

	ck_assert_int_eq(qdriver_poll(&drv, &token, &written), used_rows[_i].want);
	if (used_rows[_i].want == QDRIVER_OK) {
		ck_assert_ptr_eq(token, used_rows[_i].id ? (void *)&dev : (void *)&drv);
		ck_assert_uint_eq(written, used_rows[_i].len);
		ck_assert_uint_eq(qdriver_outstanding(&drv), 2);
		/* A second time it is not out any more. */
		u->ring[(start + 1) & 3].w_id = htole32(used_rows[_i].id);
		qring_store(&u->w_idx, start + 2, memory_order_release);
		ck_assert_int_eq(qdriver_poll(&drv, &token, &written), QDRIVER_BAD_USED);
	} else {
		ck_assert_ptr_eq(token, &written);
		ck_assert_uint_eq(written, 77);
		ck_assert_uint_eq(qdriver_outstanding(&drv), 3);
	}
}
END_TEST

/* What the driver asked for, by token. */
struct ask {
	struct qdriver_buf b[PARTS_MAX];
	unsigned n;
	uint32_t written;
	bool out, at_device;
	uint16_t head;
};

#define ASKS 64u
static struct ask asks[ASKS];

static unsigned pick(uint64_t *seed, unsigned n)
{
	return (fixture_rand(seed) >> 20) % n;
}

static void ask_random(uint64_t *seed, struct ask *a)
{
	unsigned n_out;

	a->n = 1 + pick(seed, PARTS_MAX);
	n_out = pick(seed, a->n + 1);
	for (unsigned i = 0; i < a->n; i++) {
		/* Half of them near the place where the regions meet. */
		uint64_t at = pick(seed, 2) ? MIB - 2048 + pick(seed, 2048) : pick(seed, MIB);

		a->b[i] = (struct qdriver_buf){
			.at = gpa(DATA_AT + at), .len_bytes = 1 + pick(seed, 4096),
			.device_writes = i >= n_out,
		};
	}
}

/* What came out is, byte for byte, where the ask said. */
static void check_same(const struct ask *a, const struct qring_chain *c, const struct iovec *iov)
{
	unsigned at = 0;

	for (unsigned i = 0; i < a->n; i++) {
		uint64_t from = a->b[i].at.v, left = a->b[i].len_bytes;

		while (left > 0) {
			uint64_t run = qmem_run(mem, gpa(from), left);

			expect(at < c->n_out + c->n_in);
			expect((at >= c->n_out) == a->b[i].device_writes);
			expect(iov[at].iov_len == run);
			expect(iov[at].iov_base == qmem_ptr(mem, gpa(from), run, true));
			at++;
			from += run;
			left -= run;
		}
	}
	expect(at == c->n_out + c->n_in);
}

/* Chains come out in the order they went in: fifo[] says which ask is next. */
struct model {
	uint64_t seed;
	uint16_t fifo[ASKS];
	unsigned n_fifo;
	unsigned n_added, n_done;
};

static void step_driver(struct model *m)
{
	unsigned t = pick(&m->seed, ASKS), n = ASKS;

	while (n-- > 0 && asks[t].out)
		t = (t + 1) % ASKS;
	if (asks[t].out)
		return;
	ask_random(&m->seed, &asks[t]);
	if (qdriver_add(&drv, asks[t].b, asks[t].n, &asks[t]) != QDRIVER_OK)
		return;
	asks[t].out = true;
	m->fifo[m->n_fifo++] = t;
	m->n_added++;
}

static void step_device(struct model *m)
{
	struct iovec iov[2 * PARTS_MAX];
	struct qring_chain c;
	enum qring_verdict v = qring_pop(&dev, iov, Q_ARRAY_LEN(iov), &c);

	if (v == QRING_EMPTY)
		return;
	expect(v == QRING_OK);
	expect(m->n_fifo > 0);
	struct ask *a = &asks[m->fifo[0]];
	memmove(m->fifo, m->fifo + 1, --m->n_fifo * sizeof(m->fifo[0]));
	check_same(a, &c, iov);
	a->head = c.head;
	a->at_device = true;
}

static void step_complete(struct model *m)
{
	unsigned t = pick(&m->seed, ASKS), n = ASKS;
	uint64_t in = 0;

	while (n-- > 0 && !asks[t].at_device)
		t = (t + 1) % ASKS;
	struct ask *a = &asks[t];
	if (!a->at_device)
		return;
	a->at_device = false;
	for (unsigned i = 0; i < a->n; i++)
		in += a->b[i].device_writes ? a->b[i].len_bytes : 0;
	a->written = pick(&m->seed, in + 1);
	qring_push(&dev, a->head, a->written);
}

static void step_publish(struct model *m)
{
	if (pick(&m->seed, 2))
		qdriver_publish(&drv);
	else
		qring_publish(&dev);
}

static void step_poll(struct model *m)
{
	uint32_t written;
	void *token;
	enum qdriver_verdict v = qdriver_poll(&drv, &token, &written);

	if (v == QDRIVER_EMPTY)
		return;
	expect(v == QDRIVER_OK);
	struct ask *a = token;
	expect(a->out && !a->at_device);
	expect(a->written == written);
	a->out = false;
	m->n_done++;
}

static void check_nothing_leaks(const struct model *m)
{
	unsigned n_out = 0;

	for (unsigned i = 0; i < ASKS; i++)
		n_out += asks[i].out;
	expect(qdriver_outstanding(&drv) == n_out);
	expect(m->n_added - m->n_done == n_out);
}

static const struct {
	uint32_t num;
	unsigned features;
	uint16_t start;
} pair_rows[] = {
	{ 1, QRING_INDIRECT, 0xff00 },
	{ 16, 0, 0x7ff0 },
	{ 16, QRING_INDIRECT, 0xfff0 },
	{ 64, QRING_EVENT_IDX, 0x7ff0 },
	{ 256, QRING_INDIRECT | QRING_EVENT_IDX, 0 },
	{ 1, QRING_PACKED | QRING_INDIRECT, 0xff00 },
	{ 5, QRING_PACKED, 0xff00 },
	{ 16, QRING_PACKED | QRING_EVENT_IDX, 0x7ff0 },
	{ 64, QRING_PACKED | QRING_INDIRECT, 0x7ff0 },
	{ 255, QRING_PACKED | QRING_INDIRECT | QRING_EVENT_IDX, 0 },
};

/* Long enough for the indices to go round. */
START_TEST(pair_row)
{
	static void (*const steps[])(struct model *) = {
		step_driver, step_driver, step_device, step_complete, step_publish, step_publish,
		step_poll,
	};
	struct model m = { .seed = 0x9e3779b97f4a7c15ull + _i };

	memset(asks, 0, sizeof(asks));
	open_both(pair_rows[_i].num, pair_rows[_i].features, pair_rows[_i].start);
	for (unsigned i = 0; i < 600000; i++) {
		steps[pick(&m.seed, Q_ARRAY_LEN(steps))](&m);
		if (i % 4096 == 0)
			check_nothing_leaks(&m);
	}
	/* Then everything that is out comes home. */
	qdriver_publish(&drv);
	for (unsigned i = 0; i < 100000 && qdriver_outstanding(&drv); i++) {
		step_device(&m);
		step_complete(&m);
		qring_publish(&dev);
		step_poll(&m);
	}
	check_nothing_leaks(&m);
	ck_assert_uint_eq(qdriver_outstanding(&drv), 0);
	ck_assert_uint_eq(drv.n_free, pair_rows[_i].num);
	ck_assert_uint_gt(m.n_done, 10000);
	ck_assert_uint_gt(pair_rows[_i].start + m.n_done, 0x10000);
	ck_assert_uint_eq((uint16_t)(pair_rows[_i].start + m.n_done), drv.last_used);
}
END_TEST

/* One round: the driver adds @batch chains in one go @times; how many kicks, and how many
 * interrupts for giving them back one by one, when a side armed before (sleeper) or disarmed
 * (poller)? Without EVENT_IDX a side that sleeps is told each time, with it once. */
static const struct {
	unsigned features;
	bool sleeper;
	unsigned times, batch, want_kicks, want_irqs;
} count_rows[] = {
	{ 0, true, 1, 8, 1, 8 },
	{ 0, true, 4, 2, 4, 8 },
	{ 0, false, 4, 2, 0, 0 },
	{ QRING_EVENT_IDX, true, 1, 8, 1, 1 },
	{ QRING_EVENT_IDX, true, 4, 2, 1, 1 },
	{ QRING_EVENT_IDX, true, 8, 1, 1, 1 },
	{ QRING_PACKED, true, 1, 8, 1, 8 },
	{ QRING_PACKED, true, 4, 2, 4, 8 },
	{ QRING_PACKED, false, 4, 2, 0, 0 },
	{ QRING_PACKED | QRING_EVENT_IDX, true, 1, 8, 1, 1 },
	{ QRING_PACKED | QRING_EVENT_IDX, true, 4, 2, 1, 1 },
	{ QRING_PACKED | QRING_EVENT_IDX, true, 8, 1, 1, 1 },
	{ QRING_PACKED | QRING_EVENT_IDX, false, 8, 1, 0, 0 },
};

static void drain_home(unsigned n)
{
	uint32_t written;
	void *token;

	for (unsigned i = 0; i < n; i++)
		expect(qdriver_poll(&drv, &token, &written) == QDRIVER_OK);
	expect(qdriver_poll(&drv, &token, &written) == QDRIVER_EMPTY);
}

START_TEST(count_row)
{
	unsigned times = count_rows[_i].times, batch = count_rows[_i].batch;
	bool sleeper = count_rows[_i].sleeper;

	open_both(16, count_rows[_i].features, 0xfffa);
	/* The first round also settles what was signalled before; the indices go round in the
	 * second. */
	for (unsigned round = 0; round < 20000; round++) {
		unsigned kicks = 0, irqs = 0;
		struct qring_chain c;
		struct iovec iov[2];

		if (sleeper) {
			expect(!qring_arm(&dev));
			expect(!qdriver_arm(&drv));
		} else {
			qring_disarm(&dev);
			qdriver_disarm(&drv);
		}
		for (unsigned t = 0; t < times; t++) {
			for (unsigned i = 0; i < batch; i++)
				expect(add_one(DATA_AT, 1, true, &drv) == QDRIVER_OK);
			kicks += qdriver_publish(&drv);
			expect(!qdriver_publish(&drv));
		}
		while (qring_pop(&dev, iov, 2, &c) == QRING_OK) {
			qring_push(&dev, c.head, 1);
			irqs += qring_publish(&dev);
		}
		drain_home(times * batch);
		expect(kicks == count_rows[_i].want_kicks);
		expect(irqs == count_rows[_i].want_irqs);
	}
}
END_TEST

/* With EVENT_IDX a poller is told once a turn of the index, not once a chain. */
START_TEST(pollers_are_left_alone)
{
	unsigned kicks = 0, irqs = 0;
	struct qring_chain c;
	struct iovec iov[2];

	open_both(16, QRING_EVENT_IDX | (_i ? QRING_PACKED : 0), 0);
	for (unsigned i = 0; i < 4 * 65536; i++) {
		qring_disarm(&dev);
		qdriver_disarm(&drv);
		expect(add_one(DATA_AT, 1, true, &drv) == QDRIVER_OK);
		kicks += qdriver_publish(&drv);
		expect(qring_pop(&dev, iov, 2, &c) == QRING_OK);
		qring_push(&dev, c.head, 1);
		irqs += qring_publish(&dev);
		drain_home(1);
	}
	expect(kicks <= 4);
	expect(irqs <= 4);
}
END_TEST

START_TEST(arm_sees_what_came)
{
	struct qring_chain c;
	struct iovec iov[2];

	open_both(8, _i, 0xffff);
	qring_disarm(&dev);
	qdriver_disarm(&drv);
	ck_assert(!qdriver_arm(&drv));
	ck_assert_int_eq(add_one(DATA_AT, 1, true, &drv), QDRIVER_OK);
	ck_assert_msg(!qring_arm(&dev), "not published yet");
	qdriver_publish(&drv);
	ck_assert(qring_arm(&dev));
	ck_assert_int_eq(qring_pop(&dev, iov, 2, &c), QRING_OK);
	ck_assert(!qring_arm(&dev));
	qring_push(&dev, c.head, 1);
	ck_assert_msg(!qdriver_arm(&drv), "not published yet");
	qring_publish(&dev);
	ck_assert(qdriver_arm(&drv));
	drain_home(1);
	ck_assert(!qdriver_arm(&drv));
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = fixture_case(s, name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 50);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("qdriver");
	TCase *tc = add_case(s, "driver");

	tcase_add_loop_test(tc, init_row, 0, Q_ARRAY_LEN(init_rows));
	tcase_add_test(tc, layout_holds);
	tcase_add_loop_test(tc, full_and_free_again, 0, 2);
	tcase_add_loop_test(tc, used_row, 0, Q_ARRAY_LEN(used_rows));
	tc = add_case(s, "pair");
	tcase_add_loop_test(tc, pair_row, 0, Q_ARRAY_LEN(pair_rows));
	tcase_add_loop_test(tc, count_row, 0, Q_ARRAY_LEN(count_rows));
	tcase_add_loop_test(tc, pollers_are_left_alone, 0, 2);
	tcase_add_loop_test(tc, arm_sees_what_came, 0, 8);	/* every feature */
	return fixture_main(s);
}
