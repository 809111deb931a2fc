/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the policy in force, and the one before it while a device's thread may still look at it.
 * Main thread.
 *
 * A change: load → align its groups → open the devices that are new → resolve against the sizes of
 * all → differences, of which those that cannot be are errors → listening sockets → threads of the
 * new devices → hand it to the threads of the others → once all have taken it, end the devices that
 * are no more. Everything that can fail comes before the first thread hears of it.
 * Invariant: now is what every disk runs under, or has been handed; past is freed only when all
 * have taken now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "mediator/live_priv.h"
#include "mediator/statpage.h"

/* ---- which disk is which device ---- */

static bool is_disk(const struct live *l, size_t slot)
{
	return l->disks[slot].policy != NULL;
}

/* MED_DISKS_MAX: there is none. */
static size_t slot_of(const struct live *l, const char *device)
{
	size_t i = 0;

	while (i < MED_DISKS_MAX &&
	       (!is_disk(l, i) || strcmp(l->disks[i].policy->name, device) != 0))
		i++;
	return i;
}

static size_t free_slot(const struct live *l)
{
	size_t i = 0;

	while (i < MED_DISKS_MAX && is_disk(l, i))
		i++;
	return i;
}

/* ---- a plan ---- */

static void close_fresh(struct live *l, struct live_plan *plan)
{
	for (size_t i = 0; i < plan->policy->n_devices; i++) {
		struct med_disk *d = &l->disks[plan->slot[i]];

		if (!plan->fresh[i])
			continue;
		struct qstat_device *stats = d->stats;
		med_disk_fini(d);
		if (stats)
			statpage_clear_device(stats);
		plan->fresh[i] = false;
	}
}

void live_plan_drop(struct live *l, struct live_plan *plan)
{
	close_fresh(l, plan);
	plan->policy = med_policy_free(plan->policy);
}

static int open_fresh(struct live *l, struct live_plan *plan, size_t i, enum backend_lock lock,
		      struct cf_errors *errs)
{
	const struct med_device_policy *p = &plan->policy->devices[i];
	size_t slot = free_slot(l);
	int record = statpage_take_device(l->page, p);

	/* Two policies have room: the one that is, and the one that comes. */
	qassert(slot < MED_DISKS_MAX);
	if (record < 0)
		return record;
	struct qstat_device *stats = qstat_page_device(&l->page->page, (unsigned)record);
	int r = l->ops.open(l->ops.ctx, &l->disks[slot], plan->policy, i, stats, lock, errs);
	if (r < 0) {
		med_disk_fini(&l->disks[slot]);
		statpage_clear_device(stats);
		return r;
	}
	plan->slot[i] = slot;
	plan->fresh[i] = true;
	return 0;
}

/* All that are new, or none of them. */
static int find_disks(struct live *l, struct live_plan *plan, enum backend_lock lock,
		      struct cf_errors *errs)
{
	const struct med_policy *p = plan->policy;
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_devices; i++) {
		plan->slot[i] = slot_of(l, p->devices[i].name);
		if (plan->slot[i] == MED_DISKS_MAX)
			r = open_fresh(l, plan, i, lock, errs);
	}
	if (r < 0)
		close_fresh(l, plan);
	return r < 0 && !cf_errors_ok(errs) ? -EINVAL : r;
}

static int resolve(const struct live *l, const struct live_plan *plan, struct cf_errors *errs)
{
	struct med_extent_rules devices[MED_DEVICES_MAX] = { { 0 } };

	for (size_t i = 0; i < plan->policy->n_devices; i++) {
		const struct backend *b = l->disks[plan->slot[i]].backend;

		devices[i] = (struct med_extent_rules){ b->len_bytes, b->sector_bytes };
	}
	return med_policy_resolve(plan->policy, devices, errs);
}

static int align(const struct live *l, struct med_policy *p, struct cf_errors *errs)
{
	if (med_policy_align(l->now, p) == 0)
		return 0;
	cf_error_add(errs, CF_ERROR, l->paths[0], 0, 0,
		     "%u groups have been since the mediator started, %u are its most: restart it",
		     p->n_places, SCHED_GROUPS_MAX);
	return -EINVAL;
}

int live_plan(struct live *l, const struct med_override *over, size_t n_over,
	      enum backend_lock lock, FILE *to, struct cf_errors *errs, struct live_plan *ret)
{
	struct live_plan plan = { 0 };

	/* There is room for two policies, not for three. */
	if (!l->settled)
		return -EBUSY;
	int r = med_policy_load_over(l->paths, l->n_paths, over, n_over, errs, &plan.policy);
	if (r < 0)
		return r;
	r = align(l, plan.policy, errs);
	if (r == 0)
		r = find_disks(l, &plan, lock, errs);
	if (r == 0)
		r = resolve(l, &plan, errs);
	if (r == 0 && med_policy_diff(l->now, plan.policy, to, errs) == 0 && cf_errors_ok(errs))
		fputs(LIVE_SAME, to);
	if (r == 0 && !cf_errors_ok(errs))
		r = -EINVAL;
	if (r < 0) {
		live_plan_drop(l, &plan);
		return r;
	}
	*ret = plan;
	return 0;
}

/* ---- what is new of shares ---- */

static void drop_new_shares(struct live *l)
{
	for (size_t i = 0; i < l->n_new; i++) {
		qfd_close(&l->new_shares[i].listen_fd);
		if (l->new_shares[i].stats)
			statpage_clear_share(l->new_shares[i].stats);
	}
	free(l->new_shares);
	l->new_shares = NULL;
	l->n_new = 0;
}

/* Those of @p that are not in force, by its devices: a device's stand together. */
static int list_new_shares(struct live *l, const struct med_policy *p)
{
	free(l->new_shares);
	l->n_new = 0;
	l->new_shares = calloc(p->n_shares + 1, sizeof(l->new_shares[0]));
	if (!l->new_shares)
		return -ENOMEM;
	for (size_t d = 0; d < p->n_devices; d++)
		for (size_t i = 0; i < p->n_shares; i++)
			if (p->shares[i].device == d &&
			    med_policy_share(l->now, p->shares[i].name) < 0)
				l->new_shares[l->n_new++] = (struct med_new_share){
					.share = (uint32_t)i, .listen_fd = -1,
				};
	return 0;
}

static int take_records(struct live *l, const struct live_plan *plan)
{
	const struct statpage *page = l->page;

	for (size_t i = 0; i < l->n_new; i++) {
		const struct med_share_policy *s = &plan->policy->shares[l->new_shares[i].share];
		const struct qstat_device *dev = l->disks[plan->slot[s->device]].stats;
		int record = statpage_take_share(l->page, s, statpage_index(page, dev));

		if (record < 0)
			return record;
		l->new_shares[i].stats = qstat_page_share(&page->page, (unsigned)record);
	}
	return 0;
}

/* Listening sockets for what is new: 0, or as live_ops.listen. */
static int get_sockets(struct live *l, const struct med_policy *p)
{
	const char **names = calloc(l->n_new + 1, sizeof(names[0]));
	int *fds = calloc(l->n_new + 1, sizeof(fds[0]));
	int r = names && fds ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < l->n_new; i++)
		names[i] = p->shares[l->new_shares[i].share].name;
	if (r == 0 && l->n_new > 0)
		r = l->ops.listen(l->ops.ctx, names, l->n_new, fds);
	for (size_t i = 0; r == 0 && i < l->n_new; i++)
		l->new_shares[i].listen_fd = fds[i];
	free(names);
	free(fds);
	return r;
}

/* ---- coming into force ---- */

/* Of the shares that are new, the first that is of @device, and how many more are. */
static struct med_new_share *new_shares_of(const struct live *l, const struct med_policy *p,
					   size_t device, unsigned *ret_n)
{
	struct med_new_share *first = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < l->n_new; i++) {
		if (p->shares[l->new_shares[i].share].device != device)
			continue;
		first = first ? first : &l->new_shares[i];
		(*ret_n)++;
	}
	return first;
}

/* All shares of a device that is new are. */
static int start_fresh(const struct live *l, const struct live_plan *plan, size_t i)
{
	struct med_disk *d = &l->disks[plan->slot[i]];
	unsigned n;
	struct med_new_share *s = new_shares_of(l, plan->policy, i, &n);
	int r = 0;

	for (unsigned k = 0; r >= 0 && k < n; k++) {
		int fd = s[k].listen_fd;

		s[k].listen_fd = -1;
		r = med_disk_add_share(d, &plan->policy->shares[s[k].share], s[k].stats, fd);
	}
	return r < 0 ? r : med_disk_start(d);
}

static void fill_change(const struct live *l, size_t slot, struct med_change *c)
{
	const struct med_disk *d = &l->disks[slot];
	int device = med_policy_device(l->now, d->policy->name);

	c->policy = l->now;
	c->device = device < 0 ? MED_GONE : (uint32_t)device;
	for (unsigned k = 0; k < d->n_shares; k++) {
		int at = med_policy_share(l->now, d->shares[k].policy->name);

		c->share[k] = at < 0 ? MED_GONE : (uint32_t)at;
	}
	c->new_shares = NULL;
	c->n_new = 0;
	if (device >= 0)
		c->new_shares = new_shares_of(l, l->now, (size_t)device, &c->n_new);
}

static void hand_over(struct live *l, struct live_plan *plan)
{
	bool fresh[MED_DISKS_MAX] = { false };

	for (size_t i = 0; i < plan->policy->n_devices; i++)
		fresh[plan->slot[i]] = plan->fresh[i];
	med_policy_free(l->past);
	l->past = l->now;
	l->now = plan->policy;
	l->settled = false;
	for (size_t i = 0; i < MED_DISKS_MAX; i++) {
		if (!is_disk(l, i) || fresh[i])
			continue;
		fill_change(l, i, &l->changes[i]);
		med_disk_change(&l->disks[i], &l->changes[i]);
	}
	for (size_t i = 0; i < l->now->n_devices; i++)
		if (plan->fresh[i])
			qlog_info("ev=device_added dev=%s", l->now->devices[i].name);
	l->ops.changed(l->ops.ctx);
	live_settle(l);	/* of no disk at all nobody would tell */
}

static int tell_failure(const struct live *l, int r, const char *what, struct cf_errors *errs)
{
	if (r == -EAGAIN || r == -EBUSY || r == -ENOMEM)
		return r;
	cf_error_add(errs, CF_ERROR, l->paths[0], 0, 0, "%s: %s", what, strerror(-r));
	return -EINVAL;
}

int live_put_in_force(struct live *l, struct live_plan *plan, struct cf_errors *errs)
{
	const char *what = "no listening sockets for the shares that are new";
	int r = list_new_shares(l, plan->policy);

	if (r == 0)
		r = get_sockets(l, plan->policy);
	if (r == 0) {
		what = "no room in the state page for the shares that are new";
		r = take_records(l, plan);
	}
	for (size_t i = 0; r == 0 && i < plan->policy->n_devices; i++) {
		if (!plan->fresh[i])
			continue;
		what = "the thread of a device that is new does not start";
		r = start_fresh(l, plan, i);
	}
	if (r < 0) {
		close_fresh(l, plan);
		drop_new_shares(l);
		live_plan_drop(l, plan);
		return tell_failure(l, r, what, errs);
	}
	hand_over(l, plan);
	return 0;
}

/* ---- what is left to be done when all have taken it ---- */

bool live_taken(const struct live *l)
{
	return l->settled;
}

static bool all_changed(const struct live *l)
{
	for (size_t i = 0; i < MED_DISKS_MAX; i++)
		if (is_disk(l, i) && !med_disk_changed(&l->disks[i]))
			return false;
	return true;
}

static void end_gone(struct live *l)
{
	for (size_t i = 0; i < MED_DISKS_MAX; i++) {
		struct med_disk *d = &l->disks[i];

		if (!is_disk(l, i) || med_policy_device(l->now, d->policy->name) >= 0)
			continue;
		qlog_info("ev=device_removed dev=%s", d->policy->name);
		struct qstat_device *stats = d->stats;
		med_disk_fini(d);
		statpage_clear_device(stats);
	}
}

static void unlisten_gone(const struct live *l)
{
	const struct med_policy *was = l->past;
	const char **names = calloc(was->n_shares + 1, sizeof(names[0]));
	size_t n = 0;

	/* Without memory their sockets stay: who comes waits there. */
	for (size_t i = 0; names && i < was->n_shares; i++)
		if (med_policy_share(l->now, was->shares[i].name) < 0)
			names[n++] = was->shares[i].name;
	if (n > 0)
		l->ops.unlisten(l->ops.ctx, names, n);
	free(names);
}

void live_settle(struct live *l)
{
	if (l->settled || !all_changed(l))
		return;
	end_gone(l);
	unlisten_gone(l);
	l->settled = true;
}
