/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/pins.h: what is held was asked for often, is within its limits, and is given back. */
#include "mediator/pins.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define PIECE PINS_PIECE_MIN
#define MEM_BYTES (4ull * PIECE + 4096)

static struct loop loop;
static struct pins pins;
static struct qmem *mem;
static int file_fd, last_res;

static char *at(uint64_t off)
{
	return mem->r[0].host + off;
}

static void begin(uint64_t max_bytes)
{
	ck_assert_int_eq(loop_init(&loop, 8), 0);
	ck_assert_int_eq(pins_init(&pins, &loop, max_bytes), 0);
	mem = qmem_new();
	ck_assert_int_eq(qmem_add(mem, gpa(0), MEM_BYTES, 0, "guest"), 0);
	file_fd = qfd_memfd("disk", 1 << 20);
}

static void end(void)
{
	pins_fini(&pins);
	loop_fini(&loop);
	mem = qmem_unref(mem);
	qfd_close(&file_fd);
}

/* Asks for the page at @off until it is held, or for long enough; the slot. */
static int ask(struct pins_mem *m, uint64_t off)
{
	int slot = -1;

	for (unsigned i = 0; i < 4 * PINS_MISSES && slot < 0; i++) {
		slot = pins_find(&pins, m, at(off), 4096);
		pins_tend(&pins);
	}
	return slot;
}

static void on_io(struct loop_io *io, int res)
{
	last_res = res;
}

static void wait_io(int submitted)
{
	last_res = -EINPROGRESS;
	ck_assert_int_eq(submitted, 0);
	while (last_res == -EINPROGRESS) {
		ck_assert_int_eq(loop_submit(&loop, true), 0);
		loop_dispatch(&loop, 8);
	}
}

START_TEST(what_is_held_moves)
{
	struct loop_io io = { .done = on_io };

	begin(64 * PIECE);
	struct pins_mem *m = pins_add(&pins, mem);
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(pins_find(&pins, m, at(8192), 4096), -1);
	int slot = ask(m, 8192);
	ck_assert_int_ge(slot, 0);
	ck_assert_uint_eq(pins.held_bytes, PIECE);
	/* All of the piece, and nothing beyond. */
	ck_assert_int_eq(pins_find(&pins, m, at(0), PIECE), slot);
	ck_assert_int_eq(pins_find(&pins, m, at(4096), PIECE), -1);
	ck_assert_int_eq(pins_find(&pins, m, at(PIECE), 4096), -1);
	ck_assert_int_eq(pins_find(&pins, m, &io, sizeof(io)), -1);

	struct iovec part = { at(8192), 4096 }, back = { at(16384), 4096 };
	memset(part.iov_base, 'x', 4096);
	wait_io(loop_write_held(&loop, &io, file_fd, &part, 0, 0, (unsigned)slot));
	ck_assert_int_eq(last_res, 4096);
	wait_io(loop_read_held(&loop, &io, file_fd, &back, 0, (unsigned)slot));
	ck_assert_int_eq(last_res, 4096);
	ck_assert_mem_eq(part.iov_base, back.iov_base, 4096);
	/* The last piece is what the memory leaves of it. */
	ck_assert_int_ge(ask(m, 4 * PIECE), 0);
	ck_assert_uint_eq(pins.held_bytes, PIECE + 4096);
	pins_drop(&pins, m);
	end();
}
END_TEST

START_TEST(it_is_given_back_with_the_last_user)
{
	begin(2 * PIECE);
	struct pins_mem *m = pins_add(&pins, mem);
	ck_assert_ptr_eq(pins_add(&pins, mem), m);
	ck_assert_int_ge(ask(m, 0), 0);
	ck_assert_int_ge(ask(m, PIECE), 0);
	ck_assert_int_eq(ask(m, 2 * PIECE), -1);	/* that was all there may be */
	ck_assert_uint_eq(pins.failures, 0);
	pins_drop(&pins, m);
	ck_assert(!pins_waiting(&pins));
	pins_drop(&pins, m);
	ck_assert(pins_waiting(&pins));
	ck_assert(pins_tend(&pins));
	ck_assert(!pins_tend(&pins));
	ck_assert_uint_eq(pins.held_bytes, 0);

	/* Another table of the same guest: nothing of the old one is known. */
	m = pins_add(&pins, mem);
	ck_assert_int_eq(pins_find(&pins, m, at(0), 4096), -1);
	ck_assert_int_ge(ask(m, 3 * PIECE), 0);
	ck_assert_int_ge(ask(m, 0), 0);
	ck_assert_uint_eq(pins.held_bytes, 2 * PIECE);
	/* Wanted, and then its table goes. */
	pins_drop(&pins, m);
	while (pins_tend(&pins))
		;
	m = pins_add(&pins, mem);
	for (unsigned i = 0; i < PINS_MISSES; i++)
		pins_find(&pins, m, at(0), 4096);
	ck_assert(pins_waiting(&pins));
	pins_drop(&pins, m);
	ck_assert(!pins_tend(&pins));
	end();
}
END_TEST

START_TEST(once_is_not_often)
{
	begin(64 * PIECE);
	struct pins_mem *m = pins_add(&pins, mem);

	for (unsigned piece = 0; piece < 4; piece++) {
		pins_find(&pins, m, at(piece * PIECE), 4096);
		ck_assert(!pins_tend(&pins));
	}
	ck_assert_uint_eq(pins.held_bytes, 0);
	pins_drop(&pins, m);
	end();
}
END_TEST

START_TEST(without)
{
	ck_assert_int_eq(loop_init(&loop, 8), 0);
	ck_assert_int_eq(pins_init(&pins, &loop, 0), 0);
	mem = qmem_new();
	ck_assert_ptr_null(pins_add(&pins, mem));
	pins_drop(&pins, NULL);
	ck_assert(!pins_tend(&pins));
	file_fd = -1;
	end();
}
END_TEST

/* Who may not lock memory has it told by the kernel, once, and goes on without. */
START_TEST(limit_on_locked_memory)
{
	const struct rlimit none = { 0, 0 };
	struct __user_cap_header_struct who = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct nothing[2] = { 0 };

	begin(64 * PIECE);
	struct pins_mem *m = pins_add(&pins, mem);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	ck_assert_int_eq(syscall(SYS_capset, &who, nothing), 0);
	int slot = ask(m, 0);
	/* Who looks at the limit when the ring is made has let us in already. */
	if (slot < 0) {
		ck_assert_uint_eq(pins.failures, 1);
		ck_assert_int_eq(ask(m, PIECE), -1);
		ck_assert_uint_eq(pins.failures, 1);
		ck_assert_uint_eq(pins.held_bytes, 0);
	}
	pins_drop(&pins, m);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pins");
	TCase *t = tcase_create("pins");

	fixture_add(t);
	tcase_add_test(t, what_is_held_moves);
	tcase_add_test(t, it_is_given_back_with_the_last_user);
	tcase_add_test(t, once_is_not_often);
	tcase_add_test(t, without);
	tcase_add_test(t, limit_on_locked_memory);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
