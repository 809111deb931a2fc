/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wdt-sp805: an ARM PrimeCell watchdog (ARM DDI 0270). It counts down twice: when the first period
 * is over the interrupt is raised, when the second one is over as well, and the guest has still
 * not cleared the interrupt, it bites. What a bite does is the operator's choice (`action`).
 *
 * The counter is a point in time: periods follow one another from start_ns on, and what the guest
 * reads is computed from the clock. Expiries that are due are taken in before any register is
 * looked at, so that a late timer changes nothing that a guest can see. The timer is armed for an
 * expiry that has an effect only: with the interrupt up and nothing to bite, a guest that asked
 * for the shortest period costs nobody anything. vCPU threads (registers) and the I/O thread (the
 * timer), under the vdev's lock. Invariant: the line is (ris && INTEN) after each callback.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/types.h"

#define SP805_HZ     25000000u
#define SP805_HZ_MAX 1000000000u
#define SP805_UNLOCK 0x1acce551u

enum {
	REG_LOAD = 0x000, REG_VALUE = 0x004, REG_CONTROL = 0x008, REG_INTCLR = 0x00c,
	REG_RIS = 0x010, REG_MIS = 0x014, REG_LOCK = 0xc00, REG_ID = 0xfe0,
};
enum { CONTROL_INTEN = 1 << 0, CONTROL_RESEN = 1 << 1, CONTROL_BITS = 3 };

/* Peripheral and cell identification, 0xfe0 to 0xffc. */
static const uint8_t sp805_id[] = { 0x05, 0x18, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

enum sp805_action { ACTION_TERMINATE, ACTION_FIQ };

struct sp805 {
	struct vdev v;
	struct vd_timer *timer;
	enum sp805_action action;
	bool dump;		/* before the action */
	uint32_t hz;
	uint32_t load, control;
	uint32_t stopped_at;	/* VALUE while the counter stands */
	uint64_t start_ns;	/* when the present period began */
	bool ris, line, locked;
	bool bitten;		/* until the interrupt is cleared: one bite is enough */
	uint64_t n_bites;
};

static bool is_running(const struct sp805 *p)
{
	return p->control & CONTROL_INTEN;
}

static uint64_t now_ns(const struct sp805 *p)
{
	return p->v.host->ops->now(p->v.host);
}

/* One period. A load of 0 expires at once: as soon as time passes. */
static uint64_t period_ns(const struct sp805 *p)
{
	uint64_t ticks = p->load ? p->load : 1;

	return Q_MAX((ticks * Q_NSEC_PER_SEC + p->hz - 1) / p->hz, UINT64_C(1));
}

static void line_update(struct sp805 *p)
{
	bool line = p->ris && is_running(p);

	if (line == p->line || !p->v.cfg->n_irqs)
		return;
	p->line = line;
	p->v.host->ops->irq_set(p->v.host, 0, line);
}

static void bite(struct sp805 *p)
{
	const struct vd_host_ops *ops = p->v.host->ops;

	p->bitten = true;
	p->n_bites++;
	ops->log(p->v.host, QLOG_WARN, "ev=watchdog_bite n=%" PRIu64 " action=%s%s", p->n_bites,
		 p->dump ? "dump," : "", p->action == ACTION_FIQ ? "fiq" : "terminate");
	if (p->action == ACTION_TERMINATE) {
		ops->power(p->v.host, p->dump ? VD_POWER_WATCHDOG_DUMP : VD_POWER_WATCHDOG);
		return;
	}
	if (p->dump)
		ops->power(p->v.host, VD_POWER_DUMP);
	/* The line is up since the first period: down and up again is an edge. */
	if (p->line) {
		ops->irq_set(p->v.host, 0, false);
		ops->irq_set(p->v.host, 0, true);
	}
}

static bool will_bite(const struct sp805 *p)
{
	return p->control & CONTROL_RESEN && !p->bitten;
}

/* Takes in what expired up to now. */
static void catch_up(struct sp805 *p)
{
	if (!is_running(p))
		return;
	uint64_t period = period_ns(p), n = (now_ns(p) - p->start_ns) / period;

	if (!n)
		return;
	p->start_ns += n * period;
	if (!p->ris) {
		p->ris = true;
		n--;
		line_update(p);
	}
	if (n && will_bite(p))
		bite(p);
}

static void arm(struct sp805 *p)
{
	bool matters = is_running(p) && (!p->ris || will_bite(p));

	p->v.host->ops->timer_arm(p->v.host, p->timer,
				  matters ? p->start_ns + period_ns(p) : 0);
}

static void restart(struct sp805 *p)
{
	p->start_ns = now_ns(p);
	p->stopped_at = p->load;
}

static uint32_t value(const struct sp805 *p)
{
	if (!is_running(p))
		return p->stopped_at;
	unsigned __int128 ns = now_ns(p) - p->start_ns;
	uint64_t ticks = (uint64_t)(ns * p->hz / Q_NSEC_PER_SEC);

	return ticks < p->load ? p->load - (uint32_t)ticks : 0;
}

static void control_write(struct sp805 *p, uint32_t val)
{
	bool was = is_running(p);
	uint32_t at = value(p);

	p->control = val & CONTROL_BITS;
	if (!was && is_running(p))
		restart(p);
	else if (was && !is_running(p))
		p->stopped_at = at;
}

static uint32_t reg_read(const struct sp805 *p, unsigned reg)
{
	switch (reg) {
	case REG_LOAD:
		return p->load;
	case REG_VALUE:
		return value(p);
	case REG_CONTROL:
		return p->control;
	case REG_RIS:
		return p->ris;
	case REG_MIS:
		return p->ris && is_running(p);
	case REG_LOCK:
		return p->locked;
	default:
		return reg >= REG_ID ? sp805_id[(reg - REG_ID) / 4] : 0;
	}
}

static void reg_write(struct sp805 *p, unsigned reg, uint32_t val)
{
	if (reg == REG_LOCK)
		p->locked = val != SP805_UNLOCK;
	if (p->locked)
		return;
	switch (reg) {
	case REG_LOAD:
		p->load = val;
		restart(p);
		break;
	case REG_CONTROL:
		control_write(p, val);
		break;
	case REG_INTCLR:
		p->ris = p->bitten = false;
		restart(p);
		break;
	default:
		break;
	}
}

static uint64_t sp805_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	if (off >= 0x1000)
		return 0;
	catch_up(p);
	arm(p);
	return reg_read(p, (unsigned)off & ~3u) >> (8 * (off & 3));
}

static void sp805_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	if (off >= 0x1000 || (off & 3) || size < 4)	/* registers are written as words */
		return;
	catch_up(p);
	reg_write(p, (unsigned)off, (uint32_t)val);
	line_update(p);
	arm(p);
}

static void on_timer(struct vdev *v, void *arg)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	catch_up(p);
	arm(p);
}

static void sp805_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	catch_up(p);
	arm(p);
	snprintf(buf, buf_bytes, "load=%#x value=%#x control=%#x ris=%u locked=%u bites=%" PRIu64,
		 p->load, value(p), p->control, p->ris, p->locked, p->n_bites);
}

static void sp805_quiesce(struct vdev *v)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	v->host->ops->timer_arm(v->host, p->timer, 0);
}

static void sp805_free(struct vdev *v)
{
	struct sp805 *p = Q_CONTAINER_OF(v, struct sp805, v);

	if (p->timer)
		v->host->ops->timer_free(v->host, p->timer);
	free(p);
}

static const struct vdev_ops sp805_ops = {
	.read = sp805_read,
	.write = sp805_write,
	.status = sp805_status,
	.quiesce = sp805_quiesce,
	.free = sp805_free,
};

/* ---- configuration ---- */

/* "[dump,]terminate|fiq" */
static bool action_parse(const char *text, enum sp805_action *ret_action, bool *ret_dump)
{
	static const char dump[] = "dump,";
	bool has_dump = !strncmp(text, dump, strlen(dump));
	const char *word = text + (has_dump ? strlen(dump) : 0);

	if (strcmp(word, "terminate") && strcmp(word, "fiq"))
		return false;
	*ret_action = !strcmp(word, "fiq") ? ACTION_FIQ : ACTION_TERMINATE;
	*ret_dump = has_dump;
	return true;
}

static void sp805_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *action = vd_arg_find(cfg, "action");
	const struct vd_arg *hz = vd_arg_find(cfg, "frequency");
	enum sp805_action what;
	bool dump;

	if (action && !action_parse(action->text, &what, &dump))
		cf_error_add(errs, CF_ERROR, action->file, action->line, action->col,
			     "action '%s': expected terminate, fiq, dump,terminate or dump,fiq",
			     qlog_escape((char[64]){ 0 }, 64, action->text,
					 strlen(action->text)));
	if (hz && (!hz->num || hz->num > SP805_HZ_MAX))
		cf_error_add(errs, CF_ERROR, hz->file, hz->line, hz->col,
			     "frequency %s: expected 1 to %u Hz", hz->text, SP805_HZ_MAX);
}

static uint32_t frequency(const struct vd_config *cfg)
{
	const struct vd_arg *hz = vd_arg_find(cfg, "frequency");

	return hz ? (uint32_t)hz->num : SP805_HZ;
}

static int sp805_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			struct vdev **ret)
{
	const struct vd_arg *action = vd_arg_find(cfg, "action");
	struct sp805 *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->v = (struct vdev){ .ops = &sp805_ops, .type = &vd_wdt_sp805_type, .cfg = cfg,
			      .host = host };
	p->hz = frequency(cfg);
	p->load = p->stopped_at = UINT32_MAX;
	if (action)
		action_parse(action->text, &p->action, &p->dump);
	p->timer = host->ops->timer_new(host, on_timer, NULL);
	if (!p->timer) {
		sp805_free(&p->v);
		return -ENOMEM;
	}
	*ret = &p->v;
	return 0;
}

static void sp805_fdt(const struct vd_config *cfg, struct vd_fdt *ret)
{
	*ret = (struct vd_fdt){
		.node = "watchdog",
		.compatible = "arm,sp805\0arm,primecell\0",
		.clock_names = "wdog_clk\0apb_pclk\0",
		.clock_hz = frequency(cfg),
	};
}

static const struct vd_option sp805_options[] = {
	{ .name = "action", .kind = VD_ARG_STRING },
	{ .name = "frequency", .kind = VD_ARG_NUMBER },
	{ .name = NULL },
};

const struct vd_type vd_wdt_sp805_type = {
	.name = "wdt-sp805",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_MEM,
	.default_base = 0x1c0f0000,
	.len_bytes = 0x1000,
	.max_irqs = 1,
	.archs = "arm64",
	.options = sp805_options,
	.check = sp805_check,
	.create = sp805_create,
	.fdt = sp805_fdt,
};
