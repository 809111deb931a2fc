/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/vmstate.h: every value, every move. */
#include "hostd/vmstate.h"

#include "proto/parley.pb-c.h"
#include "tests/unit/fixture.h"

#define S(name) HD_VM_##name

static const struct {
	enum hd_vm_state from, to;
} legal[] = {
	{ S(OFF), S(STARTING) },      { S(STARTING), S(RUNNING) }, { S(STARTING), S(STOPPING) },
	{ S(STARTING), S(FAILED) },   { S(RUNNING), S(STOPPING) }, { S(RUNNING), S(OFF) },
	{ S(RUNNING), S(FAILED) },    { S(STOPPING), S(OFF) },	   { S(STOPPING), S(FAILED) },
	{ S(FAILED), S(STARTING) },   { S(FAILED), S(OFF) },	   { S(OFF), S(WAITING) },
	{ S(FAILED), S(WAITING) },    { S(WAITING), S(STARTING) }, { S(WAITING), S(OFF) },
};

static bool is_legal(int from, int to)
{
	for (size_t i = 0; i < Q_ARRAY_LEN(legal); i++)
		if ((int)legal[i].from == from && (int)legal[i].to == to)
			return true;
	return false;
}

static bool may(int from, int to)
{
	return hd_vm_state_may((enum hd_vm_state)from, (enum hd_vm_state)to);
}

START_TEST(every_move)
{
	for (int from = -1; from <= HD_VM_STATES; from++)
		for (int to = -1; to <= HD_VM_STATES; to++)
			ck_assert_msg(may(from, to) == is_legal(from, to), "%d to %d", from, to);
}
END_TEST

START_TEST(every_word)
{
	for (int s = 0; s < HD_VM_STATES; s++) {
		const char *word = hd_vm_state_str((enum hd_vm_state)s);

		ck_assert_ptr_nonnull(word);
		for (int t = 0; t < s; t++)
			ck_assert_str_ne(word, hd_vm_state_str((enum hd_vm_state)t));
	}
	for (int s = 0; s < HD_STOP_STAGES; s++)
		ck_assert_ptr_nonnull(hd_stop_stage_str((enum hd_stop_stage)s));
	ck_assert_str_eq(hd_vm_state_str(HD_VM_STATES), "unknown");
	ck_assert_str_eq(hd_vm_state_str((enum hd_vm_state)-1), "unknown");
	ck_assert_str_eq(hd_stop_stage_str(HD_STOP_STAGES), "unknown");
}
END_TEST

/* The states that can be come to from those of @from in one move, and those themselves. */
static unsigned one_move(unsigned from)
{
	unsigned reach = from;

	for (int a = 0; a < HD_VM_STATES; a++)
		for (int b = 0; b < HD_VM_STATES; b++)
			if (from & 1u << a && may(a, b))
				reach |= 1u << b;
	return reach;
}

/* From every state there is a way to OFF, and whoever has a process can lose it. */
START_TEST(ways_out)
{
	for (int s = 0; s < HD_VM_STATES; s++) {
		unsigned reach = 1u << s;

		for (int round = 0; round < HD_VM_STATES; round++)
			reach = one_move(reach);
		ck_assert(reach & 1u << HD_VM_OFF);
		ck_assert(!hd_vm_state_alive((enum hd_vm_state)s) || may(s, HD_VM_FAILED));
	}
	ck_assert(!hd_vm_state_alive(HD_VM_OFF) && !hd_vm_state_alive(HD_VM_FAILED) &&
		  !hd_vm_state_alive(HD_VM_WAITING));
}
END_TEST

/* hostctl gets our numbers as the protocol's. */
START_TEST(same_as_the_protocol)
{
	ck_assert_int_eq(HD_VM_OFF, PARLEY__VM_STATE__VM_OFF);
	ck_assert_int_eq(HD_VM_STARTING, PARLEY__VM_STATE__VM_STARTING);
	ck_assert_int_eq(HD_VM_RUNNING, PARLEY__VM_STATE__VM_RUNNING);
	ck_assert_int_eq(HD_VM_STOPPING, PARLEY__VM_STATE__VM_STOPPING);
	ck_assert_int_eq(HD_VM_FAILED, PARLEY__VM_STATE__VM_FAILED);
	ck_assert_int_eq(HD_VM_WAITING, PARLEY__VM_STATE__VM_WAITING);
	ck_assert_uint_eq(parley__vm_state__descriptor.n_values, HD_VM_STATES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_vmstate");
	TCase *tc = fixture_case(s, "vm");

	tcase_add_test(tc, every_move);
	tcase_add_test(tc, every_word);
	tcase_add_test(tc, ways_out);
	tcase_add_test(tc, same_as_the_protocol);
	return fixture_main(s);
}
