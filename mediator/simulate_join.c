/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a simulation's file and its policy together: the rules that need both, and the shares that
 * are simulated. Main thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/simulate_file.h"

#define SIZE_ANY ((uint64_t)INT64_MAX)

static int find_device(const struct sim_file *f, const char *name)
{
	for (size_t i = 0; i < f->n_devices; i++)
		if (strcmp(f->devices[i].name, name) == 0)
			return (int)i;
	return -1;
}

const struct sim_model *sim_file_model(const struct sim_file *f, size_t device)
{
	const struct med_device_policy *p = &f->policy->devices[device];
	int i = find_device(f, p->name);

	return i >= 0 ? &f->devices[i].model : &p->model;
}

static void check_devices(const struct sim_file *f, struct cf_errors *errs)
{
	const struct med_policy *p = f->policy;

	for (size_t i = 0; i < f->n_devices; i++)
		if (med_policy_device(p, f->devices[i].name) < 0)
			cf_error_add(errs, CF_ERROR, f->path, f->devices[i].line, 0,
				     "the policy has no [device %s]", f->devices[i].name);
	for (size_t i = 0; i < p->n_devices; i++)
		if (find_device(f, p->devices[i].name) < 0 && !p->devices[i].simulate)
			cf_error_add(errs, CF_ERROR, f->path, 0, 0,
				     "device '%s' (%s:%u) has no model: expected a section "
				     "[device %s]",
				     p->devices[i].name, p->devices[i].file, p->devices[i].line,
				     p->devices[i].name);
}

static void check_load(const struct sim_file *f, struct sim_file_load *l, struct cf_errors *errs)
{
	const struct med_policy *p = f->policy;
	const char *names[64], *near;
	size_t n = Q_MIN(p->n_shares, Q_ARRAY_LEN(names));

	l->policy_share = med_policy_share(p, l->share);
	if (l->policy_share < 0) {
		for (size_t i = 0; i < n; i++)
			names[i] = p->shares[i].name;
		near = cf_nearest(l->share, names, n);
		cf_error_add(errs, CF_ERROR, f->path, l->line, 0,
			     "the policy has no [share %s]%s%s%s", l->share,
			     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return;
	}
	if (p->shares[l->policy_share].read_only &&
	    (l->load.mix[SIM_WRITE] || l->load.mix[SIM_DISCARD]))
		cf_error_add(errs, CF_ERROR, f->path, l->line, 0,
			     "load of '%s': it writes, but the share is read-only (%s:%u)",
			     l->share, p->shares[l->policy_share].file,
			     p->shares[l->policy_share].line);
}

static int load_of(const struct sim_file *f, size_t share)
{
	for (size_t i = 0; i < f->n_loads; i++)
		if (f->loads[i].policy_share == (int)share)
			return (int)i;
	return -1;
}

static int add_share(struct sim_file *f, const struct med_share_policy *s, int load, unsigned k,
		     unsigned count)
{
	struct med_share_policy *to = &f->shares[f->n_shares];
	char *name = NULL;

	if (count > 1 ? asprintf(&name, "%s#%u", s->name, k + 1) < 0 : !(name = strdup(s->name)))
		return -ENOMEM;
	*to = *s;
	to->name = name;
	f->share_load[f->n_shares++] = load;
	return 0;
}

/* Every share of the policy, those with a load of several as often as that says. */
static int expand(struct sim_file *f, struct cf_errors *errs)
{
	const struct med_policy *p = f->policy;
	uint64_t n = p->n_shares;
	int r = 0;

	for (size_t i = 0; i < f->n_loads; i++)
		n += f->loads[i].count - 1;
	if (n > SIM_SHARES_MAX) {
		cf_error_add(errs, CF_ERROR, f->path, 0, 0,
			     "%llu shares: expected %u or fewer, each load counted as often as "
			     "its count says",
			     (unsigned long long)n, SIM_SHARES_MAX);
		return -EINVAL;
	}
	f->shares = calloc(n + 1, sizeof(f->shares[0]));
	f->share_load = calloc(n + 1, sizeof(f->share_load[0]));
	if (!f->shares || !f->share_load)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_shares; i++) {
		int load = load_of(f, i);
		unsigned count = load >= 0 ? f->loads[load].count : 1;

		for (unsigned k = 0; r == 0 && k < count; k++)
			r = add_share(f, &p->shares[i], load, k, count);
	}
	return r;
}

static int resolve(struct sim_file *f, struct cf_errors *errs)
{
	struct med_extent_rules devices[MED_DEVICES_MAX] = { { 0 } };

	for (size_t i = 0; i < f->policy->n_devices; i++) {
		const struct med_device_policy *p = &f->policy->devices[i];
		int d = find_device(f, p->name);

		devices[i].len_bytes =
			d >= 0 && f->devices[d].size_bytes ? f->devices[d].size_bytes :
			   p->null_bytes ? p->null_bytes : SIZE_ANY;
	}
	return med_policy_resolve(f->policy, devices, errs);
}

/* What the policy promises must hold for all that are simulated. */
static void check_promises(const struct sim_file *f, struct cf_errors *errs)
{
	struct med_policy all = *f->policy;

	all.shares = f->shares;
	all.n_shares = f->n_shares;
	for (size_t i = 0; i < all.n_devices; i++)
		med_policy_check_promise(&all, i, errs);
}

int sim_file_join(struct sim_file *f, struct cf_errors *errs)
{
	check_devices(f, errs);
	for (size_t i = 0; i < f->n_loads; i++)
		check_load(f, &f->loads[i], errs);
	if (!cf_errors_ok(errs))
		return -EINVAL;
	int r = resolve(f, errs);
	if (r == 0)
		r = expand(f, errs);
	if (r == 0)
		check_promises(f, errs);
	return r < 0 ? r : cf_errors_ok(errs) ? 0 : -EINVAL;
}

/* The policy's reader says "no" to whatever stands in its errors: they are its own. */
static int load_policy(struct sim_file *f, struct cf_errors *errs)
{
	const char *paths[] = { f->policy_path };
	struct cf_errors own = CF_ERRORS_NULL;
	int r = med_policy_load(paths, 1, &own, &f->policy);

	for (size_t i = 0; i < own.n; i++)
		cf_error_add(errs, own.v[i].level, own.v[i].file, own.v[i].line, own.v[i].col, "%s",
			     own.v[i].text);
	if (own.n_errors > own.n)
		cf_error_add(errs, CF_ERROR, f->policy_path, 0, 0, "%zu errors more",
			     own.n_errors - own.n);
	errs->oom |= own.oom;
	cf_errors_fini(&own);
	/* What is wrong with the simulation itself is told all the same. */
	return r == -EINVAL ? 0 : r;
}

int sim_file_load(const char *path, struct cf_errors *errs, struct sim_file **ret)
{
	struct sim_file *f = calloc(1, sizeof(*f));
	int r = f ? 0 : -ENOMEM;

	if (r == 0)
		r = (f->path = strdup(path)) ? sim_file_read(f, errs) : -ENOMEM;
	if (r == 0 && f->policy_path)
		r = load_policy(f, errs);
	if (r == 0 && f->policy)
		r = sim_file_join(f, errs);
	if (r == 0 && !cf_errors_ok(errs))
		r = -EINVAL;
	if (r < 0) {
		sim_file_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

struct sim_file *sim_file_free(struct sim_file *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < f->n_devices; i++)
		free(f->devices[i].name);
	for (size_t i = 0; i < f->n_loads; i++) {
		free(f->loads[i].share);
		free(f->loads[i].size);
	}
	for (size_t i = 0; i < f->n_shares; i++)
		free(f->shares[i].name);
	free(f->devices);
	free(f->loads);
	free(f->shares);
	free(f->share_load);
	med_policy_free(f->policy);
	free(f->policy_path);
	free(f->path);
	free(f);
	return NULL;
}
