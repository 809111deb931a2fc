/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a simulation from its file to its end: a disk in virtual time for each device of the policy.
 * Main thread.
 */
#include "mediator/simulate_run.h"

#include <errno.h>
#include <stdlib.h>

/* As disk_set_groups() has them: a place a group. */
static int add_groups(struct sim *m, const struct med_policy *p)
{
	static const struct limits_cfg none;
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < p->n_places; i++)
		r = sched_group_add(&m->sched, &none);
	for (size_t i = 0; r >= 0 && i < p->n_groups; i++)
		sched_group_set(&m->sched, p->groups[i].place, &p->groups[i].limits);
	return Q_MIN(r, 0);
}

/* A share without a load is there, and asks for nothing. */
static int add_share(struct sim_world *w, size_t i)
{
	static const struct sim_load idle = { .size = { { 4096, 4096, 1 } }, .n_sizes = 1 };
	const struct sim_file *f = w->file;
	struct sched_share_cfg rules = med_policy_sched_share(&f->shares[i]);
	int load = f->share_load[i];
	int id = sim_add(&w->disks[f->shares[i].device], &rules,
			 load >= 0 ? &f->loads[load].load : &idle);

	if (id >= 0)
		w->share_id[i] = (unsigned)id;
	return Q_MIN(id, 0);
}

static uint32_t shares_of(const struct sim_file *f, size_t device)
{
	uint32_t n = 0;

	for (size_t i = 0; i < f->n_shares; i++)
		n += f->shares[i].device == device;
	return n;
}

static int build(struct sim_world *w)
{
	const struct sim_file *f = w->file;
	const struct med_policy *p = f->policy;
	int r = 0;

	w->disks = calloc(p->n_devices, sizeof(w->disks[0]));
	w->share_id = calloc(f->n_shares + 1, sizeof(w->share_id[0]));
	if (!w->disks || !w->share_id)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < p->n_devices; i++) {
		struct sched_cfg cfg = med_policy_sched(&p->devices[i]);

		r = sim_init(&w->disks[i], &cfg, sim_file_model(f, i), f->seed + i);
		if (r == 0)
			r = sim_reserve(&w->disks[i], shares_of(f, i));
		if (r == 0)
			r = add_groups(&w->disks[i], p);
	}
	for (size_t i = 0; r == 0 && i < f->n_shares; i++)
		r = add_share(w, i);
	return r;
}

static int run(struct sim_world *w)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->file->policy->n_devices; i++) {
		struct sim *m = &w->disks[i];

		if (w->file->warm_up_ns) {
			r = sim_run(m, m->now_ns + w->file->warm_up_ns);
			sim_reset(m);
		}
		if (r == 0)
			r = sim_run(m, m->now_ns + w->time_ns);
	}
	return r;
}

static void world_fini(struct sim_world *w)
{
	for (size_t i = 0; w->disks && i < w->file->policy->n_devices; i++)
		sim_fini(&w->disks[i]);
	free(w->disks);
	free(w->share_id);
}

int sim_run_file(const struct sim_options *o, FILE *to, struct cf_errors *errs)
{
	struct sim_file *f = NULL;
	int r = sim_file_load(o->path, errs, &f);

	if (r < 0)
		return r;
	struct sim_world w = { .file = f, .time_ns = o->time_ns ? o->time_ns : f->time_ns };
	r = build(&w);
	if (r == 0)
		r = run(&w);
	if (r == 0 && o->json)
		sim_print_json(&w, to);
	else if (r == 0)
		sim_print_table(&w, to);
	world_fini(&w);
	sim_file_free(f);
	return r;
}
