/* SPDX-License-Identifier: Apache-2.0 */
/* The slowest requests of a share for people and as JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "hostctl/show.h"
#include "lib/qtable.h"

#define SCHEMA 1

/* Of a voice: sentences. */
static enum hc_exit lines_json(const struct hc *hc, const char *voice, const char *text)
{
	json_t *lines = json_array();

	while (*text) {
		size_t len = strcspn(text, "\n");

		json_array_append_new(lines, json_stringn(text, len));
		text += len + (text[len] == '\n');
	}
	return hc_print_json(hc, json_pack("{s:i, s:s, s:o}", "schema", SCHEMA, "voice", voice,
					   "lines", lines));
}

static enum hc_exit explain_json(const struct hc *hc, const char *share,
				 const Parley__ExplainReply *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_flights; i++) {
		const Parley__Flight *f = m->flights[i];
		const struct {
			const char *name;
			uint64_t value;
		} numbers[] = {
			{ "age_ns", f->age_ns },
			{ "sector", f->sector },
			{ "bytes", f->bytes },
			{ "latency_ns", f->latency_ns },
			{ "wait_ns", f->wait_ns },
			{ "bound_ns", f->bound_ns },
			{ "safety_there", f->safety_there },
			{ "lower_there", f->lower_there },
			{ "barriers_there", f->barriers_there },
			{ "own_before", f->own_before },
			{ "safety_passed", f->safety_passed },
			{ "lower_passed", f->lower_passed },
		};
		json_t *j = json_pack("{s:s}", "op", f->op);

		for (size_t k = 0; j && k < Q_ARRAY_LEN(numbers); k++)
			json_object_set_new(j, numbers[k].name,
					    json_integer((json_int_t)numbers[k].value));
		json_array_append_new(list, j);
	}
	return hc_print_json(hc, json_pack("{s:i, s:s, s:I, s:I, s:I, s:s, s:I, s:o}", "schema",
					   SCHEMA, "share", share, "bound_ns",
					   (json_int_t)m->bound_ns, "target_ns",
					   (json_int_t)m->target_ns, "missed",
					   (json_int_t)m->missed, "ladder",
					   hc_ladder_str(m->ladder_step), "ladder_ups",
					   (json_int_t)m->ladder_ups, "worst", list));
}

static void add_flight(struct qtable *t, const Parley__Flight *f)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s ago", qtable_uptime(buf, f->age_ns / 1000000));
	qtable_add(t, "%s", f->op);
	qtable_add(t, "%" PRIu64, f->sector);
	qtable_add(t, "%s", qtable_bytes(buf, f->bytes));
	qtable_add(t, "%s", qtable_ns(buf, f->latency_ns));
	qtable_add(t, "%s", qtable_ns(buf, f->wait_ns));
	qtable_add(t, "%s", qtable_ns(buf, f->latency_ns - f->wait_ns));
	qtable_add(t, "%s%s", qtable_ns(buf, f->bound_ns),
		     f->bound_ns && f->latency_ns > f->bound_ns ? " BROKEN" : "");
	qtable_add(t, "%" PRIu64, f->own_before);
	qtable_add(t, "%" PRIu64, f->safety_there);
	qtable_add(t, "%" PRIu64, f->lower_there);
	qtable_add(t, "%" PRIu64, f->barriers_there);
	qtable_add(t, "%" PRIu64, f->safety_passed);
	qtable_add(t, "%" PRIu64, f->lower_passed);
}

static void print_promise(const Parley__ExplainReply *m)
{
	char bound[QTABLE_UNIT_BYTES], target[QTABLE_UNIT_BYTES];

	printf("bound %s, target %s, missed %" PRIu64 " times; ladder of its device: %s, %" PRIu64
	       " steps up since the start\n",
	       qtable_ns(bound, m->bound_ns), qtable_ns(target, m->target_ns), m->missed,
	       hc_ladder_str(m->ladder_step), m->ladder_ups);
}

enum hc_exit hc_show_explain(const struct hc *hc, const char *share, const Parley__ExplainReply *m)
{
	static const char *const heads[] = {
		"CAME", "OP", ">SECTOR", ">LENGTH", ">TOOK", ">WAITED", ">AT DEVICE", ">BOUND",
		">OWN", ">SAFETY", ">LOWER", ">FLUSHES", ">SAFETY+", ">LOWER+",
	};
	struct qtable t;

	if (*m->text && hc->json)
		return lines_json(hc, share, m->text);
	if (*m->text) {
		fputs(m->text, stdout);
		return HC_OK;
	}
	if (hc->json)
		return explain_json(hc, share, m);
	if (m->target_ns)
		print_promise(m);
	if (m->n_flights == 0) {
		printf("%s: nothing was done yet, or it is not of class safety\n", share);
		return HC_OK;
	}
	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_flights; i++)
		add_flight(&t, m->flights[i]);
	qtable_print(&t, stdout);
	qtable_fini(&t);
	puts("OWN: requests of the share that were not done when it came; SAFETY, LOWER, FLUSHES:\n"
	     "slices at the device then; SAFETY+, LOWER+: slices given to it while it waited");
	return HC_OK;
}
