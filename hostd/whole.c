/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the whole system, a function each. Main thread, no state. Invariant: a VM whose plan
 * is not known gets no error here, and gives none to another.
 */
#include "hostd/whole.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/order.h"

#define NAMES_MAX 1024u

struct whole {
	struct hd_whole_vm *v;
	size_t n;
	const struct hd_plan *mediator;
	const struct hd_board *board;
};

static void Q_PRINTF(4, 5) say(struct hd_whole_vm *v, enum cf_level level,
			       const struct hd_pos *pos, const char *fmt, ...)
{
	char text[512], file[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(file, sizeof(file), "%.100s.qvmconf", v->name);
	bool known = pos && pos->file;
	cf_error_add(&v->errs, level, known ? pos->file : file, known ? pos->line : 0,
		     known ? pos->col : 0, "%s", text);
}

/* Whether @a is refused for what @b has as well. */
static bool loses(const struct hd_whole_vm *a, const struct hd_whole_vm *b)
{
	unsigned rank_a = hd_order_rank(a->class), rank_b = hd_order_rank(b->class);

	if (a->runs || b->runs)
		return !a->runs;
	return rank_a <= rank_b;
}

static struct hd_whole_vm *of_system(const struct whole *w, const char *system, size_t len)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct hd_plan *p = w->v[i].plan;

		if (p && strlen(p->system) == len && memcmp(p->system, system, len) == 0)
			return &w->v[i];
	}
	return NULL;
}

/* True when some VM's plan is not known: what is not found may be that one's. */
static bool has_unknown(const struct whole *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (!w->v[i].plan)
			return true;
	return false;
}

/* ---- one thing, claimed twice ---- */

static bool same_thing(const struct hd_claim *a, const struct hd_claim *b)
{
	if (a->sound || b->sound)
		return a->sound && b->sound && strcmp(a->what, b->what) == 0;
	if (!a->exists || !b->exists || (a->read_only && b->read_only))
		return false;
	if (a->ino || b->ino)
		return a->ino == b->ino && a->dev == b->dev;
	if (!a->is_block || !b->is_block)
		return a->is_block == b->is_block && a->dev == b->dev;
	/* A partition and its disk are one. */
	return a->dev == b->dev ||
	       (a->disk == b->disk && (a->dev == a->disk || b->dev == b->disk));
}

static void check_devices_of(struct hd_whole_vm *a, const struct hd_plan *other,
			     const char *owner)
{
	for (size_t i = 0; i < a->plan->n_claims; i++) {
		const struct hd_claim *c = &a->plan->claims[i];

		for (size_t k = 0; c->kind == HD_CLAIM_DEVICE && k < other->n_claims; k++) {
			const struct hd_claim *d = &other->claims[k];

			if (d->kind != HD_CLAIM_DEVICE || !same_thing(c, d))
				continue;
			say(a, CF_ERROR, &c->pos, "%s of '%s' is claimed twice: %s has it as '%s'"
			    "%s%s", c->what, c->name, owner, d->name,
			    strcmp(c->what, d->what) ? ", under the name " : "",
			    strcmp(c->what, d->what) ? d->what : "");
			break;
		}
	}
}

static void check_twice(const struct whole *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct hd_whole_vm *a = &w->v[i];

		if (!a->plan)
			continue;
		if (w->mediator)
			check_devices_of(a, w->mediator, "the mediator");
		for (size_t k = 0; k < w->n; k++) {
			const struct hd_whole_vm *b = &w->v[k];
			char owner[128];

			if (k == i || !b->plan || !loses(a, b))
				continue;
			snprintf(owner, sizeof(owner), "VM %s", b->name);
			check_devices_of(a, b->plan, owner);
			if (strcmp(a->plan->system, b->plan->system) == 0)
				say(a, CF_ERROR, NULL, "system %s is that of VM %s as well: its "
				    "shares and sockets have that name", a->plan->system, b->name);
		}
	}
}

/* ---- shares ---- */

static void no_such_share(const struct whole *w, struct hd_whole_vm *v, const struct hd_claim *c,
			  const char *full)
{
	const char *names[NAMES_MAX];
	const char *kind = c->sound ? "voice" : "share";
	size_t n = 0;

	for (size_t i = 0; i < w->mediator->n_claims && n < NAMES_MAX; i++)
		if (w->mediator->claims[i].kind == HD_CLAIM_SHARE &&
		    w->mediator->claims[i].sound == c->sound)
			names[n++] = w->mediator->claims[i].what;
	const char *near = cf_nearest(full, names, n);
	say(v, CF_ERROR, &c->pos, "'%s' is a share without policy: no file of mediator.d has a "
	    "[%s %s]%s%s%s", c->name, kind, full, near ? "; did you mean '" : "", near ? near : "",
	    near ? "'?" : "");
}

static void check_shares(const struct whole *w, struct hd_whole_vm *v)
{
	for (size_t i = 0; w->mediator && i < v->plan->n_claims; i++) {
		const struct hd_claim *c = &v->plan->claims[i];
		bool found = false;
		char full[512];

		if (c->kind != HD_CLAIM_SHARE)
			continue;
		snprintf(full, sizeof(full), "%s/%s", v->plan->system, c->what);
		for (size_t k = 0; k < w->mediator->n_claims && !found; k++) {
			const struct hd_claim *d = &w->mediator->claims[k];

			found = d->kind == HD_CLAIM_SHARE && d->sound == c->sound &&
				strcmp(d->what, full) == 0;
		}
		if (!found)
			no_such_share(w, v, c, full);
	}
}

/* ---- what one VM has from another ---- */

static const struct hd_claim *claim_named(const struct hd_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_claims; i++)
		if (p->claims[i].kind == HD_CLAIM_PEER && strcmp(p->claims[i].name, name) == 0)
			return &p->claims[i];
	return NULL;
}

static bool is_lower(const struct hd_whole_vm *a, const struct hd_whole_vm *than)
{
	return hd_order_rank(a->class) < hd_order_rank(than->class);
}

static void check_peer(const struct whole *w, struct hd_whole_vm *v, const struct hd_claim *c)
{
	size_t len = strcspn(c->what, "/");
	const struct hd_whole_vm *other = of_system(w, c->what, len);
	const char *end = c->what[len] ? c->what + len + 1 : "";
	char own[512];

	if (!other && !has_unknown(w))
		say(v, CF_WARNING, &c->pos, "peer %s of '%s': no VM of this host is that: there "
		    "is no link until one is", c->what, c->name);
	if (!other)
		return;
	const struct hd_claim *back = claim_named(other->plan, end);
	snprintf(own, sizeof(own), "%s/%s", v->plan->system, c->name);
	if (!back)
		say(v, CF_ERROR, &c->pos, "peer %s of '%s': VM %s has no network interface of that "
		    "name with a peer", c->what, c->name, other->name);
	else if (strcmp(back->what, own) != 0)
		say(v, CF_ERROR, &c->pos, "peer %s of '%s' does not name this one: its own peer is "
		    "%s; each of the two must name the other", c->what, c->name, back->what);
	else if (v->class == PARLEY__CLASS__CLASS_SAFETY && is_lower(other, v))
		say(v, CF_WARNING, &c->pos, "peer %s of '%s' is of a lower class: this VM must do "
		    "its work without it", c->what, c->name);
}

static void check_referred(const struct whole *w, struct hd_whole_vm *v, const struct hd_claim *c)
{
	size_t len = strcspn(c->what, "/");
	const struct hd_whole_vm *owner = of_system(w, c->what, len);

	if (!owner && !has_unknown(w))
		say(v, CF_ERROR, &c->pos, "refer:%s of '%s': there is no such VM", c->what,
		    c->name);
	else if (owner && is_lower(owner, v))
		say(v, CF_ERROR, &c->pos, "refer:%s of '%s': that VM is of a lower class, and "
		    "nothing may depend on one", c->what, c->name);
}

static bool makes(const struct hd_whole_vm *v, const char *pattern)
{
	for (size_t i = 0; v->plan && i < v->plan->n_claims; i++)
		if (v->plan->claims[i].kind == HD_CLAIM_REGION &&
		    fnmatch(pattern, v->plan->claims[i].what, 0) == 0)
			return true;
	return false;
}

/* A region that only VMs of lower classes make is there as long as they are. */
static void check_region(const struct whole *w, struct hd_whole_vm *v, const struct hd_claim *c)
{
	const struct hd_whole_vm *maker = NULL;

	for (size_t i = 0; i < w->n; i++) {
		if (!makes(&w->v[i], c->what))
			continue;
		if (!is_lower(&w->v[i], v))
			return;
		maker = &w->v[i];
	}
	if (maker)
		say(v, CF_WARNING, &c->pos, "allow %s of '%s': only VM %s makes such a region, and "
		    "it is of a lower class: create it here", c->what, c->name, maker->name);
}

static void check_others(const struct whole *w, struct hd_whole_vm *v)
{
	for (size_t i = 0; i < v->plan->n_claims; i++) {
		const struct hd_claim *c = &v->plan->claims[i];

		if (c->kind == HD_CLAIM_PEER)
			check_peer(w, v, c);
		else if (c->kind == HD_CLAIM_REFERRED)
			check_referred(w, v, c);
		else if (c->kind == HD_CLAIM_ALLOWED && v->class == PARLEY__CLASS__CLASS_SAFETY)
			check_region(w, v, c);
	}
}

/* ---- the board ---- */

struct resource {
	uint64_t (*of)(const struct hd_plan *p);
	uint64_t there;
	void (*tell)(struct hd_whole_vm *v, enum cf_level level, uint64_t own, uint64_t others,
		     uint64_t there);
};

static uint64_t memory_of(const struct hd_plan *p)
{
	return p->mem_bytes;
}

static void tell_memory(struct hd_whole_vm *v, enum cf_level level, uint64_t own, uint64_t others,
			uint64_t there)
{
	say(v, level, &v->plan->mem_pos, "%" PRIu64 " MiB of memory are more than the board has: "
	    "others %s %" PRIu64 " MiB of its %" PRIu64 " MiB", own >> 20,
	    level == CF_ERROR ? "have" : "would have", others >> 20, there >> 20);
}

static uint64_t cpu_of(const struct hd_plan *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->n_cpus; i++)
		sum += p->cpus[i].reserved;
	return sum;
}

static void tell_cpu(struct hd_whole_vm *v, enum cf_level level, uint64_t own, uint64_t others,
		     uint64_t there)
{
	say(v, level, v->plan->n_cpus ? &v->plan->cpus[0].pos : NULL, "%.2f CPUs are reserved for "
	    "it, more than the board has: others %s %.2f of the %.2f that may be reserved",
	    (double)own / HD_CPU_WHOLE, level == CF_ERROR ? "have" : "would have",
	    (double)others / HD_CPU_WHOLE, (double)there / HD_CPU_WHOLE);
}

static bool fits(uint64_t own, uint64_t others, uint64_t there)
{
	return others <= there && own <= there - others;
}

/* Of those that start, the most important first; of equals in order of the list. */
static void check_comers(const struct whole *w, const struct resource *r, uint64_t *taken)
{
	for (unsigned rank = HD_ORDER_RANKS; rank-- > 0;) {
		for (size_t i = 0; i < w->n; i++) {
			struct hd_whole_vm *v = &w->v[i];

			if (!v->plan || v->runs || !v->comes || hd_order_rank(v->class) != rank)
				continue;
			if (fits(r->of(v->plan), *taken, r->there))
				*taken += r->of(v->plan);
			else
				r->tell(v, CF_ERROR, r->of(v->plan), *taken, r->there);
		}
	}
}

static void check_resource(const struct whole *w, const struct resource *r)
{
	uint64_t running = 0, taken;

	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].runs && w->v[i].plan &&
		    __builtin_add_overflow(running, r->of(w->v[i].plan), &running))
			running = UINT64_MAX;
	taken = running;
	check_comers(w, r, &taken);
	for (size_t i = 0; i < w->n; i++) {
		struct hd_whole_vm *v = &w->v[i];

		if (!v->plan || v->runs || v->comes || !r->of(v->plan))
			continue;
		if (!fits(r->of(v->plan), running, r->there))
			r->tell(v, CF_ERROR, r->of(v->plan), running, r->there);
		else if (!fits(r->of(v->plan), taken, r->there))
			r->tell(v, CF_WARNING, r->of(v->plan), taken, r->there);
	}
}

static void check_masks(const struct whole *w, struct hd_whole_vm *v)
{
	for (size_t i = 0; i < v->plan->n_cpus; i++) {
		const struct hd_plan_cpu *c = &v->plan->cpus[i];
		uint64_t any = 0, here = 0;

		for (size_t k = 0; k < Q_ARRAY_LEN(c->mask); k++) {
			any |= c->mask[k];
			here |= c->mask[k] & w->board->cpus[k];
		}
		if (any && !here)
			say(v, CF_ERROR, &c->pos, "cpu %zu may run on CPUs only that the board "
			    "does not have", i);
	}
}

void hd_whole_check(struct hd_whole_vm *v, size_t n, const struct hd_plan *mediator,
		    const struct hd_board *board)
{
	const struct whole w = { v, n, mediator, board };
	const struct resource resources[] = {
		{ memory_of, board->mem_bytes, tell_memory },
		{ cpu_of, board->cpu_ppm, tell_cpu },
	};

	check_twice(&w);
	for (size_t i = 0; i < n; i++) {
		if (!v[i].plan)
			continue;
		check_shares(&w, &v[i]);
		check_others(&w, &v[i]);
		check_masks(&w, &v[i]);
	}
	for (size_t i = 0; i < Q_ARRAY_LEN(resources); i++)
		check_resource(&w, &resources[i]);
}

/* The number that stands first in @path; @otherwise when it cannot be read. */
static long long number_in(const char *path, long long otherwise)
{
	char text[64];
	FILE *f = fopen(path, "re");
	char *got = f ? fgets(text, sizeof(text), f) : NULL;

	if (f)
		(void)fclose(f);
	return got ? strtoll(text, NULL, 10) : otherwise;
}

/* "0-3,6" of the kernel; how many. */
static unsigned online_cpus(uint64_t ret[HD_PLAN_CPUS / 64])
{
	char text[1024];
	unsigned n = 0;
	FILE *f = fopen("/sys/devices/system/cpu/online", "re");
	char *at = f ? fgets(text, sizeof(text), f) : NULL;

	if (f)
		(void)fclose(f);
	while (at && *at >= '0' && *at <= '9') {
		unsigned long first = strtoul(at, &at, 10);
		unsigned long last = *at == '-' ? strtoul(at + 1, &at, 10) : first;

		for (unsigned long i = first; i <= last && i < HD_PLAN_CPUS; i++, n++)
			ret[i / 64] |= 1ull << i % 64;
		at += *at == ',';
	}
	return n;
}

void hd_board_read(struct hd_board *ret)
{
	char line[128];
	unsigned long long kib = 0;

	*ret = (struct hd_board){ 0 };
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemTotal: %llu", &kib) != 1)
		;
	if (f)
		(void)fclose(f);
	ret->mem_bytes = kib ? kib << 10 : UINT64_MAX;
	unsigned n_cpus = online_cpus(ret->cpus);
	/* What the kernel leaves to others: sched_setattr() refuses what is above. */
	long long period = number_in("/proc/sys/kernel/sched_rt_period_us", 1000000);
	long long runtime = number_in("/proc/sys/kernel/sched_rt_runtime_us", 950000);
	double part = runtime < 0 || period <= 0 ? 1 : (double)runtime / (double)period;
	ret->cpu_ppm = (uint64_t)((double)n_cpus * HD_CPU_WHOLE * part);
}
