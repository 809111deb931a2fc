/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostctl can be told, a row each. Main thread.
 */
#pragma once

#include <stdio.h>

#include "hostctl/conn.h"

struct hc_opts {
	bool no_wait, no_input, no_replay, log, reset_worst, follow;
	bool once, no_console;
	bool timeout_given;
	uint64_t timeout_ms;
	uint64_t watch_ms;	/* 0: once */
	const char *device;	/* "" = all */
	const char *host;	/* another host, or NULL */
	const char *since, *until, *boot;	/* as written, or NULL */
};

struct hc_verb {
	const char *name, *args, *text;
	int min_args, max_args;
	enum hc_exit (*run)(struct hc *hc, const struct hc_opts *o, int argc, char **argv);
	bool offline;		/* needs no hostd */
};

extern const struct hc_verb hc_verbs[];
extern const size_t hc_n_verbs;

/* NULL when it is none; then it was told, with what may have been meant. */
const struct hc_verb *hc_verb_find(const struct hc *hc, const char *name);
void hc_usage(FILE *to);

/* hostctl/inject.c */
enum hc_exit hc_inject(struct hc *hc, uint64_t timeout_ns, int argc, char **argv);
/* hostctl/logs.c: @name "" = all. */
enum hc_exit hc_logs(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns,
		     const char *name);
/* hostctl/events.c */
enum hc_exit hc_events(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns);
/* hostctl/console.c */
enum hc_exit hc_console(struct hc *hc, const struct hc_opts *o, const char *name);
