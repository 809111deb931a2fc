/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of sleeping and waking, with the two sides on a thread each. Each sleeps whenever
 * it has nothing to do, and only a kick or an interrupt wakes it: what either side forgets to
 * tell, the other waits for until its deadline, and the test fails.
 *
 * The window is a few nanoseconds wide: one side's store still stands in its store buffer while
 * it looks at the other's. So the doorbell is a word in memory that the sleeper spins on, for
 * then the two meet some million times; and once more an eventfd, as in real life. Without the
 * full barriers of one side the first fails on x86 within a second.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "lib/qdriver.h"
#include "lib/qmem.h"
#include "lib/qring.h"
#include "lib/qring_wire.h"
#include "tests/unit/fixture.h"

#define RING_AT 0x0ull
#define TABLES_AT 0x2000ull
#define DATA_AT 0x4000ull
#define MEM_BYTES 0x8000ull
#define NUM 8u
#define SLEEP_NS (5 * Q_NSEC_PER_SEC)

/* For what runs a million times: an assertion of Check's is a system call, passed or not. */
#define expect(cond) ((cond) ? (void)0 : ck_abort_msg("%s", #cond))

static struct qmem *mem;
static struct qdriver drv;
static struct qring dev;

/* One direction of notification. */
struct bell {
	int fd;			/* -1 = spin on n_rung */
	_Atomic unsigned n_rung;
	unsigned n_heard;	/* the sleeper's */
};

struct race {
	struct bell kick, call;
	_Atomic bool stop;
	_Atomic unsigned n_lost;	/* relaxed everywhere: a tally, read after the join */
};

static const struct {
	unsigned features, n_chains;
	bool spin;
} race_rows[] = {
	{ 0, 400000, true },
	{ QRING_EVENT_IDX, 400000, true },
	{ 0, 20000, false },
	{ QRING_EVENT_IDX | QRING_INDIRECT, 20000, false },
	{ QRING_PACKED, 400000, true },
	{ QRING_PACKED | QRING_EVENT_IDX, 400000, true },
	{ QRING_PACKED | QRING_EVENT_IDX | QRING_INDIRECT, 20000, false },
};

static unsigned pick(uint64_t *seed, unsigned n)
{
	return (fixture_rand(seed) >> 20) % n;
}

static void bell_ring(struct bell *b)
{
	if (b->fd >= 0)
		expect(eventfd_write(b->fd, 1) == 0);
	else	/* Pairs with the acquire load in bell_wait(). */
		atomic_fetch_add_explicit(&b->n_rung, 1, memory_order_release);
}

/* False when nobody rang before the deadline. */
static bool bell_wait(struct bell *b)
{
	struct pollfd p = { .fd = b->fd, .events = POLLIN };
	uint64_t deadline = 0;
	eventfd_t n;

	if (b->fd >= 0)
		return poll(&p, 1, (int)(SLEEP_NS / Q_NSEC_PER_MSEC)) == 1 &&
		       eventfd_read(b->fd, &n) == 0;
	for (unsigned i = 1;; i++) {
		/* Pairs with the release in bell_ring(). */
		unsigned now = atomic_load_explicit(&b->n_rung, memory_order_acquire);

		if (now != b->n_heard) {
			b->n_heard = now;
			return true;
		}
		if (i % 1024)
			continue;
		sched_yield();	/* the other may need this very CPU */
		if (deadline == 0)
			deadline = qnow_ns() + SLEEP_NS;
		if (qnow_ns() > deadline)
			return false;
	}
}

/* Moves the two threads against each other, so that they meet in every order. */
static void dawdle(uint64_t *seed)
{
	for (volatile unsigned i = pick(seed, 64); i > 0; i--)
		;
}

static void device_drain(struct race *rc, uint64_t *seed)
{
	struct qring_chain c;
	struct iovec iov[2];

	while (qring_pop(&dev, iov, 2, &c) == QRING_OK) {
		uint64_t v;

		memcpy(&v, iov[0].iov_base, sizeof(v));
		v = ~v;
		memcpy(iov[1].iov_base, &v, sizeof(v));
		qring_push(&dev, c.head, sizeof(v));
		dawdle(seed);
		if (qring_publish(&dev))
			bell_ring(&rc->call);
	}
}

static void *device_main(void *arg)
{
	struct race *rc = arg;
	uint64_t seed = 3;

	/* Acquire: pairs with the release store in the test; all chains are home by then. */
	while (!atomic_load_explicit(&rc->stop, memory_order_acquire)) {
		qring_disarm(&dev);
		device_drain(rc, &seed);
		if (!qring_arm(&dev) && !bell_wait(&rc->kick))
			atomic_fetch_add_explicit(&rc->n_lost, 1, memory_order_relaxed);
	}
	return NULL;
}

/* Sends up to 3 chains. Chain number n carries n in, and wants ~n back. */
static unsigned submit(struct race *rc, uint64_t *seed, unsigned n_sent, unsigned n_chains)
{
	for (unsigned n = 1 + pick(seed, 3); n > 0 && n_sent < n_chains; n--) {
		uint64_t at = DATA_AT + 64 * (n_sent % NUM), v = n_sent + 1;
		struct qdriver_buf b[] = {
			{ gpa(at), sizeof(v), false },
			{ gpa(at + 8), sizeof(v), true },
		};

		/* They come home in order, so the slot is free when there is room at all. */
		if (qdriver_outstanding(&drv) == NUM)
			break;
		memcpy(qmem_ptr(mem, gpa(at), sizeof(v), true), &v, sizeof(v));
		if (qdriver_add(&drv, b, 2, (void *)(uintptr_t)v) != QDRIVER_OK)
			break;
		n_sent++;
	}
	dawdle(seed);
	if (qdriver_publish(&drv))
		bell_ring(&rc->kick);
	return n_sent;
}

static unsigned collect(unsigned n_done)
{
	uint32_t written;
	void *token;

	while (qdriver_poll(&drv, &token, &written) == QDRIVER_OK) {
		uint64_t at = DATA_AT + 64 * (n_done % NUM), v;

		n_done++;
		expect((uintptr_t)token == n_done);
		memcpy(&v, qmem_ptr(mem, gpa(at + 8), sizeof(v), false), sizeof(v));
		expect(~v == n_done);
	}
	return n_done;
}

static void drive(struct race *rc, unsigned n_chains)
{
	unsigned n_sent = 0, n_done = 0;
	uint64_t seed = 7;

	while (n_done < n_chains) {
		qdriver_disarm(&drv);
		n_sent = submit(rc, &seed, n_sent, n_chains);
		dawdle(&seed);
		n_done = collect(n_done);
		/* It waits for what is out, and every other time although there is room. */
		if (qdriver_outstanding(&drv) == 0 || pick(&seed, 2))
			continue;
		if (!qdriver_arm(&drv) && !bell_wait(&rc->call))
			atomic_fetch_add_explicit(&rc->n_lost, 1, memory_order_relaxed);
		/* One is enough, and a test of ours that hangs helps nobody. */
		if (atomic_load_explicit(&rc->n_lost, memory_order_relaxed))
			return;
	}
}

START_TEST(no_wake_up_is_lost)
{
	bool spin = race_rows[_i].spin;
	struct race rc = {
		.kick.fd = spin ? -1 : eventfd(0, 0),
		.call.fd = spin ? -1 : eventfd(0, 0),
	};
	pthread_t th;

	mem = qmem_new();
	ck_assert_ptr_nonnull(mem);
	ck_assert_int_eq(qmem_add(mem, gpa(RING_AT), MEM_BYTES, 0, "ram"), 0);
	ck_assert_int_eq(qdriver_init(&drv, mem, gpa(RING_AT), NUM, race_rows[_i].features,
				      gpa(TABLES_AT), 2), 0);
	ck_assert_int_eq(qring_init(&dev, mem, &drv.cfg), 0);
	ck_assert_int_eq(pthread_create(&th, NULL, device_main, &rc), 0);
	drive(&rc, race_rows[_i].n_chains);
	atomic_store_explicit(&rc.stop, true, memory_order_release);
	bell_ring(&rc.kick);
	pthread_join(th, NULL);
	if (!spin)
		close(rc.kick.fd);
	if (!spin)
		close(rc.call.fd);
	ck_assert_uint_eq(rc.n_lost, 0);
	ck_assert_uint_eq(qdriver_outstanding(&drv), 0);
	ck_assert_uint_eq(drv.last_used, (uint16_t)race_rows[_i].n_chains);
	qdriver_fini(&drv);
	qring_fini(&dev);
	mem = qmem_unref(mem);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qring_race");
	TCase *tc = fixture_case(s, "race");

	tcase_set_timeout(tc, 50);
	tcase_add_loop_test(tc, no_wake_up_is_lost, 0, Q_ARRAY_LEN(race_rows));
	return fixture_main(s);
}
