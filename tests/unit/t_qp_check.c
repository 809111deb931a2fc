/* SPDX-License-Identifier: Apache-2.0 */
/* proto/qp_check.h: what a decoded message may hold, and texts that are made fit for one. */
#include "proto/qp_check.h"

#include "proto/parley.pb-c.h"
#include "proto/qp_chan.h"
#include "tests/unit/fixture.h"

static const struct {
	const char *text;
	bool ok;
	const char *clean;
} strings[] = {
	{ "", true, "" },
	{ "plain text, 42%", true, "plain text, 42%" },
	{ "tab\tand\nnewline", true, "tab\tand\nnewline" },
	{ "gr\xc3\xb6\xc3\x9f" "er \xe2\x86\x92 \xf0\x9f\x98\x80", true,
	  "gr\xc3\xb6\xc3\x9f" "er \xe2\x86\x92 \xf0\x9f\x98\x80" },
	{ "bell\a", false, "bell?" },
	{ "esc\x1b[31m", false, "esc?[31m" },
	{ "del\x7f", false, "del?" },
	{ "cr\r", false, "cr?" },
	{ "lone \x80 byte", false, "lone ? byte" },
	{ "cut \xe2\x86", false, "cut ??" },
	{ "overlong \xc0\xaf", false, "overlong ??" },
	{ "overlong \xe0\x80\xaf", false, "overlong ???" },
	{ "surrogate \xed\xa0\x80", false, "surrogate ???" },
	{ "too high \xf4\x90\x80\x80", false, "too high ????" },
	{ "\xff\xfe", false, "??" },
};

static const char *check_text(const char *text)
{
	Parley__Error e = PARLEY__ERROR__INIT;

	e.text = (char *)text;
	return qp_check_message(&e.base);
}

START_TEST(string_rows)
{
	char buf[128];

	ck_assert_int_eq(check_text(strings[_i].text) == NULL, strings[_i].ok);
	snprintf(buf, sizeof(buf), "%s", strings[_i].text);
	ck_assert_str_eq(qp_text_clean(buf), strings[_i].clean);
	ck_assert_ptr_null(check_text(buf));
}
END_TEST

START_TEST(string_length)
{
	static char text[QP_STRING_MAX + 16];

	memset(text, 'a', sizeof(text));
	text[QP_STRING_MAX] = '\0';
	ck_assert_ptr_null(check_text(text));
	text[QP_STRING_MAX] = 'a';
	text[QP_STRING_MAX + 1] = '\0';
	ck_assert_str_eq(check_text(text), "text");
	qp_text_clean(text);
	ck_assert_uint_eq(strlen(text), QP_STRING_MAX);
	ck_assert_ptr_null(check_text(text));
}
END_TEST

/* A character that crosses the limit goes as a whole. */
START_TEST(clean_cuts_between_characters)
{
	static char text[QP_STRING_MAX + 16];

	memset(text, 'a', sizeof(text));
	memcpy(text + QP_STRING_MAX - 1, "\xe2\x86\x92 more", 9);
	qp_text_clean(text);
	ck_assert_uint_eq(strlen(text), QP_STRING_MAX - 1);
	ck_assert_ptr_null(check_text(text));
}
END_TEST

START_TEST(enums)
{
	Parley__Error e = PARLEY__ERROR__INIT;

	e.code = PARLEY__CODE__E_NOT_RUNNING;
	ck_assert_ptr_null(qp_check_message(&e.base));
	e.code = (Parley__Code)99;
	ck_assert_str_eq(qp_check_message(&e.base), "code");
	e.code = (Parley__Code)-1;
	ck_assert_str_eq(qp_check_message(&e.base), "code");
}
END_TEST

START_TEST(repeated)
{
	static char *names[QP_REPEAT_MAX + 1];
	Parley__ListenRequest l = PARLEY__LISTEN_REQUEST__INIT;

	for (size_t i = 0; i < Q_ARRAY_LEN(names); i++)
		names[i] = (char *)"a/b";
	l.shares = names;
	l.n_shares = QP_REPEAT_MAX;
	ck_assert_ptr_null(qp_check_message(&l.base));
	l.n_shares = QP_REPEAT_MAX + 1;
	ck_assert_str_eq(qp_check_message(&l.base), "shares");
	l.n_shares = 3;
	names[2] = (char *)"a\x01";
	ck_assert_str_eq(qp_check_message(&l.base), "shares");
}
END_TEST

/* Only the chosen member of a oneof is looked at, and into it. */
START_TEST(inside_of_a_oneof)
{
	Parley__VmRequest v = PARLEY__VM_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	v.name = (char *)"a\x02";
	e.body_case = PARLEY__ENVELOPE__BODY_VM_REQUEST;
	e.vm_request = &v;
	ck_assert_str_eq(qp_check_message(&e.base), "name");
	v.name = (char *)"a";
	ck_assert_ptr_null(qp_check_message(&e.base));
	v.verb = (Parley__VmRequest__Verb)77;
	ck_assert_str_eq(qp_check_message(&e.base), "verb");
	e.body_case = PARLEY__ENVELOPE__BODY__NOT_SET;
	ck_assert_ptr_null(qp_check_message(&e.base));
}
END_TEST

START_TEST(submessages)
{
	Parley__ShareStats s = PARLEY__SHARE_STATS__INIT, *v[] = { &s };
	Parley__MediatorStats m = PARLEY__MEDIATOR_STATS__INIT;
	Parley__StatsReply r = PARLEY__STATS_REPLY__INIT;

	m.shares = v;
	m.n_shares = 1;
	r.mediator = &m;
	ck_assert_ptr_null(qp_check_message(&r.base));
	s.device = (char *)"\x7f";
	ck_assert_str_eq(qp_check_message(&r.base), "device");
	s.device = (char *)"d";
	s.class_ = (Parley__Class)9;
	ck_assert_str_eq(qp_check_message(&r.base), "class");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qp_check");
	TCase *tc = fixture_case(s, "check");

	tcase_add_loop_test(tc, string_rows, 0, Q_ARRAY_LEN(strings));
	tcase_add_test(tc, string_length);
	tcase_add_test(tc, clean_cuts_between_characters);
	tcase_add_test(tc, enums);
	tcase_add_test(tc, repeated);
	tcase_add_test(tc, inside_of_a_oneof);
	tcase_add_test(tc, submessages);
	return fixture_main(s);
}
