/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a byte stream into lines and keeps the last of them. Owns the texts. One thread. Invariants:
 * part_len < HD_LINE_BYTES; kept[first .. first + n) (mod HD_LINES_KEPT) have a text, the others
 * none.
 */
#include "hostd/lines.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "proto/qp_check.h"

#define PRIO_ALERT 1	/* of syslog: an end that no error before it explains */
#define PRIO_ERROR 3	/* of syslog: error and what is worse */

static bool says_error(const struct hd_line *line)
{
	/* Configuration errors are for people: "file:line:col: error: …", without prefix. */
	return line->prio >= 0 ? line->prio <= PRIO_ERROR : strstr(line->text, "error:") != NULL;
}

static void keep(struct hd_lines *l, struct hd_line take)
{
	unsigned at = (l->first + l->n) % HD_LINES_KEPT;

	if (l->n == HD_LINES_KEPT) {
		free(l->kept[l->first].text);
		l->first = (l->first + 1) % HD_LINES_KEPT;
		l->n--;
	}
	l->kept[at] = take;
	l->n++;
	bool alert = take.prio >= 0 && take.prio <= PRIO_ALERT;
	if (alert || (!l->first_error && says_error(&take))) {
		free(l->first_error);
		l->first_error = strdup(take.text);
	}
}

static void finish_line(struct hd_lines *l, hd_line_fn fn, void *ctx)
{
	const char *s = l->part;
	struct hd_line line = { .prio = -1 };

	l->part[l->part_len] = '\0';
	l->part_len = 0;
	l->skipping = false;
	if (s[0] == '<' && s[1] >= '0' && s[1] <= '7' && s[2] == '>') {
		line.prio = s[1] - '0';
		s += 3;
	}
	line.text = strdup(s);
	if (!line.text)
		return;
	qp_text_clean(line.text);
	if (line.text[0] == '\0') {
		free(line.text);
		return;
	}
	keep(l, line);
	if (fn)
		fn(ctx, &line);
}

void hd_lines_put(struct hd_lines *l, const char *bytes, size_t len, hd_line_fn fn, void *ctx)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			finish_line(l, fn, ctx);
		else if (l->part_len + 1 == HD_LINE_BYTES)
			l->skipping = true;
		else if (!l->skipping)
			l->part[l->part_len++] = bytes[i] ? bytes[i] : '?';
	}
}

void hd_lines_end(struct hd_lines *l, hd_line_fn fn, void *ctx)
{
	if (l->part_len)
		finish_line(l, fn, ctx);
}

const struct hd_line *hd_lines_at(const struct hd_lines *l, unsigned i)
{
	return i < l->n ? &l->kept[(l->first + i) % HD_LINES_KEPT] : NULL;
}

const char *hd_lines_quote(const struct hd_lines *l)
{
	if (l->first_error)
		return l->first_error;
	return l->n ? hd_lines_at(l, l->n - 1)->text : NULL;
}

void hd_lines_reset(struct hd_lines *l)
{
	for (unsigned i = 0; i < HD_LINES_KEPT; i++)
		free(l->kept[i].text);
	free(l->first_error);
	*l = (struct hd_lines){ 0 };
}
