/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block worker: one loop that keeps up to qd requests in flight and checks every byte it
 * reads against what it knows to have written.
 *
 * The region is cut into blocks of bs bytes. For each there is the generation last issued and the
 * one last acknowledged; what is read must lie between them, so an acknowledged write that is lost
 * shows also after an error. A block with nothing acknowledged may hold anything. At most one
 * request is in flight for a block, so a read never races a write of ours. A stage (init, run,
 * final) says what to do next; the loop knows nothing of stages but "next" and "end".
 *
 * Printing takes milliseconds, since every port access leaves the guest, and would show up in the
 * latencies of what is in flight: before a report nothing new is submitted, and the report comes
 * when all has come back or the device has been silent for a tick.
 */
#include "tests/guests/blkworker/config.h"
#include "tests/guests/blkworker/pattern.h"
#include "tests/guests/blkworker/sound.h"
#include "tests/guests/blkworker/stats.h"
#include "tests/guests/drv/blk.h"

#define LIVE_NS		RT_NS_PER_S

struct slot {
	struct blk_req req;		/* first: blk_reap() gives it back */
	struct slot *next;		/* on the free or on the done list */
	uint64_t block, began, ended, ready_at;
	enum op_kind kind;
};

struct op {
	enum op_kind kind;
	uint64_t block;
};

enum next_verdict {
	NEXT_OP = 0,
	NEXT_LATER,			/* all blocks that would do are busy */
	NEXT_END,
};

static struct config cfg;
static struct blk blk;
static uint32_t *issued_gen, *acked_gen;
static bool *busy;
static uint64_t n_blocks, block_sectors, n_foreign, n_verified;
static struct slot *free_slots;		/* the one that may go first is first */
static unsigned in_flight, depth;
static uint64_t rng_state;
static bool paused, draining, quit, measuring;
static char wanted_report;		/* 's', 'r', 'l' or 0 */
static uint64_t next_tick, next_live, last_done, run_end, issued, cursor, writes_since_flush;

static uint64_t rng_next(void)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t sector_of(uint64_t block)
{
	return cfg.start_sector + block * block_sectors;
}

/* --- stages --- */

static enum next_verdict pick(enum op_kind kind, uint64_t block, struct op *ret)
{
	*ret = (struct op){ kind, block };
	return NEXT_OP;
}

static enum next_verdict next_sweep(enum op_kind kind, struct op *ret)
{
	if (cursor == n_blocks)
		return NEXT_END;
	if (busy[cursor])
		return NEXT_LATER;
	return pick(kind, cursor++, ret);
}

static enum next_verdict next_init(struct op *ret)
{
	return quit ? NEXT_END : next_sweep(OP_WRITE, ret);
}

static enum next_verdict next_final(struct op *ret)
{
	return next_sweep(OP_READ, ret);
}

/* The first block from @from on that is not busy. */
static bool free_block(uint64_t from, uint64_t *ret_block)
{
	for (uint64_t i = 0; i < n_blocks; i++) {
		uint64_t b = from + i < n_blocks ? from + i : from + i - n_blocks;
		if (!busy[b]) {
			*ret_block = b;
			return true;
		}
	}
	return false;
}

static enum next_verdict next_run(struct op *ret)
{
	uint64_t block;

	if (quit || (cfg.ops && issued >= cfg.ops) || (run_end && arch_ticks() >= run_end))
		return NEXT_END;
	if (cfg.flush_every && writes_since_flush >= cfg.flush_every) {
		writes_since_flush = 0;
		issued++;
		return pick(OP_FLUSH, 0, ret);
	}
	if (!free_block(cfg.sequential ? cursor : rng_next() % n_blocks, &block))
		return NEXT_LATER;
	cursor = block + 1 < n_blocks ? block + 1 : 0;
	issued++;
	bool write = rng_next() % 100 >= cfg.read_percent;
	writes_since_flush += write;
	return pick(write ? OP_WRITE : OP_READ, block, ret);
}

/* --- requests --- */

static void start(struct slot *s, const struct op *op)
{
	static const uint32_t type[OP_KINDS] = {
		[OP_READ] = BLK_T_IN, [OP_WRITE] = BLK_T_OUT, [OP_FLUSH] = BLK_T_FLUSH,
	};

	s->kind = op->kind;
	s->block = op->block;
	s->req.header = (struct blk_header){ .type = type[op->kind] };
	s->req.len = 0;
	if (op->kind != OP_FLUSH) {
		s->req.header.sector = sector_of(op->block);
		s->req.len = cfg.bs;
		busy[op->block] = true;
	}
	if (op->kind == OP_WRITE) {
		uint32_t g = ++issued_gen[op->block];
		for (unsigned i = 0; i < block_sectors; i++)
			pattern_fill((char *)s->req.data + i * SECTOR_BYTES,
				     s->req.header.sector + i, g, cfg.seed);
	}
	s->began = arch_ticks();
	if (!blk_submit(&blk, &s->req))
		rt_fail("the queue is full at depth %u", in_flight);
	in_flight++;
}

static void verify(const struct slot *s)
{
	uint32_t min = acked_gen[s->block], max = issued_gen[s->block];

	for (unsigned i = 0; i < block_sectors; i++) {
		const char *at = (const char *)s->req.data + i * SECTOR_BYTES;
		const struct pattern_head *h = (const void *)at;
		uint64_t sector = s->req.header.sector + i;
		enum pattern_verdict v = pattern_check(at, sector, min, max, cfg.seed);
		if (min == 0 && v != PATTERN_OK) {
			n_foreign++;
			continue;
		}
		if (v != PATTERN_OK)
			rt_fail("content sector=%lu why=%s want seed=0x%lx generation=%u..%u got "
				"magic=0x%lx sector=%lu generation=%lu seed=0x%lx", sector,
				pattern_verdict_str[v], cfg.seed, min, max, h->magic, h->sector,
				h->generation, h->seed);
		n_verified++;
	}
}

static void complete(struct slot *s)
{
	uint64_t now = s->ended;
	bool ok = s->req.status == BLK_S_OK;
	uint32_t want_len = 1 + (s->kind == OP_READ ? cfg.bs : 0);

	in_flight--;
	last_done = now;
	if (measuring)
		stats_add(s->kind, now - s->began, !ok);
	if (s->req.status == BLK_S_PENDING)
		rt_fail("completed without a status: sector=%lu", s->req.header.sector);
	if (ok && cfg.check_len && s->req.used_len != want_len)
		rt_fail("used length %u, want %u", s->req.used_len, want_len);
	if (!ok && !cfg.errs_ok)
		rt_fail("io error status=%u kind=%u sector=%lu", s->req.status, s->kind,
			s->req.header.sector);
	if (ok && s->kind == OP_READ && cfg.verify)
		verify(s);
	if (s->kind == OP_WRITE && ok)
		acked_gen[s->block] = issued_gen[s->block];
	if (s->kind != OP_FLUSH)
		busy[s->block] = false;
	s->ready_at = now + rt_ticks(cfg.think_us * RT_NS_PER_US);
	s->next = NULL;
	struct slot **last = &free_slots;
	while (*last)
		last = &(*last)->next;
	*last = s;
}

/* --- reports and keys --- */

static void print_report(char which, uint64_t now)
{
	if (which == 'l') {
		stats_print(SPAN_INTERVAL, "", now);
		rt_printf(" inflight=%u\n", in_flight);
		now = arch_ticks();
		stats_reset(SPAN_INTERVAL, now);
		next_live = now + rt_ticks(LIVE_NS);
	} else if (which == 's') {
		stats_print(SPAN_SINCE_RESET, "stats", now);
		stats_print_kinds(SPAN_SINCE_RESET);
		rt_printf("\n");
	} else {
		rt_printf("blk: reset\n");
		now = arch_ticks();
		stats_reset(SPAN_SINCE_RESET, now);
		stats_reset(SPAN_INTERVAL, now);
		next_live = now + rt_ticks(LIVE_NS);
	}
}

static void ask_report(char which)
{
	wanted_report = which;
	draining = true;
}

static void take_keys(bool tick)
{
	if (rt_power_button(tick))
		quit = true;
	while (!wanted_report) {
		int c = rt_getc();
		if (c < 0)
			return;
		if (c == 'q')
			quit = true;
		else if (c == 'p' || c == 'g')
			paused = c == 'p';
		else if (c == 'r' || c == 's')
			ask_report((char)c);
		else
			sound_key(c);
	}
}

static void report_if_due(uint64_t now)
{
	if (!wanted_report && cfg.live && measuring && now >= next_live)
		ask_report('l');
	if (!draining)
		return;
	bool silent = now - last_done > rt_ticks(LIVE_NS);
	if (in_flight == 0 || (silent && now > next_live + rt_ticks(LIVE_NS))) {
		char which = wanted_report;
		draining = false;
		wanted_report = 0;
		print_report(which, now);
	}
}

static void check_stall(uint64_t now)
{
	if (in_flight > 0 && now - last_done > rt_ticks(cfg.stall_ms * RT_NS_PER_MS))
		rt_fail("stalled: %u requests in flight, none done for %lu ms", in_flight,
			cfg.stall_ms);
}

/* --- the loop --- */

/* Returns what stopped it: NEXT_OP if only depth, time or a drain did. */
static enum next_verdict submit(enum next_verdict (*next)(struct op *), uint64_t now)
{
	bool any = false;
	enum next_verdict v = NEXT_OP;

	while (in_flight < depth && free_slots && free_slots->ready_at <= now) {
		struct op op;
		struct slot *s = free_slots;
		v = next(&op);
		if (v != NEXT_OP)
			break;
		if (in_flight == 0)
			last_done = now;
		free_slots = s->next;
		start(s, &op);
		any = true;
	}
	if (any)
		blk_kick(&blk);
	return v;
}

/* The next moment at which something is to be done that no interrupt announces. */
static uint64_t next_deadline(void)
{
	uint64_t at = cfg.tick_ms ? next_tick : UINT64_MAX;

	if (cfg.live && measuring && next_live < at)
		at = next_live;
	if (draining || paused)
		return at;
	if (free_slots && in_flight < depth && free_slots->ready_at < at)
		at = free_slots->ready_at;
	return run_end && run_end < at ? run_end : at;
}

static void idle(uint32_t seen)
{
	if ((cfg.poll || blk.dev->irq[0] < 0) && in_flight > 0) {
		arch_relax();
		return;
	}
	bool more = false;
	for (unsigned i = 0; i < cfg.queues; i++)
		more |= vq_arm(blk_queue(&blk, i));
	more |= sound_arm();
	if (!more)
		rt_wait(seen, next_deadline());
	for (unsigned i = 0; i < cfg.queues; i++)
		vq_disarm(blk_queue(&blk, i));
	sound_disarm();
}

static void run_stage(enum next_verdict (*next)(struct op *))
{
	cursor = 0;
	for (;;) {
		uint32_t seen = rt_wake;
		struct blk_req *r;
		/* Stamp all before verifying the first: checking is not the device's time. */
		struct slot *done = NULL, **last = &done;
		while ((r = blk_reap(&blk)) != NULL) {
			*last = (struct slot *)r;
			(*last)->ended = arch_ticks();
			last = &(*last)->next;
		}
		*last = NULL;
		bool progress = (done != NULL) | sound_turn();
		while (done) {
			struct slot *s = done;
			done = s->next;
			complete(s);
		}
		uint64_t now = arch_ticks();
		bool tick = cfg.tick_ms && now >= next_tick;
		if (tick) {
			next_tick = now + rt_ticks(cfg.tick_ms * RT_NS_PER_MS);
			check_stall(now);
		}
		take_keys(tick);
		report_if_due(now);
		bool stopped = draining || (paused && !quit);
		enum next_verdict v = stopped ? NEXT_LATER : submit(next, now);
		if (v == NEXT_END && in_flight == 0)
			return;
		if (!progress)
			idle(seen);
	}
}

static void print_total(const char *title, enum stats_span span)
{
	stats_print(span, title, arch_ticks());
	uint64_t kicks = 0, saved = 0;
	uint32_t irqs = 0;
	for (unsigned i = 0; i < cfg.queues; i++) {
		int irq = blk.dev->irq[i];
		kicks += blk_queue(&blk, i)->n_kicks;
		saved += blk_queue(&blk, i)->n_kicks_saved;
		/* Queues may have one line between them. */
		if (irq >= 0 && (i == 0 || irq != blk.dev->irq[0]))
			irqs += rt_irq_count[irq];
	}
	stats_print_kinds(span);
	rt_printf(" verified=%lu foreign=%lu kicks=%lu kicks_saved=%lu irqs=%u\n", n_verified,
		  n_foreign, kicks, saved, irqs);
}

static void run_for(uint64_t secs)
{
	uint64_t now = arch_ticks();

	run_end = secs ? now + rt_ticks(secs * RT_NS_PER_S) : 0;
	next_live = now + rt_ticks(LIVE_NS);
	run_stage(next_run);
}

static void run_measured(void)
{
	measuring = true;
	paused = cfg.paused;
	stats_start(arch_ticks());
	for (unsigned i = 0; i < cfg.n_phases && !quit; i++) {
		char title[24] = "phase name=";
		memcpy(title + 11, cfg.phase[i].name, 13);
		depth = cfg.phase[i].qd ? cfg.phase[i].qd : cfg.qd;
		stats_reset(SPAN_SINCE_RESET, arch_ticks());
		run_for(cfg.phase[i].secs);
		print_total(title, SPAN_SINCE_RESET);
	}
	if (cfg.n_phases == 0)
		run_for(cfg.secs);
	measuring = paused = false;
	depth = cfg.qd;
	run_end = 0;
	print_total("total", SPAN_TOTAL);
}

/* --- start --- */

static void open_device(void)
{
	uint64_t features = (cfg.indirect ? VIO_F_INDIRECT : 0) |
			    (cfg.event_idx ? VIO_F_EVENT_IDX : 0) |
			    (cfg.packed ? VIO_F_PACKED : 0);

	blk.n_segs = cfg.segs;
	blk.n_queues = cfg.queues;
	const char *why = blk_open(&blk, vio_find(VIO_ID_BLK, cfg.dev), features,
				   (uint16_t)cfg.queue_size);
	if (why)
		rt_fail("%s: %s", blk.dev ? blk.dev->name : "device", why);
	if (cfg.start_sector > blk.capacity)
		rt_fail("start is beyond the capacity of %lu sectors", blk.capacity);
	uint64_t room = blk.capacity - cfg.start_sector;
	if (cfg.region_sectors == 0)
		cfg.region_sectors = room < 32768 ? room : 32768;
	if (cfg.region_sectors > room)
		rt_fail("region of %lu sectors, the device has %lu", cfg.region_sectors, room);
	if (blk.read_only) {
		cfg.init = false;
		cfg.read_percent = 100;
	}
	if (!blk.can_flush)
		cfg.flush_every = 0;
	unsigned per_op = blk.q.indirect ? 1 : cfg.segs + 2;
	if (cfg.qd * per_op > blk.q.num)
		rt_fail("qd=%u needs %u descriptors, the queue has %u", cfg.qd, cfg.qd * per_op,
			blk.q.num);
}

static void alloc_state(void)
{
	block_sectors = cfg.bs / SECTOR_BYTES;
	n_blocks = cfg.region_sectors / block_sectors;
	if (n_blocks < cfg.qd)
		rt_fail("region of %lu sectors is smaller than qd=%u blocks", cfg.region_sectors,
			cfg.qd);
	issued_gen = rt_need(n_blocks * sizeof(*issued_gen), 64, "the generation table");
	acked_gen = rt_need(n_blocks * sizeof(*acked_gen), 64, "the generation table");
	busy = rt_need(n_blocks * sizeof(*busy), 64, "the flags of the blocks");
	for (unsigned i = 0; i < cfg.qd; i++) {
		struct slot *s = rt_need(sizeof(*s), 64, "request slots");
		s->req.data = (char *)rt_need(cfg.bs + cfg.data_offset, 4096, "data buffers") +
			      cfg.data_offset;
		s->next = free_slots;
		free_slots = s;
	}
	rng_state = (cfg.seed ^ UINT64_C(0x9e3779b97f4a7c15)) | 1;
	depth = cfg.qd;
}

void guest_main(void)
{
	config_read(&cfg);
	open_device();
	alloc_state();
	sound_open();
	rt_printf("blk: ready dev=%s capacity=%lu start_sector=%lu region_sectors=%lu bs=%u qd=%u "
		  "rw=%u queue=%u event_idx=%u indirect=%u packed=%u legacy=%u ro=%u flush=%u "
		  "queues=%u seed=%lu tsc_khz=%lu\n",
		  blk.dev->name, blk.capacity, cfg.start_sector, cfg.region_sectors, cfg.bs, cfg.qd,
		  cfg.read_percent, blk.q.num, blk.q.event_idx, blk.q.indirect, blk.q.packed,
		  blk.dev->legacy, blk.read_only, blk.can_flush, cfg.queues, cfg.seed,
		  rt_tick_khz());
	last_done = next_tick = arch_ticks();
	if (cfg.init) {
		run_stage(next_init);
		rt_printf("blk: init done\n");
	}
	if (!quit)
		run_measured();
	if (cfg.final && cfg.verify) {
		run_stage(next_final);
		rt_printf("blk: final done verified=%lu foreign=%lu\n", n_verified, n_foreign);
	}
}
