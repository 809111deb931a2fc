/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the page's JSON with jansson. Main thread. Invariant: what is missing is missing in the
 * text as well, and nothing of it is code: the page puts texts in as texts.
 */
#include "metrics/status.h"

#include <jansson.h>

static double ms(uint64_t ns)
{
	return (double)ns / (double)Q_NSEC_PER_MSEC;
}

static json_t *vms_json(const Parley__ListReply *list)
{
	static const char *const states[] = { "off", "starting", "running", "stopping", "failed",
					      "waiting" };
	json_t *a = json_array();

	for (size_t i = 0; list && i < list->n_vms; i++) {
		const Parley__VmInfo *v = list->vms[i];
		bool known = (unsigned)v->state < Q_ARRAY_LEN(states);

		json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:f, s:s}", "name", v->name,
						   "class", qp_class_str(v->class_), "state",
						   known ? states[v->state] : "unknown",
						   "uptime_s", (double)v->uptime_ms / 1000,
						   "reason", v->reason));
	}
	return a;
}

static json_t *shares_json(const Parley__MediatorStats *m)
{
	json_t *a = json_array();

	for (size_t i = 0; m && i < m->n_shares; i++) {
		const Parley__ShareStats *s = m->shares[i];
		const Parley__Latency *l = s->latency;

		json_array_append_new(
			a, json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:f, s:f, s:f, s:I}",
				     "share", s->share, "device", s->device, "class",
				     qp_class_str(s->class_), "connected", s->connected,
				     "quarantined", s->quarantined, "reads",
				     (json_int_t)s->read_ops, "writes", (json_int_t)s->write_ops,
				     "p99_ms", l ? ms(l->p99_ns) : 0, "worst_ms",
				     l ? ms(l->max_ns) : 0, "bound_ms", ms(s->bound_ns),
				     "violations", (json_int_t)s->bound_violations));
	}
	return a;
}

static json_t *voices_json(const Parley__MediatorStats *m)
{
	json_t *a = json_array();

	for (size_t i = 0; m && i < m->n_voices; i++) {
		const Parley__VoiceStats *v = m->voices[i];

		json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:f, s:s, s:s}",
						   "voice", v->voice, "sound", v->sound, "class",
						   qp_class_str(v->class_), "capture", v->capture,
						   "running", v->running, "speaks", v->speaks,
						   "gain", (double)v->gain_ppm / 1e6, "why",
						   v->why, "by", v->by));
	}
	return a;
}

/* The oldest point first. */
static json_t *line_json(const struct mt_line *l)
{
	json_t *worst = json_array(), *p99 = json_array(), *bound = json_array();
	uint64_t first = l->n - Q_MIN(l->n, (uint64_t)MT_POINTS);

	for (uint64_t i = first; i < l->n; i++) {
		const struct mt_point *p = &l->points[i % MT_POINTS];

		json_array_append_new(worst, json_real(ms(p->worst_ns)));
		json_array_append_new(p99, json_real(ms(p->p99_ns)));
		json_array_append_new(bound, json_real(ms(p->bound_ns)));
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "share", l->share, "worst_ms", worst, "p99_ms",
			 p99, "bound_ms", bound);
}

char *mt_status_json(const struct mt_feed *f)
{
	const Parley__ListReply *list = mt_feed_list(f);
	const Parley__StatsReply *stats = mt_feed_stats(f);
	const Parley__MediatorStats *m = stats ? stats->mediator : NULL;
	json_t *lines = json_array(), *causes = json_array();

	for (size_t i = 0; i < f->n_lines; i++)
		json_array_append_new(lines, line_json(&f->lines[i]));
	for (size_t i = 0; list && i < list->n_causes; i++)
		json_array_append_new(causes, json_string(list->causes[i]));
	json_t *j = json_pack("{s:i, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "schema", 1, "up",
			      list != NULL, "mode", list ? list->mode : "", "causes", causes,
			      "vms", vms_json(list), "shares", shares_json(m), "voices",
			      voices_json(m), "lines", lines);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}
