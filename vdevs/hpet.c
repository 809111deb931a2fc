/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpet: the high precision event timers of a PC (IA-PC HPET specification 1.0a): one counter of 64
 * bits and three comparators or as many as it has interrupts, each one-shot or periodic, level or
 * edge, in 32 or 64 bits. Messages (FSB delivery) are not offered: a guest that wants a timer a
 * processor has its local APIC's.
 *
 * Interrupts: `intr` lists the lines, any comparator may be routed to any of them. Where the list
 * begins with lines 0 and 8 legacy replacement is offered as well: while it is on, comparators 0
 * and 1 have these two, and the interval timer is cut off.
 *
 * The counter is time: it is computed when somebody looks. A comparator that can interrupt has a
 * timer of its host, armed for the moment at which the counter gets there. A period that passed
 * unnoticed is left out, not made up for, and no comparator interrupts more often than every
 * TIMER_MIN_NS. vCPU threads and the I/O thread, under the vdev's lock. Invariant: a line is up
 * when a level comparator on it has its status bit set.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/types.h"

#define BASE	      0xfed00000u
#define WINDOW_BYTES  0x400u
#define TIMERS_MIN    3u
#define TIMERS_MAX    8u
#define FREQUENCY_HZ  100000000u
#define FREQUENCY_MIN 10000000u	/* the specification's 100 ns */
#define FREQUENCY_MAX 1000000000u
#define FS_PER_SEC    1000000000000000ull
#define FS_PER_NS     1000000u
#define TIMER_MIN_NS  50000u
#define TIMER_MAX_NS  (3600 * Q_NSEC_PER_SEC)	/* then it looks again */
#define VENDOR	      0x1c05u
#define LEGACY_LINES  2u

enum { REG_ID = 0x00, REG_CONF = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0, REG_TIMERS = 0x100 };
enum { TIMER_CONF = 0x00, TIMER_CMP = 0x08, TIMER_BYTES = 0x20 };
enum { ID_REVISION = 1, ID_COUNT_64 = 1 << 13, ID_LEGACY = 1 << 15 };
enum { CONF_ENABLE = 1 << 0, CONF_LEGACY = 1 << 1 };
enum {
	TN_LEVEL = 1 << 1,
	TN_ENABLE = 1 << 2,
	TN_PERIODIC = 1 << 3,
	TN_PERIODIC_CAP = 1 << 4,
	TN_64_CAP = 1 << 5,
	TN_VAL_SET = 1 << 6,
	TN_32 = 1 << 8,
	TN_ROUTE = 0x1f << 9,
	TN_KEPT = TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_VAL_SET | TN_32 | TN_ROUTE
};

struct comparator {
	struct vd_timer *timer;
	uint32_t conf;
	uint64_t cmp, period;
	uint64_t due;		/* the counter's value at which it fires, in 64 bits */
	bool armed;
	uint64_t n_fired;
};

struct hpet {
	struct vdev v;
	uint32_t period_fs;
	bool can_legacy;
	uint32_t routes;	/* bit n: line n is one of intr */
	unsigned n;		/* comparators */
	uint64_t conf, status;
	uint64_t base;		/* the counter at base_ns, or for good while it stands */
	uint64_t base_ns;
	bool level[TIMERS_MAX];	/* of interrupt n of the vdev */
	struct comparator c[TIMERS_MAX];
};

/* ---- the counter ---- */

static uint64_t ns_to_ticks(const struct hpet *t, uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * FS_PER_NS / t->period_fs);
}

/* Rounded up, and no more than TIMER_MAX_NS. */
static uint64_t ticks_to_ns(const struct hpet *t, uint64_t ticks)
{
	unsigned __int128 fs = (unsigned __int128)ticks * t->period_fs + (FS_PER_NS - 1);

	return (uint64_t)Q_MIN(fs / FS_PER_NS, (unsigned __int128)TIMER_MAX_NS);
}

static uint64_t counter(const struct hpet *t)
{
	if (!(t->conf & CONF_ENABLE))
		return t->base;
	return t->base + ns_to_ticks(t, t->v.host->ops->now(t->v.host) - t->base_ns);
}

/* ---- interrupts ---- */

static bool is_32(const struct comparator *c)
{
	return c->conf & TN_32;
}

/* Which interrupt of the vdev comparator @i has; -1: none. */
static int route(const struct hpet *t, unsigned i)
{
	int line = (int)((t->c[i].conf & TN_ROUTE) >> 9);

	if (t->conf & CONF_LEGACY && i < LEGACY_LINES)
		return (int)i;
	for (unsigned n = 0; n < t->v.cfg->n_irqs; n++)
		if (t->v.host->ops->irq_number(t->v.host, n) == line)
			return (int)n;
	return -1;
}

static void levels_update(struct hpet *t)
{
	bool want[TIMERS_MAX] = { false };

	for (unsigned i = 0; i < t->n; i++) {
		int n = route(t, i);
		if (n >= 0 && t->c[i].conf & TN_LEVEL && t->c[i].conf & TN_ENABLE &&
		    t->status >> i & 1)
			want[n] = true;
	}
	for (unsigned n = 0; n < t->v.cfg->n_irqs; n++) {
		if (want[n] != t->level[n])
			t->v.host->ops->irq_set(t->v.host, n, want[n]);
		t->level[n] = want[n];
	}
}

static void fire(struct hpet *t, unsigned i)
{
	struct comparator *c = &t->c[i];
	const struct vd_host_ops *ops = t->v.host->ops;
	int n = route(t, i);

	c->n_fired++;
	if (c->conf & TN_LEVEL) {
		t->status |= 1u << i;
		levels_update(t);
	} else if (n >= 0 && !t->level[n]) {
		ops->irq_set(t->v.host, (unsigned)n, true);
		ops->irq_set(t->v.host, (unsigned)n, false);
	}
}

/* ---- comparators ---- */

static bool can_fire(const struct hpet *t, const struct comparator *c)
{
	return t->conf & CONF_ENABLE && c->conf & TN_ENABLE;
}

static void arm(struct hpet *t, struct comparator *c, uint64_t now, uint64_t min_ns)
{
	const struct vd_host_ops *ops = t->v.host->ops;
	uint64_t wait_ns = (int64_t)(c->due - now) > 0 ? ticks_to_ns(t, c->due - now) : 0;

	c->armed = true;
	/* 0 would be off. */
	ops->timer_arm(t->v.host, c->timer,
		       ops->now(t->v.host) + Q_MAX(wait_ns, Q_MAX(min_ns, 1)));
}

static void disarm(struct hpet *t, struct comparator *c)
{
	if (c->armed)
		t->v.host->ops->timer_arm(t->v.host, c->timer, 0);
	c->armed = false;
}

/* Looks for the next time at which the counter is the comparator, from @now on. */
static void rearm(struct hpet *t, struct comparator *c)
{
	uint64_t now = counter(t), delta = c->cmp - now;

	if (!can_fire(t, c)) {
		disarm(t, c);
		return;
	}
	if (is_32(c))
		delta = (uint32_t)delta;
	/* A counter that is beyond it needs centuries: a 64-bit one is never armed for that. */
	if (!is_32(c) && delta > INT64_MAX) {
		disarm(t, c);
		return;
	}
	c->due = now + delta;
	arm(t, c, now, 0);
}

/* A periodic one goes on to the first of its times that is still to come. */
static void next_period(struct hpet *t, struct comparator *c, uint64_t now)
{
	uint64_t n = (now - c->due) / c->period + 1;

	c->due += n * c->period;
	c->cmp += n * c->period;
	if (is_32(c))
		c->cmp = (uint32_t)c->cmp;
	arm(t, c, now, TIMER_MIN_NS);
}

static void on_timer(struct vdev *v, void *arg)
{
	struct hpet *t = Q_CONTAINER_OF(v, struct hpet, v);
	struct comparator *c = arg;
	uint64_t now = counter(t);

	c->armed = false;
	if (!can_fire(t, c))
		return;
	if ((int64_t)(now - c->due) < 0) {
		arm(t, c, now, 0);
		return;
	}
	if (c->conf & TN_PERIODIC && c->period)
		next_period(t, c, now);
	else if (is_32(c)) {	/* again when the low half comes round */
		c->due += (uint64_t)UINT32_MAX + 1;
		arm(t, c, now, 0);
	}
	fire(t, (unsigned)(c - t->c));
}

/* ---- registers, 64 bits each ---- */

static uint64_t timer_read(const struct hpet *t, uint64_t off)
{
	const struct comparator *c = &t->c[off / TIMER_BYTES];

	switch (off % TIMER_BYTES) {
	case TIMER_CONF:
		return (uint64_t)t->routes << 32 | TN_PERIODIC_CAP | TN_64_CAP | c->conf;
	case TIMER_CMP:
		return c->cmp;
	default:
		return 0;
	}
}

static uint64_t reg_read(const struct hpet *t, uint64_t off)
{
	switch (off) {
	case REG_ID:
		return (uint64_t)t->period_fs << 32 | (uint64_t)VENDOR << 16 |
		       (t->can_legacy ? ID_LEGACY : 0) | ID_COUNT_64 | (t->n - 1) << 8 |
		       ID_REVISION;
	case REG_CONF:
		return t->conf;
	case REG_STATUS:
		return t->status;
	case REG_COUNTER:
		return counter(t);
	default:
		return off >= REG_TIMERS && off < REG_TIMERS + t->n * TIMER_BYTES ?
			       timer_read(t, off - REG_TIMERS) : 0;
	}
}

static void conf_write(struct hpet *t, uint64_t val)
{
	uint64_t was = t->conf, now = counter(t);

	val &= CONF_ENABLE | (t->can_legacy ? CONF_LEGACY : 0);
	t->base = now;
	t->base_ns = t->v.host->ops->now(t->v.host);
	t->conf = val;
	if ((was ^ val) & CONF_LEGACY)
		t->v.host->ops->pit_wired(t->v.host, !(val & CONF_LEGACY));
	for (unsigned i = 0; (was ^ val) & CONF_ENABLE && i < t->n; i++)
		rearm(t, &t->c[i]);
	levels_update(t);
}

/* The bits of @mask of the old value become those of @val. */
static uint64_t merged(uint64_t old, uint64_t val, uint64_t mask)
{
	return (old & ~mask) | (val & mask);
}

static void timer_conf_write(struct hpet *t, unsigned i, uint64_t val, uint64_t mask)
{
	struct comparator *c = &t->c[i];
	uint32_t was = c->conf;

	c->conf = (uint32_t)merged(c->conf, val, mask & TN_KEPT);
	if (!(c->conf & TN_LEVEL))
		t->status &= ~(1ull << i);
	if (is_32(c)) {
		c->cmp = (uint32_t)c->cmp;
		c->period = (uint32_t)c->period;
	}
	if ((was ^ c->conf) & (TN_ENABLE | TN_32))
		rearm(t, c);
	levels_update(t);
}

static void timer_cmp_write(struct hpet *t, struct comparator *c, uint64_t val, uint64_t mask)
{
	/* In periodic mode a write is the period; with VAL_SET it is the first time, too. */
	if (!(c->conf & TN_PERIODIC) || c->conf & TN_VAL_SET)
		c->cmp = merged(c->cmp, val, mask);
	if (c->conf & TN_PERIODIC)
		c->period = merged(c->period, val, mask);
	if (is_32(c)) {
		c->cmp = (uint32_t)c->cmp;
		c->period = (uint32_t)c->period;
	}
	c->conf &= ~(uint32_t)TN_VAL_SET;
	rearm(t, c);
}

static void timer_write(struct hpet *t, uint64_t off, uint64_t val, uint64_t mask)
{
	unsigned i = (unsigned)(off / TIMER_BYTES);

	if (off % TIMER_BYTES == TIMER_CONF)
		timer_conf_write(t, i, val, mask);
	else if (off % TIMER_BYTES == TIMER_CMP)
		timer_cmp_write(t, &t->c[i], val, mask);
}

static void reg_write(struct hpet *t, uint64_t off, uint64_t val, uint64_t mask)
{
	switch (off) {
	case REG_CONF:
		conf_write(t, merged(t->conf, val, mask));
		break;
	case REG_STATUS:
		t->status &= ~(val & mask);
		levels_update(t);
		break;
	case REG_COUNTER:
		if (t->conf & CONF_ENABLE)	/* undefined while it runs: it is left alone */
			vdev_fault(&t->v, VD_FAULT_BAD_STATE);
		else
			t->base = merged(t->base, val, mask);
		break;
	default:
		if (off >= REG_TIMERS && off < REG_TIMERS + t->n * TIMER_BYTES)
			timer_write(t, off - REG_TIMERS, val, mask);
		break;
	}
}

/* ---- the vdev ---- */

/* Dwords and aligned quadwords are what the specification allows; other reads cost nothing. */
static uint64_t hpet_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	const struct hpet *t = Q_CONTAINER_OF(v, struct hpet, v);
	unsigned in = (unsigned)off % 8;
	uint64_t val = reg_read(t, off - in) >> (8 * in);

	if (in + size > 8)
		val |= reg_read(t, off - in + 8) << (8 * (8 - in));
	return val;
}

static void hpet_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct hpet *t = Q_CONTAINER_OF(v, struct hpet, v);
	unsigned in = (unsigned)off % 8;

	if (size < 4 || off % size)
		vdev_fault(v, VD_FAULT_BAD_REQUEST);
	else if (size == 8)
		reg_write(t, off, val, UINT64_MAX);
	else
		reg_write(t, off - in, val << (8 * in), (uint64_t)UINT32_MAX << (8 * in));
}

static void hpet_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct hpet *t = Q_CONTAINER_OF(v, struct hpet, v);
	uint64_t n_fired = 0;

	for (unsigned i = 0; i < t->n; i++)
		n_fired += t->c[i].n_fired;
	snprintf(buf, buf_bytes,
		 "enabled=%d legacy=%d counter=%#" PRIx64 " status=%#" PRIx64 " fired=%" PRIu64,
		 !!(t->conf & CONF_ENABLE), !!(t->conf & CONF_LEGACY), counter(t), t->status,
		 n_fired);
}

static void hpet_free(struct vdev *v)
{
	struct hpet *t = Q_CONTAINER_OF(v, struct hpet, v);

	for (unsigned i = 0; i < t->n; i++)
		if (t->c[i].timer)
			v->host->ops->timer_free(v->host, t->c[i].timer);
	free(t);
}

static const struct vdev_ops hpet_ops = {
	.read = hpet_read,
	.write = hpet_write,
	.status = hpet_status,
	.free = hpet_free,
};

static void hpet_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *f = vd_arg_find(cfg, "frequency");

	if (f && (f->num < FREQUENCY_MIN || f->num > FREQUENCY_MAX))
		cf_error_add(errs, CF_ERROR, f->file, f->line, f->col,
			     "frequency %" PRIu64 ": a HPET counts with %u to %u Hz (default %u)",
			     f->num, FREQUENCY_MIN, FREQUENCY_MAX, FREQUENCY_HZ);
	if (cfg->space != VD_MEM || cfg->base % WINDOW_BYTES)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev hpet: loc must be memory at a multiple of 0x%x", WINDOW_BYTES);
}

static void routes_init(struct hpet *t)
{
	struct vd_host *h = t->v.host;

	for (unsigned n = 0; n < t->v.cfg->n_irqs; n++) {
		int line = h->ops->irq_number(h, n);
		if (line >= 0 && line < 32)
			t->routes |= 1u << line;
	}
	t->can_legacy = t->v.cfg->n_irqs >= LEGACY_LINES && h->ops->irq_number(h, 0) == 0 &&
			h->ops->irq_number(h, 1) == 8;
}

static int hpet_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		       struct vdev **ret)
{
	const struct vd_arg *f = vd_arg_find(cfg, "frequency");
	struct hpet *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->v = (struct vdev){ .ops = &hpet_ops, .type = &vd_hpet_type, .cfg = cfg, .host = host };
	t->period_fs = (uint32_t)(FS_PER_SEC / (f ? f->num : FREQUENCY_HZ));
	t->n = Q_MIN(Q_MAX(cfg->n_irqs, TIMERS_MIN), TIMERS_MAX);
	routes_init(t);
	for (unsigned i = 0; i < t->n; i++) {
		t->c[i].cmp = UINT64_MAX;
		t->c[i].timer = host->ops->timer_new(host, on_timer, &t->c[i]);
		if (!t->c[i].timer) {
			hpet_free(&t->v);
			return -ENOMEM;
		}
	}
	*ret = &t->v;
	return 0;
}

static const struct vd_option hpet_options[] = {
	{ .name = "frequency", .kind = VD_ARG_NUMBER },
	{ NULL },
};

const struct vd_type vd_hpet_type = {
	.name = "hpet",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_MEM,
	.default_base = BASE,
	.len_bytes = WINDOW_BYTES,
	.max_irqs = TIMERS_MAX,
	.archs = "x86",
	.options = hpet_options,
	.check = hpet_check,
	.create = hpet_create,
};
