/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qiov.h: one piece into several and back, at every boundary. */
#include "lib/qiov.h"

#include <string.h>

#include "tests/unit/fixture.h"

#define TEXT "abcdefghij"

/* Parts of 3, 0, 1 and 4 bytes. */
static char store[8];
static const struct iovec parts[] = {
	{ store, 3 }, { store + 3, 0 }, { store + 3, 1 }, { store + 4, 4 },
};

START_TEST(scatter)
{
	size_t len = (size_t)_i, want = len < 8 ? len : 8;

	memset(store, '.', sizeof(store));
	ck_assert_uint_eq(qiov_scatter(parts, 4, TEXT, len), want);
	for (size_t i = 0; i < sizeof(store); i++)
		ck_assert_int_eq(store[i], i < want ? TEXT[i] : '.');
}
END_TEST

START_TEST(gather)
{
	size_t max = (size_t)_i, want = max < 8 ? max : 8;
	char buf[11];

	memcpy(store, TEXT, sizeof(store));
	memset(buf, '.', sizeof(buf));
	ck_assert_uint_eq(qiov_gather(parts, 4, buf, max), want);
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], i < want ? TEXT[i] : '.');
}
END_TEST

START_TEST(no_parts)
{
	char buf[1] = { '.' };

	ck_assert_uint_eq(qiov_gather(parts, 0, buf, 1), 0);
	ck_assert_uint_eq(qiov_scatter(parts, 0, buf, 1), 0);
	ck_assert_int_eq(buf[0], '.');
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qiov");
	TCase *tc = fixture_case(s, "iov");

	tcase_add_loop_test(tc, scatter, 0, 11);
	tcase_add_loop_test(tc, gather, 0, 11);
	tcase_add_test(tc, no_parts);
	return fixture_main(s);
}
