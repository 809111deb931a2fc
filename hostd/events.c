/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of events. Owns them. Main thread. Invariant: the event number i (from 0, ever) stands at
 * kept[i % HD_EVENTS_KEPT] as long as n - i <= HD_EVENTS_KEPT.
 */
#include "hostd/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hostd/recorder.h"
#include "lib/qlog.h"
#include "proto/qp_check.h"

void hd_events_fini(struct hd_events *e)
{
	free(e->kept);
	*e = (struct hd_events){ 0 };
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / Q_NSEC_PER_MSEC;
}

void hd_event_keep(struct hd_events *e, const char *kind, const char *subject, const char *text)
{
	struct hd_event ev = { .time_ms = wall_ms() };

	snprintf(ev.kind, sizeof(ev.kind), "%s", kind);
	snprintf(ev.subject, sizeof(ev.subject), "%s", subject);
	snprintf(ev.text, sizeof(ev.text), "%s", text);
	qp_text_clean(ev.kind);
	qp_text_clean(ev.subject);
	qp_text_clean(ev.text);
	if (!e->kept)
		e->kept = calloc(HD_EVENTS_KEPT, sizeof(e->kept[0]));
	if (e->kept)
		e->kept[e->n++ % HD_EVENTS_KEPT] = ev;
	if (e->recorder)
		hd_recorder_put(e->recorder, &ev);
	if (e->fn)
		e->fn(e->ctx, &ev);
}

void hd_event_add(struct hd_events *e, const char *kind, const char *subject, const char *fmt, ...)
{
	char text[HD_EVENT_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	qlog_info("ev=%s %s=%s why=\"%s\"", kind, strncmp(kind, "vm_", 3) ? "subject" : "vm",
		  subject, text);
	hd_event_keep(e, kind, subject, text);
}

const struct hd_event *hd_event_at(const struct hd_events *e, unsigned i)
{
	uint64_t first = e->n - Q_MIN(e->n, (uint64_t)HD_EVENTS_KEPT);

	return i < e->n - first ? &e->kept[(first + i) % HD_EVENTS_KEPT] : NULL;
}

void hd_event_to_proto(const struct hd_event *ev, Parley__Event *ret)
{
	*ret = (Parley__Event)PARLEY__EVENT__INIT;
	ret->time_ms = ev->time_ms;
	ret->kind = (char *)ev->kind;
	ret->subject = (char *)ev->subject;
	ret->text = (char *)ev->text;
}
