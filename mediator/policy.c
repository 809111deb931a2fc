/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a policy as a whole: which files it comes from, and the rules that need all of it. Main
 * thread. Invariant: a policy that med_policy_load() hands out has passed every rule, except those
 * on sizes of devices, which med_policy_resolve() adds.
 */
#include "mediator/policy.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mediator/ladder.h"
#include "mediator/policy_ini.h"
#include "mediator/policy_keys.h"

static int only_policies(const struct dirent *d)
{
	static const char suffix[] = ".policy";
	size_t n = strlen(d->d_name);

	return n > sizeof(suffix) - 1 && d->d_name[0] != '.' &&
	       strcmp(d->d_name + n - (sizeof(suffix) - 1), suffix) == 0;
}

static int read_folder(struct med_policy *p, const char *path, struct cf_errors *errs)
{
	struct dirent **entries;
	int n = scandir(path, &entries, only_policies, alphasort);
	int r = 0;

	if (n < 0) {
		cf_error_add(errs, CF_ERROR, path, 0, 0, "cannot be read: %s", strerror(errno));
		return 0;
	}
	if (n == 0)
		cf_error_add(errs, CF_ERROR, path, 0, 0, "holds no *.policy file");
	for (int i = 0; i < n; i++) {
		char *file = NULL;

		if (r == 0 && asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0) {
			file = NULL;
			r = -ENOMEM;
		}
		if (r == 0)
			r = med_policy_read_file(p, file, errs);
		free(file);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static void check_name(const char *name, bool with_slash, const char *file, unsigned line,
		       struct cf_errors *errs)
{
	const char *slash = strchr(name, '/');
	size_t legal =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
	bool ok;

	if (with_slash) {
		ok = slash && slash != name && slash[1] && legal == (size_t)(slash - name);
		if (ok)
			ok = strspn(slash + 1,
				    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_.") == strlen(slash + 1);
	} else {
		ok = *name && !name[legal];
	}
	if (!ok || name[0] == '.' || (slash && slash[1] == '.') || strlen(name) > 64)
		cf_error_add(
			errs, CF_ERROR, file, line, 0,
			"'%s': expected %s of letters, digits, '-', '_' and '.', at most 64 in all",
			name, with_slash ? "SYSTEM/NAME, each" : "a name");
}

int med_policy_device(const struct med_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_devices; i++)
		if (strcmp(p->devices[i].name, name) == 0)
			return (int)i;
	return -1;
}

int med_policy_share(const struct med_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_shares; i++)
		if (strcmp(p->shares[i].name, name) == 0)
			return (int)i;
	return -1;
}

int med_policy_group(const struct med_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_groups; i++)
		if (strcmp(p->groups[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void check_device(struct med_policy *p, size_t i, struct cf_errors *errs)
{
	struct med_device_policy *d = &p->devices[i];

	if (!d->flush_limit_ns)
		d->flush_limit_ns = d->service_limit_ns;
	check_name(d->name, false, d->file, d->line, errs);
	if (med_policy_device(p, d->name) != (int)i)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0, "device '%s' is there twice",
			     d->name);
	if (!d->path == !d->null_bytes)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "device '%s': expected path = FILE, or null = SIZE, and not both",
			     d->name);
	const char *fault = sim_model_fault(&d->model);
	if (fault)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0, "device '%s': sim-%s", d->name,
			     fault);
	if (d->simulate && d->direct)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "device '%s': expected simulate or direct, and not both", d->name);
	if (d->reserve >= d->slots)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "device '%s': reserve %u of %u slots leaves none for lower classes; "
			     "expected at most %u",
			     d->name, d->reserve, d->slots, d->slots - 1);
	if (d->slice_bytes % 4096)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "device '%s': slice %u is not a multiple of 4096", d->name,
			     d->slice_bytes);
}

/* The safety share of device @i whose target is the least, and less than the device's; or NULL. */
static const struct med_share_policy *tightest_share(const struct med_policy *p, size_t i)
{
	const struct med_share_policy *best = NULL;
	uint64_t least = p->devices[i].target_ns;

	for (size_t k = 0; k < p->n_shares; k++) {
		const struct med_share_policy *s = &p->shares[k];

		if (s->device != i || s->class != SCHED_SAFETY || !s->own_target_ns ||
		    s->own_target_ns >= least)
			continue;
		best = s;
		least = s->own_target_ns;
	}
	return best;
}

void med_policy_check_promise(const struct med_policy *p, size_t i, struct cf_errors *errs)
{
	const struct med_device_policy *d = &p->devices[i];
	const struct med_share_policy *who = tightest_share(p, i);
	uint64_t depth = 0;

	for (size_t k = 0; k < p->n_shares; k++)
		if (p->shares[k].device == i && p->shares[k].class == SCHED_SAFETY)
			depth += p->shares[k].depth;
	if (depth == 0)
		return;
	if (depth > d->reserve)
		cf_error_add(
			errs, CF_ERROR, d->file, d->line, 0,
			"device '%s': its safety shares are promised %llu requests at once, but "
			"only %u slots are reserved; expected reserve = %llu or more",
			d->name, (unsigned long long)depth, d->reserve, (unsigned long long)depth);
	/* As in scheduler.h, with one lower-class slice and without the turns of our own loop. */
	uint64_t least = 2 * d->service_limit_ns + d->flush_limit_ns +
			 (depth - 1) * Q_MAX(d->service_limit_ns, d->flush_limit_ns);
	uint64_t target = who ? who->own_target_ns : d->target_ns;
	if (least > target)
		cf_error_add(
			errs, CF_ERROR, who ? who->file : d->file, who ? who->line : d->line, 0,
			"%s '%s': target %llu us cannot be kept: a lower-class slice and a "
			"safety request of service-limit %llu us each + a flush of flush-limit "
			"%llu us + %llu more safety requests of the longer of these = %llu us",
			who ? "share" : "device", who ? who->name : d->name,
			(unsigned long long)(target / 1000),
			(unsigned long long)(d->service_limit_ns / 1000),
			(unsigned long long)(d->flush_limit_ns / 1000),
			(unsigned long long)(depth - 1), (unsigned long long)(least / 1000));
}

/* Who is allowed less than a sector a second cannot be served: his driver gives up before. */
static void check_rates(const char *what, const char *name, const struct limits_cfg *l,
			const char *file, unsigned line, struct cf_errors *errs)
{
	static const char *const keys[] = {
		[LIMIT_READ] = "limit-read-bytes",
		[LIMIT_WRITE] = "limit-write-bytes",
		[LIMIT_BOTH] = "limit-bytes",
	};

	for (unsigned d = 0; d < Q_ARRAY_LEN(keys); d++)
		if (l->bytes[d] && l->bytes[d] < Q_SECTOR_BYTES)
			cf_error_add(errs, CF_ERROR, file, line, 0,
				     "%s '%s' cannot be served: %s = %llu, and a sector of %u "
				     "bytes takes %llu ms of that; expected %u or more",
				     what, name, keys[d], (unsigned long long)l->bytes[d],
				     Q_SECTOR_BYTES,
				     (unsigned long long)(Q_SECTOR_BYTES * 1000ull / l->bytes[d]),
				     Q_SECTOR_BYTES);
}

static void check_group(const struct med_policy *p, size_t i, struct cf_errors *errs)
{
	const struct med_group_policy *g = &p->groups[i];

	check_name(g->name, false, g->file, g->line, errs);
	for (size_t k = 0; k < i; k++)
		if (strcmp(p->groups[k].name, g->name) == 0)
			cf_error_add(errs, CF_ERROR, g->file, g->line, 0,
				     "group '%s' is there already: %s:%u", g->name,
				     p->groups[k].file, p->groups[k].line);
	check_rates("group", g->name, &g->limits, g->file, g->line, errs);
	if (!limits_any(&g->limits))
		cf_error_add(errs, CF_ERROR, g->file, g->line, 0,
			     "group '%s' limits nothing: expected limit-ops, limit-bytes or one of "
			     "their read and write forms",
			     g->name);
}

/*
 * The group that share @i names; a device's thread keeps the group's books, so it is of one device.
 */
static void find_group(struct med_policy *p, size_t i, struct cf_errors *errs)
{
	struct med_share_policy *s = &p->shares[i];

	int group = s->group_name ? med_policy_group(p, s->group_name) : -1;
	s->group = group < 0 ? 0 : 1 + p->groups[group].place;
	if (s->group_name && !s->group)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': there is no [group %s]", s->name, s->group_name);
	for (size_t k = 0; s->group && k < i; k++) {
		const struct med_share_policy *o = &p->shares[k];

		if (o->group != s->group || o->device == s->device || !o->device_name)
			continue;
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s' is of device '%s', but group '%s' has share '%s' of "
			     "device '%s' (%s:%u): a group is of one device",
			     s->name, s->device_name ? s->device_name : "", s->group_name, o->name,
			     o->device_name, o->file, o->line);
		return;
	}
}

/* What is for one kind of class only. */
static void check_class_keys(const struct med_policy *p, const struct med_share_policy *s,
			     struct cf_errors *errs)
{
	bool safety = s->class == SCHED_SAFETY;

	if (!safety && s->own_target_ns)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': a target is of class safety only", s->name);
	if (safety && s->slice_bytes)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': class safety is not cut into slices", s->name);
	if (safety && s->freeze)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': class safety is never frozen", s->name);
	if (s->freeze && s->device != UINT32_MAX &&
	    p->devices[s->device].ladder_top != LADDER_FREEZE)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': nobody is frozen unless device '%s' has ladder = freeze",
			     s->name, p->devices[s->device].name);
	if (s->read_only && s->shared_writers)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': expected read-only or shared-writers, and not both",
			     s->name);
	if (s->slice_bytes % 4096)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': slice %u is not a multiple of 4096", s->name,
			     s->slice_bytes);
	if (s->device != UINT32_MAX && s->slice_bytes > p->devices[s->device].slice_bytes)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': slice %u is longer than the device's, %u: its promise "
			     "does not know of such",
			     s->name, s->slice_bytes, p->devices[s->device].slice_bytes);
}

static void check_share(struct med_policy *p, size_t i, struct cf_errors *errs)
{
	struct med_share_policy *s = &p->shares[i];

	check_name(s->name, true, s->file, s->line, errs);
	for (size_t k = 0; k < i; k++)
		if (strcmp(p->shares[k].name, s->name) == 0)
			cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
				     "share '%s' is there already: %s:%u", s->name,
				     p->shares[k].file, p->shares[k].line);
	int device = s->device_name ? med_policy_device(p, s->device_name) : -1;
	if (!s->device_name)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s' has no device: expected device = NAME", s->name);
	else if (device < 0)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': there is no [device %s]", s->name, s->device_name);
	s->device = device < 0 ? UINT32_MAX : (unsigned)device;
	find_group(p, i, errs);
	if (s->offset_bytes % Q_SECTOR_BYTES || s->len_bytes % Q_SECTOR_BYTES)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': offset and length must be multiples of 512", s->name);
	if (s->class != SCHED_SAFETY && s->depth)
		cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
			     "share '%s': depth is promised to class safety only", s->name);
	if (s->class == SCHED_SAFETY && !s->depth)
		s->depth = 1;
	check_class_keys(p, s, errs);
	if (s->class == SCHED_SAFETY && s->device != UINT32_MAX)
		s->target_ns = s->own_target_ns ? s->own_target_ns :
						  p->devices[s->device].target_ns;
	check_rates("share", s->name, &s->limits, s->file, s->line, errs);
}

/* Others may have its bytes too, as far as it goes. */
static bool shares_bytes(const struct med_share_policy *s)
{
	return s->read_only || s->shared_writers;
}

/*
 * Two shares on one extent are refused when one of them writes, unless both say that they share
 * it, or one does and the other only reads. An open length reaches to the end of everything.
 */
static void check_overlap(const struct med_policy *p, size_t i, struct cf_errors *errs)
{
	const struct med_share_policy *s = &p->shares[i];
	uint64_t len = s->len_bytes ? s->len_bytes : UINT64_MAX - s->offset_bytes;

	for (size_t k = 0; k < i; k++) {
		const struct med_share_policy *o = &p->shares[k];
		uint64_t o_len = o->len_bytes ? o->len_bytes : UINT64_MAX - o->offset_bytes;

		if (o->device != s->device || (shares_bytes(o) && shares_bytes(s)))
			continue;
		if (qspan_overlap(s->offset_bytes, len, o->offset_bytes, o_len))
			cf_error_add(
				errs, CF_ERROR, s->file, s->line, 0,
				"share '%s' (offset %llu) overlaps share '%s' (offset %llu, length "
				"%llu; %s:%u), and one of them writes",
				s->name, (unsigned long long)s->offset_bytes, o->name,
				(unsigned long long)o->offset_bytes,
				(unsigned long long)o->len_bytes, o->file, o->line);
	}
}

/* One socket a name, whatever it is a share of. */
static void check_voice_names(const struct med_policy *p, struct cf_errors *errs)
{
	for (size_t i = 0; i < p->sound.n_voices; i++) {
		const struct snd_voice_policy *v = &p->sound.voices[i];

		check_name(v->name, true, v->file, v->line, errs);
		if (med_policy_share(p, v->name) >= 0)
			cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
				     "'%s' is a share already", v->name);
	}
}

static void check_all(struct med_policy *p, struct cf_errors *errs)
{
	snd_policy_check(&p->sound, errs);
	check_voice_names(p, errs);
	for (size_t i = 0; i < p->n_devices; i++)
		check_device(p, i, errs);
	p->n_places = (uint32_t)p->n_groups;
	for (size_t i = 0; i < p->n_groups; i++) {
		p->groups[i].place = (uint32_t)i;
		check_group(p, i, errs);
	}
	for (size_t i = 0; i < p->n_shares; i++) {
		check_share(p, i, errs);
		check_overlap(p, i, errs);
	}
	for (size_t i = 0; i < p->n_devices; i++) {
		const struct med_share_policy *who = tightest_share(p, i);

		p->devices[i].tightest_ns = who ? who->own_target_ns : p->devices[i].target_ns;
		med_policy_check_promise(p, i, errs);
	}
	if (p->n_devices + p->sound.n_devices == 0 && p->n_files > 0)
		cf_error_add(errs, CF_ERROR, p->files[0], 0, 0,
			     "no [device NAME] or [sound NAME] section");
	if (p->n_devices > MED_DEVICES_MAX)
		cf_error_add(errs, CF_ERROR, p->devices[MED_DEVICES_MAX].file,
			     p->devices[MED_DEVICES_MAX].line, 0,
			     "%zu devices: one mediator serves at most %u", p->n_devices,
			     MED_DEVICES_MAX);
	if (p->n_groups > SCHED_GROUPS_MAX)
		cf_error_add(errs, CF_ERROR, p->groups[SCHED_GROUPS_MAX].file,
			     p->groups[SCHED_GROUPS_MAX].line, 0,
			     "%zu groups: one mediator has at most %u", p->n_groups,
			     SCHED_GROUPS_MAX);
	if (p->n_shares > MED_SHARES_MAX)
		cf_error_add(errs, CF_ERROR, p->shares[MED_SHARES_MAX].file,
			     p->shares[MED_SHARES_MAX].line, 0,
			     "%zu shares: one mediator serves at most %u", p->n_shares,
			     MED_SHARES_MAX);
}

/* Paths of devices are the policy's: they start at the folder of the file that names them. */
static int anchor_paths(struct med_policy *p)
{
	for (size_t i = 0; i < p->n_devices; i++) {
		struct med_device_policy *d = &p->devices[i];
		const char *slash = strrchr(d->file, '/');
		char *joined;

		if (!d->path || d->path[0] == '/' || !slash)
			continue;
		if (asprintf(&joined, "%.*s/%s", (int)(slash - d->file), d->file, d->path) < 0)
			return -ENOMEM;
		free(d->path);
		d->path = joined;
	}
	return 0;
}

static int read_path(struct med_policy *p, const char *path, struct cf_errors *errs)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return read_folder(p, path, errs);
	return med_policy_read_file(p, path, errs);
}

int med_policy_load(const char *const *paths, size_t n_paths, struct cf_errors *errs,
		    struct med_policy **ret)
{
	return med_policy_load_over(paths, n_paths, NULL, 0, errs, ret);
}

int med_policy_load_over(const char *const *paths, size_t n_paths, const struct med_override *over,
			 size_t n_over, struct cf_errors *errs, struct med_policy **ret)
{
	struct med_policy *p = calloc(1, sizeof(*p));
	int r = p ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n_paths; i++)
		r = read_path(p, paths[i], errs);
	if (r == 0 && n_paths == 0)
		cf_error_add(errs, CF_ERROR, "command line", 0, 0, "no policy file was given");
	if (r == 0)
		r = anchor_paths(p);
	if (r == 0)
		r = snd_policy_anchor(&p->sound);
	for (size_t i = 0; r == 0 && i < n_over; i++)
		r = med_policy_override(p, &over[i], errs);
	if (r == 0) {
		check_all(p, errs);
		r = cf_errors_ok(errs) ? 0 : -EINVAL;
	}
	if (r < 0) {
		med_policy_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct med_policy *med_policy_free(struct med_policy *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n_devices; i++) {
		free(p->devices[i].name);
		free(p->devices[i].path);
	}
	for (size_t i = 0; i < p->n_shares; i++) {
		free(p->shares[i].name);
		free(p->shares[i].device_name);
		free(p->shares[i].group_name);
	}
	for (size_t i = 0; i < p->n_groups; i++)
		free(p->groups[i].name);
	for (size_t i = 0; i < p->n_files; i++)
		free(p->files[i]);
	snd_policy_fini(&p->sound);
	free(p->devices);
	free(p->shares);
	free(p->groups);
	free(p->files);
	free(p);
	return NULL;
}
