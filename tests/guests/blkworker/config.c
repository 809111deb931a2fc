/* SPDX-License-Identifier: Apache-2.0 */
/* Command line of the block worker: every value is checked here, once. */
#include "tests/guests/blkworker/config.h"
#include "tests/guests/blkworker/pattern.h"
#include "tests/guests/drv/vq.h"

#define MAX_QD		128
#define MAX_BS		(1u << 20)

static uint64_t number(const char *key, uint64_t dflt, uint64_t min, uint64_t max)
{
	uint64_t v = rt_arg_u64(key, dflt);

	if (v < min || v > max)
		rt_fail("argument %s=%lu is not in %lu..%lu", key, v, min, max);
	return v;
}

static bool flag(const char *key, bool dflt)
{
	return number(key, dflt, 0, 1);
}

/* "N" is MiB, "Ns" sectors, "NK", "NM", "NG" what they say. */
static uint64_t sectors(const char *key)
{
	char text[32];
	const char *s = text;
	uint64_t v;

	if (!rt_arg_str(key, text, sizeof(text)))
		return 0;
	if (!rt_parse_u64(&s, &v) || (*s && strcmp(s, "s")))
		rt_fail("argument %s=%s: want MiB, or a number with s, K, M or G", key, text);
	if (*s == 's')
		return v;
	bool plain = s[-1] >= '0' && s[-1] <= '9';
	return plain ? v * (1u << 20) / SECTOR_BYTES : v / SECTOR_BYTES;
}

/* "name:secs[:qd],name:secs[:qd]..." */
static void read_phases(struct config *c)
{
	char text[256];
	const char *s = text;
	uint64_t qd;

	if (!rt_arg_str("phases", text, sizeof(text)))
		return;
	while (*s) {
		struct phase *p = &c->phase[c->n_phases];
		size_t n = 0;
		if (++c->n_phases > RT_ARRAY_LEN(c->phase))
			rt_fail("phases: more than %u", (unsigned)RT_ARRAY_LEN(c->phase));
		while (*s && *s != ':' && n + 1 < sizeof(p->name))
			p->name[n++] = *s++;
		if (*s++ != ':' || !rt_parse_u64(&s, &p->secs) || p->secs == 0)
			rt_fail("phases=%s: want NAME:SECS[:QD],...", text);
		if (*s == ':') {
			s++;
			if (!rt_parse_u64(&s, &qd) || qd == 0 || qd > c->qd)
				rt_fail("phases=%s: a phase's depth is 1 to qd", text);
			p->qd = (unsigned)qd;
		}
		if (*s && *s++ != ',')
			rt_fail("phases=%s: want NAME:SECS[:QD],...", text);
	}
}

void config_read(struct config *c)
{
	char mode[8] = "rand", errs[8] = "";

	rt_arg_str("mode", mode, sizeof(mode));
	if (strcmp(mode, "rand") && strcmp(mode, "seq"))
		rt_fail("argument mode=%s: want rand or seq", mode);
	rt_arg_str("errs", errs, sizeof(errs));
	*c = (struct config){
		.sequential = !strcmp(mode, "seq"), .errs_ok = !strcmp(errs, "ok"),
		.seed = rt_arg_u64("seed", 1), .ops = rt_arg_u64("ops", 0),
		.think_us = number("think_us", 0, 0, 10000000),
		.stall_ms = number("stall_ms", 30000, 1, UINT32_MAX),
		.tick_ms = number("tick_ms", 250, 0, 3600000),
		.read_percent = (unsigned)number("rw", 50, 0, 100),
		.bs = (unsigned)number("bs", 4096, SECTOR_BYTES, MAX_BS),
		.qd = (unsigned)number("qd", 1, 1, MAX_QD),
		.segs = (unsigned)number("segs", 1, 1, VQ_MAX_SEGS - 2),
		.dev = (unsigned)number("dev", 0, 0, VIO_MAX_DEVS),
		.data_offset = (unsigned)number("data_offset", 0, 0, 4095),
		.queues = (unsigned)number("queues", 1, 1, BLK_QUEUES_MAX),
		.flush_every = (unsigned)number("flush_every", 0, 0, UINT32_MAX),
		.queue_size = (unsigned)number("queue_size", VQ_MAX_SIZE, 1, VQ_MAX_SIZE),
		.start_sector = sectors("start"), .region_sectors = sectors("region"),
		.verify = flag("verify", true), .init = flag("init", true),
		.final = flag("final", true), .indirect = flag("indirect", true),
		.event_idx = flag("event_idx", true), .packed = flag("packed", false),
		.poll = flag("poll", false), .live = flag("live", false),
		.paused = flag("paused", false), .check_len = flag("check_len", true),
	};
	c->secs = rt_arg_u64("secs", c->ops ? 0 : 5);
	if (c->bs % SECTOR_BYTES)
		rt_fail("argument bs=%u is not a multiple of %u", c->bs, SECTOR_BYTES);
	read_phases(c);
}
