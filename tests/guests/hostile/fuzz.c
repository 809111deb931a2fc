/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random rounds: descriptors drawn from values that are likely to hurt. Writable addresses of ours
 * lie in the arena only, so a correct device harms nothing, and block requests never aim a write
 * at a sector that exists.
 */
#include "tests/guests/hostile/hostile.h"

uint64_t fuzz_next(uint64_t *rng)
{
	*rng ^= *rng >> 12;
	*rng ^= *rng << 25;
	*rng ^= *rng >> 27;
	return *rng * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t random_address(struct target *t, uint64_t r)
{
	if (r % 4 == 0)
		return bad_address(r >> 8 & 0xff);
	if (r % 4 == 1)
		return (uint64_t)t->table + (r >> 8) % 64 * 16;
	return (uint64_t)t->data + (r >> 8) % 65536;
}

static uint32_t random_length(uint64_t r)
{
	static const uint32_t lengths[] = { 0, 1, 15, 16, 17, 48, 511, 512, 513, 4096, 65536,
					    0x7fffffff, 0x80000000, 0xfffffe00, 0xffffffff };
	return r & 1 ? lengths[(r >> 8) % RT_ARRAY_LEN(lengths)] : (uint32_t)(r >> 8) % 8192;
}

/*
 * An address of ours whose length leaves the arena would let a correct device write over the guest:
 * such a length is cut, unless it reaches beyond all memory and has to be refused as a whole.
 */
static void cut_to_arena(struct target *t, volatile struct vq_desc *d)
{
	uint64_t at = d->addr - (uint64_t)t->arena;

	if (at < ARENA_BYTES && d->len > ARENA_BYTES - at && d->len < 0x7fffffff)
		d->len = (uint32_t)(ARENA_BYTES - at);
}

static void random_desc(struct target *t, volatile struct vq_desc *d, unsigned n, uint64_t *rng)
{
	uint64_t r = fuzz_next(rng);

	d->addr = random_address(t, fuzz_next(rng));
	d->len = random_length(fuzz_next(rng));
	d->flags = (uint16_t)(r & 7) | (r % 16 == 9 ? 0xfff8 : 0);
	d->next = (uint16_t)(r % 8 == 0 ? r >> 16 : (r >> 16) % (n + 1));
	cut_to_arena(t, d);
}

/* A good request with one to three fields changed: gets past the first checks. */
static void mutate(struct target *t, uint64_t *rng)
{
	for (uint64_t k = 1 + fuzz_next(rng) % 3; k > 0; k--) {
		uint64_t r = fuzz_next(rng);
		volatile struct vq_desc *d = &t->q->desc[r % 3];
		if (r >> 8 & 3) {
			d->flags ^= (uint16_t)(1u << (r >> 16) % 3);
			d->next = (uint16_t)((r >> 24) % 4);
			continue;
		}
		d->addr = random_address(t, fuzz_next(rng));
		d->len = random_length(fuzz_next(rng));
		cut_to_arena(t, d);
	}
}

void fuzz_round(struct target *t, uint64_t *rng)
{
	unsigned n = 1 + (unsigned)(fuzz_next(rng) % t->q->num);

	put_request(t);
	if (fuzz_next(rng) & 1) {
		mutate(t, rng);
		t->header->sector = t->capacity - 1 - (fuzz_next(rng) & 7);
		fire(t, 0);
		return;
	}
	for (unsigned i = 0; i < 64; i++)
		random_desc(t, &t->table[i], 64, rng);
	for (unsigned i = fuzz_next(rng) & 1; i < n; i++)
		random_desc(t, &t->q->desc[i], n, rng);
	t->header->type = (uint32_t)(fuzz_next(rng) % 16);
	t->header->sector = t->capacity - fuzz_next(rng) % 2;
	if (t->header->type == BLK_T_OUT || t->header->type > 8)
		t->header->sector = t->capacity + (fuzz_next(rng) & 0xffff);
	for (uint64_t k = 1 + fuzz_next(rng) % 32; k > 0; k--)
		publish(t, (uint16_t)(fuzz_next(rng) % (n + 1)));
	t->dev->ops->notify(t->dev, t->qi);
}
