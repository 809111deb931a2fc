/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qbell: every eventfd is signalled, and nobody's can make the bell wait. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "lib/qbell.h"
#include "lib/qfd.h"
#include "tests/unit/fixture.h"

static struct qbell bell;

static uint64_t count_of(int fd)
{
	(void)qfd_nonblock(fd, true);
	return qfd_event_clear(fd);
}

START_TEST(rings_each_once)
{
	int fds[QBELL_BATCH + 5];

	ck_assert_int_eq(qbell_init(&bell), 0);
	for (size_t i = 0; i < Q_ARRAY_LEN(fds); i++) {
		fds[i] = qfd_eventfd();
		qbell_ring(&bell, fds[i]);
	}
	qbell_flush(&bell);
	for (size_t i = 0; i < Q_ARRAY_LEN(fds); i++) {
		ck_assert_uint_eq(count_of(fds[i]), 1);
		qfd_close(&fds[i]);
	}
	qbell_fini(&bell);
}
END_TEST

/* The counter is full and its owner has made it block: write(2) would wait for ever here. */
START_TEST(full_and_blocking)
{
	const uint64_t full = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC), other = qfd_eventfd();

	ck_assert_int_eq(qbell_init(&bell), 0);
	ck_assert_int_eq(write(fd, &full, sizeof(full)), (ssize_t)sizeof(full));
	for (int i = 0; i < 3; i++) {
		qbell_ring(&bell, fd);
		qbell_ring(&bell, other);
		qbell_flush(&bell);
	}
	ck_assert_uint_eq(count_of(other), 3);
	ck_assert_uint_ge(count_of(fd), full);
	qfd_close(&fd);
	qfd_close(&other);
	qbell_fini(&bell);
}
END_TEST

/* What is no eventfd is passed over, wherever it stands in the batch. */
START_TEST(no_eventfd)
{
	int p[2], a = qfd_eventfd(), b = qfd_eventfd();

	ck_assert_int_eq(qbell_init(&bell), 0);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	qbell_ring(&bell, p[1]);
	qbell_ring(&bell, a);
	qbell_ring(&bell, 9999);
	qbell_ring(&bell, p[0]);
	qbell_ring(&bell, b);
	qbell_ring(&bell, -1);
	qbell_flush(&bell);
	ck_assert_uint_eq(count_of(a), 1);
	ck_assert_uint_eq(count_of(b), 1);
	qfd_close(&p[0]);
	qfd_close(&p[1]);
	qfd_close(&a);
	qfd_close(&b);
	qbell_fini(&bell);
}
END_TEST

/* The completion ring never fills up, however often it is rung. */
START_TEST(for_ever)
{
	int fd = qfd_eventfd();

	ck_assert_int_eq(qbell_init(&bell), 0);
	for (unsigned i = 0; i < 20000; i++) {
		qbell_ring(&bell, fd);
		qbell_flush(&bell);
	}
	ck_assert_uint_eq(count_of(fd), 20000);
	qfd_close(&fd);
	qbell_fini(&bell);
	qbell_fini(&bell);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qbell");
	TCase *tc = fixture_case(s, "bell");

	tcase_add_test(tc, rings_each_once);
	tcase_add_test(tc, full_and_blocking);
	tcase_add_test(tc, no_eventfd);
	tcase_add_test(tc, for_ever);
	return fixture_main(s);
}
