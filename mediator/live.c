/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what an operator asks of the policy in force, and has set on top of the files. Main thread.
 */
#include "mediator/live_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

struct live *live_new(const char *const *paths, size_t n_paths, struct med_policy *take_policy,
		      struct med_disk *disks, struct statpage *page, const struct live_ops *ops)
{
	struct live *l = calloc(1, sizeof(*l));

	if (l)
		l->changes = calloc(MED_DISKS_MAX, sizeof(l->changes[0]));
	if (!l || !l->changes) {
		free(l);
		return NULL;
	}
	l->paths = paths;
	l->n_paths = n_paths;
	l->now = take_policy;
	l->disks = disks;
	l->page = page;
	l->ops = *ops;
	l->settled = true;
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
	for (size_t i = 0; i < l->n_new; i++)	/* that nobody has taken any more */
		qfd_close(&l->new_shares[i].listen_fd);
	free(l->new_shares);
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

int live_check(struct live *l, FILE *to, struct cf_errors *errs)
{
	struct live_plan plan;
	int r = live_plan(l, NULL, 0, BACKEND_NO_LOCK, to, errs, &plan);

	if (r == 0)
		live_plan_drop(l, &plan);
	return r;
}

int live_reload(struct live *l, FILE *to, struct cf_errors *errs)
{
	struct live_plan plan;
	int r = live_taken(l) ? 0 : -EBUSY;

	if (r == 0)
		r = live_plan(l, NULL, 0, BACKEND_LOCK_NOW, to, errs, &plan);
	if (r == 0)
		r = live_put_in_force(l, &plan, errs);
	if (r < 0)
		return r;
	free_overrides(l->over, l->n_over);
	l->over = NULL;
	l->n_over = 0;
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
	struct live_plan plan;
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	int r = to ? live_plan(l, l->over, l->n_over, BACKEND_NO_LOCK, to, &errs, &plan) : -ENOMEM;
	bool changed = r < 0;

	if (to)
		(void)fclose(to);
	if (r == 0) {
		changed = strcmp(text, LIVE_SAME) != 0;
		live_plan_drop(l, &plan);
	}
	free(text);
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
	struct live_plan plan;

	if (!live_taken(l))
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
	int r = live_plan(l, list, n_list, BACKEND_LOCK_NOW, to, errs, &plan);
	if (r == 0)
		r = live_put_in_force(l, &plan, errs);
	if (r < 0) {
		free_overrides(list, n_list);
		return r;
	}
	free_overrides(l->over, l->n_over);
	l->over = list;
	l->n_over = n_list;
	for (size_t i = 0; i < n; i++)
		log_setting(object, settings[i]);
	return 0;
}

const struct med_policy *live_policy(const struct live *l)
{
	return l->now;
}
