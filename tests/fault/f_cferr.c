/* SPDX-License-Identifier: Apache-2.0 */
/* lib/cferr.h without memory: a wrong file is never taken for a right one. */
#include "lib/cferr.h"

#include <errno.h>

#include "tests/fault/fault.h"
#include "tests/unit/fixture.h"

enum { N_EACH = 9 };	/* the list grows at 1, 2, 4, 8 and 16 */

/* Entries that are in the list are whole, whatever happened to their neighbours. */
static int finish(struct cf_errors *e, unsigned n_errors, unsigned n_added)
{
	int r = e->oom ? -ENOMEM : 0;

	FAULT_CHECK(e->n_errors == n_errors);
	FAULT_CHECK(e->oom == fault_hit());
	FAULT_CHECK(e->n <= n_added && (e->oom ? e->n < n_added : e->n == n_added));
	for (size_t i = 0; i < e->n; i++) {
		FAULT_CHECK(!strcmp(e->v[i].file, "a.conf"));
		FAULT_CHECK(!strncmp(e->v[i].text, "entry ", 6));
	}
	FILE *null = fopen("/dev/null", "we");
	if (null) {
		cf_errors_print(e, null);
		fclose(null);
	}
	cf_errors_fini(e);
	FAULT_CHECK(cf_errors_ok(e));
	return r;
}

static int both_levels(void)
{
	struct cf_errors e = CF_ERRORS_NULL;

	for (unsigned i = 0; i < N_EACH; i++) {
		cf_error_add(&e, CF_WARNING, "a.conf", i, 1, "entry %u", i);
		cf_error_add(&e, CF_ERROR, "a.conf", i, 2, "entry %u", i);
		FAULT_CHECK(!cf_errors_ok(&e));
	}
	return finish(&e, N_EACH, 2 * N_EACH);
}

/* Even one that could only be a warning: nobody knows any more. */
static int one_warning(void)
{
	struct cf_errors e = CF_ERRORS_NULL;

	cf_error_add(&e, CF_WARNING, "a.conf", 1, 1, "entry");
	FAULT_CHECK(cf_errors_ok(&e) == !fault_hit());
	cf_errors_fini(&e);
	return fault_hit() ? -ENOMEM : 0;
}

static const struct fault_row rows[] = {
	{ "both levels", both_levels, FAULT_ALLOC, ENOMEM, -ENOMEM },
	{ "one warning", one_warning, FAULT_ALLOC, ENOMEM, -ENOMEM },
};

START_TEST(row)
{
	fault_walk(&rows[_i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fault: cferr");
	TCase *tc = fixture_case(s, "rows");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
