/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd/mode.h: which facts make which mode; and docs/modes.md, which is the same table. Reads the
 * source tree, which PARLEY_SOURCE names; where there is none, as on a board, that is not compared.
 */
#include "hostd/mode.h"

#include <stdlib.h>

#include "tests/unit/fixture.h"

#define BIT(c) (1u << HD_CAUSE_##c)

static const struct {
	struct hd_mode_facts facts;
	uint32_t causes;
	enum hd_mode mode;
	const char *words;
} rows[] = {
	{ { 0 }, 0, HD_MODE_NORMAL, "" },
	{ { .n_safety_lost = 1 }, BIT(SAFETY_LOST), HD_MODE_SAFE, "safety-lost" },
	{ { .n_safety_away = 2 }, BIT(SAFETY_AWAY), HD_MODE_DEGRADED, "safety-away" },
	{ { .n_lost = 3 }, BIT(VM_LOST), HD_MODE_DEGRADED, "vm-lost" },
	{ { .n_refused = 1 }, BIT(VM_REFUSED), HD_MODE_DEGRADED, "vm-refused" },
	{ { .mediator_lost = true }, BIT(MEDIATOR_LOST), HD_MODE_DEGRADED, "mediator-lost" },
	{ { .mediator_away = true }, BIT(MEDIATOR_AWAY), HD_MODE_DEGRADED, "mediator-away" },
	{ { .n_frozen = 1 }, BIT(FROZEN), HD_MODE_DEGRADED, "frozen" },
	{ { .unrecorded = true }, BIT(UNRECORDED), HD_MODE_DEGRADED, "unrecorded" },
	{ { .n_safety_lost = 1, .n_safety_away = 1, .mediator_away = true },
	  BIT(SAFETY_LOST) | BIT(SAFETY_AWAY) | BIT(MEDIATOR_AWAY), HD_MODE_SAFE,
	  "safety-lost safety-away mediator-away" },
	{ { .n_lost = 1, .unrecorded = true }, BIT(VM_LOST) | BIT(UNRECORDED), HD_MODE_DEGRADED,
	  "vm-lost unrecorded" },
};

START_TEST(mode_of_facts)
{
	uint32_t causes = hd_mode_causes(&rows[_i].facts);
	char words[256];

	ck_assert_uint_eq(causes, rows[_i].causes);
	ck_assert_int_eq(hd_mode_of(causes), rows[_i].mode);
	ck_assert_str_eq(hd_mode_words(causes, words, sizeof(words)), rows[_i].words);
}
END_TEST

START_TEST(words_are_cut)
{
	char words[16];

	hd_mode_words(UINT32_MAX, words, sizeof(words));
	ck_assert_uint_eq(strlen(words), sizeof(words) - 1);
	ck_assert_str_eq(hd_mode_str(HD_MODES), "unknown");
}
END_TEST

/* Each row of the code is a line of the page, letter by letter, in its order; and no other is. */
START_TEST(same_as_the_page)
{
	char line[1024], want[1024];
	const char *root = getenv("PARLEY_SOURCE");
	unsigned n = 0;

	if (!root)
		return;
	snprintf(line, sizeof(line), "%s/docs/modes.md", root);
	FILE *f = fopen(line, "re");
	ck_assert_msg(f != NULL, "%s cannot be read", line);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "| `", 3) != 0)
			continue;
		ck_assert_uint_lt(n, HD_CAUSES);
		const struct hd_mode_row *r = &hd_mode_rows[n++];
		snprintf(want, sizeof(want), "| `%s` | %s | %s | %s | %s |\n", r->cause,
			 hd_mode_str(r->mode), r->enters, r->leaves, r->done);
		ck_assert_str_eq(line, want);
	}
	ck_assert_uint_eq(n, HD_CAUSES);
	(void)fclose(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_mode");
	TCase *tc = fixture_case(s, "mode");

	tcase_add_loop_test(tc, mode_of_facts, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, words_are_cut);
	tcase_add_test(tc, same_as_the_page);
	return fixture_main(s);
}
