/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the sections and keys of a simulation's file, and the rules that need nothing else. Main
 * thread. Invariant: what sim_file_read() leaves without an error can be run, given a policy that
 * fits (simulate_join.c).
 */
#include "mediator/simulate_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/ini_file.h"

#define SIZE_MAX_BYTES (1u << 30)
#define SIZE_STEP 512u
#define WEIGHT_MAX 1000000u
#define DEFAULT_TIME_NS (10 * Q_NSEC_PER_SEC)
#define DEFAULT_DEPTH_OPEN 1024u

#define SIM(field) offsetof(struct sim_file, field)
#define DEV(field) offsetof(struct sim_file_device, field)
#define LOD(field) offsetof(struct sim_file_load, field)
#define MIX(name, op)                                                                              \
	{ name, KEY_U32, LOD(load.mix[op]), 0, WEIGHT_MAX, "a number from 0 to 1000000" }

static const char *const pattern_words[] = { "closed", "open" };
static const char *const arrival_words[] = { "fixed", "poisson" };

static const struct policy_key simulation_keys[] = {
	{ "policy", KEY_TEXT, SIM(policy_path), 0, 0, "a policy file or a folder of them" },
	{ "seed", KEY_U64, SIM(seed), 0, UINT64_MAX, "a number" },
	{ "time", KEY_TIME, SIM(time_ns), Q_NSEC_PER_MSEC, 86400 * Q_NSEC_PER_SEC,
	  "a time from 1ms to 86400s, such as 10s" },
	{ "warm-up", KEY_TIME, SIM(warm_up_ns), 0, 86400 * Q_NSEC_PER_SEC,
	  "a time from 0s to 86400s, such as 1s" },
	{ NULL },
};

static const struct policy_key device_keys[] = {
	{ "size", KEY_BYTES, DEV(size_bytes), 4096, INT64_MAX, "a size, such as 64G" },
	POLICY_MODEL_KEYS("", DEV, 0),
	{ NULL },
};

static const struct policy_key load_keys[] = {
	{ "pattern", KEY_WORD, LOD(pattern), 0, 1, "closed or open", 0, pattern_words },
	{ "depth", KEY_U32, LOD(depth), 1, SIM_DEPTH_MAX, "a number from 1 to 16384" },
	{ "think", KEY_TIME, LOD(load.think_ns), 0, 3600 * Q_NSEC_PER_SEC,
	  "a time from 0s to 3600s, such as 5ms" },
	{ "rate", KEY_U32, LOD(rate), 1, 100000000, "a number from 1 to 100000000" },
	{ "arrivals", KEY_WORD, LOD(poisson), 0, 1, "fixed or poisson", 0, arrival_words },
	{ "size", KEY_TEXT, LOD(size), 0, 0,
	  "sizes from 512 to 1G in steps of 512, such as 4K, 4K-64K or 4K:70 64K:30" },
	{ "discard-size", KEY_BYTES, LOD(discard_bytes), SIZE_STEP, SIZE_MAX_BYTES,
	  "a size from 512 to 1G" },
	MIX("read", SIM_READ),
	MIX("write", SIM_WRITE),
	MIX("flush", SIM_FLUSH),
	MIX("discard", SIM_DISCARD),
	{ "start", KEY_TIME, LOD(load.begin_ns), 0, 86400 * Q_NSEC_PER_SEC,
	  "a time from 0s to 86400s" },
	{ "stop", KEY_TIME, LOD(load.end_ns), 1, 86400 * Q_NSEC_PER_SEC,
	  "a time from 1ns to 86400s" },
	{ "count", KEY_U32, LOD(count), 1, SIM_SHARES_MAX, "a number from 1 to 10000" },
	{ NULL },
};

/* ---- sizes ---- */

/* "64K" at *@at, which moves behind it: a multiple of 512. */
static bool parse_size(const char **at, uint32_t *ret)
{
	static const char units[] = "KMG";
	uint64_t v = 0;
	char *end;

	if (!isdigit((unsigned char)**at))
		return false;
	errno = 0;
	v = strtoull(*at, &end, 10);
	if (errno || v > SIZE_MAX_BYTES)
		return false;
	const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		v <<= 10 * (unit - units + 1);
		end++;
	}
	*at = end;
	*ret = (uint32_t)v;
	return v >= SIZE_STEP && v <= SIZE_MAX_BYTES && v % SIZE_STEP == 0;
}

static bool parse_weight(const char **at, uint32_t *ret)
{
	char *end;

	*ret = 1;
	if (**at != ':')
		return true;
	(*at)++;
	if (!isdigit((unsigned char)**at))
		return false;
	errno = 0;
	unsigned long v = strtoul(*at, &end, 10);
	*at = end;
	*ret = (uint32_t)v;
	return !errno && v >= 1 && v <= WEIGHT_MAX;
}

static bool parse_sizes(const char *at, struct sim_load *l)
{
	l->n_sizes = 0;
	for (at += strspn(at, " \t"); *at; at += strspn(at, " \t")) {
		uint32_t min, max, weight;

		if (l->n_sizes == SIM_SIZES_MAX || !parse_size(&at, &min))
			return false;
		max = min;
		if (*at == '-') {
			at++;
			if (!parse_size(&at, &max) || max < min)
				return false;
		}
		if (!parse_weight(&at, &weight) || (*at && *at != ' ' && *at != '\t'))
			return false;
		l->size[l->n_sizes].min = min;
		l->size[l->n_sizes].max = max;
		l->size[l->n_sizes++].weight = weight;
	}
	return l->n_sizes > 0;
}

bool sim_file_parse_sizes(const char *text, struct sim_load *ret)
{
	struct sim_load l = *ret;

	if (!parse_sizes(text, &l))
		return false;
	*ret = l;
	return true;
}

/* ---- sections ---- */

struct reader {
	struct ini_file ini;
	struct sim_file *f;
	bool has_simulation;
	struct sim_file_load *load;	/* the open section, or NULL */
};

static void *grow(void *array, size_t n, size_t elem_bytes, bool *oom)
{
	char *v = reallocarray(array, n + 1, elem_bytes);

	*oom |= !v;
	return v;
}

static void *open_device(struct reader *r, const char *name)
{
	struct sim_file *f = r->f;
	struct sim_file_device *v =
		grow(f->devices, f->n_devices, sizeof(*v), &r->ini.oom);

	for (size_t i = 0; i < f->n_devices; i++)
		if (v && strcmp(v[i].name, name) == 0)
			ini_file_error(&r->ini, "device '%s' is there already: line %u", name,
				       v[i].line);
	if (!v)
		return NULL;
	f->devices = v;
	v[f->n_devices] = (struct sim_file_device){
		.name = strdup(name), .model = sim_model_default, .line = r->ini.line,
	};
	r->ini.oom |= !v[f->n_devices].name;
	return v[f->n_devices].name ? &v[f->n_devices++] : NULL;
}

static void *open_load(struct reader *r, const char *share)
{
	struct sim_file *f = r->f;
	struct sim_file_load *v = grow(f->loads, f->n_loads, sizeof(*v), &r->ini.oom);

	for (size_t i = 0; i < f->n_loads; i++)
		if (v && strcmp(v[i].share, share) == 0)
			ini_file_error(&r->ini, "the load of '%s' is there already: line %u", share,
				       v[i].line);
	if (!v)
		return NULL;
	f->loads = v;
	v[f->n_loads] = (struct sim_file_load){
		.share = strdup(share),
		.policy_share = -1,
		.discard_bytes = 1 << 20,
		.count = 1,
		.load = { .size = { { 4096, 4096, 1 } }, .n_sizes = 1 },
		.line = r->ini.line,
	};
	r->ini.oom |= !v[f->n_loads].share;
	r->load = &v[f->n_loads];
	return v[f->n_loads].share ? &v[f->n_loads++] : NULL;
}

static const struct policy_key *open_section(void *ctx, const char *section, void **ret_object)
{
	static const char device[] = "device ", load[] = "load ";
	struct reader *r = ctx;

	r->load = NULL;
	if (strcmp(section, "simulation") == 0) {
		if (r->has_simulation)
			ini_file_error(&r->ini, "[simulation] is there already: line %u",
				       r->f->policy_line);
		r->has_simulation = true;
		r->f->policy_line = r->ini.line;
		*ret_object = r->f;
		return simulation_keys;
	}
	if (strncmp(section, device, sizeof(device) - 1) == 0 && section[sizeof(device) - 1]) {
		*ret_object = open_device(r, section + sizeof(device) - 1);
		return *ret_object ? device_keys : NULL;
	}
	if (strncmp(section, load, sizeof(load) - 1) == 0 && section[sizeof(load) - 1]) {
		*ret_object = open_load(r, section + sizeof(load) - 1);
		return *ret_object ? load_keys : NULL;
	}
	ini_file_error(&r->ini,
		       "section [%s]: expected [simulation], [device NAME] or [load SHARE]",
		       section);
	return NULL;
}

/* A text that is more than a word is looked at where it stands. */
static bool take_key(void *ctx, const char *name, const char *value)
{
	struct reader *r = ctx;

	if (!r->load || strcmp(name, "size") != 0)
		return false;
	if (!sim_file_parse_sizes(value, &r->load->load))
		ini_file_error(&r->ini,
			       "size = %s: expected sizes from 512 to 1G in steps of 512, such as "
			       "4K, 4K-64K or 4K:70 64K:30", value);
	return true;
}

/* ---- rules ---- */

static void bad_load(const struct sim_file *f, const struct sim_file_load *l,
		     struct cf_errors *errs, const char *what)
{
	cf_error_add(errs, CF_ERROR, f->path, l->line, 0, "load of '%s': %s", l->share, what);
}

static void finish_load(const struct sim_file *f, struct sim_file_load *l, struct cf_errors *errs)
{
	bool open = l->pattern == SIM_OPEN;
	uint64_t mix = 0;

	for (unsigned op = 0; op < SIM_OPS; op++)
		mix += l->load.mix[op];
	if (mix == 0)
		l->load.mix[SIM_READ] = 1;
	if (open && !l->rate)
		bad_load(f, l, errs, "pattern = open has no rate: expected rate = N a second");
	if (!open && l->rate)
		bad_load(f, l, errs, "rate belongs to pattern = open");
	if (!open && l->poisson)
		bad_load(f, l, errs, "arrivals belongs to pattern = open");
	if (open && l->load.think_ns)
		bad_load(f, l, errs, "think belongs to pattern = closed");
	if (l->load.end_ns && l->load.end_ns <= l->load.begin_ns)
		bad_load(f, l, errs, "it stops before it starts: expected stop > start");
	l->load.open = open;
	l->load.poisson = l->poisson;
	l->load.gap_ns = l->rate ? Q_NSEC_PER_SEC / l->rate : 0;
	l->load.depth = l->depth ? l->depth : open ? DEFAULT_DEPTH_OPEN : 1;
	l->load.discard_bytes = (uint32_t)l->discard_bytes;
}

static void check_file(struct sim_file *f, bool has_simulation, struct cf_errors *errs)
{
	if (!has_simulation || !f->policy_path)
		cf_error_add(errs, CF_ERROR, f->path, f->policy_line, 0,
			     "no policy: expected policy = FILE in section [simulation]");
	if (f->n_loads == 0)
		cf_error_add(errs, CF_ERROR, f->path, 0, 0, "no [load SHARE] section");
	for (size_t i = 0; i < f->n_devices; i++) {
		const char *fault = sim_model_fault(&f->devices[i].model);

		if (fault)
			cf_error_add(errs, CF_ERROR, f->path, f->devices[i].line, 0,
				     "device '%s': %s", f->devices[i].name, fault);
	}
	for (size_t i = 0; i < f->n_loads; i++)
		finish_load(f, &f->loads[i], errs);
}

/* The policy's path starts at the folder of the file that names it. */
static int anchor(struct sim_file *f)
{
	const char *slash = strrchr(f->path, '/');
	char *joined;

	if (!f->policy_path || f->policy_path[0] == '/' || !slash)
		return 0;
	if (asprintf(&joined, "%.*s/%s", (int)(slash - f->path), f->path, f->policy_path) < 0)
		return -ENOMEM;
	free(f->policy_path);
	f->policy_path = joined;
	return 0;
}

int sim_file_read(struct sim_file *f, struct cf_errors *errs)
{
	struct reader r = {
		.ini = { .errs = errs, .file = f->path, .open = open_section, .take = take_key },
		.f = f,
	};
	size_t before = errs->n_errors;

	r.ini.ctx = &r;
	f->time_ns = DEFAULT_TIME_NS;
	f->seed = 1;
	int ret = ini_file_read(&r.ini, f->path);
	if (ret < 0)
		return ret;
	/* What could not be read has no sections either: that was told. */
	if (r.ini.line > 0 || errs->n_errors == before)
		check_file(f, r.has_simulation, errs);
	return anchor(f);
}
