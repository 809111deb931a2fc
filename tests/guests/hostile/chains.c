/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks through the rings: descriptor chains, indirect tables, available entries and, for block
 * devices, the request in them. Each function starts from put_request() and spoils one thing.
 * Addresses of ours that a device might write to lie in the arena.
 */
#include "tests/guests/hostile/hostile.h"

#define N	VQ_F_NEXT
#define W	VQ_F_WRITE
#define I	VQ_F_INDIRECT

static uint64_t gpa(const volatile void *p)
{
	return (uint64_t)p;
}

static void put_table(struct target *t, unsigned i, const volatile void *addr, uint32_t len,
		      unsigned flags, unsigned next)
{
	t->table[i].addr = gpa(addr);
	t->table[i].len = len;
	t->table[i].flags = (uint16_t)flags;
	t->table[i].next = (uint16_t)next;
}

/* The well-formed request in the indirect table; returns nothing published yet. */
static void put_indirect(struct target *t)
{
	put_request(t);
	put_table(t, 0, t->header, 16, N, 1);
	put_table(t, 1, t->data, 512, N | W, 2);
	put_table(t, 2, t->status, 1, W, 0);
	put_desc(t, 0, gpa(t->table), 48, I, 0);
}

static void good(struct target *t, uint64_t arg)
{
	(void)arg;
	put_request(t);
	fire(t, 0);
}

static void head(struct target *t, uint64_t arg)
{
	put_request(t);
	fire(t, (uint16_t)(arg ? arg : t->q->num));
}

static void next_is(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->desc[1].next = (uint16_t)(arg == 0xfffe ? t->q->num : arg);
	fire(t, 0);
}

/* All descriptors in one chain; @arg 1 closes it to a ring. */
static void long_chain(struct target *t, uint64_t arg)
{
	unsigned num = t->q->num;

	put_request(t);
	for (unsigned i = 1; i < num; i++)
		put_desc(t, i, gpa(t->data), 512, W | (i + 1 < num || arg ? N : 0),
			 i + 1 < num ? i + 1 : 1);
	fire(t, 0);
}

static void length(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->desc[arg >> 32].len = (uint32_t)arg;
	fire(t, 0);
}

static void all_empty(struct target *t, uint64_t arg)
{
	(void)arg;
	put_request(t);
	for (unsigned i = 0; i < 3; i++)
		t->q->desc[i].len = 0;
	fire(t, 0);
}

static void address(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->desc[arg >> 8].addr = bad_address(arg & 0xff);
	if (t->q->desc[arg >> 8].len < 16)
		t->q->desc[arg >> 8].len = 512;
	fire(t, 0);
}

/* @arg: flags of the three descriptors, four bits each. */
static void flags(struct target *t, uint64_t arg)
{
	put_request(t);
	for (unsigned i = 0; i < 3; i++)
		t->q->desc[i].flags = (uint16_t)(arg >> 4 * i & 15);
	fire(t, 0);
}

static void unknown_flags(struct target *t, uint64_t arg)
{
	put_request(t);
	for (unsigned i = 0; i < 3; i++)
		t->q->desc[i].flags |= (uint16_t)arg;
	fire(t, 0);
}

static void status_first(struct target *t, uint64_t arg)
{
	(void)arg;
	put_request(t);
	put_desc(t, 0, gpa(t->status), 1, W | N, 1);
	put_desc(t, 1, gpa(t->header), 16, N, 2);
	put_desc(t, 2, gpa(t->data), 512, W, 0);
	fire(t, 0);
}

static void header_short(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->desc[0].len = (uint32_t)arg;
	fire(t, 0);
}

/* Header in pieces of @arg bytes, data in pieces of odd size: allowed, and must be understood. */
static void split(struct target *t, uint64_t arg)
{
	unsigned n = 0;

	put_request(t);
	for (unsigned at = 0; at < 16; at += (unsigned)arg, n++)
		put_desc(t, n, gpa(t->header) + at, 16 - at < arg ? 16 - at : (uint32_t)arg, N,
			 n + 1);
	put_desc(t, n, gpa(t->data), 511, W | N, n + 1);
	put_desc(t, n + 1, gpa(t->data) + 511, 1, W | N, n + 2);
	put_desc(t, n + 2, gpa(t->status), 1, W, 0);
	fire(t, 0);
}

/* Data and status in one descriptor: allowed since version 1. */
static void status_in_data(struct target *t, uint64_t arg)
{
	(void)arg;
	put_request(t);
	put_desc(t, 1, gpa(t->status) - 512, 513, W, 0);
	fire(t, 0);
}

static void indirect_len(struct target *t, uint64_t arg)
{
	put_indirect(t);
	t->q->desc[0].len = (uint32_t)arg;
	fire(t, 0);
}

static void indirect_flags(struct target *t, uint64_t arg)
{
	put_indirect(t);
	t->q->desc[0].flags = (uint16_t)arg;
	t->q->desc[0].next = 1;
	fire(t, 0);
}

static void indirect_addr(struct target *t, uint64_t arg)
{
	put_indirect(t);
	t->q->desc[0].addr = bad_address(arg);
	t->q->desc[0].len = 64 * 16;
	fire(t, 0);
}

static void indirect_nested(struct target *t, uint64_t arg)
{
	put_indirect(t);
	put_table(t, 1, t->table, 48, I | (unsigned)arg, 2);
	fire(t, 0);
}

static void indirect_next(struct target *t, uint64_t arg)
{
	put_indirect(t);
	t->table[1].next = (uint16_t)arg;
	t->table[1].flags = N | W;
	fire(t, 0);
}

static void indirect_after_direct(struct target *t, uint64_t arg)
{
	(void)arg;
	put_indirect(t);
	put_desc(t, 0, gpa(t->header), 16, N, 1);
	put_desc(t, 1, gpa(t->table + 1), 32, I, 0);
	put_table(t, 1, t->data, 512, N | W, 1);
	fire(t, 0);
}

/* 1,024 entries, more than any queue of ours has. */
static void indirect_long(struct target *t, uint64_t arg)
{
	(void)arg;
	put_indirect(t);
	for (unsigned i = 1; i < 1024; i++)
		put_table(t, i, i < 1023 ? t->data : (uint8_t *)t->status, i < 1023 ? 8 : 1,
			  W | (i < 1023 ? N : 0), i + 1);
	t->q->desc[0].len = 1024 * 16;
	fire(t, 0);
}

static void idx_jump(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->avail->idx = (uint16_t)(t->q->avail->idx + arg);
	t->sent = 1;
	t->dev->ops->notify(t->dev, t->qi);
}

static void same_head(struct target *t, uint64_t arg)
{
	put_request(t);
	for (uint64_t i = 0; i < arg; i++)
		publish(t, 0);
	t->dev->ops->notify(t->dev, t->qi);
}

static void ring_flags(struct target *t, uint64_t arg)
{
	put_request(t);
	t->q->avail->flags = (uint16_t)arg;
	t->q->avail->ring[t->q->num] = (uint16_t)arg;
	fire(t, 0);
}

/* Descriptors change under the device's eyes, from good to bad and back. */
static void race(struct target *t, uint64_t arg)
{
	uint64_t until = arch_ticks() + rt_ticks(20 * RT_NS_PER_MS);
	uint64_t good_addr = gpa(t->data);

	put_request(t);
	for (unsigned n = 0; arch_ticks() < until; n++) {
		if (n % 64 == 0)
			fire(t, 0);
		volatile struct vq_desc *d = &t->q->desc[1];
		if (arg == 0)
			d->addr = n & 1 ? good_addr : bad_address(n >> 1 & 3);
		else if (arg == 1)
			d->len = n & 1 ? 512 : 0xffffffff;
		else if (arg == 2)
			d->next = n & 1 ? 2 : (uint16_t)(n >> 1);
		else if (arg == 3)
			d->flags = n & 1 ? N | W : (uint16_t)(n >> 1 & 7);
		else
			t->header->sector = n & 1 ? 0 : UINT64_MAX - n;
	}
}

static void type(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->type = (uint32_t)arg;
	fire(t, 0);
}

/* A write-type request whose data is garbage, aimed at nothing that exists. */
static void type_out(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->type = (uint32_t)arg;
	memset(t->data, 0xff, 512);
	t->q->desc[1].flags = N;
	t->header->sector = t->capacity;
	fire(t, 0);
}

static void sector(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->sector = arg ? arg : t->capacity;
	fire(t, 0);
}

static void across_end(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->sector = t->capacity - 1;
	t->q->desc[1].len = (uint32_t)arg;
	fire(t, 0);
}

static void flush_odd(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->type = BLK_T_FLUSH;
	t->header->sector = arg;
	fire(t, 0);
}

static void read_only_buffer(struct target *t, uint64_t arg)
{
	put_request(t);
	t->header->type = arg ? BLK_T_OUT : BLK_T_IN;
	t->header->sector = t->capacity;
	t->q->desc[1].flags = arg ? N | W : N;
	fire(t, 0);
}

#define POS(i, v)	((uint64_t)(i) << 32 | (v))
#define BAD(i, a)	((uint64_t)(i) << 8 | (a))

const struct attack chain_attacks[] = {
	{ "well-formed", good },
	{ "head-is-queue-size", head, 0 },
	{ "head-32768", head, 32768 },
	{ "head-65535", head, 65535 },
	{ "next-is-queue-size", next_is, 0xfffe },
	{ "next-65535", next_is, 0xffff },
	{ "next-loop-self", next_is, 1 },
	{ "next-loop-to-head", next_is, 0 },
	{ "chain-whole-queue", long_chain, 0 },
	{ "chain-longer-than-queue", long_chain, 1 },
	{ "zero-length-all", all_empty },
	{ "zero-length-first", length, POS(0, 0) },
	{ "zero-length-second", length, POS(1, 0) },
	{ "zero-length-third", length, POS(2, 0) },
	{ "huge-length-first", length, POS(0, 0xffffffff) },
	{ "huge-length-second", length, POS(1, 0xffffffff) },
	{ "huge-length-third", length, POS(2, 0xffffffff) },
	{ "huge-length-aligned", length, POS(1, 0xfffffe00) },
	{ "first-beyond-ram", address, BAD(0, AT_BEYOND_RAM) },
	{ "second-beyond-ram", address, BAD(1, AT_BEYOND_RAM) },
	{ "third-beyond-ram", address, BAD(2, AT_BEYOND_RAM) },
	{ "first-wraps", address, BAD(0, AT_WRAP) },
	{ "second-wraps", address, BAD(1, AT_WRAP) },
	{ "third-wraps", address, BAD(2, AT_WRAP) },
	{ "first-straddles-ram-end", address, BAD(0, AT_STRADDLE) },
	{ "second-straddles-ram-end", address, BAD(1, AT_STRADDLE) },
	{ "third-straddles-ram-end", address, BAD(2, AT_STRADDLE) },
	{ "first-in-mmio-hole", address, BAD(0, AT_HOLE) },
	{ "second-in-mmio-hole", address, BAD(1, AT_HOLE) },
	{ "third-in-mmio-hole", address, BAD(2, AT_HOLE) },
	{ "second-bit-63", address, BAD(1, AT_BIT_63) },
	{ "second-straddles-4g", address, BAD(1, AT_BELOW_4G) },
	{ "first-writable", flags, (N | W) | (N | W) << 4 | W << 8 },
	{ "last-read-only", flags, N | (N | W) << 4 },
	{ "last-missing", flags, N | W << 4 },
	{ "first-only", flags, 0 },
	{ "all-writable-first-only", flags, W },
	{ "writable-before-readable", status_first },
	{ "unknown-flags", unknown_flags, 0xfff8 },
	{ "indirect-length-0", indirect_len, 0 },
	{ "indirect-length-1", indirect_len, 1 },
	{ "indirect-length-47", indirect_len, 47 },
	{ "indirect-length-short", indirect_len, 16 },
	{ "indirect-length-huge", indirect_len, 0xfffffff0 },
	{ "indirect-with-next", indirect_flags, I | N },
	{ "indirect-with-write", indirect_flags, I | W },
	{ "indirect-beyond-ram", indirect_addr, AT_BEYOND_RAM },
	{ "indirect-wraps", indirect_addr, AT_WRAP },
	{ "indirect-straddles-ram-end", indirect_addr, AT_STRADDLE },
	{ "indirect-in-mmio-hole", indirect_addr, AT_HOLE },
	{ "indirect-nested", indirect_nested, 0 },
	{ "indirect-nested-with-next", indirect_nested, N },
	{ "indirect-next-beyond", indirect_next, 3 },
	{ "indirect-next-65535", indirect_next, 65535 },
	{ "indirect-loop", indirect_next, 1 },
	{ "indirect-after-direct", indirect_after_direct },
	{ "indirect-longer-than-queue", indirect_long },
	{ "indirect-not-negotiated", indirect_flags, I, .without = VIO_F_INDIRECT },
	{ "avail-jump-queue-plus-1", idx_jump, VQ_MAX_SIZE + 1 },
	{ "avail-jump-32768", idx_jump, 32768 },
	{ "avail-backwards", idx_jump, 65535 },
	{ "same-head-twice", same_head, 2 },
	{ "same-head-64-times", same_head, 64 },
	{ "ring-flags-garbage", ring_flags, 0xffff, .without = VIO_F_EVENT_IDX },
	{ "used-event-garbage", ring_flags, 0x7fff },
	{ "race-address", race, 0 },
	{ "race-length", race, 1 },
	{ "race-next", race, 2 },
	{ "race-flags", race, 3 },
	{ "race-sector", race, 4, .blk_only = true },
	{ "blk-header-15", header_short, 15, .blk_only = true },
	{ "blk-header-8", header_short, 8, .blk_only = true },
	{ "blk-split-1", split, 1, .blk_only = true },
	{ "blk-split-5", split, 5, .blk_only = true },
	{ "blk-split-15", split, 15, .blk_only = true },
	{ "blk-status-in-data", status_in_data, .blk_only = true },
	{ "blk-data-1", length, POS(1, 1), .blk_only = true },
	{ "blk-data-511", length, POS(1, 511), .blk_only = true },
	{ "blk-data-513", length, POS(1, 513), .blk_only = true },
	{ "blk-type-2", type, 2, .blk_only = true },
	{ "blk-type-3", type, 3, .blk_only = true },
	{ "blk-type-get-id", type, 8, .blk_only = true },
	{ "blk-type-0x80000000", type, 0x80000000, .blk_only = true },
	{ "blk-type-0xffffffff", type, 0xffffffff, .blk_only = true },
	{ "blk-out-past-end", type_out, BLK_T_OUT, .blk_only = true },
	{ "blk-discard-garbage", type_out, 11, .blk_only = true },
	{ "blk-write-zeroes-garbage", type_out, 13, .blk_only = true },
	{ "blk-secure-erase-garbage", type_out, 14, .blk_only = true },
	{ "blk-sector-past-end", sector, 0, .blk_only = true },
	{ "blk-sector-bytes-wrap", sector, UINT64_C(1) << 55, .blk_only = true },
	{ "blk-sector-bit-63", sector, UINT64_C(1) << 63, .blk_only = true },
	{ "blk-sector-max", sector, UINT64_MAX, .blk_only = true },
	{ "blk-across-end", across_end, 1024, .blk_only = true },
	{ "blk-across-end-far", across_end, 65536, .blk_only = true },
	{ "blk-flush-with-data", flush_odd, 0, .blk_only = true },
	{ "blk-flush-with-sector", flush_odd, UINT64_MAX, .blk_only = true },
	{ "blk-in-read-only-buffer", read_only_buffer, 0, .blk_only = true },
	{ "blk-out-writable-buffer", read_only_buffer, 1, .blk_only = true },
};
const unsigned n_chain_attacks = RT_ARRAY_LEN(chain_attacks);
