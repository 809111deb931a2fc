/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/restart.h: who is started again, after how long, and when it is enough. */
#include "hostd/restart.h"

#include "tests/unit/fixture.h"

#define SEC(n) ((uint64_t)(n) * Q_NSEC_PER_SEC)

static const struct {
	enum hd_restart when;
	enum hd_ended how;
	enum hd_restart_verdict want;
} rows[] = {
	{ HD_RESTART_NO, HD_ENDED_WELL, HD_RESTART_STAYS },
	{ HD_RESTART_NO, HD_ENDED_RESET, HD_RESTART_STAYS },
	{ HD_RESTART_NO, HD_ENDED_FAILED, HD_RESTART_STAYS },
	{ HD_RESTART_ON_FAILURE, HD_ENDED_WELL, HD_RESTART_STAYS },
	{ HD_RESTART_ON_FAILURE, HD_ENDED_RESET, HD_RESTART_LATER },
	{ HD_RESTART_ON_FAILURE, HD_ENDED_FAILED, HD_RESTART_LATER },
	{ HD_RESTART_ALWAYS, HD_ENDED_WELL, HD_RESTART_LATER },
	{ HD_RESTART_ALWAYS, HD_ENDED_RESET, HD_RESTART_LATER },
	{ HD_RESTART_ALWAYS, HD_ENDED_FAILED, HD_RESTART_LATER },
};

START_TEST(who)
{
	const struct hd_restart_conf c = { rows[_i].when, SEC(1), 5, SEC(60) };
	struct hd_restarts r = { .n = 0 };
	uint64_t delay = 7;

	ck_assert_int_eq(hd_restart_decide(&c, &r, rows[_i].how, SEC(100), &delay), rows[_i].want);
	ck_assert_uint_eq(delay, rows[_i].want == HD_RESTART_LATER ? SEC(1) : 7);
	ck_assert_uint_eq(r.n, rows[_i].want == HD_RESTART_LATER);
}
END_TEST

static const struct {
	enum hd_watchdog w;
	enum hd_restart was, is;
} bitten[] = {
	{ HD_WATCHDOG_FAILURE, HD_RESTART_NO, HD_RESTART_NO },
	{ HD_WATCHDOG_FAILURE, HD_RESTART_ALWAYS, HD_RESTART_ALWAYS },
	{ HD_WATCHDOG_RESTART, HD_RESTART_NO, HD_RESTART_ON_FAILURE },
	{ HD_WATCHDOG_RESTART, HD_RESTART_ALWAYS, HD_RESTART_ALWAYS },
	{ HD_WATCHDOG_STOP, HD_RESTART_ALWAYS, HD_RESTART_NO },
	{ HD_WATCHDOG_STOP, HD_RESTART_ON_FAILURE, HD_RESTART_NO },
	{ HD_WATCHDOG_NOTHING, HD_RESTART_NO, HD_RESTART_NO },
	{ HD_WATCHDOG_NOTHING, HD_RESTART_ON_FAILURE, HD_RESTART_ON_FAILURE },
};

/* The rest of the policy, its limit above all, holds for these as well. */
START_TEST(watchdog)
{
	const struct hd_restart_conf c = { bitten[_i].was, 7, 3, 99 };
	struct hd_restart_conf got = hd_watchdog_restart(&c, bitten[_i].w);

	ck_assert_int_eq(got.when, bitten[_i].is);
	ck_assert_uint_eq(got.delay_ns, 7);
	ck_assert_uint_eq(got.limit, 3);
	ck_assert_uint_eq(got.window_ns, 99);
}
END_TEST

START_TEST(back_off)
{
	const struct hd_restart_conf c = { HD_RESTART_ALWAYS, SEC(1), 9, SEC(3600) };
	static const unsigned want_s[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
	struct hd_restarts r = { .n = 0 };
	uint64_t now = SEC(5), delay = 0;

	for (size_t i = 0; i < Q_ARRAY_LEN(want_s); i++) {
		ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, now, &delay),
				 HD_RESTART_LATER);
		ck_assert_uint_eq(delay, SEC(want_s[i]));
		now += delay;
	}
	delay = 7;
	ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, now, &delay),
			 HD_RESTART_TOO_OFTEN);
	ck_assert_uint_eq(delay, 7);
}
END_TEST

/* What lies behind the window neither counts nor slows. */
START_TEST(window)
{
	const struct hd_restart_conf c = { HD_RESTART_ALWAYS, SEC(1), 3, SEC(60) };
	struct hd_restarts r = { .n = 0 };
	uint64_t delay = 0;

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, SEC(i), &delay),
				 HD_RESTART_LATER);
	ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, SEC(60), &delay),
			 HD_RESTART_TOO_OFTEN);
	/* The first is 61 s old now. */
	ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, SEC(61), &delay),
			 HD_RESTART_LATER);
	ck_assert_uint_eq(delay, SEC(4));
	ck_assert_int_eq(hd_restart_decide(&c, &r, HD_ENDED_FAILED, SEC(200), &delay),
			 HD_RESTART_LATER);
	ck_assert_uint_eq(delay, SEC(1));
}
END_TEST

/* A delay that is longer than a minute stays what it is; the largest limit fits. */
START_TEST(extremes)
{
	const struct hd_restart_conf slow = { HD_RESTART_ALWAYS, SEC(600), 5, SEC(3600) };
	const struct hd_restart_conf many = { HD_RESTART_ALWAYS, 1, HD_RESTARTS_MAX, UINT64_MAX };
	struct hd_restarts r = { .n = 0 };
	uint64_t delay = 0;

	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(hd_restart_decide(&slow, &r, HD_ENDED_FAILED, i, &delay),
				 HD_RESTART_LATER);
		ck_assert_uint_eq(delay, SEC(600));
	}
	r.n = 0;
	for (unsigned i = 0; i < HD_RESTARTS_MAX; i++)
		ck_assert_int_eq(hd_restart_decide(&many, &r, HD_ENDED_FAILED, i, &delay),
				 HD_RESTART_LATER);
	ck_assert_int_eq(hd_restart_decide(&many, &r, HD_ENDED_FAILED, 99, &delay),
			 HD_RESTART_TOO_OFTEN);
	for (int i = 0; i < HD_RESTARTS; i++)
		ck_assert_str_ne(hd_restart_str((enum hd_restart)i), "unknown");
	ck_assert_str_eq(hd_restart_str(HD_RESTARTS), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_restart");
	TCase *tc = fixture_case(s, "restart");

	tcase_add_loop_test(tc, who, 0, Q_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, watchdog, 0, Q_ARRAY_LEN(bitten));
	tcase_add_test(tc, back_off);
	tcase_add_test(tc, window);
	tcase_add_test(tc, extremes);
	return fixture_main(s);
}
