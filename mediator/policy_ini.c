/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the sections of a policy file, and what their objects are before a key is set. Main thread;
 * ini_file.c reads, policy_keys.c knows the keys.
 */
#include "mediator/policy_ini.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/ini_file.h"
#include "mediator/ladder.h"

#define DEFAULT_SLOTS 32
#define DEFAULT_RESERVE 4
#define DEFAULT_SLICE_BYTES (64u << 10)
#define DEFAULT_TARGET_NS (10 * Q_NSEC_PER_MSEC)
#define DEFAULT_SERVICE_LIMIT_NS (1 * Q_NSEC_PER_MSEC)
#define DEFAULT_POLL_SAFETY 50u
#define DEFAULT_POLL_NORMAL 25u
#define DEFAULT_POLL_NS (30 * Q_NSEC_PER_USEC)
#define DEFAULT_WEIGHT 100
#define DEFAULT_DEPTH 1
#define DEFAULT_BURST_NS (5 * Q_NSEC_PER_MSEC)
#define DEFAULT_FAULT_BUDGET 16
#define DEFAULT_FAULT_WINDOW_NS (60 * Q_NSEC_PER_SEC)

struct reader {
	struct ini_file ini;
	struct med_policy *p;
};

static void *grow(void *array, size_t *n, size_t elem_bytes, bool *oom)
{
	char *v = reallocarray(array, *n + 1, elem_bytes);

	if (!v) {
		*oom = true;
		return array;
	}
	memset(v + *n * elem_bytes, 0, elem_bytes);
	(*n)++;
	return v;
}

static void *open_device(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_devices;

	p->devices = grow(p->devices, &p->n_devices, sizeof(p->devices[0]), &r->ini.oom);
	if (p->n_devices == n)
		return NULL;
	p->devices[n] = (struct med_device_policy){
		.name = strdup(name),
		.slots = DEFAULT_SLOTS,
		.reserve = DEFAULT_RESERVE,
		.slice_bytes = DEFAULT_SLICE_BYTES,
		.target_ns = DEFAULT_TARGET_NS,
		.ladder_top = LADDER_THROTTLE,
		.service_limit_ns = DEFAULT_SERVICE_LIMIT_NS,
		.poll_ns = DEFAULT_POLL_NS,
		.poll_percent = { DEFAULT_POLL_SAFETY, DEFAULT_POLL_NORMAL, 0 },
		.model = sim_model_default,
		.file = r->ini.file,
		.line = r->ini.line,
	};
	r->ini.oom |= !p->devices[n].name;
	return &p->devices[n];
}

static void *open_share(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_shares;

	p->shares = grow(p->shares, &p->n_shares, sizeof(p->shares[0]), &r->ini.oom);
	if (p->n_shares == n)
		return NULL;
	p->shares[n] = (struct med_share_policy){
		.name = strdup(name),
		.class = SCHED_NORMAL,
		.weight = DEFAULT_WEIGHT,
		.limits.burst_ns = DEFAULT_BURST_NS,
		.fault_budget = DEFAULT_FAULT_BUDGET,
		.fault_window_ns = DEFAULT_FAULT_WINDOW_NS,
		.file = r->ini.file,
		.line = r->ini.line,
	};
	r->ini.oom |= !p->shares[n].name;
	return &p->shares[n];
}

static void *open_group(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_groups;

	p->groups = grow(p->groups, &p->n_groups, sizeof(p->groups[0]), &r->ini.oom);
	if (p->n_groups == n)
		return NULL;
	p->groups[n] = (struct med_group_policy){
		.name = strdup(name),
		.limits.burst_ns = DEFAULT_BURST_NS,
		.file = r->ini.file,
		.line = r->ini.line,
	};
	r->ini.oom |= !p->groups[n].name;
	return &p->groups[n];
}

static void *open_sound(struct reader *r, const char *name)
{
	return snd_policy_open_device(&r->p->sound, name, r->ini.file, r->ini.line, &r->ini.oom);
}

static void *open_voice(struct reader *r, const char *name)
{
	return snd_policy_open_voice(&r->p->sound, name, r->ini.file, r->ini.line, &r->ini.oom);
}

static const struct {
	const char *word;
	const struct policy_key *keys;
	void *(*open)(struct reader *r, const char *name);
} sections[] = {
	{ "device ", policy_device_keys, open_device },
	{ "share ", policy_share_keys, open_share },
	{ "group ", policy_group_keys, open_group },
	{ "sound ", policy_sound_keys, open_sound },
	{ "voice ", policy_voice_keys, open_voice },
};

static const struct policy_key *open_section(void *ctx, const char *section, void **ret_object)
{
	struct reader *r = ctx;

	for (size_t i = 0; i < Q_ARRAY_LEN(sections); i++) {
		size_t len = strlen(sections[i].word);

		if (strncmp(section, sections[i].word, len) == 0 && section[len]) {
			*ret_object = sections[i].open(r, section + len);
			return *ret_object ? sections[i].keys : NULL;
		}
	}
	ini_file_error(&r->ini,
		       "section [%s]: expected [device NAME], [share SYSTEM/NAME], [group NAME], "
		       "[sound NAME] or [voice SYSTEM/NAME]",
		       section);
	return NULL;
}

static const char *remember_file(struct med_policy *p, const char *path)
{
	bool oom = false;
	size_t n = p->n_files;

	p->files = grow(p->files, &p->n_files, sizeof(p->files[0]), &oom);
	if (oom)
		return NULL;
	p->files[n] = strdup(path);
	return p->files[n];
}

int med_policy_read_file(struct med_policy *p, const char *path, struct cf_errors *errs)
{
	struct reader r = {
		.ini = { .errs = errs, .file = remember_file(p, path), .open = open_section },
		.p = p,
	};

	r.ini.ctx = &r;
	return r.ini.file ? ini_file_read(&r.ini, path) : -ENOMEM;
}
