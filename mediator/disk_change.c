/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how a disk goes over to another policy: rules change at once; shares that are no more lose
 * their client, and are forgotten when its last request has ended; new shares come after that,
 * because they may lie where those were. Device's thread.
 *
 * Invariant: a change is told as taken when all of it is done, and not before: until then the
 * policy before it is in use.
 */
#include <stdio.h>

#include "lib/qfd.h"
#include "mediator/backend_inject.h"
#include "mediator/client.h"
#include "mediator/disk_priv.h"
#include "mediator/statpage.h"

static void tell(const struct med_disk *d, const char *kind, const char *name, const char *text)
{
	d->sink.event(d->sink.ctx, kind, name, text);
}

static void go_over(struct med_share *sh, const struct med_share_policy *p)
{
	struct sched_share_cfg cfg = disk_sched_cfg(p);

	sh->policy = p;
	statpage_set_share(sh->stats, p);
	sched_share_set(&sh->disk->sched, sh->sched_id, &cfg);
	for (struct med_req *r = sh->head; r; r = r->next)
		r->in_depth = false;
	disk_tell_sched(sh);
}

static void leave(struct med_share *sh)
{
	const struct med_disk *d = sh->disk;
	char text[MED_EVENT_TEXT];

	snprintf(text, sizeof(text), "%u requests out, %s", sh->outstanding,
		 sh->client ? "its client is hung up on" : "no client was connected");
	tell(d, "share_leaves", sh->policy->name, text);
	sh->leaving = true;
	disk_unwatch_share(sh);
	if (sh->client)
		med_client_end(sh->client, "the share is no more");
}

static void forget(struct med_share *sh)
{
	struct med_disk *d = sh->disk;

	qassert(!sh->head && sh->outstanding == 0);
	tell(d, "share_removed", sh->policy->name, "");
	backend_inject_forget(d, sh->sched_id);
	disk_tell_sched(sh);
	sched_share_remove(&d->sched, sh->sched_id);
	qfd_close(&sh->listen_fd);
	statpage_clear_share(sh->stats);
	recorder_reset(&sh->worst);
	sh->leaving = false;
	sh->cpu = (struct budget){ 0 };
	sh->wait = (struct outage_wait){ 0 };
	sh->bound_limit = sh->error_limit = (struct qlog_limit){ 0 };
	sh->window_ns = sh->window_faults = 0;
	sh->accept_after_ns = sh->quarantine_until_ns = 0;
	sh->pardoned = false;
	disk_share_none(sh);
}

static void add(struct med_disk *d, const struct med_change *c, struct med_new_share *n)
{
	const struct med_share_policy *p = &c->policy->shares[n->share];
	int id = med_disk_add_share(d, p, n->stats, n->listen_fd);

	/* There is room for all that a policy can have, and the socket does not block already. */
	n->listen_fd = -1;
	qassert(id >= 0);
	disk_watch_share(&d->shares[id]);
	disk_tell_sched(&d->shares[id]);
	tell(d, "share_added", p->name, d->policy->name);
}

static void take_rules(struct med_disk *d, const struct med_change *c)
{
	struct sched_cfg cfg = med_policy_sched(&c->policy->devices[c->device]);

	d->policy = &c->policy->devices[c->device];
	statpage_set_device(d->stats, d->policy);
	sched_set_cfg(&d->sched, &cfg);
	disk_set_groups(d, c->policy);
}

void disk_take_change(struct med_disk *d)
{
	/* Pairs with the release store of med_disk_change(). */
	const struct med_change *c = atomic_load_explicit(&d->change, memory_order_acquire);

	if (!c || d->changing)
		return;
	if (c->device != MED_GONE)
		take_rules(d, c);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		if (med_share_is_none(sh))
			continue;
		if (c->share[i] == MED_GONE)
			leave(sh);
		else
			go_over(sh, &c->policy->shares[c->share[i]]);
	}
	d->changing = true;
	disk_end_change(d);
}

void disk_end_change(struct med_disk *d)
{
	const struct med_change *c = atomic_load_explicit(&d->change, memory_order_relaxed);
	bool left = false;

	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		if (sh->leaving && !sh->client)
			forget(sh);
		left |= sh->leaving;
	}
	if (left)
		return;
	for (unsigned i = 0; i < c->n_new; i++)
		add(d, c, &c->new_shares[i]);
	outage_policy(d, qnow_ns());
	d->changing = false;
	/* Pairs with the acquire load of med_disk_changed(). */
	atomic_store_explicit(&d->change, NULL, memory_order_release);
	tell(d, MED_EVENT_TAKEN, d->policy->name, "");
}
