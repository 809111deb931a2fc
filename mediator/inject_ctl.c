/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers an operator who makes things fail, and finds what he means by a device, a share or a
 * sound device. Main thread. Invariant: an object that is not there, or a rule that is wrong,
 * begins nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "mediator/audio.h"
#include "mediator/backend_inject.h"
#include "mediator/control_priv.h"

#define LIST_MAX (MED_DISKS_MAX * INJECT_RULES_MAX + SND_DEVICES_MAX * SND_INJECT_KINDS)

/* ---- the list ---- */

struct row {
	Parley__Injection m;
	char ops[INJECT_OPS_BYTES];
};

static void fill_row(struct row *row, const char *device, const char *share,
		     const struct inject_rule *r)
{
	uint64_t now = qnow_ns();

	row->m = (Parley__Injection)PARLEY__INJECTION__INIT;
	row->m.id = r->id;
	row->m.kind = (char *)inject_kind_str(r->kind);
	row->m.device = (char *)device;
	row->m.share = (char *)share;
	row->m.ops = (char *)inject_ops_str(r, row->ops);
	row->m.count_left = r->count;
	row->m.left_ns = r->until_ns > now ? r->until_ns - now : 0;
	row->m.delay_ns = r->kind == INJECT_LATE ? r->delay_ns : 0;
	row->m.hits = r->hits;
}

static size_t fill_of_disk(struct row *rows, struct med_disk *d)
{
	struct inject_rule rules[INJECT_RULES_MAX];
	unsigned n = backend_inject_list(d, rules);

	for (unsigned k = 0; k < n; k++)
		fill_row(&rows[k], d->policy->name,
			 rules[k].share < 0 ? "" : d->shares[rules[k].share].policy->name,
			 &rules[k]);
	return n;
}

static size_t fill_of_sounds(struct row *rows, const struct med_audio *a)
{
	struct inject_rule rules[SND_INJECT_KINDS];
	size_t n = 0;

	for (size_t i = 0; a && i < a->n_sounds; i++) {
		unsigned some = snd_inject_list(&a->sounds[i]->inject, rules);

		for (unsigned k = 0; k < some; k++)
			fill_row(&rows[n++], a->sounds[i]->name, "", &rules[k]);
	}
	return n;
}

static void answer_list(struct peer *p, uint32_t id)
{
	const struct control *c = p->control;
	struct row *rows = calloc(LIST_MAX, sizeof(rows[0]));
	Parley__Injection **v = calloc(LIST_MAX, sizeof(v[0]));
	Parley__InjectReply reply = PARLEY__INJECT_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	for (struct med_disk *d = NULL; rows && v && (d = med_disks_next(c->disks, d));)
		reply.n_injections += fill_of_disk(rows + reply.n_injections, d);
	if (rows && v)
		reply.n_injections += fill_of_sounds(rows + reply.n_injections, c->audio);
	for (size_t i = 0; i < reply.n_injections; i++)
		v[i] = &rows[i].m;
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_INJECT_REPLY;
	e.inject_reply = &reply;
	reply.injections = v;
	if (rows && v)
		control_send(p, &e);
	else
		control_error(p, id, PARLEY__CODE__E_FAILED, "out of memory");
	free(rows);
	free(v);
}

/* ---- adding ---- */

/* The disk and number of the share called @name; NULL: there is none. */
static struct med_disk *find_share(const struct control *c, const char *name, int *ret_share)
{
	struct med_share *sh = med_disks_share(c->disks, name);

	if (!sh)
		return NULL;
	*ret_share = (int)sh->sched_id;
	return sh->disk;
}

static void add_to(struct peer *p, uint32_t id, struct med_disk *d, struct inject_rule *rule)
{
	char ops[INJECT_OPS_BYTES];

	rule->id = ++p->control->n_injections;
	if (backend_inject_add(d, rule) < 0) {
		control_error(p, id, PARLEY__CODE__E_BUSY,
			      "a device takes 16 injections at once: clear some");
		return;
	}
	qlog_info("ev=inject n=%u kind=%s ops=%s device=%s share=%s for_ms=%llu", rule->id,
		  inject_kind_str(rule->kind), inject_ops_str(rule, ops), d->policy->name,
		  rule->share < 0 ? "all" : d->shares[rule->share].policy->name,
		  (unsigned long long)(rule->for_ns / Q_NSEC_PER_MSEC));
	answer_list(p, id);
}

static struct med_disk *find_disk(const struct control *c, const char *name)
{
	return *name ? med_disks_find(c->disks, name) : med_disks_only(c->disks);
}

static struct snd_sound *find_sound(const struct control *c, const char *name)
{
	for (size_t i = 0; c->audio && i < c->audio->n_sounds; i++)
		if (strcmp(c->audio->sounds[i]->name, name) == 0)
			return c->audio->sounds[i];
	return NULL;
}

static void add_to_sound(struct peer *p, uint32_t id, struct snd_sound *s,
			 struct inject_rule *rule)
{
	char ops[INJECT_OPS_BYTES];
	bool all = strcmp(inject_ops_str(rule, ops), "all") == 0 && rule->count == 0;

	rule->id = p->control->n_injections + 1;
	int r = all ? snd_sound_inject(s, rule) : -EINVAL;
	if (r == -EINVAL)
		control_error(p, id, PARLEY__CODE__E_USAGE,
			      "a sound device can be gone or stall, for=TIME");
	if (r == -EBUSY)
		control_error(p, id, PARLEY__CODE__E_BUSY, "it does already: clear that first");
	if (r < 0)
		return;
	p->control->n_injections++;
	qlog_info("ev=inject n=%u kind=%s sound=%s for_ms=%llu", rule->id,
		  inject_kind_str(rule->kind), s->name,
		  (unsigned long long)(rule->for_ns / Q_NSEC_PER_MSEC));
	answer_list(p, id);
}

static void on_add(struct peer *p, uint32_t id, const Parley__InjectRequest *m)
{
	const struct control *c = p->control;
	struct inject_rule rule;
	char why[256], shown[512];
	struct med_disk *d;

	if (!inject_rule_parse(m->kind, m->settings, m->n_settings, &rule, why, sizeof(why))) {
		qlog_escape(shown, sizeof(shown), why, strlen(why));
		control_error(p, id, PARLEY__CODE__E_USAGE, shown);
		return;
	}
	d = strchr(m->object, '/') ? find_share(c, m->object, &rule.share) :
				     find_disk(c, m->object);
	struct snd_sound *s = d ? NULL : find_sound(c, m->object);
	if (s)
		add_to_sound(p, id, s, &rule);
	else if (!d && !*m->object)
		control_error(p, id, PARLEY__CODE__E_USAGE,
			      "there are several devices: name one, or a share");
	else if (!d && strchr(m->object, '/'))
		control_error(p, id, PARLEY__CODE__E_NO_SUCH, "no share of that name");
	else if (!d)
		control_no_device(p, id, m->object);
	else if (rule.kind == INJECT_GONE && rule.share >= 0)
		control_error(p, id, PARLEY__CODE__E_USAGE,
			      "a device goes away with all its shares: name the device");
	else
		add_to(p, id, d, &rule);
}

/* ---- clearing ---- */

static void on_clear(struct peer *p, uint32_t id, const char *which)
{
	struct control *c = p->control;
	unsigned n = 0;
	char *end;
	unsigned long number = *which ? strtoul(which, &end, 10) : 0;

	if (*which && (*end || number == 0 || number > UINT32_MAX)) {
		control_error(p, id, PARLEY__CODE__E_USAGE,
			      "expected the number of an injection, as 'inject list' has it");
		return;
	}
	for (struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));)
		n += backend_inject_clear(d, (uint32_t)number);
	for (size_t i = 0; c->audio && i < c->audio->n_sounds; i++)
		n += snd_sound_inject_clear(c->audio->sounds[i], (uint32_t)number);
	if (*which && n == 0)
		control_error(p, id, PARLEY__CODE__E_NO_SUCH, "no injection of that number");
	else
		answer_list(p, id);
}

void control_inject(struct peer *p, const Parley__Envelope *req)
{
	const Parley__InjectRequest *m = req->inject_request;
	const struct med_disk *first = med_disks_next(p->control->disks, NULL);
	const struct med_audio *a = p->control->audio;

	if (!(first && first->inject) && !(a && a->inject)) {
		control_error(p, req->id, PARLEY__CODE__E_DENIED,
			      "fault injection is off: this mediator was started without --inject");
		return;
	}
	switch (m->verb) {
	case PARLEY__INJECT_REQUEST__VERB__LIST:
		answer_list(p, req->id);
		return;
	case PARLEY__INJECT_REQUEST__VERB__ADD:
		on_add(p, req->id, m);
		return;
	case PARLEY__INJECT_REQUEST__VERB__CLEAR:
		on_clear(p, req->id, m->object);
		return;
	default:
		control_error(p, req->id, PARLEY__CODE__E_USAGE,
			      "the mediator does not do this itself: ask hostd");
	}
}
