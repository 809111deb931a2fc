/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Books of lines. Owns them. Main thread. Invariant: lines[first .. first + n) (mod HD_BOOK_LINES)
 * of a book have a text, the others none, and bytes is the sum of their lengths.
 */
#include "hostd/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void drop_first(struct hd_book *b)
{
	struct hd_log_line *line = &b->lines[b->first];

	b->bytes -= strlen(line->text);
	free(line->text);
	line->text = NULL;
	b->first = (b->first + 1) % HD_BOOK_LINES;
	b->n--;
}

void hd_logs_fini(struct hd_logs *l)
{
	struct hd_book *b;

	while ((b = LIST_FIRST(&l->books))) {
		while (b->n)
			drop_first(b);
		LIST_REMOVE(b, entry);
		free(b);
	}
	*l = (struct hd_logs){ 0 };
}

static struct hd_book *book_of(struct hd_logs *l, const char *name, bool console)
{
	struct hd_book *b;

	LIST_FOREACH(b, &l->books, entry)
		if (b->console == console && strcmp(b->name, name) == 0)
			return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->console = console;
	LIST_INSERT_HEAD(&l->books, b, entry);
	return b;
}

void hd_logs_add(struct hd_logs *l, const char *name, bool console, int prio, const char *text)
{
	struct hd_book *b = book_of(l, name, console);
	struct timespec now;
	size_t len = strlen(text);
	char *copy = b ? strdup(text) : NULL;

	if (!copy)
		return;
	for (; b->n == HD_BOOK_LINES || (b->n && b->bytes + len > HD_BOOK_BYTES); l->n_dropped++)
		drop_first(b);
	clock_gettime(CLOCK_REALTIME, &now);
	struct hd_log_line *line = &b->lines[(b->first + b->n++) % HD_BOOK_LINES];
	*line = (struct hd_log_line){
		.time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / Q_NSEC_PER_MSEC,
		.prio = prio, .text = copy,
	};
	b->bytes += len;
	if (l->fn)
		l->fn(l->ctx, b, line);
}

const struct hd_log_line *hd_book_at(const struct hd_book *b, unsigned i)
{
	return i < b->n ? &b->lines[(b->first + i) % HD_BOOK_LINES] : NULL;
}
