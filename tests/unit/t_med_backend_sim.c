/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/backend_sim.c: everything ends once, in the order and not before the time that the model
 * says, and is done by the back end behind. Nothing here asks that it ends soon.
 */
#include <string.h>

#include "lib/qfd.h"
#include "mediator/backend.h"
#include "tests/unit/fixture.h"

#define MS Q_NSEC_PER_MSEC
#define SLOTS 16u
#define BLOCK 4096u

static struct loop loop;
static struct backend *be;
static struct backend_io io[SLOTS];
static unsigned order[SLOTS], n_ended;
static int last_err;

static void on_ended(struct backend_io *x, int err)
{
	ck_assert_uint_lt(n_ended, SLOTS);
	order[n_ended++] = x->slot;
	last_err = err ? err : last_err;
}

static void start(const struct sim_model *model, struct backend *behind)
{
	n_ended = 0;
	last_err = 0;
	ck_assert_int_eq(loop_init(&loop, 64), 0);
	ck_assert_int_eq(backend_sim_wrap(model, SLOTS, behind, &be), 0);
	ck_assert_int_eq(be->ops->start(be, &loop), 0);
}

static void start_null(const struct sim_model *model)
{
	struct backend *behind;

	ck_assert_int_eq(backend_null_open(1 << 20, &behind), 0);
	start(model, behind);
	ck_assert_uint_eq(be->len_bytes, 1 << 20);
}

static void stop(void)
{
	be->ops->stop(be);
	loop_fini(&loop);
	be = backend_free(be);
	ck_assert_int_eq(last_err, 0);
}

static void submit(unsigned slot, enum qblk_op op, void *data, uint64_t off_bytes)
{
	struct backend_io *x = &io[slot];

	*x = (struct backend_io){
		.ended = on_ended, .slot = slot, .op = op, .off_bytes = off_bytes,
		.len_bytes = op == QBLK_FLUSH ? 1 : BLOCK,
	};
	x->iov_store[0] = (struct iovec){ data, BLOCK };
	x->iov = x->iov_store;
	x->n_iov = data ? 1 : 0;
	be->ops->submit(be, x);
}

static void wait_for(unsigned n)
{
	while (n_ended < n) {
		ck_assert_int_eq(loop_submit(&loop, true), 0);
		loop_dispatch(&loop, UINT32_MAX);
	}
}

/* One after the other, each as long as its kind takes. */
START_TEST(one_server_takes_the_sum)
{
	static const struct sim_model model = {
		.parallel = 1,
		.base_ns = { 1 * MS, 2 * MS, 3 * MS, 4 * MS },
		.kib_ns = { [SIM_READ] = MS / 4 },
	};
	static const enum qblk_op ops[] = {
		QBLK_READ, QBLK_WRITE, QBLK_FLUSH, QBLK_DISCARD, QBLK_WRITE_ZEROES
	};
	static char data[BLOCK];
	uint64_t from = qnow_ns();

	start_null(&model);
	for (unsigned i = 0; i < Q_ARRAY_LEN(ops); i++)
		submit(i, ops[i], i < 2 ? data : NULL, 0);
	wait_for(Q_ARRAY_LEN(ops));
	ck_assert_uint_ge(qnow_ns() - from, (1 + 1 + 2 + 3 + 4 + 4) * MS);
	for (unsigned i = 0; i < Q_ARRAY_LEN(ops); i++)
		ck_assert_uint_eq(order[i], i);
	stop();
}
END_TEST

/* The quick one comes back before the slow one that was first, where two are worked on. */
START_TEST(several_servers_overtake)
{
	static const struct sim_model model = {
		.parallel = 2, .base_ns = { [SIM_READ] = MS, [SIM_FLUSH] = 400 * MS },
	};
	static char data[BLOCK];

	start_null(&model);
	submit(0, QBLK_FLUSH, NULL, 0);
	submit(1, QBLK_READ, data, 0);
	submit(2, QBLK_READ, data, 0);
	wait_for(3);
	ck_assert_uint_eq(order[0], 1);
	ck_assert_uint_eq(order[1], 2);
	ck_assert_uint_eq(order[2], 0);
	stop();
}
END_TEST

/* A write that has to be on the disk takes a flush more. */
START_TEST(durable_takes_a_flush)
{
	static const struct sim_model model = {
		.parallel = 1, .base_ns = { [SIM_WRITE] = MS, [SIM_FLUSH] = 10 * MS },
	};
	static char data[BLOCK];
	uint64_t from = qnow_ns();

	start_null(&model);
	io[0] = (struct backend_io){
		.ended = on_ended, .op = QBLK_WRITE, .durable = true, .len_bytes = BLOCK,
		.iov_store = { { data, BLOCK } }, .n_iov = 1,
	};
	io[0].iov = io[0].iov_store;
	be->ops->submit(be, &io[0]);
	wait_for(1);
	ck_assert_uint_ge(qnow_ns() - from, 11 * MS);
	stop();
}
END_TEST

/* With a file behind it, what was written is there: through many rounds of its slots. */
START_TEST(a_file_keeps_what_was_written)
{
	static const struct sim_model model = {
		.parallel = 3, .base_ns = { 50000, 70000, 1, 1 },
		.distribution = SIM_EXPONENTIAL,
	};
	static char data[SLOTS][BLOCK], back[BLOCK];
	int fd = qfd_memfd("disk", SLOTS * BLOCK);
	char path[64];
	struct cf_errors errs = CF_ERRORS_NULL;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	const struct med_device_policy p = {
		.name = (char *)"disk", .path = path, .slots = SLOTS, .slice_bytes = 1 << 16,
		.simulate = true, .model = model,
	};
	struct backend *b = NULL;
	ck_assert_int_eq(backend_open(&p, false, &errs, &b), 0);
	n_ended = 0;
	ck_assert_int_eq(loop_init(&loop, 64), 0);
	be = b;
	ck_assert_int_eq(be->ops->start(be, &loop), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		memset(data[i], 'a' + (int)i, BLOCK);
		submit(i, QBLK_WRITE, data[i], (uint64_t)i * BLOCK);
	}
	wait_for(SLOTS);
	for (unsigned i = 0; i < SLOTS; i++) {
		n_ended = 0;
		submit(i, QBLK_READ, back, (uint64_t)i * BLOCK);
		wait_for(1);
		ck_assert_mem_eq(back, data[i], BLOCK);
	}
	stop();
	cf_errors_fini(&errs);
	qfd_close(&fd);
}
END_TEST

/* It is stopped while its thread sleeps for a long time, or has never had anything. */
START_TEST(stops_at_once)
{
	static const struct sim_model model = { .parallel = 1, .base_ns = { 1, 1, 1, 1 } };

	for (unsigned i = 0; i < 20; i++) {
		start_null(&model);
		if (i % 2) {
			submit(0, QBLK_FLUSH, NULL, 0);
			wait_for(1);
		}
		stop();
	}
}
END_TEST

/* ---- the model itself ---- */

START_TEST(distributions_are_what_they_say)
{
	static const struct {
		struct sim_model m;
		double mean, least, most;	/* in us */
	} rows[] = {
		{ { .base_ns = { 100000 } }, 100, 100, 100 },
		{ { .base_ns = { 100000 }, .distribution = SIM_UNIFORM, .spread_percent = 50 },
		  100, 50, 150 },
		{ { .base_ns = { 100000 }, .distribution = SIM_EXPONENTIAL }, 100, 0, 3000 },
		{ { .base_ns = { 100000 }, .distribution = SIM_BIMODAL, .stall_ns = 1000000,
		    .stall_ppm = 100000 }, 200, 100, 1100 },
	};
	uint64_t rng = sim_seed(5), least = UINT64_MAX, most = 0, sum = 0;
	const unsigned n = 200000;

	ck_assert_ptr_null(sim_model_fault(&rows[_i].m));
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = sim_model_ns(&rows[_i].m, SIM_READ, 4096, &rng);

		least = Q_MIN(least, t);
		most = Q_MAX(most, t);
		sum += t;
	}
	ck_assert_double_eq_tol((double)sum / n / 1000, rows[_i].mean, rows[_i].mean * 0.01);
	ck_assert_double_ge((double)least / 1000, rows[_i].least);
	ck_assert_double_le((double)most / 1000, rows[_i].most);
	/* And goes to its ends. */
	ck_assert_double_le((double)least / 1000, rows[_i].least + 1);
	ck_assert_double_ge((double)most / 1000, Q_MIN(rows[_i].most, 1000) * 0.95);
}
END_TEST

START_TEST(models_that_mean_nothing)
{
	static const struct sim_model wrong[] = {
		{ .spread_percent = 5 },
		{ .distribution = SIM_UNIFORM },
		{ .stall_ns = 1 },
		{ .stall_ppm = 1 },
		{ .distribution = SIM_BIMODAL, .stall_ns = 1 },
	};

	ck_assert_ptr_nonnull(sim_model_fault(&wrong[_i]));
	ck_assert_ptr_null(sim_model_fault(&sim_model_default));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_backend_sim");
	TCase *tc = fixture_case(s, "device");

	tcase_add_test(tc, one_server_takes_the_sum);
	tcase_add_test(tc, several_servers_overtake);
	tcase_add_test(tc, durable_takes_a_flush);
	tcase_add_test(tc, a_file_keeps_what_was_written);
	tcase_add_test(tc, stops_at_once);
	tc = fixture_case(s, "model");
	tcase_add_loop_test(tc, distributions_are_what_they_say, 0, 4);
	tcase_add_loop_test(tc, models_that_mean_nothing, 0, 5);
	return fixture_main(s);
}
