/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of a policy stands in its manual page and in the example, and what the example calls
 * the default is it. Reads the source tree, which PARLEY_SOURCE names; where there is none, as on a
 * board, there is nothing to compare.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/policy_keys.h"
#include "tests/unit/fixture.h"

static const struct {
	const char *word;		/* of the example's sections */
	const char *subsection;		/* of the manual page */
	const struct policy_key *keys;
} kinds[] = {
	{ "[device ", ".Ss Devices\n", policy_device_keys },
	{ "[share ", ".Ss Shares\n", policy_share_keys },
	/* "has the limit keys of a share" */
	{ "[group ", ".Ss Shares\n", policy_group_keys },
	{ "[sound ", ".Ss Sound devices\n", policy_sound_keys },
	{ "[voice ", ".Ss Voices\n", policy_voice_keys },
};

/* A file of the source tree, with a newline in front; NULL: there is no such tree. */
static char *source(const char *path)
{
	const char *root = getenv("PARLEY_SOURCE");
	char *name, *text;
	long len;

	if (!root)
		return NULL;
	ck_assert_int_ge(asprintf(&name, "%s/%s", root, path), 0);
	FILE *f = fopen(name, "re");
	ck_assert_msg(f != NULL, "%s cannot be read", name);
	free(name);
	ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
	len = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)len + 2);
	ck_assert_ptr_nonnull(text);
	text[0] = '\n';
	ck_assert_uint_eq(fread(text + 1, 1, (size_t)len, f), (size_t)len);
	fclose(f);
	return text;
}

/* The word @key stands in @line, between white space. */
static bool has_word(const char *line, size_t len, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 1; i + n <= len; i++)
		if (memcmp(line + i, key, n) == 0 && isspace((unsigned char)line[i - 1]) &&
		    (i + n == len || isspace((unsigned char)line[i + n])))
			return true;
	return false;
}

/* In a list's item of the subsection that begins at @at. */
static bool in_page(const char *at, const char *key)
{
	const char *ss = strstr(at, "\n.Ss "), *sh = strstr(at, "\n.Sh ");
	const char *end = ss && ss < sh ? ss : sh;

	for (const char *s = at; (s = strstr(s, "\n.It Ic ")) && s < end; s++)
		if (has_word(s + 7, strcspn(s + 7, "\n"), key))
			return true;
	return false;
}

START_TEST(every_key_is_in_the_page)
{
	char *page = source("docs/parley-policy.5"), *at;

	if (!page)
		return;
	at = strstr(page, kinds[_i].subsection);
	ck_assert_ptr_nonnull(at);
	ck_assert_ptr_nonnull(strstr(at, "\n.Sh "));
	for (const struct policy_key *k = kinds[_i].keys; k->name; k++)
		ck_assert_msg(in_page(at, k->name), "%s is not in the page's %s", k->name,
			      kinds[_i].subsection + 4);
	free(page);
}
END_TEST

/* "key = …" stands in a section of that kind, perhaps behind "#" or "# ". */
static bool in_example(const char *text, const char *word, const char *key)
{
	bool inside = false;

	for (const char *s = strchr(text, '\n'); s && s[1]; s = strchr(s + 1, '\n')) {
		const char *line = s + 1;
		size_t n = strlen(key);

		if (*line == '[')
			inside = strncmp(line, word, strlen(word)) == 0;
		line += *line == '#';
		line += *line == ' ' && line[-1] == '#';
		if (inside && strncmp(line, key, n) == 0 && strncmp(line + n, " = ", 3) == 0)
			return true;
	}
	return false;
}

START_TEST(every_key_is_in_the_example)
{
	char *text = source("conf/mediator.d/example.policy");

	if (!text)
		return;
	for (const struct policy_key *k = kinds[_i].keys; k->name; k++)
		ck_assert_msg(in_example(text, kinds[_i].word, k->name),
			      "%s is in no %s...] of the example", k->name, kinds[_i].word);
	free(text);
}
END_TEST

/* @text as a policy, printed with all its values. */
static char *printed(const char *dir, const char *text)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char path[300], *ret = NULL;
	const char *paths[] = { path };
	size_t len;

	snprintf(path, sizeof(path), "%s/p", dir);
	FILE *f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	int r = med_policy_load(paths, 1, &errs, &p);
	cf_errors_print(&errs, stderr);
	ck_assert_int_eq(r, 0);
	f = open_memstream(&ret, &len);
	med_policy_print(p, f);
	fclose(f);
	med_policy_free(p);
	cf_errors_fini(&errs);
	return ret;
}

START_TEST(the_defaults_of_the_example_are)
{
	char dir[200], *text = source("conf/mediator.d/example.policy");
	unsigned n = 0;

	if (!text)
		return;
	fixture_mkdir(dir, sizeof(dir));
	char *as_it_is = printed(dir, text);
	/* "#key" is a default, "# words" are not. */
	for (char *s = text; (s = strstr(s, "\n#")); s++) {
		if (!islower((unsigned char)s[2]))
			continue;
		s[1] = ' ';
		n++;
	}
	char *with_defaults = printed(dir, text);
	ck_assert_str_eq(as_it_is, with_defaults);
	ck_assert_uint_gt(n, 40);
	free(as_it_is);
	free(with_defaults);
	free(text);
	fixture_rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_policy_keys");
	TCase *t = fixture_case(s, "keys");

	tcase_add_loop_test(t, every_key_is_in_the_page, 0, Q_ARRAY_LEN(kinds));
	tcase_add_loop_test(t, every_key_is_in_the_example, 0, Q_ARRAY_LEN(kinds));
	tcase_add_test(t, the_defaults_of_the_example_are);
	return fixture_main(s);
}
