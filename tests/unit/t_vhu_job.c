/* SPDX-License-Identifier: Apache-2.0 */
/* How long a talk with a back end may take: as long as the configuration says, not longer. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fixture.h"
#include "vdevs/vhu_job.h"

#define NS_PER_MS 1000000u

START_TEST(who_never_answers)
{
	static const unsigned timeouts_ms[] = { 5, 100, 400 };
	const unsigned timeout_ms = timeouts_ms[_i];
	int fds[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	struct vhu_job job = { .timeout_ms = timeout_ms, .sock_fd = fds[0] };
	const uint64_t before_ns = qnow_ns();

	vhu_job_connect(&job);
	const uint64_t took_ms = (qnow_ns() - before_ns) / NS_PER_MS;
	ck_assert_int_eq(job.r, QVHU_TIMEOUT);
	ck_assert_ptr_null(job.fe);
	ck_assert_int_eq(job.sock_fd, -1);
	/* One answer was waited for: half of it all. The upper end is for a busy machine. */
	ck_assert_uint_ge(took_ms, timeout_ms / 2);
	ck_assert_uint_lt(took_ms, timeout_ms / 2 + 20000);
	ck_assert_uint_eq(job.deadline_ns >= before_ns + timeout_ms * Q_NSEC_PER_MSEC, 1);
	close(fds[1]);
}
END_TEST

START_TEST(who_is_not_told)
{
	int fds[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	struct vhu_job job = { .sock_fd = fds[0] };
	const uint64_t before_ns = qnow_ns();

	close(fds[1]);
	vhu_job_connect(&job);
	ck_assert_int_ne(job.r, QVHU_OK);
	ck_assert_uint_eq(job.deadline_ns >= before_ns + VHU_JOB_MS * Q_NSEC_PER_MSEC, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhu_job");
	TCase *tc = fixture_case(s, "vhu_job");

	tcase_add_loop_test(tc, who_never_answers, 0, 3);
	tcase_add_test(tc, who_is_not_told);
	return fixture_main(s);
}
