/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, for the operator: the last events, and whoever listens. Main thread.
 */
#pragma once

#include "lib/qdef.h"
#include "proto/parley.pb-c.h"

#define HD_EVENTS_KEPT 256u
#define HD_EVENT_TEXT_BYTES 384u

struct hd_event {
	uint64_t time_ms;	/* since 1970 */
	char kind[32], subject[72], text[HD_EVENT_TEXT_BYTES];
};

struct hd_recorder;

typedef void (*hd_event_fn)(void *ctx, const struct hd_event *ev);

struct hd_events {
	struct hd_event *kept;	/* owned; HD_EVENTS_KEPT of them, NULL until the first */
	uint64_t n;		/* ever */
	hd_event_fn fn;		/* the one listener, or NULL */
	void *ctx;
	struct hd_recorder *recorder;	/* borrowed; NULL: none on disk */
};

void hd_events_fini(struct hd_events *e);
/* As hd_event_add(), for what stands in the log already. */
void hd_event_keep(struct hd_events *e, const char *kind, const char *subject, const char *text);
/* Keeps it, logs it ("ev=KIND subject=… why=…"), tells the listener. Texts are made harmless and
 * cut to fit. */
void hd_event_add(struct hd_events *e, const char *kind, const char *subject, const char *fmt, ...)
	Q_PRINTF(4, 5);
/* The @i-th kept event, oldest first; NULL behind the last. */
const struct hd_event *hd_event_at(const struct hd_events *e, unsigned i);
/* @ret borrows the texts of @ev. */
void hd_event_to_proto(const struct hd_event *ev, Parley__Event *ret);
