/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers requests from what the disks count and what the policy says. Main thread. Invariant: each
 * request gets one answer, after which its peer may be gone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cferr.h"
#include "lib/qlog.h"
#include "mediator/audio_stats.h"
#include "mediator/control_priv.h"
#include "mediator/stats.h"
#include "proto/qp_stats.h"

static void on_stats(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	Parley__MediatorStats *s = NULL;

	const char *share = req->mediator_stats_request->share;

	if (qp_stats_new(&c->page->view, share, &s) < 0) {
		control_error(p, req->id, PARLEY__CODE__E_FAILED, "out of memory");
		return;
	}
	int r = c->audio ? med_audio_stats_add(c->audio, share, s) : 0;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_MEDIATOR_STATS;
	e.mediator_stats = s;
	if (r < 0)
		control_error(p, req->id, PARLEY__CODE__E_FAILED, "out of memory");
	else if (*share && s->n_shares + s->n_voices == 0)
		control_error(p, req->id, PARLEY__CODE__E_NO_SUCH, "no share of that name");
	else
		control_send(p, &e);
	med_audio_stats_drop(s);
	qp_stats_free(s);
	if (!req->mediator_stats_request->reset_worst)
		return;
	for (struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));)
		med_disk_reset_worst(d);
	if (c->audio)
		med_audio_reset_worst(c->audio);
}

void control_no_device(struct peer *p, uint32_t id, const char *name)
{
	const struct control *c = p->control;
	const char *names[MED_DISKS_MAX], *near;
	char shown[80], text[256];
	size_t n = 0;

	for (const struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));)
		names[n++] = d->policy->name;
	near = cf_nearest(name, names, n);
	qlog_escape(shown, sizeof(shown), name, strlen(name));
	snprintf(text, sizeof(text), "the policy has no device '%s'%s%s%s", shown,
		 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	control_error(p, id, PARLEY__CODE__E_NO_SUCH, text);
}

static void on_priorities(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	const Parley__SetPriorities *m = req->set_priorities;
	bool found = false;

	for (struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));) {
		if (*m->device && strcmp(m->device, d->policy->name) != 0)
			continue;
		med_disk_set_priorities(d, m->on);
		qlog_info("ev=priorities dev=%s on=%d", d->policy->name, m->on);
		found = true;
	}
	if (found)
		control_done(p, req->id);
	else
		control_no_device(p, req->id, m->device);
}

#define PIECE_BYTES 2048u	/* of a text that is longer than a string may be */

/* Sends @text in pieces. */
static void answer_text(struct peer *p, uint32_t id, char *text, size_t len)
{
	Parley__PolicyReply reply = PARLEY__POLICY_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	size_t n = (len + PIECE_BYTES - 1) / PIECE_BYTES;
	char *store = malloc(n * (PIECE_BYTES + 1) + 1), **pieces = calloc(n + 1, sizeof(*pieces));

	for (size_t i = 0; store && pieces && i < n; i++) {
		size_t bytes = Q_MIN(len - i * PIECE_BYTES, PIECE_BYTES);

		pieces[i] = store + i * (PIECE_BYTES + 1);
		memcpy(pieces[i], text + i * PIECE_BYTES, bytes);
		pieces[i][bytes] = '\0';
	}
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_POLICY_REPLY;
	e.policy_reply = &reply;
	reply.n_text = n;
	reply.text = pieces;
	if (store && pieces)
		control_send(p, &e);
	else
		control_error(p, id, PARLEY__CODE__E_FAILED, "out of memory");
	free(store);
	free(pieces);
}

static void on_unquarantine(struct peer *p, uint32_t id, const char *name)
{
	struct med_share *sh = med_disks_share(p->control->disks, name);
	char text[] = "the quarantine is ended\n";

	if (!sh) {
		control_error(p, id, PARLEY__CODE__E_NO_SUCH, "no share of that name");
	} else if (!atomic_load_explicit(&sh->stats->quarantined, memory_order_relaxed)) {
		control_error(p, id, PARLEY__CODE__E_ALREADY, "the share is in no quarantine");
	} else {
		med_disk_unquarantine(sh->disk, sh);
		qlog_info("ev=unquarantine share=%s", sh->policy->name);
		answer_text(p, id, text, sizeof(text) - 1);
	}
}

static int ask_live(struct live *l, const Parley__PolicyRequest *m, FILE *to,
		    struct cf_errors *errs)
{
	switch (m->verb) {
	case PARLEY__POLICY_REQUEST__VERB__SHOW:
		return live_show(l, to);
	case PARLEY__POLICY_REQUEST__VERB__CHECK:
		return live_check(l, to, errs);
	case PARLEY__POLICY_REQUEST__VERB__RELOAD:
		return live_reload(l, to, errs);
	default:
		return live_set(l, m->object, m->settings, m->n_settings, to, errs);
	}
}

static void on_policy(struct peer *p, const Parley__Envelope *req)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	char *text = NULL;
	size_t len = 0;

	if (req->policy_request->verb == PARLEY__POLICY_REQUEST__VERB__UNQUARANTINE) {
		on_unquarantine(p, req->id, req->policy_request->object);
		return;
	}
	FILE *to = open_memstream(&text, &len);
	int r = to ? ask_live(p->control->live, req->policy_request, to, &errs) : -ENOMEM;

	if (to && r == -EINVAL) {
		rewind(to);
		cf_errors_print(&errs, to);
	}
	if (to)
		(void)fclose(to);
	if (r == -EAGAIN && control_defer(p, req))
		;	/* answered when it is served again */
	else if (r == 0)
		answer_text(p, req->id, text, len);
	else if (r == -EINVAL) {
		text[Q_MIN(len, QP_STRING_MAX)] = '\0';
		control_error(p, req->id, PARLEY__CODE__E_CONFIG, text);
	} else if (r == -EBUSY || r == -EAGAIN)
		control_error(p, req->id, PARLEY__CODE__E_BUSY,
			     "a device has not taken the last change yet; try again");
	else
		control_error(p, req->id, PARLEY__CODE__E_FAILED, "out of memory");
	free(text);
	cf_errors_fini(&errs);
}

/* False: there is no voice of that name. */
static bool explain_voice(struct peer *p, const Parley__Envelope *req)
{
	const struct med_audio *a = p->control->audio;
	Parley__ExplainReply reply = PARLEY__EXPLAIN_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	char text[QP_STRING_MAX];

	if (!a || !med_audio_explain(a, req->explain_request->share, text, sizeof(text)))
		return false;
	reply.text = text;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_EXPLAIN_REPLY;
	e.explain_reply = &reply;
	control_send(p, &e);
	return true;
}

static void on_explain(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	int r = med_explain(c->disks, req->explain_request->share, &e.explain_reply);

	if (r == -ENOENT && explain_voice(p, req))
		return;
	if (r < 0) {
		control_error(p, req->id, r == -ENOENT ? PARLEY__CODE__E_NO_SUCH :
							PARLEY__CODE__E_FAILED,
			     r == -ENOENT ? "no share of that name" : "out of memory");
		return;
	}
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_EXPLAIN_REPLY;
	control_send(p, &e);
	med_explain_free(e.explain_reply);
}

/* This thread goes round, or nobody would answer; what of the devices'? */
static void on_alive(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Alive m = PARLEY__ALIVE__INIT;
	char what[80] = "nothing";

	for (struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));) {
		uint64_t ns = med_disk_stalled_ns(d, qnow_ns());

		if (ns <= m.stalled_ns)
			continue;
		m.stalled_ns = ns;
		snprintf(what, sizeof(what), "the thread of device %.48s", d->policy->name);
	}
	m.what = what;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_ALIVE;
	e.alive = &m;
	control_send(p, &e);
}

void control_handle(struct peer *p, const Parley__Envelope *e)
{
	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_MEDIATOR_STATS_REQUEST:
		on_stats(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_ALIVE_REQUEST:
		on_alive(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_SET_PRIORITIES:
		on_priorities(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_POLICY_REQUEST:
		on_policy(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_EXPLAIN_REQUEST:
		on_explain(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_INJECT_REQUEST:
		control_inject(p, e);
		break;
	default:
		control_error(p, e->id, PARLEY__CODE__E_USAGE,
			     "the mediator does not answer this request");
		break;
	}
}
