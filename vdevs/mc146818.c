/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mc146818: the clock of a PC and the memory on its battery: ports 0x70 (index) and 0x71 (data),
 * 128 bytes, of which 0 to 13 and the century (0x32) are the clock.
 *
 * The clock is the host's UTC plus the difference that the guest made by setting it, in ns; the
 * difference lasts as long as the VM. While the clock stands (SET in B, or the divider of A held in
 * reset) the time is in the registers. The day of the week follows from the date.
 *
 * Events are times, not ticks: how many whole seconds, periods and alarms lie between the last look
 * and now. A look is taken at each access and by one timer, armed for the next event whose
 * interrupt is enabled and whose flag is not up yet: while a flag is up nothing new can be said, so
 * that a guest that does not read C costs nothing. Invariant: the line is IRQF of C, and IRQF is
 * (B & C) of the three sources, after each callback.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vdevs/types.h"

#define PORT 0x70u

enum { N_REGS = 128, INDEX_MASK = 0x7f };
enum {
	REG_SEC, REG_SEC_ALARM, REG_MIN, REG_MIN_ALARM, REG_HOUR, REG_HOUR_ALARM, REG_WEEKDAY,
	REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
	REG_EQUIPMENT = 0x14,
	REG_BASE_KIB = 0x15,		/* 16 bits */
	REG_EXT_KIB = 0x17,		/* above 1 MiB, 16 bits; again at 0x30 */
	REG_SUM = 0x2e,			/* of 0x10..0x2d, high byte first */
	REG_EXT_KIB_2 = 0x30,
	REG_CENTURY = 0x32,		/* as the FADT says */
	REG_ABOVE_16M = 0x34,		/* 64 KiB each, 16 bits */
	REG_ABOVE_4G = 0x5b,		/* 64 KiB each, 24 bits */
};
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RATE = 0x0f, A_RESET = 0x60, A_NORMAL = 0x20 };
enum { B_SET = 0x80, B_SOURCES = 0x70, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 4,
       B_24H = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VALID = 0x80 };
enum { HOUR_PM = 0x80, ALARM_ANY = 0xc0 };

#define UIP_NS	     244000u		/* the update is announced so long before it */
#define TICKS_HZ     32768u
#define HALF_NS	     (Q_NSEC_PER_SEC / 2)
#define DAY_S	     86400u
#define TIME_MAX_S   ((uint64_t)INT64_MAX / Q_NSEC_PER_SEC - 1)

struct rtc {
	struct vdev v;
	uint8_t ram[N_REGS];
	uint8_t index;
	int64_t diff_ns;	/* guest's time - host's UTC */
	uint64_t seen_ns;	/* guest's time at the last look */
	bool line;
	struct vd_timer *timer;
};

/* ---- the registers and the time ---- */

static bool is_time(unsigned reg)
{
	return reg == REG_SEC || reg == REG_MIN || reg == REG_HOUR ||
	       (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == REG_CENTURY;
}

static bool is_running(const struct rtc *r)
{
	return !(r->ram[REG_B] & B_SET) && (r->ram[REG_A] & A_RESET) != A_RESET;
}

static uint64_t guest_ns(const struct rtc *r)
{
	return r->v.host->ops->utc(r->v.host) + (uint64_t)r->diff_ns;
}

static uint8_t encode(const struct rtc *r, unsigned val)
{
	return (uint8_t)(r->ram[REG_B] & B_BINARY ? val : val / 10 % 10 << 4 | val % 10);
}

static unsigned decode(const struct rtc *r, uint8_t val)
{
	return r->ram[REG_B] & B_BINARY ? val : (val >> 4) * 10u + (val & 0xfu);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->ram[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t val)
{
	if (r->ram[REG_B] & B_24H)
		return decode(r, val);
	return decode(r, val & (uint8_t)~HOUR_PM) % 12 + (val & HOUR_PM ? 12 : 0);
}

/* The time registers of the second @s, into ram. */
static void regs_from_time(struct rtc *r, uint64_t s)
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	r->ram[REG_SEC] = encode(r, (unsigned)tm.tm_sec);
	r->ram[REG_MIN] = encode(r, (unsigned)tm.tm_min);
	r->ram[REG_HOUR] = encode_hour(r, (unsigned)tm.tm_hour);
	r->ram[REG_WEEKDAY] = encode(r, (unsigned)tm.tm_wday + 1);
	r->ram[REG_DAY] = encode(r, (unsigned)tm.tm_mday);
	r->ram[REG_MONTH] = encode(r, (unsigned)tm.tm_mon + 1);
	r->ram[REG_YEAR] = encode(r, (unsigned)tm.tm_year % 100);
	r->ram[REG_CENTURY] = encode(r, (unsigned)(tm.tm_year + 1900) / 100);
}

/* The second that the time registers stand for, between 1970 and what ns can count. */
static uint64_t time_from_regs(const struct rtc *r)
{
	struct tm tm = {
		.tm_sec = (int)decode(r, r->ram[REG_SEC]),
		.tm_min = (int)decode(r, r->ram[REG_MIN]),
		.tm_hour = (int)decode_hour(r, r->ram[REG_HOUR]),
		.tm_mday = (int)decode(r, r->ram[REG_DAY]),
		.tm_mon = (int)decode(r, r->ram[REG_MONTH]) - 1,
		.tm_year = (int)(decode(r, r->ram[REG_CENTURY]) * 100 +
				 decode(r, r->ram[REG_YEAR])) - 1900,
	};
	time_t t = timegm(&tm);

	return t < 0 ? 0 : Q_MIN((uint64_t)t, TIME_MAX_S);
}

/* From now on the guest's time is @s seconds and @ns. */
static void time_set(struct rtc *r, uint64_t s, uint64_t ns)
{
	r->diff_ns = (int64_t)(s * Q_NSEC_PER_SEC + ns - r->v.host->ops->utc(r->v.host));
	r->seen_ns = guest_ns(r);
}

/* ---- events ---- */

/* Of the periodic interrupt, in 1/32768 s; 0: none. */
static unsigned period_ticks(const struct rtc *r)
{
	unsigned rate = r->ram[REG_A] & A_RATE;

	/* The two fastest rates of another crystal give 256 and 128 Hz with this one. */
	return rate == 0 ? 0 : rate < 3 ? 1u << (rate + 6) : 1u << (rate - 1);
}

static uint64_t ticks_at(uint64_t ns)
{
	return ns / Q_NSEC_PER_SEC * TICKS_HZ +
	       ns % Q_NSEC_PER_SEC * TICKS_HZ / Q_NSEC_PER_SEC;
}

/* The first moment at which ticks_at() is @ticks. */
static uint64_t ns_at(uint64_t ticks)
{
	return ticks / TICKS_HZ * Q_NSEC_PER_SEC +
	       (ticks % TICKS_HZ * Q_NSEC_PER_SEC + TICKS_HZ - 1) / TICKS_HZ;
}

static unsigned alarm_value(const struct rtc *r, unsigned reg)
{
	uint8_t a = r->ram[reg];

	return reg == REG_HOUR_ALARM ? decode_hour(r, a) : decode(r, a);
}

static bool alarm_is(const struct rtc *r, unsigned reg, unsigned val)
{
	return r->ram[reg] >= ALARM_ANY || alarm_value(r, reg) == val;
}

/* A time that no clock shows is not looked for. */
static bool alarm_can_be(const struct rtc *r)
{
	static const struct { unsigned reg, end; } parts[] = {
		{ REG_SEC_ALARM, 60 }, { REG_MIN_ALARM, 60 }, { REG_HOUR_ALARM, 24 }
	};

	for (size_t i = 0; i < Q_ARRAY_LEN(parts); i++)
		if (r->ram[parts[i].reg] < ALARM_ANY &&
		    alarm_value(r, parts[i].reg) >= parts[i].end)
			return false;
	return true;
}

/* The first second after @s, a day ahead at most, that the alarm registers name; 0: none. */
static uint64_t alarm_after(const struct rtc *r, uint64_t s)
{
	if (!alarm_can_be(r))
		return 0;
	for (uint64_t t = s + 1; t <= s + DAY_S;) {
		unsigned of_day = (unsigned)(t % DAY_S);
		if (!alarm_is(r, REG_HOUR_ALARM, of_day / 3600))
			t += 3600 - of_day % 3600;
		else if (!alarm_is(r, REG_MIN_ALARM, of_day / 60 % 60))
			t += 60 - of_day % 60;
		else if (!alarm_is(r, REG_SEC_ALARM, of_day % 60))
			t++;
		else
			return t;
	}
	return 0;
}

static void line_update(struct rtc *r)
{
	bool line = r->ram[REG_C] & r->ram[REG_B] & B_SOURCES;

	r->ram[REG_C] = (uint8_t)((r->ram[REG_C] & ~C_IRQF) | (line ? C_IRQF : 0));
	if (line == r->line || !r->v.cfg->n_irqs)
		return;
	r->line = line;
	r->v.host->ops->irq_set(r->v.host, 0, line);
}

/* Raises the flags of what happened since the last look. */
static void look(struct rtc *r)
{
	uint64_t now = guest_ns(r), seen = r->seen_ns;
	unsigned period = period_ticks(r);

	r->seen_ns = now;
	if (!is_running(r) || now <= seen)	/* the host's clock may go back */
		return;
	if (now / Q_NSEC_PER_SEC != seen / Q_NSEC_PER_SEC) {
		uint64_t at = r->ram[REG_C] & C_AF ? 0 : alarm_after(r, seen / Q_NSEC_PER_SEC);
		r->ram[REG_C] |= C_UF;
		if (at && at <= now / Q_NSEC_PER_SEC)
			r->ram[REG_C] |= C_AF;
	}
	if (period && ticks_at(now) / period != ticks_at(seen) / period)
		r->ram[REG_C] |= C_PF;
}

/* The guest's time of the next event that would raise the line; 0: none. */
static uint64_t next_event(const struct rtc *r)
{
	uint8_t open = r->ram[REG_B] & (uint8_t)~r->ram[REG_C] & B_SOURCES;
	uint64_t s = r->seen_ns / Q_NSEC_PER_SEC, at = UINT64_MAX, alarm;
	unsigned period = period_ticks(r);

	if (!is_running(r) || !open || r->ram[REG_C] & C_IRQF)
		return 0;
	if (open & B_UIE)
		at = (s + 1) * Q_NSEC_PER_SEC;
	if (open & B_AIE && (alarm = alarm_after(r, s)))
		at = Q_MIN(at, alarm * Q_NSEC_PER_SEC);
	if (open & B_PIE && period)
		at = Q_MIN(at, ns_at((ticks_at(r->seen_ns) / period + 1) * period));
	return at == UINT64_MAX ? 0 : at;
}

static void update(struct rtc *r)
{
	const struct vd_host_ops *ops = r->v.host->ops;
	uint64_t at;

	line_update(r);
	at = next_event(r);
	ops->timer_arm(r->v.host, r->timer,
		       at ? ops->now(r->v.host) + (at - Q_MIN(at, guest_ns(r))) : 0);
}

static void on_timer(struct vdev *v, void *arg)
{
	struct rtc *r = Q_CONTAINER_OF(v, struct rtc, v);

	look(r);
	update(r);
}

/* ---- accesses ---- */

static bool update_is_near(const struct rtc *r)
{
	return is_running(r) &&
	       guest_ns(r) % Q_NSEC_PER_SEC >= Q_NSEC_PER_SEC - UIP_NS;
}

static uint8_t reg_read(struct rtc *r, unsigned reg)
{
	uint8_t val;

	if (is_time(reg) && is_running(r))
		regs_from_time(r, r->seen_ns / Q_NSEC_PER_SEC);
	val = r->ram[reg];
	if (reg == REG_A)
		return val | (update_is_near(r) ? A_UIP : 0);
	if (reg == REG_C)
		r->ram[REG_C] = 0;
	return val;
}

/* A or B: the clock may stop by it, or begin to run. */
static void control_write(struct rtc *r, unsigned reg, uint8_t val)
{
	bool was_running = is_running(r);
	bool was_reset = (r->ram[REG_A] & A_RESET) == A_RESET;

	if (was_running)
		regs_from_time(r, r->seen_ns / Q_NSEC_PER_SEC);
	r->ram[reg] = reg == REG_A ? val & (uint8_t)~A_UIP : val;
	if (reg == REG_B && val & B_SET)
		r->ram[REG_B] &= (uint8_t)~B_UIE;
	/*
	 * A divider that leaves reset counts half a second to the first update; one that ran all
	 * the time has kept its phase.
	 */
	if (!was_running && is_running(r))
		time_set(r, time_from_regs(r),
			 was_reset ? HALF_NS : guest_ns(r) % Q_NSEC_PER_SEC);
}

static void time_write(struct rtc *r, unsigned reg, uint8_t val)
{
	bool runs = is_running(r);

	if (runs)
		regs_from_time(r, r->seen_ns / Q_NSEC_PER_SEC);
	r->ram[reg] = val;
	if (runs)
		time_set(r, time_from_regs(r), r->seen_ns % Q_NSEC_PER_SEC);
}

static void reg_write(struct rtc *r, unsigned reg, uint8_t val)
{
	if (reg == REG_A || reg == REG_B)
		control_write(r, reg, val);
	else if (is_time(reg))
		time_write(r, reg, val);
	else if (reg != REG_C && reg != REG_D)
		r->ram[reg] = val;
}

/* A wide access is that many byte cycles: an index, then data. */
static uint64_t rtc_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct rtc *r = Q_CONTAINER_OF(v, struct rtc, v);
	uint64_t val = 0;

	look(r);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)((off + i) & 1 ? reg_read(r, r->index) : 0xff) << (8 * i);
	update(r);
	return val;
}

static void rtc_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct rtc *r = Q_CONTAINER_OF(v, struct rtc, v);

	look(r);
	for (unsigned i = 0; i < size; i++, val >>= 8) {
		if ((off + i) & 1)
			reg_write(r, r->index, (uint8_t)val);
		else
			r->index = (uint8_t)val & INDEX_MASK;	/* bit 7 is the gate of the NMI */
	}
	update(r);
}

static void rtc_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct rtc *r = Q_CONTAINER_OF(v, struct rtc, v);

	snprintf(buf, buf_bytes, "a=%#x b=%#x c=%#x diff_s=%" PRId64 " running=%d", r->ram[REG_A],
		 r->ram[REG_B], r->ram[REG_C], r->diff_ns / (int64_t)Q_NSEC_PER_SEC,
		 is_running(r));
}

static void rtc_free(struct vdev *v)
{
	struct rtc *r = Q_CONTAINER_OF(v, struct rtc, v);

	if (r->timer)
		v->host->ops->timer_free(v->host, r->timer);
	free(r);
}

static const struct vdev_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.status = rtc_status,
	.free = rtc_free,
};

/* ---- what firmware left in it ---- */

static void put_number(struct rtc *r, unsigned reg, unsigned n_bytes, uint64_t val)
{
	for (unsigned i = 0; i < n_bytes; i++)
		r->ram[reg + i] = (uint8_t)(val >> (8 * i));
}

/* Bytes of RAM below @hi and from @lo on. */
static uint64_t ram_between(const struct qmem *mem, uint64_t lo, uint64_t hi)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < mem->n; i++) {
		const struct qmem_region *m = &mem->r[i];
		uint64_t from = Q_MAX(m->gpa, lo), to = Q_MIN(m->gpa + m->len_bytes, hi);
		if (!(m->flags & QMEM_READONLY) && from < to)
			sum += to - from;
	}
	return sum;
}

static void sizes_init(struct rtc *r)
{
	const struct qmem *mem = r->v.host->mem;
	const uint64_t kib = 1024, mib = 1024 * kib, gib = 1024 * mib, unit = 64 * kib;
	uint64_t low = ram_between(mem, 0, 640 * kib);
	uint64_t ext = ram_between(mem, mib, 4 * gib);
	uint64_t above = ram_between(mem, 16 * mib, 4 * gib);

	put_number(r, REG_BASE_KIB, 2, low / kib);
	put_number(r, REG_EXT_KIB, 2, Q_MIN(ext / kib, UINT16_MAX));
	put_number(r, REG_EXT_KIB_2, 2, Q_MIN(ext / kib, UINT16_MAX));
	put_number(r, REG_ABOVE_16M, 2, Q_MIN(above / unit, UINT16_MAX));
	put_number(r, REG_ABOVE_4G, 3, Q_MIN(ram_between(mem, 4 * gib, UINT64_MAX) / unit,
					     0xffffffu));
}

static void sum_init(struct rtc *r)
{
	unsigned sum = 0;

	for (unsigned i = 0x10; i < REG_SUM; i++)
		sum += r->ram[i];
	r->ram[REG_SUM] = (uint8_t)(sum >> 8);
	r->ram[REG_SUM + 1] = (uint8_t)sum;
}

/* "offset,value"; numbers are decimal, with 0x hexadecimal. */
static bool preset(const struct vd_arg *a, unsigned *ret_reg, uint8_t *ret_val)
{
	unsigned long part[2];
	const char *at = a->text;

	for (unsigned i = 0; i < 2; i++) {
		bool hex = !strncmp(at, "0x", 2) || !strncmp(at, "0X", 2);
		char *end;
		at += hex ? 2 : !strncmp(at, "0d", 2) ? 2 : 0;
		if (!strspn(at, hex ? "0123456789abcdefABCDEF" : "0123456789"))
			return false;
		part[i] = strtoul(at, &end, hex ? 16 : 10);
		if (*end != (i ? '\0' : ',') || part[i] > (i ? 0xff : N_REGS - 1))
			return false;
		at = end + 1;
	}
	*ret_reg = (unsigned)part[0];
	*ret_val = (uint8_t)part[1];
	return true;
}

static bool is_reg(const struct vd_arg *a)
{
	return !strcmp(a->opt->name, "reg");
}

static void rtc_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];
		unsigned reg;
		uint8_t val;
		if (!is_reg(a))
			continue;
		if (!preset(a, &reg, &val))
			cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
				     "reg: expected offset,value, such as 0x0b,0x02: offsets end "
				     "at 0x%x, values at 0xff", N_REGS - 1);
		else if (is_time(reg) || reg == REG_C || reg == REG_D)
			cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
				     "reg 0x%x: %s", reg, is_time(reg) ?
				     "the time is the host's UTC" : "it has no value of its own");
	}
}

static void presets_init(struct rtc *r)
{
	const struct vd_config *cfg = r->v.cfg;

	r->ram[REG_A] = A_NORMAL | 6;	/* 1024 Hz */
	r->ram[REG_B] = B_24H;
	r->ram[REG_D] = D_VALID;
	r->ram[REG_EQUIPMENT] = 0x02;	/* a coprocessor, no screen, no floppy disk */
	sizes_init(r);
	sum_init(r);
	for (size_t i = 0; i < cfg->n_args; i++) {
		unsigned reg;
		uint8_t val;
		if (is_reg(&cfg->args[i]) && preset(&cfg->args[i], &reg, &val))
			r->ram[reg] = reg == REG_A ? val & (uint8_t)~A_UIP : val;
	}
}

static int rtc_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->v = (struct vdev){ .ops = &rtc_ops, .type = &vd_mc146818_type, .cfg = cfg,
			      .host = host };
	r->timer = host->ops->timer_new(host, on_timer, NULL);
	if (!r->timer) {
		rtc_free(&r->v);
		return -ENOMEM;
	}
	presets_init(r);
	r->seen_ns = guest_ns(r);
	regs_from_time(r, r->seen_ns / Q_NSEC_PER_SEC);
	update(r);
	*ret = &r->v;
	return 0;
}

static const struct vd_option rtc_options[] = {
	{ .name = "reg", .kind = VD_ARG_STRING, .accumulates = true },
	{ NULL },
};

const struct vd_type vd_mc146818_type = {
	.name = "mc146818",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = PORT,
	.len_bytes = 2,
	.max_irqs = 1,
	.options = rtc_options,
	.check = rtc_check,
	.create = rtc_create,
};
