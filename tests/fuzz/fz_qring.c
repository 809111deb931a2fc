/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a ring, split or packed, whose memory is the input, and whose driver writes
 * to it between our calls.
 *
 * Input: size and features, iovec array size, base, then the number of steps and the steps (a byte,
 * some with operands), then the image of the first two regions. tests/fuzz/mkcorpus.py writes such
 * inputs.
 */
#include "lib/qmem.h"
#include "lib/qring.h"
#include "tests/fuzz/fuzz.h"

#define RAM_BYTES 0x2000ull	/* the image goes here, from address 0 */
#define NEXT_AT 0x2000ull	/* touches ram */
#define ROM_AT 0x5000ull	/* behind a hole; touched by the last region */
#define LAST_AT 0x6000ull
#define PAGE 0x1000ull
#define AVAIL_AT 0x100ull	/* close together, so that mutations hit something */
#define USED_AT 0x140ull
#define NUM_MAX 16u
#define IOV_MAX_PARTS 40u

static struct qmem *the_memory(void)
{
	static struct qmem *m;

	if (m)
		return m;
	m = qmem_new();
	qassert(m);
	qassert(qmem_add(m, gpa(0), RAM_BYTES, 0, "ram") == 0);
	qassert(qmem_add(m, gpa(NEXT_AT), PAGE, 0, "next") == 0);
	qassert(qmem_add(m, gpa(ROM_AT), PAGE, QMEM_READONLY, "rom") == 0);
	qassert(qmem_add(m, gpa(LAST_AT), PAGE, 0, "last") == 0);
	return m;
}

/* @v lies in one region that may be used like that. */
static void check_part(const struct qmem *m, const struct iovec *v, bool write)
{
	for (unsigned i = 0; i < m->n; i++) {
		uint64_t off = (uint64_t)((char *)v->iov_base - m->r[i].host);

		if (off >= m->r[i].len_bytes)
			continue;
		qassert(v->iov_len > 0 && qspan_inside(off, v->iov_len, m->r[i].len_bytes));
		qassert(!write || !(m->r[i].flags & QMEM_READONLY));
		return;
	}
	qassert(!"inside guest memory");
}

static void check_chain(const struct qring *r, const struct qring_chain *c, const struct iovec *iov,
			unsigned max_iov)
{
	uint64_t sum[2] = { 0, 0 };

	qassert(c->head < r->num && c->n_out <= max_iov && c->n_in <= max_iov - c->n_out);
	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		check_part(r->mem, &iov[i], i >= c->n_out);
		sum[i >= c->n_out] += iov[i].iov_len;
	}
	qassert(sum[0] == c->out_bytes && sum[1] == c->in_bytes);
}

static void take(struct qring *r, bool fetch, uint16_t head, unsigned max_iov)
{
	struct iovec iov[IOV_MAX_PARTS + 1];
	struct qring_chain c = { 0 };
	uint16_t before = r->last_avail;
	bool packed = r->packed;

	iov[max_iov].iov_len = 0x5a5a;
	enum qring_verdict v = fetch ? qring_fetch(r, head, iov, max_iov, &c) :
				       qring_pop(r, iov, max_iov, &c);
	bool consumed = v == QRING_OK || qring_chain_fault(v);

	qassert(v < QRING_VERDICTS && !(fetch && v == QRING_EMPTY));
	qassert(packed || (uint16_t)(r->last_avail - before) == (consumed && !fetch));
	qassert(!packed || (r->last_avail < r->num && v != QRING_BAD_INDEX));
	qassert(iov[max_iov].iov_len == 0x5a5a);
	if (!consumed)
		return;
	check_chain(r, &c, iov, max_iov);
	qassert(v == QRING_OK || c.n_out + c.n_in == 0);
	/* The device does its work: every part is there to be touched. */
	for (unsigned i = 0; i < c.n_out; i++)
		(void)*(const volatile char *)iov[i].iov_base;
	for (unsigned i = c.n_out; i < c.n_out + c.n_in; i++)
		((char *)iov[i].iov_base)[iov[i].iov_len - 1] = 1;
	qring_push(r, c.head, (uint32_t)c.in_bytes);
}

static void step(struct qring *r, struct fuzz_in *in, char *ram, unsigned max_iov)
{
	uint16_t at, value;

	switch (fuzz_u8(in) % 8) {
	case 0:
	case 1:
		take(r, false, 0, max_iov);
		return;
	case 2:
		take(r, true, fuzz_u16(in), max_iov);
		return;
	case 3:
		qring_publish(r);
		qassert(!qring_publish(r));
		return;
	case 4:
		qassert(qring_arm(r) == qring_pending(r));
		return;
	case 5:
		qring_disarm(r);
		return;
	default:
		at = fuzz_u16(in) % (RAM_BYTES - 1);
		value = fuzz_u16(in);
		memcpy(ram + at, &value, sizeof(value));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmem *m = the_memory();
	char *ram = qmem_ptr(m, gpa(0), RAM_BYTES, true);
	struct fuzz_in in = { data, size };
	uint8_t shape = fuzz_u8(&in);
	unsigned max_iov = fuzz_u8(&in) % (IOV_MAX_PARTS + 1);
	struct qring_cfg cfg = {
		.num = Q_MIN(1u << (shape & 7), NUM_MAX), .features = shape >> 4 & 7,
		.base = fuzz_u16(&in),
		.desc = gpa(0), .avail = gpa(AVAIL_AT), .used = gpa(USED_AT),
	};
	unsigned n_steps = fuzz_u8(&in);
	struct fuzz_in image = in;
	struct qring r;

	/* The steps stand first and have at most 5 bytes each; the image begins behind them. */
	size_t skip = Q_MIN((size_t)n_steps * 5, image.left);
	image.at += skip;
	image.left -= skip;
	in.left = skip;
	/* A packed ring may have any number of places. */
	cfg.num -= cfg.features & QRING_PACKED && cfg.num > 1 && shape & 0x80;
	fuzz_bytes(&image, ram, RAM_BYTES);
	fuzz_bytes(&image, qmem_ptr(m, gpa(NEXT_AT), PAGE, true), PAGE);
	memset(qmem_ptr(m, gpa(LAST_AT), PAGE, true), 0, PAGE);
	qassert(qring_init(&r, m, &cfg) == 0);
	while (n_steps-- > 0)
		step(&r, &in, ram, max_iov);
	qring_fini(&r);
	return 0;
}
