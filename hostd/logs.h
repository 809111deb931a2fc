/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VMs, their programs and the mediator wrote lately, with the time at which it came. Main
 * thread. A writer has two books, for its guest's console and for its program, of at most
 * HD_BOOK_BYTES each: nobody who writes much pushes out what another wrote.
 */
#pragma once

#include <sys/queue.h>

#include "hostd/conf.h"

#define HD_BOOK_BYTES (8u << 10)	/* of text */
#define HD_BOOK_LINES 128u

struct hd_log_line {
	uint64_t time_ms;		/* since 1970 */
	int prio;			/* of syslog; -1: none */
	char *text;			/* owned */
};

struct hd_book {
	LIST_ENTRY(hd_book) entry;
	char name[HD_NAME_MAX + 1];
	bool console;
	struct hd_log_line lines[HD_BOOK_LINES];
	unsigned first, n;
	size_t bytes;
};

typedef void (*hd_log_fn)(void *ctx, const struct hd_book *b, const struct hd_log_line *line);

struct hd_logs {
	LIST_HEAD(, hd_book) books;
	uint64_t n_dropped;		/* lines that made room */
	hd_log_fn fn;			/* the one listener, or NULL */
	void *ctx;
};

void hd_logs_fini(struct hd_logs *l);
/* Keeps @text and tells the listener; what cannot be kept for want of memory is lost. */
void hd_logs_add(struct hd_logs *l, const char *name, bool console, int prio, const char *text);
/* The @i-th line of a book, oldest first; NULL behind the last. */
const struct hd_log_line *hd_book_at(const struct hd_book *b, unsigned i);
