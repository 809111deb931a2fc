/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/sockets.h: tells as the loop does, and holds no socket open. */
#include "mediator/sockets.h"

#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define SOON_NS (20 * Q_NSEC_PER_MSEC)
#define PAIRS 40

static struct loop loop;
static struct sockets set;
static int sv[PAIRS][2];
static struct socket_watch *watch[PAIRS];
static unsigned n_seen[PAIRS];

static void on_event(void *ctx)
{
	char byte;
	int *pair = ctx;

	while (recv(pair[0], &byte, 1, MSG_DONTWAIT) > 0)
		;
	n_seen[(pair - sv[0]) / 2]++;
}

static void start(unsigned n)
{
	ck_assert_int_eq(loop_init(&loop, 8), 0);
	ck_assert_int_eq(sockets_init(&set, &loop), 0);
	memset(n_seen, 0, sizeof(n_seen));
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv[i]), 0);
		watch[i] = sockets_watch(&set, sv[i][0], on_event, sv[i]);
		ck_assert_ptr_nonnull(watch[i]);
	}
}

static void end(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		watch[i] = sockets_unwatch(&set, watch[i]);
		qfd_close(&sv[i][0]);
		qfd_close(&sv[i][1]);
	}
	sockets_fini(&set);
	sockets_fini(&set);
	loop_fini(&loop);
}

static void settle(void)
{
	do
		ck_assert_int_eq(loop_submit_until(&loop, qnow_ns() + SOON_NS), 0);
	while (loop_dispatch(&loop, UINT32_MAX) > 0);
}

static void say(unsigned i)
{
	ck_assert_int_eq(send(sv[i][1], "x", 1, MSG_NOSIGNAL), 1);
}

START_TEST(tells_of_each)
{
	start(PAIRS);
	for (unsigned round = 1; round < 5; round++) {
		for (unsigned i = 0; i < PAIRS; i++)
			say(i);
		settle();
		for (unsigned i = 0; i < PAIRS; i++)
			ck_assert_uint_eq(n_seen[i], round);
	}
	qfd_close(&sv[3][1]);
	settle();
	ck_assert_uint_eq(n_seen[3], 5);
	end(PAIRS);
}
END_TEST

static void on_event_end_others(void *ctx)
{
	on_event(ctx);
	for (unsigned i = 0; i < PAIRS; i++)
		watch[i] = sockets_unwatch(&set, watch[i]);
}

START_TEST(unwatched_while_it_is_at_hand)
{
	unsigned seen = 0;

	start(PAIRS);
	for (unsigned i = 0; i < PAIRS; i++) {
		watch[i] = sockets_unwatch(&set, watch[i]);
		watch[i] = sockets_watch(&set, sv[i][0], on_event_end_others, sv[i]);
		say(i);
	}
	settle();
	for (unsigned i = 0; i < PAIRS; i++)
		seen += n_seen[i];
	ck_assert_uint_eq(seen, 1);
	end(PAIRS);
}
END_TEST

/* As when the process dies: nobody unwatches, and the other end is to know. */
START_TEST(holds_nothing_open)
{
	char byte;

	start(1);
	settle();
	close(sv[0][0]);
	ck_assert_int_eq(recv(sv[0][1], &byte, 1, MSG_DONTWAIT), 0);
	sv[0][0] = -1;
	end(1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_sockets");
	TCase *tc = fixture_case(s, "sockets");

	tcase_add_test(tc, tells_of_each);
	tcase_add_test(tc, unwatched_while_it_is_at_hand);
	tcase_add_test(tc, holds_nothing_open);
	return fixture_main(s);
}
