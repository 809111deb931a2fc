/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: where each stands, quotes, comments, substitution, files in files, and every limit. */
#include "qvm/cfg_int.h"
#include "tests/unit/fixture.h"

static struct cfg_store *store;
static struct cf_errors errs;
static struct cfg_toks toks;
static char folder[256];

static void setup(void)
{
	store = cfg_store_new();
	ck_assert_ptr_nonnull(store);
	errs = CF_ERRORS_NULL;
	toks = (struct cfg_toks){ 0 };
	fixture_mkdir(folder, sizeof(folder));
	ck_assert_int_eq(chdir(folder), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	fixture_rmdir(folder);
	free(toks.v);
	cf_errors_fini(&errs);
	store = cfg_store_free(store);
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* Tokens with their places, as "text@line:col text@line:col". */
static const char *joined(void)
{
	static char buf[4096];
	size_t len = 0;
	buf[0] = '\0';
	for (size_t i = 0; i < toks.n; i++)
		len += (size_t)snprintf(buf + len, sizeof(buf) - len, "%s%s@%u:%u", i ? " " : "",
					toks.v[i].text, toks.v[i].pos.line, toks.v[i].pos.col);
	return buf;
}

/* The error is a part of the first one told; NULL: none. */
static const struct {
	const char *text, *want, *error;
} text_rows[] = {
	{ "", "", NULL },
	{ " \t\r\n\f\v", "", NULL },
	{ "a", "a@1:1", NULL },
	{ "a b\n  c", "a@1:1 b@1:3 c@2:3", NULL },
	{ "a\r\nb\r\n", "a@1:1 b@2:1", NULL },
	{ "\xef\xbb\xbfram", "ram@1:1", NULL },
	{ "# x\na#b c\nd", "a@2:1 d@3:1", NULL },
	{ "# \"x\na", "a@2:1", NULL },
	{ "\"a b\" c", "a b@1:1 c@1:7", NULL },
	{ "\"a\nb\" c", "a\nb@1:1 c@2:4", NULL },
	{ "x\"a b\"y z", "xa by@1:1 z@1:9", NULL },
	{ "\"\" a", "@1:1 a@1:4", NULL },
	{ "\"a # b\" c", "a # b@1:1 c@1:9", NULL },
	{ "\"a\\\nb\"", "a\nb@1:1", NULL },
	{ "'a b'", "'a@1:1 b'@1:4", NULL },
	{ "a\\b \"c\\d\"", "a\\b@1:1 c\\d@1:5", NULL },
	{ "$env{T_CFG_A}", "value@1:1", NULL },
	{ "x$env{T_CFG_A}y z", "xvaluey@1:1 z@1:17", NULL },
	{ "\"$env{T_CFG_A} b\"", "value b@1:1", NULL },
	{ "$env{T_CFG_TWO}", "two words \"# $env{T_CFG_A}@1:1", NULL },
	{ "# $env{T_CFG_NONE}\na", "a@2:1", NULL },
	{ "a$ $b $$", "a$@1:1 $b@1:4 $$@1:7", NULL },
	{ "$env{T_CFG_NONE} b", "@1:1 b@1:18", "no variable of that name" },
	{ "$env{} b", "@1:1 b@1:8", "expected the name" },
	{ "$env{a\nb", "@1:1 b@2:1", "closing brace" },
	{ "$env{", "@1:1", "closing brace" },
	{ "$asinfo_start{no such one}", "@1:1", "region of that name" },
	{ "$asinfo_length{} b", "@1:1 b@1:18", "expected the name" },
	{ "$asinfo_length{x\n}", "@1:1 }@2:1", "closing brace" },
	{ "a \"b\nc", "a@1:1 b\nc@1:3", "never closed" },
	{ "a \x01 b", "a@1:1 @1:3 b@1:5", "not a text file" },
	{ "\xc3\xa4/\xff", "\xc3\xa4/\xff@1:1", NULL },
	{ "@", "@@1:1", NULL },
	{ "\"@part\"", "@part@1:1", NULL },
	{ "a@part", "a@part@1:1", NULL },
	{ "a @part b", "a@1:1 one@1:1 two@2:2 b@1:9", NULL },
	{ "@\"part\"", "one@1:1 two@2:2", NULL },
	{ "@$env{T_CFG_PART}", "one@1:1 two@2:2", NULL },
	{ "a @none b", "a@1:1 b@1:9", "@none: no such file (relative to /" },
	{ "@/none/none", "", "@/none/none: no such file" },
	{ "@.", "", "Is a directory" },
	{ "@loop", "", "too deeply" },
};

START_TEST(text_row)
{
	const char *text = text_rows[_i].text, *error = text_rows[_i].error;
	setenv("T_CFG_A", "value", 1);
	setenv("T_CFG_TWO", "two words \"# $env{T_CFG_A}", 1);
	setenv("T_CFG_PART", "part", 1);
	unsetenv("T_CFG_NONE");
	put("part", "one\n two # comment");
	put("loop", "@loop");
	ck_assert_int_eq(cfg_lex_text(store, &errs, "f", text, strlen(text), &toks), 0);
	ck_assert_str_eq(joined(), text_rows[_i].want);
	ck_assert_uint_eq(errs.n_errors, error ? 1 : 0);
	if (error)
		ck_assert_ptr_nonnull(strstr(errs.v[0].text, error));
}
END_TEST

/* The words of a file are from another source than those around it; a wrong word is marked. */
START_TEST(sources)
{
	const char *text = "a @part $env{T_CFG_NONE} b";
	unsetenv("T_CFG_NONE");
	put("part", "one");
	ck_assert_int_eq(cfg_lex_text(store, &errs, "f", text, strlen(text), &toks), 0);
	ck_assert_uint_eq(toks.n, 4);
	ck_assert_uint_eq(toks.v[0].src, toks.v[3].src);
	ck_assert_uint_ne(toks.v[0].src, toks.v[1].src);
	ck_assert_str_eq(toks.v[0].pos.file, "f");
	ck_assert_str_eq(toks.v[1].pos.file, "part");
	ck_assert(toks.v[2].bad && !toks.v[0].bad && !toks.v[3].bad);
}
END_TEST

/* An argument is one token, whatever is in it. */
START_TEST(arguments)
{
	const char *const argv[] = { "a b", "#c", "\"d\"", "@part", "$env{T_CFG_A}", "" };
	setenv("T_CFG_A", "value", 1);
	put("part", "one \"two three\"");
	ck_assert_int_eq(cfg_lex_args(store, &errs, 6, (char *const *)argv, &toks), 0);
	ck_assert_str_eq(joined(), "a b@1:1 #c@1:2 \"d\"@1:3 one@1:1 two three@1:5 value@1:5 @1:6");
	ck_assert_str_eq(toks.v[0].pos.file, "command line");
	ck_assert_uint_eq(errs.n, 0);
}
END_TEST

static void fill(char *text, size_t len, const char *with)
{
	for (size_t i = 0; i < len; i++)
		text[i] = with[i % strlen(with)];
}

static const struct {
	const char *with;	/* repeated up to @len */
	size_t len;
	const char *error;
} limit_rows[] = {
	{ "x", CFG_TOK_BYTES_MAX, NULL },
	{ "x", CFG_TOK_BYTES_MAX + 1, "longer than" },
	{ "x ", 2 * CFG_TOKS_MAX, NULL },
	{ "x ", 2 * CFG_TOKS_MAX + 1, "more than" },
	{ "@e ", 3 * (CFG_FILES_MAX - 1), NULL },
	{ "@e ", 3 * CFG_FILES_MAX, "too often" },
	{ "$env{T_CFG_K} ", 14, NULL },
	{ "$env{T_CFG_K}", 13 * 65, "longer than" },
	{ "\x01", 100000, "not a text file" },
};

START_TEST(limit_row)
{
	char *text = malloc(limit_rows[_i].len), kib[1025] = "";
	ck_assert_ptr_nonnull(text);
	put("e", "");
	fill(kib, sizeof(kib) - 1, "k");
	setenv("T_CFG_K", kib, 1);
	fill(text, limit_rows[_i].len, limit_rows[_i].with);
	ck_assert_int_eq(cfg_lex_text(store, &errs, "f", text, limit_rows[_i].len, &toks), 0);
	ck_assert_msg(!limit_rows[_i].error == (errs.n == 0), "%zu errors", errs.n);
	if (limit_rows[_i].error)
		ck_assert_ptr_nonnull(strstr(errs.v[0].text, limit_rows[_i].error));
	/* A file of noise has an error a byte: a few say it. */
	ck_assert_uint_le(errs.n_errors, 10);
	free(text);
}
END_TEST

START_TEST(file_too_large)
{
	const char *const argv[] = { "@big" };
	FILE *f = fopen("big", "w");
	ck_assert_ptr_nonnull(f);
	for (unsigned i = 0; i <= CFG_FILE_BYTES_MAX; i++)
		putc('\n', f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(cfg_lex_args(store, &errs, 1, (char *const *)argv, &toks), 0);
	ck_assert_uint_eq(errs.n_errors, 1);
	ck_assert_str_eq(errs.v[0].text, "@big: File too large");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cfg_lex");
	TCase *tc = fixture_case(s, "tokens");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, text_row, 0, Q_ARRAY_LEN(text_rows));
	tcase_add_test(tc, sources);
	tcase_add_test(tc, arguments);
	tcase_add_loop_test(tc, limit_row, 0, Q_ARRAY_LEN(limit_rows));
	tcase_add_test(tc, file_too_large);
	return fixture_main(s);
}
