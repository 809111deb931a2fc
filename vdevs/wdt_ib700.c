/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wdt-ib700: the watchdog of an IB700 single-board computer, two ports that are only written.
 * Whatever is written to the first (0x441) stops it. The low four bits of what is written to the
 * third (0x443) start it anew: code 0 bites after 30 s, each further code 2 s earlier, so that code
 * 15 bites at once. Linux' ib700wdt works with it.
 *
 * One timer; it is armed while the watchdog runs, and never after a bite: the machine ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/types.h"

#define PORT 0x441u

enum { REG_STOP = 0, REG_START = 2, N_REGS = 3 };
enum { CODE_MASK = 0xf, CODE_S = 2 };

struct ib700 {
	struct vdev v;
	struct vd_timer *timer;
	enum vd_power bite;
	uint64_t at_ns;	/* 0: stopped */
	uint64_t n_starts;
};

static void bite(struct vdev *v, void *arg)
{
	struct ib700 *w = Q_CONTAINER_OF(v, struct ib700, v);

	w->at_ns = 0;
	v->host->ops->log(v->host, QLOG_ERROR, "ev=watchdog_bite starts=%" PRIu64, w->n_starts);
	v->host->ops->power(v->host, w->bite);
}

static void reg_write(struct ib700 *w, unsigned reg, uint8_t val)
{
	struct vd_host *h = w->v.host;

	if (reg == REG_STOP) {
		w->at_ns = 0;
	} else if (reg == REG_START) {
		unsigned seconds = CODE_S * (CODE_MASK - (val & CODE_MASK));
		w->at_ns = h->ops->now(h) + seconds * Q_NSEC_PER_SEC;
		w->n_starts++;
	} else {
		return;
	}
	h->ops->timer_arm(h, w->timer, w->at_ns);
}

static uint64_t ib700_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static void ib700_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct ib700 *w = Q_CONTAINER_OF(v, struct ib700, v);

	for (unsigned i = 0; i < size; i++)
		reg_write(w, (unsigned)off + i, (uint8_t)(val >> (8 * i)));
}

static void ib700_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct ib700 *w = Q_CONTAINER_OF(v, struct ib700, v);
	uint64_t now = v->host->ops->now(v->host);

	if (!w->at_ns)
		snprintf(buf, buf_bytes, "running=0 starts=%" PRIu64, w->n_starts);
	else
		snprintf(buf, buf_bytes, "running=1 starts=%" PRIu64 " left_ms=%" PRIu64,
			 w->n_starts,
			 (uint64_t)(w->at_ns > now ? (w->at_ns - now) / Q_NSEC_PER_MSEC : 0));
}

static void ib700_quiesce(struct vdev *v)
{
	struct ib700 *w = Q_CONTAINER_OF(v, struct ib700, v);

	w->at_ns = 0;
	v->host->ops->timer_arm(v->host, w->timer, 0);
}

static void ib700_free(struct vdev *v)
{
	struct ib700 *w = Q_CONTAINER_OF(v, struct ib700, v);

	if (w->timer)
		v->host->ops->timer_free(v->host, w->timer);
	free(w);
}

static const struct vdev_ops ib700_ops = {
	.read = ib700_read,
	.write = ib700_write,
	.status = ib700_status,
	.quiesce = ib700_quiesce,
	.free = ib700_free,
};

/* "terminate" or "dump,terminate". */
static bool action(const struct vd_config *cfg, enum vd_power *ret)
{
	const struct vd_arg *a = vd_arg_find(cfg, "action");

	*ret = VD_POWER_WATCHDOG;
	if (!a || !strcmp(a->text, "terminate"))
		return true;
	*ret = VD_POWER_WATCHDOG_DUMP;
	return !strcmp(a->text, "dump,terminate");
}

static void ib700_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "action");
	enum vd_power power;

	if (!action(cfg, &power))
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "action: expected terminate (the default) or dump,terminate");
}

static int ib700_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			struct vdev **ret)
{
	struct ib700 *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->v = (struct vdev){ .ops = &ib700_ops, .type = &vd_wdt_ib700_type, .cfg = cfg,
			      .host = host };
	action(cfg, &w->bite);
	w->timer = host->ops->timer_new(host, bite, NULL);
	if (!w->timer) {
		ib700_free(&w->v);
		return -ENOMEM;
	}
	*ret = &w->v;
	return 0;
}

static const struct vd_option ib700_options[] = {
	{ .name = "action", .kind = VD_ARG_STRING },
	{ NULL },
};

const struct vd_type vd_wdt_ib700_type = {
	.name = "wdt-ib700",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = PORT,
	.len_bytes = N_REGS,
	.max_irqs = 0,
	.archs = "x86",
	.options = ib700_options,
	.check = ib700_check,
	.create = ib700_create,
};
