/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the plans that are known, the programs that are being asked for theirs, and who waits. Main
 * thread.
 *
 * Theory of operation: a request marks as due what it wants anew, and is queued. At most PARALLEL
 * programs run at a time, the mediator's first, then VMs by class. Whenever one has answered, the
 * requests are looked at: one is done when nothing that it needs is due or running.
 *
 * Invariants: an item with a run is never freed before hd_run_forget(); a request is taken off the
 * list before its function is called, so that this may ask again.
 */
#include "hostd/plans.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hostd/med.h"
#include "hostd/order.h"
#include "hostd/run.h"
#include "lib/qlog.h"

#define PARALLEL 4u
#define FRESH_NS Q_NSEC_PER_SEC	/* what was asked so lately need not be asked again */

struct request {
	LIST_ENTRY(request) entry;
	char name[HD_NAME_MAX + 1];
	unsigned rank;
	hd_plans_fn fn;
	void *ctx;
};

struct hd_plans {
	struct hd_env *env;
	struct hd_vms *vms;
	LIST_HEAD(, hd_plan_item) items;
	LIST_HEAD(, request) requests;
	struct event *ev_done;
	unsigned n_runs;
};

/* ---- items ---- */

static void forget_answer(struct hd_plan_item *it)
{
	for (size_t i = 0; i < it->n_lines; i++)
		free(it->lines[i]);
	free(it->lines);
	it->lines = NULL;
	it->n_lines = 0;
	it->plan = hd_plan_free(it->plan);
}

static void item_free(struct hd_plan_item *it)
{
	if (it->run) {
		hd_run_forget(it->run);
		it->plans->n_runs--;
	}
	forget_answer(it);
	LIST_REMOVE(it, entry);
	free(it);
}

static struct hd_plan_item *find(const struct hd_plans *p, const char *name)
{
	struct hd_plan_item *it;

	LIST_FOREACH(it, &p->items, entry)
		if (strcmp(it->name, name) == 0)
			return it;
	return NULL;
}

const struct hd_plan_item *hd_plans_find(const struct hd_plans *p, const char *name)
{
	const struct hd_plan_item *it = find(p, name);

	return it && it->taken ? it : NULL;
}

static int add(struct hd_plans *p, const char *name)
{
	if (find(p, name))
		return 0;
	struct hd_plan_item *it = calloc(1, sizeof(*it));
	if (!it)
		return -ENOMEM;
	it->plans = p;
	snprintf(it->name, sizeof(it->name), "%s", name);
	LIST_INSERT_HEAD(&p->items, it, entry);
	return 0;
}

/* The mediator is before all VMs. */
static unsigned rank_of(const struct hd_plans *p, const struct hd_plan_item *it)
{
	const struct hd_vm *vm = *it->name ? hd_vms_find(p->vms, it->name) : NULL;

	return vm ? hd_order_rank(vm->conf.class) : *it->name ? 0 : HD_ORDER_RANKS;
}

/* An item for each VM there is, and for the mediator when it has policies. */
static int sync_items(struct hd_plans *p)
{
	struct hd_plan_item *it, *next;
	struct hd_vm *vm;
	bool mediator = hd_med_has_policies(p->env);
	int r = mediator ? add(p, "") : 0;

	LIST_FOREACH(vm, &p->vms->list, entry)
		r = r < 0 ? r : add(p, vm->name);
	for (it = LIST_FIRST(&p->items); it; it = next) {
		next = LIST_NEXT(it, entry);
		if (*it->name ? !hd_vms_find(p->vms, it->name) : !mediator)
			item_free(it);
	}
	return r;
}

/* ---- have its files changed? ---- */

static uint64_t mix(uint64_t hash, uint64_t v)
{
	return (hash ^ v) * 0x100000001b3ull;
}

static uint64_t stamp_file(uint64_t hash, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return mix(hash, (uint64_t)errno);
	hash = mix(hash, (uint64_t)st.st_ino);
	hash = mix(hash, (uint64_t)st.st_size);
	return mix(mix(hash, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
}

static uint64_t stamp_of(const struct hd_plans *p, const struct hd_plan_item *it)
{
	uint64_t hash = 0xcbf29ce484222325ull;
	char path[PATH_MAX];

	if (*it->name) {
		snprintf(path, sizeof(path), "%s/vms/%s.qvmconf", p->env->config_dir, it->name);
		return stamp_file(hash, path);
	}
	snprintf(path, sizeof(path), "%s/mediator.d", p->env->config_dir);
	DIR *d = opendir(path);
	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		snprintf(path, sizeof(path), "%s/mediator.d/%s", p->env->config_dir, e->d_name);
		/* In no order: the sum has none. */
		hash += stamp_file(0, path);
	}
	if (d)
		closedir(d);
	return hash;
}

/* ---- asking ---- */

static void pump(struct hd_plans *p);

static void keep_lines(struct hd_plan_item *it, const struct hd_run_result *r)
{
	it->lines = calloc(r->n_lines + 1, sizeof(it->lines[0]));
	for (size_t i = 0; it->lines && i < r->n_lines; i++) {
		it->lines[it->n_lines] = strdup(r->lines[i]);
		it->n_lines += it->lines[it->n_lines] != NULL;
	}
}

static void on_answer(void *ctx, const struct hd_run_result *r)
{
	struct hd_plan_item *it = ctx;
	struct hd_plans *p = it->plans;
	char folder[PATH_MAX];
	int err = -EINVAL;

	it->run = NULL;
	p->n_runs--;
	forget_answer(it);
	it->taken = true;
	it->ok = r->ok;
	keep_lines(it, r);
	snprintf(folder, sizeof(folder), "%s/%s", p->env->config_dir,
		 *it->name ? "vms" : "mediator.d");
	/* A mediator prints what it would do before it tries it. */
	if (r->output_len && *it->name && r->ok)
		err = hd_plan_of_vm(r->output, folder, &it->plan);
	else if (r->output_len && !*it->name)
		err = hd_plan_of_mediator(r->output, folder, &it->plan);
	if (err < 0 && r->ok)
		qlog_err(err, "ev=plan_unknown subject=%s", *it->name ? it->name : "mediator");
	pump(p);
	event_active(p->ev_done, EV_TIMEOUT, 0);
}

static int start(struct hd_plans *p, struct hd_plan_item *it)
{
	char exe[PATH_MAX], cwd[PATH_MAX], arg[PATH_MAX];
	char *vm_argv[] = { exe, (char *)"--plan", (char *)"--json", arg, NULL };
	char *med_argv[] = { exe, (char *)"--check", (char *)"--plan", arg, NULL };
	bool vm = *it->name;

	snprintf(exe, sizeof(exe), "%s/%s", p->env->bin_dir, vm ? "qvm" : "mediator");
	snprintf(cwd, sizeof(cwd), "%s%s", p->env->config_dir, vm ? "/vms" : "");
	if (vm)
		snprintf(arg, sizeof(arg), "@%s.qvmconf", it->name);
	else
		snprintf(arg, sizeof(arg), "%s/mediator.d", p->env->config_dir);
	it->due = false;
	it->stamp = stamp_of(p, it);
	it->taken_ns = qnow_ns();
	return hd_run_start(p->env, exe, cwd, vm ? vm_argv : med_argv, on_answer, it, &it->run);
}

static struct hd_plan_item *next_due(const struct hd_plans *p)
{
	struct hd_plan_item *it, *best = NULL;

	LIST_FOREACH(it, &p->items, entry)
		if (it->due && !it->run && (!best || rank_of(p, it) > rank_of(p, best)))
			best = it;
	return best;
}

static void pump(struct hd_plans *p)
{
	struct hd_plan_item *it;

	while (p->n_runs < PARALLEL && (it = next_due(p))) {
		int r = start(p, it);

		if (r == 0) {
			p->n_runs++;
			continue;
		}
		char *line = strdup(strerror(-r));
		struct hd_run_result failed = { .lines = &line, .n_lines = line != NULL };
		forget_answer(it);
		it->taken = true;
		it->ok = false;
		keep_lines(it, &failed);
		free(line);
		event_active(p->ev_done, EV_TIMEOUT, 0);
	}
}

/* ---- requests ---- */

static bool is_done(const struct hd_plans *p, const struct request *q)
{
	const struct hd_plan_item *it;

	LIST_FOREACH(it, &p->items, entry)
		if ((it->due || it->run) && rank_of(p, it) >= q->rank)
			return false;
	return true;
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct hd_plans *p = arg;
	struct request *q, *next;

	for (q = LIST_FIRST(&p->requests); q; q = next) {
		next = LIST_NEXT(q, entry);
		if (!is_done(p, q))
			continue;
		LIST_REMOVE(q, entry);
		q->fn(q->ctx, q->name);
		free(q);
		/* It may have asked, or made others forget. */
		next = LIST_FIRST(&p->requests);
	}
}

int hd_plans_ask(struct hd_plans *p, enum hd_plans_fresh fresh, const char *name, unsigned rank,
		 hd_plans_fn fn, void *ctx)
{
	struct request *q = calloc(1, sizeof(*q));
	struct hd_plan_item *it;
	uint64_t now = qnow_ns();

	if (!q || sync_items(p) < 0) {
		free(q);
		return -ENOMEM;
	}
	LIST_FOREACH(it, &p->items, entry) {
		bool named = fresh == HD_PLANS_ONE && strcmp(it->name, name) == 0;

		if (fresh == HD_PLANS_ALL || (!it->taken && !it->run) ||
		    (named && now - it->taken_ns > FRESH_NS) || it->stamp != stamp_of(p, it))
			it->due = true;
	}
	*q = (struct request){ .rank = rank, .fn = fn, .ctx = ctx };
	snprintf(q->name, sizeof(q->name), "%s", name);
	LIST_INSERT_HEAD(&p->requests, q, entry);
	pump(p);
	event_active(p->ev_done, EV_TIMEOUT, 0);
	return 0;
}

void hd_plans_forget(struct hd_plans *p, void *ctx)
{
	struct request *q, *next;

	for (q = LIST_FIRST(&p->requests); q; q = next) {
		next = LIST_NEXT(q, entry);
		if (q->ctx != ctx)
			continue;
		LIST_REMOVE(q, entry);
		free(q);
	}
}

struct hd_plans *hd_plans_new(struct hd_env *env, struct hd_vms *vms)
{
	struct hd_plans *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->env = env;
	p->vms = vms;
	LIST_INIT(&p->items);
	LIST_INIT(&p->requests);
	p->ev_done = event_new(env->base, -1, 0, on_done, p);
	return p->ev_done ? p : hd_plans_free(p);
}

struct hd_plans *hd_plans_free(struct hd_plans *p)
{
	struct request *q;

	if (!p)
		return NULL;
	while ((q = LIST_FIRST(&p->requests))) {
		LIST_REMOVE(q, entry);
		free(q);
	}
	while (!LIST_EMPTY(&p->items)) {
		LIST_FIRST(&p->items)->run = hd_run_free(LIST_FIRST(&p->items)->run);
		item_free(LIST_FIRST(&p->items));
	}
	if (p->ev_done)
		event_free(p->ev_done);
	free(p);
	return NULL;
}
