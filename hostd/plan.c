/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads plans. Main thread. Owns nothing but what it makes. Invariant: of a plan only what the
 * whole-system check needs is kept, so that the plans of all VMs fit beside hostd's own memory.
 */
#include "hostd/plan.h"

#include <errno.h>
#include <ini.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void pos_free(struct hd_pos *p)
{
	free(p->file);
}

struct hd_plan *hd_plan_free(struct hd_plan *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n_claims; i++) {
		free(p->claims[i].what);
		free(p->claims[i].name);
		pos_free(&p->claims[i].pos);
	}
	for (size_t i = 0; i < p->n_cpus; i++)
		pos_free(&p->cpus[i].pos);
	pos_free(&p->mem_pos);
	free(p->claims);
	free(p->cpus);
	free(p->system);
	free(p);
	return NULL;
}

/* ---- what is behind a path ---- */

/* The whole disk of a partition: the device above its own in /sys. */
static dev_t disk_of(dev_t dev)
{
	char path[64], text[32];
	unsigned ma, mi;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(dev), minor(dev));
	struct stat st;
	if (stat(path, &st) < 0)
		return dev;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(dev), minor(dev));
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(text, sizeof(text), f) && sscanf(text, "%u:%u", &ma, &mi) == 2;
	if (f)
		(void)fclose(f);
	return ok ? makedev(ma, mi) : dev;
}

/* /dev/null, /dev/tty and their like: everybody has them at once. */
static bool is_common(dev_t dev)
{
	return major(dev) == 1 || major(dev) == 5;
}

static void look_up(struct hd_claim *c, const char *folder, bool disk)
{
	char path[PATH_MAX];
	struct stat st;

	int n = snprintf(path, sizeof(path), "%s%s%s", *c->what == '/' ? "" : folder,
			 *c->what == '/' ? "" : "/", c->what);
	if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) < 0)
		return;
	c->is_block = S_ISBLK(st.st_mode);
	if (c->is_block || (S_ISCHR(st.st_mode) && !is_common(st.st_rdev))) {
		c->exists = true;
		c->dev = st.st_rdev;
		c->disk = c->is_block ? disk_of(c->dev) : c->dev;
	} else if (S_ISREG(st.st_mode) && disk) {
		/* Several may write to one log; a disk has one writer. */
		c->exists = true;
		c->dev = c->disk = st.st_dev;
		c->ino = st.st_ino;
	}
}

/* ---- a VM's ---- */

/* False when out of memory. */
static bool pos_of(const json_t *j, struct hd_pos *ret)
{
	const json_t *behind = json_object_get(j, "backing_at");
	const json_t *at = behind ? behind : json_object_get(j, "at");
	const char *file = json_string_value(json_object_get(at, "file"));

	if (!file)
		return true;
	ret->file = strdup(file);
	ret->line = (unsigned)json_integer_value(json_object_get(at, "line"));
	ret->col = (unsigned)json_integer_value(json_object_get(at, "column"));
	return ret->file != NULL;
}

/* NULL when out of memory, or there are too many. */
static struct hd_claim *add_claim(struct hd_plan *p, enum hd_claim_kind kind, const char *what,
				  const char *name)
{
	if (p->n_claims == HD_CLAIMS_MAX)
		return NULL;
	struct hd_claim *v = realloc(p->claims, (p->n_claims + 1) * sizeof(v[0]));
	if (!v)
		return NULL;
	p->claims = v;
	struct hd_claim *c = &v[p->n_claims];
	*c = (struct hd_claim){ .kind = kind, .what = strdup(what), .name = strdup(name) };
	p->n_claims++;
	return c->what && c->name ? c : NULL;
}

static int add_device(struct hd_plan *p, const json_t *vdev, const char *backing,
		      const char *folder)
{
	const char *name = json_string_value(json_object_get(vdev, "name"));
	const char *type = json_string_value(json_object_get(vdev, "type"));
	bool sound = type && strcmp(type, "virtio-snd") == 0;
	bool disk = type && strcmp(type, "virtio-blk") == 0;

	if (sound ? strncmp(backing, "alsa:", 5) != 0 : strchr(backing, ':') != NULL)
		return 0;	/* nothing that one VM alone may have */
	struct hd_claim *c = add_claim(p, HD_CLAIM_DEVICE, backing + strspn(backing, "<>"),
				       name ? name : "");
	if (!c || !pos_of(vdev, &c->pos))
		return -ENOMEM;
	c->sound = sound;
	c->read_only = backing[0] == '<';
	if (!sound)
		look_up(c, folder, disk);
	return 0;
}

static const char *option_text(const json_t *option, const char *name)
{
	const char *word = json_string_value(json_object_get(option, "option"));

	return word && strcmp(word, name) == 0 ?
		       json_string_value(json_object_get(option, "value")) : NULL;
}

static int add_regions(struct hd_plan *p, const json_t *vdev)
{
	const char *name = json_string_value(json_object_get(vdev, "name"));
	const json_t *option;
	char what[64];
	size_t i;

	json_array_foreach(json_object_get(vdev, "options"), i, option) {
		const char *made = option_text(option, "create");
		const char *text = made ? made : option_text(option, "allow");

		if (!text)
			continue;
		snprintf(what, sizeof(what), "%.*s", (int)(made ? strcspn(made, ",") : 63), text);
		struct hd_claim *c = add_claim(p, made ? HD_CLAIM_REGION : HD_CLAIM_ALLOWED, what,
					       name ? name : "");
		if (!c || !pos_of(vdev, &c->pos))
			return -ENOMEM;
	}
	return 0;
}

/* "SYSTEM/NAME" of what may be a path that ends in "/qvm/SYSTEM/NAME"; NULL: a tap. */
static const char *peer_of(const char *text)
{
	const char *last = NULL;

	if (*text != '/')
		return strchr(text, ':') ? NULL : text;
	for (const char *at = text; (at = strstr(at, "/qvm/")); at++)
		last = at + 5;
	return last;
}

static int add_other(struct hd_plan *p, const json_t *vdev, enum hd_claim_kind kind,
		     const char *what)
{
	const char *name = json_string_value(json_object_get(vdev, "name"));
	const char *type = json_string_value(json_object_get(vdev, "type"));

	if (!what)
		return 0;
	struct hd_claim *c = add_claim(p, kind, what, name ? name : "");
	if (!c || !pos_of(vdev, &c->pos))
		return -ENOMEM;
	c->sound = type && strcmp(type, "virtio-snd") == 0;
	return 0;
}

static int add_vdev(struct hd_plan *p, const json_t *vdev, const char *folder)
{
	const char *model = json_string_value(json_object_get(vdev, "model"));
	const char *backing = json_string_value(json_object_get(vdev, "backing"));

	if (!model)
		return 0;
	if (strcmp(model, "shared") == 0)
		return add_regions(p, vdev);
	if (!backing)
		return 0;
	if (strcmp(model, "exclusive") == 0)
		return add_device(p, vdev, backing, folder);
	if (strcmp(model, "mediated") == 0)
		return add_other(p, vdev, HD_CLAIM_SHARE, backing);
	if (strcmp(model, "referred") == 0)
		return add_other(p, vdev, HD_CLAIM_REFERRED, backing);
	if (strcmp(model, "peer") == 0)
		return add_other(p, vdev, HD_CLAIM_PEER, peer_of(backing));
	return 0;
}

static int add_cpu(struct hd_plan *p, const json_t *cpu)
{
	struct hd_plan_cpu *c = &p->cpus[p->n_cpus++];
	json_int_t period = json_integer_value(json_object_get(cpu, "period_ns"));
	json_int_t budget = json_integer_value(json_object_get(cpu, "budget_ns"));
	const json_t *n;
	size_t i;

	if (period > 0 && budget > 0 && budget <= period)
		c->reserved = (uint32_t)((double)budget / (double)period * HD_CPU_WHOLE);
	json_array_foreach(json_object_get(cpu, "runmask"), i, n) {
		json_int_t v = json_integer_value(n);

		if (v >= 0 && v < (json_int_t)HD_PLAN_CPUS)
			c->mask[v / 64] |= 1ull << (v % 64);
	}
	return pos_of(cpu, &c->pos) ? 0 : -ENOMEM;
}

static int add_memory(struct hd_plan *p, const json_t *mem)
{
	json_int_t bytes = json_integer_value(json_object_get(mem, "bytes"));

	if (bytes > 0 && __builtin_add_overflow(p->mem_bytes, (uint64_t)bytes, &p->mem_bytes))
		p->mem_bytes = UINT64_MAX;
	return p->mem_pos.file || pos_of(mem, &p->mem_pos) ? 0 : -ENOMEM;
}

static int fill_vm(struct hd_plan *p, const json_t *root, const char *folder)
{
	const char *system = json_string_value(json_object_get(root, "system"));
	const json_t *cpus = json_object_get(root, "cpus"), *j;
	size_t i;
	int r = 0;

	if (!system)
		return -EINVAL;
	p->system = strdup(system);
	p->cpus = calloc(json_array_size(cpus) + 1, sizeof(p->cpus[0]));
	if (!p->system || !p->cpus)
		return -ENOMEM;
	json_array_foreach(json_object_get(root, "memory"), i, j)
		r = r < 0 ? r : add_memory(p, j);
	json_array_foreach(cpus, i, j)
		r = r < 0 ? r : add_cpu(p, j);
	json_array_foreach(json_object_get(root, "vdevs"), i, j)
		r = r < 0 ? r : add_vdev(p, j, folder);
	return r;
}

int hd_plan_of_vm(const char *text, const char *folder, struct hd_plan **ret)
{
	json_t *root = json_loads(text, 0, NULL);
	struct hd_plan *p = root ? calloc(1, sizeof(*p)) : NULL;
	int r = !root ? -EINVAL : !p ? -ENOMEM : fill_vm(p, root, folder);

	json_decref(root);
	if (r < 0)
		hd_plan_free(p);
	else
		*ret = p;
	return r;
}

/* ---- the mediator's ---- */

struct reader {
	struct hd_plan *plan;
	const char *folder;
	int err;
	char section[256];
};

static int add_mediated(struct reader *r, const char *section)
{
	size_t kind = strcspn(section, " ");
	bool share = strncmp(section, "share", kind) == 0;

	if (!share && strncmp(section, "voice", kind) != 0)
		return 0;
	struct hd_claim *c = add_claim(r->plan, HD_CLAIM_SHARE,
				       section + kind + strspn(section + kind, " "), "");
	if (!c)
		return -ENOMEM;
	c->sound = !share;
	return 0;
}

static int add_medium(struct reader *r, const char *key, const char *value)
{
	const char *name = strchr(r->section, ' ');
	bool alsa = strcmp(key, "alsa") == 0;
	char what[PATH_MAX];

	if (strcmp(key, "path") != 0 && !alsa)
		return 0;
	snprintf(what, sizeof(what), "%s%s", alsa ? "alsa:" : "", value);
	struct hd_claim *c = add_claim(r->plan, HD_CLAIM_DEVICE, what, name ? name + 1 : "");
	if (!c)
		return -ENOMEM;
	c->sound = alsa;
	if (!alsa)
		look_up(c, r->folder, true);
	return 0;
}

static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
	struct reader *r = ctx;

	if (section && strcmp(section, r->section) != 0) {
		snprintf(r->section, sizeof(r->section), "%s", section);
		r->err = add_mediated(r, section);
	}
	if (r->err == 0 && key)
		r->err = add_medium(r, key, value ? value : "");
	return r->err == 0;
}

int hd_plan_of_mediator(const char *text, const char *folder, struct hd_plan **ret)
{
	struct reader r = { .plan = calloc(1, sizeof(*r.plan)), .folder = folder };

	if (!r.plan)
		return -ENOMEM;
	/* A line that is too long for it is one that we do not know: the others count. */
	if (ini_parse_string(text, on_key, &r) < 0)
		r.err = -ENOMEM;
	if (r.err < 0)
		hd_plan_free(r.plan);
	else
		*ret = r.plan;
	return r.err;
}
