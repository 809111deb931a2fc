/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hostile guest: for every virtio device and each of its queues, one attack after the other,
 * then rounds of random ones. After each it says what the device did, and checks that nothing was
 * written around the memory the device was given, that a reset brings the device back, and, for a
 * block device, that a read then gives the same bytes as at the start.
 *
 * Outcomes: needs_reset, the device asked for one; error, the request came back with an error
 * status; completed, it came back otherwise; ignored, nothing within wait_ms; lost, the device did
 * not come back after the reset (a failure, unless lost=ok).
 */
#include "tests/guests/hostile/hostile.h"

#define GUARD_BYTES	4096u
#define GUARD_BYTE	0xa5
#define PROBE_BYTES	4096u
#define MAX_RAM		(UINT64_C(1) << 30)	/* more would make a "huge" length legal */

static uint8_t *guard_low, *guard_high, *probe_first, *probe_now;
static uint64_t wait_ticks, recover_ticks, real_ram_end, hole;
static char only[48];
static bool lost_ok;
static uint64_t every, n_seen;		/* one attack of so many; attacks that came up */
static unsigned n_run, n_lost, max_queues;

uint64_t bad_address(enum bad_addr which)
{
	switch ((unsigned)which % BAD_ADDRS) {
	case AT_BEYOND_RAM: return real_ram_end + 0x100000;
	case AT_WRAP:	    return UINT64_MAX - 7;
	case AT_STRADDLE:   return real_ram_end - 8;
	case AT_HOLE:	    return hole;
	case AT_BIT_63:	    return UINT64_C(1) << 63;
	default:	    return UINT64_C(0xfffffff8);
	}
}

/* --- building blocks of the attacks --- */

void put_desc(struct target *t, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
	      unsigned next)
{
	volatile struct vq_desc *d = &t->q->desc[i];
	d->addr = addr;
	d->len = len;
	d->flags = (uint16_t)flags;
	d->next = (uint16_t)next;
}

void put_request(struct target *t)
{
	*t->header = (struct blk_header){ .type = BLK_T_IN };
	*t->status = BLK_S_PENDING;
	put_desc(t, 0, (uint64_t)t->header, sizeof(*t->header), VQ_F_NEXT, 1);
	put_desc(t, 1, (uint64_t)t->data, 512, VQ_F_NEXT | VQ_F_WRITE, 2);
	put_desc(t, 2, (uint64_t)t->status, 1, VQ_F_WRITE, 0);
}

void publish(struct target *t, uint16_t head)
{
	struct vq *q = t->q;

	q->avail->ring[q->avail_idx % q->num] = head;
	arch_order();
	q->avail->idx = ++q->avail_idx;
	t->sent++;
	arch_mb();
}

void fire(struct target *t, uint16_t head)
{
	publish(t, head);
	t->dev->ops->notify(t->dev, t->qi);
}

const char *target_up(struct target *t, uint64_t without)
{
	const char *why = vio_begin(t->dev, (VIO_F_INDIRECT | VIO_F_EVENT_IDX | BLK_F_FLUSH |
					     BLK_F_SEG_MAX | BLK_F_RO) & ~without);

	for (unsigned i = 0; !why && i < t->n_queues; i++)
		why = vq_init(&t->vq[i], t->dev, i, VQ_MAX_SIZE);
	if (!why)
		vio_run(t->dev);
	return why;
}

/* --- what the device did --- */

static const char *observe(struct target *t, uint64_t wait)
{
	uint64_t until = arch_ticks() + wait;
	uint8_t status;

	do {
		status = t->dev->ops->status(t->dev);
		if (status & VIO_S_NEEDS_RESET)
			return "needs_reset";
		if (t->sent && (uint16_t)(t->q->used->idx - t->q->used_idx) >= t->sent)
			break;
		rt_wait(rt_wake, arch_ticks() + rt_ticks(RT_NS_PER_MS));
	} while (arch_ticks() < until);
	if (t->q->used->idx == t->q->used_idx)
		return "ignored";
	bool failed = t->dev->id == VIO_ID_BLK && *t->status != BLK_S_PENDING &&
		      *t->status != BLK_S_OK;
	return failed ? "error" : "completed";
}

static void check_guards(const char *name)
{
	for (unsigned i = 0; i < GUARD_BYTES; i++)
		if (guard_low[i] != GUARD_BYTE || guard_high[i] != GUARD_BYTE)
			rt_fail("%s: the device wrote outside of its buffers", name);
}

/* Reads the first sectors as a well-behaved driver does. NULL or what went wrong. */
static const char *read_probe(struct target *t, uint8_t *to)
{
	uint64_t until = arch_ticks() + recover_ticks;
	struct vq_seg seg[3] = { { t->header, 16 }, { to, PROBE_BYTES }, { (void *)t->status, 1 } };
	uint32_t len;

	*t->header = (struct blk_header){ .type = BLK_T_IN };
	*t->status = BLK_S_PENDING;
	if (!vq_add(&t->vq[0], seg, 1, 2, t))
		return "the queue takes no request";
	vq_kick(&t->vq[0]);
	while (!vq_poll(&t->vq[0], &len)) {
		if (arch_ticks() > until)
			return "a read does not complete";
		rt_wait(rt_wake, arch_ticks() + rt_ticks(RT_NS_PER_MS));
	}
	if (*t->status != BLK_S_OK)
		return "a read fails";
	return len == PROBE_BYTES + 1 ? NULL : "a read has the wrong used length";
}

/* From whatever state the attack left to a device that is seen to work. */
static const char *recover(struct target *t)
{
	const char *why = target_up(t, 0);

	if (!why && t->dev->id == VIO_ID_BLK) {
		why = read_probe(t, probe_now);
		if (!why && memcmp(probe_now, probe_first, PROBE_BYTES))
			why = "the disk's first sectors have changed";
		if (!why && vio_config_read64(t->dev, 0) != t->capacity)
			why = "the capacity has changed";
	}
	return why;
}

/* False if the device is lost. */
static bool finish(struct target *t, const char *name, const char *outcome)
{
	rt_printf("hostile: %s %s dev=%s queue=%u sent=%lu used=%u status=0x%x\n", name, outcome,
		  t->dev->name, t->qi, t->sent, (uint16_t)(t->q->used->idx - t->q->used_idx),
		  t->dev->ops->status(t->dev));
	n_run++;
	check_guards(name);
	const char *why = recover(t);
	check_guards(name);
	if (!why)
		return true;
	rt_printf("hostile: %s lost dev=%s queue=%u why=%s\n", name, t->dev->name, t->qi, why);
	n_lost++;
	if (!lost_ok)
		rt_fail("after %s: %s", name, why);
	return false;
}

static bool wanted(const struct target *t, const struct attack *a)
{
	if (a->blk_only && (t->dev->id != VIO_ID_BLK || t->qi > 0))
		return false;
	return only[0] ? !strcmp(only, a->name) : n_seen++ % every == 0;
}

static bool run_table(struct target *t, const struct attack *table, unsigned n, bool running)
{
	for (unsigned i = 0; i < n; i++) {
		const struct attack *a = &table[i];
		if (!wanted(t, a))
			continue;
		t->sent = 0;
		if (!running)
			vio_reset(t->dev);
		const char *why = running ? target_up(t, a->without) : NULL;
		if (why)
			rt_fail("before %s: %s: %s", a->name, t->dev->name, why);
		a->run(t, a->arg);
		if (!finish(t, a->name, observe(t, wait_ticks)))
			return false;
	}
	return true;
}

static bool run_fuzz(struct target *t, uint64_t rounds, uint64_t seed)
{
	static const char *const names[] = { "needs_reset", "error", "completed", "ignored" };
	uint64_t rng = (seed + t->qi) * UINT64_C(0x9e3779b97f4a7c15) | 1, count[4] = { 0 };

	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t began_with = rng;
		t->sent = 0;
		target_up(t, 0);
		memset(t->arena, 0, ARENA_BYTES);
		fuzz_round(t, &rng);
		const char *outcome = observe(t, wait_ticks / 4);
		for (unsigned k = 0; k < RT_ARRAY_LEN(names); k++)
			count[k] += !strcmp(outcome, names[k]);
		n_run++;
		check_guards("fuzz");
		const char *why = recover(t);
		if (!why)
			continue;
		rt_printf("hostile: fuzz lost dev=%s queue=%u round=%lu rng=0x%lx why=%s\n",
			  t->dev->name, t->qi, i, began_with, why);
		n_lost++;
		if (!lost_ok)
			rt_fail("after fuzz round %lu: %s", i, why);
		return false;
	}
	rt_printf("hostile: fuzz done dev=%s queue=%u rounds=%lu needs_reset=%lu error=%lu "
		  "completed=%lu ignored=%lu\n", t->dev->name, t->qi, rounds, count[0], count[1],
		  count[2], count[3]);
	return true;
}

/* --- start --- */

static void alloc_memory(struct target *t)
{
	if (!guard_low) {
		guard_low = rt_need(GUARD_BYTES + ARENA_BYTES + GUARD_BYTES, 4096, "the arena");
		guard_high = guard_low + GUARD_BYTES + ARENA_BYTES;
		memset(guard_low, GUARD_BYTE, GUARD_BYTES);
		memset(guard_high, GUARD_BYTE, GUARD_BYTES);
		probe_first = rt_need(PROBE_BYTES, 4096, "the probe");
		probe_now = rt_need(PROBE_BYTES, 4096, "the probe");
	}
	t->arena = guard_low + GUARD_BYTES;
	t->header = (struct blk_header *)t->arena;
	t->table = (volatile struct vq_desc *)(t->arena + 4096);
	t->data = t->arena + 65536;
	t->status = t->arena + 65536 + 65536 + 512;
}

/* Reserved ranges that follow the RAM may be RAM behind the firmware's back. */
static uint64_t find_ram_end(void)
{
	const struct rt_range *map;
	unsigned n = rt_memmap(&map);
	uint64_t end = rt_ram_end();

	for (unsigned i = 0; i < n; i++)
		if (map[i].base == end && map[i].size && map[i].size < 0x10000000) {
			end += map[i].size;
			i = (unsigned)-1;
		}
	return end;
}

static bool attack_device(struct target *t, uint64_t rounds, uint64_t seed)
{
	const char *why = target_up(t, 0);

	if (!why && t->dev->id == VIO_ID_BLK) {
		t->capacity = vio_config_read64(t->dev, 0);
		why = read_probe(t, probe_first);
	}
	if (why)
		rt_fail("%s does not work to begin with: %s", t->dev->name, why);
	for (t->qi = 0; t->qi < t->n_queues && t->qi < max_queues; t->qi++) {
		t->q = &t->vq[t->qi];
		if (!run_table(t, chain_attacks, n_chain_attacks, true) ||
		    !run_table(t, device_attacks, n_device_attacks, false))
			return false;
		if (t->qi == 0 && !run_table(t, config_attacks, n_config_attacks, false))
			return false;
		if (!only[0] && rounds && !run_fuzz(t, rounds, seed))
			return false;
	}
	vio_reset(t->dev);
	return true;
}

void guest_main(void)
{
	struct vio_dev *devs;
	unsigned n = vio_scan(&devs);
	uint64_t rounds = rt_arg_u64("rounds", 100), seed = rt_arg_u64("seed", 1);
	char lost[8] = "";

	rt_bus_errors_ok = true;
	rt_arg_str("only", only, sizeof(only));
	rt_arg_str("lost", lost, sizeof(lost));
	lost_ok = !strcmp(lost, "ok");
	every = rt_arg_u64("every", 1);
	max_queues = (unsigned)rt_arg_u64("queues", HOSTILE_QUEUES);
	if (every == 0)
		rt_fail("argument every=0: want 1 or more");
	wait_ticks = rt_ticks(rt_arg_u64("wait_ms", 20) * RT_NS_PER_MS);
	recover_ticks = rt_ticks(rt_arg_u64("recover_ms", 5000) * RT_NS_PER_MS);
	real_ram_end = find_ram_end();
	/* Neither RAM nor, by default, where a stray write would be an MSI to ourselves. */
	hole = rt_arg_u64("hole", 0xf0000000);
	if (n == 0)
		rt_fail("no virtio device");
	if (real_ram_end - rt_ram_base() > MAX_RAM)
		rt_fail("want at most 1 GiB of RAM, have 0x%lx bytes",
			real_ram_end - rt_ram_base());
	for (unsigned i = 0; i < n; i++) {
		struct target *t = rt_need(sizeof(*t), 64, "a target");
		t->dev = &devs[i];
		alloc_memory(t);
		while (t->n_queues < HOSTILE_QUEUES && t->dev->ops->queue_max(t->dev, t->n_queues))
			t->n_queues++;
		rt_printf("hostile: device dev=%s id=%u queues=%u offered=0x%lx\n", t->dev->name,
			  t->dev->id, t->n_queues, t->dev->ops->offered(t->dev));
		if (t->n_queues)
			attack_device(t, rounds, seed);
	}
	rt_printf("hostile: total attacks=%u lost=%u\n", n_run, n_lost);
}
