/* SPDX-License-Identifier: Apache-2.0 */
/* The heard-path check: a table of what a device says over time, and what that is to mean. */
#include "mediator/snd_heard.h"
#include "tests/unit/fixture.h"

#define MS Q_NSEC_PER_MSEC
#define LIMIT (200 * MS)

struct look {
	uint64_t ms, consumed;
	bool speaks, lost;
	enum snd_heard_news want;
};

static const struct look rows[][8] = {
	/* A device that plays is no news. */
	{ { 1, 0, true }, { 100, 240, true }, { 300, 480, true }, { 500, 720, true } },
	/* It stands still while safety speaks: one alarm, one end of it. */
	{ { 1, 240, true }, { 201, 240, true }, { 202, 240, true, false, SND_HEARD_ALARM },
	  { 203, 240, true }, { 900, 240, true }, { 901, 480, true, false, SND_HEARD_AGAIN },
	  { 1000, 480, true } },
	/* Nobody of class safety speaks: no alarm, and the time does not count. */
	{ { 1, 240, false }, { 900, 240, false }, { 901, 240, true }, { 1101, 240, true },
	  { 1102, 240, true, false, SND_HEARD_ALARM } },
	/* Safety falls silent in an alarm: it ends when the device plays again, not before. */
	{ { 1, 240, true }, { 202, 240, true, false, SND_HEARD_ALARM }, { 300, 240, false },
	  { 301, 480, false, false, SND_HEARD_AGAIN } },
	/* A device that is replaced by a clock: at once, however the clock goes on. */
	{ { 1, 240, true }, { 6, 480, true, true, SND_HEARD_ALARM }, { 11, 720, true, true },
	  { 500, 960, true, true }, { 501, 1200, true, false, SND_HEARD_AGAIN } },
	{ { 1, 240, false }, { 6, 480, false, true }, { 11, 480, true, true, SND_HEARD_ALARM } },
	/* Another device counts from the beginning again. */
	{ { 1, 99999, true }, { 100, 240, true }, { 250, 240, true }, { 300, 240, true },
	  { 301, 240, true, false, SND_HEARD_ALARM } },
};

START_TEST(news)
{
	struct snd_heard h = { 0 };

	for (const struct look *l = rows[_i]; l < rows[_i + 1] && l->ms; l++)
		ck_assert_msg(snd_heard_look(&h, l->ms * MS, l->consumed, l->speaks, l->lost,
					     LIMIT) == l->want, "row %d, at %u ms", _i,
			      (unsigned)l->ms);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_heard");

	tcase_add_loop_test(fixture_case(s, "snd_heard"), news, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
