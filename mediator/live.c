/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the policy in force, the one before it while a device's thread may still look at it, and
 * what an operator has set on top of the files. Main thread.
 *
 * A change: load → resolve against the sizes of the disks → align its groups → differences, of
 * which those that cannot be are errors → hand it to each device's thread. Everything that can fail
 * comes before the first thread hears of it. Invariant: now is what every disk runs under, or has
 * been handed; past is freed only when all have taken now.
 */
#include "mediator/live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"

struct live {
	const char *const *paths;
	size_t n_paths;
	struct med_policy *now, *past;
	struct med_disk *disks;		/* n_devices of now */
	struct med_change *changes;	/* one a disk */
	struct med_override *over;
	size_t n_over;
	void (*changed)(void *ctx);
	void *ctx;
};

struct live *live_new(const char *const *paths, size_t n_paths, struct med_policy *take_policy,
		      struct med_disk *disks, void (*changed)(void *ctx), void *ctx)
{
	struct live *l = calloc(1, sizeof(*l));

	if (l)
		l->changes = calloc(take_policy->n_devices, sizeof(l->changes[0]));
	if (!l || !l->changes) {
		free(l);
		return NULL;
	}
	l->paths = paths;
	l->n_paths = n_paths;
	l->now = take_policy;
	l->disks = disks;
	l->changed = changed;
	l->ctx = ctx;
	return l;
}

static void free_overrides(struct med_override *over, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(over[i].object);
		free(over[i].key);
		free(over[i].value);
	}
	free(over);
}

struct live *live_free(struct live *l)
{
	if (!l)
		return NULL;
	free_overrides(l->over, l->n_over);
	med_policy_free(l->now);
	med_policy_free(l->past);
	free(l->changes);
	free(l);
	return NULL;
}

int live_show(const struct live *l, FILE *to)
{
	for (size_t i = 0; i < l->n_over; i++)
		fprintf(to, "# set since the files were read: %s %s=%s\n", l->over[i].object,
			l->over[i].key, l->over[i].value);
	med_policy_print(l->now, to);
	return 0;
}

/*
 * The disks stand in the order of the policy that they were opened by; the names are theirs still.
 */
static int resolve(const struct live *l, struct med_policy *p, struct cf_errors *errs)
{
	uint64_t sizes[MED_DEVICES_MAX] = { 0 };

	for (size_t i = 0; i < p->n_devices; i++) {
		/* That one is new is told by the differences: here it is as large as can be. */
		sizes[i] = INT64_MAX;
		for (size_t k = 0; k < l->now->n_devices; k++)
			if (strcmp(l->disks[k].policy->name, p->devices[i].name) == 0)
				sizes[i] = l->disks[k].backend->len_bytes;
	}
	return med_policy_resolve(p, sizes, errs);
}

/* Everything of a change that can fail. */
static int load(struct live *l, const struct med_override *over, size_t n_over, FILE *to,
		struct cf_errors *errs, struct med_policy **ret)
{
	struct med_policy *p = NULL;
	int r = med_policy_load_over(l->paths, l->n_paths, over, n_over, errs, &p);

	if (r == 0)
		r = resolve(l, p, errs);
	if (r == 0 && med_policy_align(l->now, p) < 0) {
		cf_error_add(errs, CF_ERROR, l->paths[0], 0, 0,
			     "%u groups have been since the mediator started, %u are its most: "
			     "restart it",
			     p->n_places, SCHED_GROUPS_MAX);
		r = -EINVAL;
	}
	if (r == 0 && med_policy_diff(l->now, p, to, errs) == 0 && cf_errors_ok(errs))
		fputs("nothing changes\n", to);
	if (r == 0 && !cf_errors_ok(errs))
		r = -EINVAL;
	if (r < 0)
		p = med_policy_free(p);
	*ret = p;
	return r;
}

static bool taken(const struct live *l)
{
	for (size_t i = 0; i < l->now->n_devices; i++)
		if (!med_disk_changed(&l->disks[i]))
			return false;
	return true;
}

static void hand_over(struct live *l, struct med_policy *take_policy)
{
	med_policy_free(l->past);
	l->past = l->now;
	l->now = take_policy;
	for (size_t i = 0; i < l->past->n_devices; i++) {
		struct med_disk *d = &l->disks[i];
		struct med_change *c = &l->changes[i];

		c->policy = l->now;
		c->device = (size_t)med_policy_device(l->now, d->policy->name);
		for (unsigned k = 0; k < d->n_shares; k++) {
			const struct med_share_policy *s = d->shares[k].policy;

			c->share[k] = (unsigned)med_policy_share(l->now, s->name);
		}
		med_disk_change(d, c);
	}
	l->changed(l->ctx);
}

int live_check(struct live *l, FILE *to, struct cf_errors *errs)
{
	struct med_policy *p;
	int r = load(l, NULL, 0, to, errs, &p);

	med_policy_free(p);
	return r;
}

int live_reload(struct live *l, FILE *to, struct cf_errors *errs)
{
	struct med_policy *p;
	int r = taken(l) ? load(l, NULL, 0, to, errs, &p) : -EBUSY;

	if (r < 0)
		return r;
	free_overrides(l->over, l->n_over);
	l->over = NULL;
	l->n_over = 0;
	hand_over(l, p);
	qlog_info("ev=policy_reloaded");
	return 0;
}

/* The list with @settings behind it; what is set again is the last. */
static struct med_override *with_settings(const struct live *l, const char *object,
					  char *const *settings, size_t n)
{
	struct med_override *list = calloc(l->n_over + n, sizeof(list[0]));
	bool oom = !list;

	for (size_t i = 0; list && i < l->n_over + n; i++) {
		const struct med_override *o = i < l->n_over ? &l->over[i] : NULL;
		const char *s = o ? NULL : settings[i - l->n_over];
		size_t key = s ? strcspn(s, "=") : 0;

		list[i].object = strdup(o ? o->object : object);
		list[i].key = o ? strdup(o->key) : strndup(s, key);
		list[i].value = strdup(o ? o->value : s + key + 1);
		oom |= !list[i].object || !list[i].key || !list[i].value;
	}
	if (oom && list)
		free_overrides(list, l->n_over + n);
	return oom ? NULL : list;
}

/* Drops those that a later one of the same key makes useless. */
static size_t drop_overruled(struct med_override *list, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		bool overruled = false;

		for (size_t k = i + 1; k < n; k++)
			overruled |= strcmp(list[i].object, list[k].object) == 0 &&
				     strcmp(list[i].key, list[k].key) == 0;
		if (overruled) {
			free(list[i].object);
			free(list[i].key);
			free(list[i].value);
		} else {
			list[kept++] = list[i];
		}
	}
	return kept;
}

/* Setting one thing must not bring in another. */
static bool files_changed(struct live *l)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	int r = to ? med_policy_load_over(l->paths, l->n_paths, l->over, l->n_over, &errs, &p) :
		     -ENOMEM;
	bool changed = r < 0;

	if (r == 0)
		changed = resolve(l, p, &errs) < 0 || med_policy_diff(l->now, p, to, &errs) > 0 ||
			  !cf_errors_ok(&errs);
	if (to)
		(void)fclose(to);
	free(text);
	med_policy_free(p);
	cf_errors_fini(&errs);
	return changed;
}

static bool all_are_settings(char *const *settings, size_t n, struct cf_errors *errs)
{
	for (size_t i = 0; i < n; i++)
		if (settings[i][strcspn(settings[i], "=")] != '=')
			cf_error_add(errs, CF_ERROR, "policy set", 0, 0,
				     "'%s': expected key=value", settings[i]);
	return cf_errors_ok(errs);
}

static void log_setting(const char *object, const char *setting)
{
	char o[80], s[128];

	qlog_escape(o, sizeof(o), object, strlen(object));
	qlog_escape(s, sizeof(s), setting, strlen(setting));
	qlog_info("ev=policy_set object=%s setting=%s", o, s);
}

int live_set(struct live *l, const char *object, char *const *settings, size_t n, FILE *to,
	     struct cf_errors *errs)
{
	struct med_policy *p = NULL;

	if (!taken(l))
		return -EBUSY;
	if (files_changed(l))
		cf_error_add(errs, CF_ERROR, l->paths[0], 0, 0,
			     "the policy files are not what they were when they were read: see "
			     "'policy check', and reload them first");
	if (n == 0)
		cf_error_add(errs, CF_ERROR, "policy set", 0, 0, "%s: expected key=value", object);
	if (!all_are_settings(settings, n, errs))
		return -EINVAL;
	struct med_override *list = with_settings(l, object, settings, n);
	if (!list)
		return -ENOMEM;
	size_t n_list = drop_overruled(list, l->n_over + n);
	int r = load(l, list, n_list, to, errs, &p);
	if (r < 0) {
		free_overrides(list, n_list);
		return r;
	}
	free_overrides(l->over, l->n_over);
	l->over = list;
	l->n_over = n_list;
	hand_over(l, p);
	for (size_t i = 0; i < n; i++)
		log_setting(object, settings[i]);
	return 0;
}

const struct med_policy *live_policy(const struct live *l)
{
	return l->now;
}
