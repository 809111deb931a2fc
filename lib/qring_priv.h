/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the split and the packed half of the device's side share: qring.c and qring_packed.c, and
 * nobody else. How a guest's addresses become iovecs stands here once.
 */
#pragma once

#include "lib/qring.h"
#include "lib/qring_wire.h"

/* One descriptor in our byte order: the copy that is checked and used. */
struct qring_buf {
	uint64_t addr;
	uint32_t len_bytes;
	uint16_t flags, next;
};

/* A chain under construction. */
struct qring_parts {
	struct iovec *iov;
	unsigned n, max;
	struct qring_chain *chain;
};

static inline bool qring_is_aligned(const void *host, gpa_t at, unsigned align)
{
	return at.v % align == 0 && (uintptr_t)host % align == 0;
}

/* The region that holds @addr, or NULL. Buffers are neighbours: the last hit is tried first. */
static inline const struct qmem_region *qring_find_region(struct qring *r, uint64_t addr)
{
	const struct qmem *m = r->mem;

	if (r->region < m->n && addr - m->r[r->region].gpa < m->r[r->region].len_bytes)
		return &m->r[r->region];

	/* Regions below lo end at or before addr; from hi on they start behind it. */
	unsigned lo = 0, hi = m->n;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (addr < m->r[mid].gpa) {
			hi = mid;
		} else if (addr - m->r[mid].gpa >= m->r[mid].len_bytes) {
			lo = mid + 1;
		} else {
			r->region = mid;
			return &m->r[mid];
		}
	}
	return NULL;
}

/* The host's address of @addr and how many of @len_bytes follow it there; NULL when it is not
 * ours to use. No region reaches the last address (qmem.c), so that @addr + *ret_run never wraps:
 * who goes on from there comes to a hole first. */
static inline void *qring_resolve(struct qring *r, uint64_t addr, uint64_t len_bytes, bool write,
				  uint64_t *ret_run)
{
	const struct qmem_region *reg = qring_find_region(r, addr);

	if (!reg || (write && (reg->flags & QMEM_READONLY)))
		return NULL;
	uint64_t off = addr - reg->gpa;
	*ret_run = Q_MIN(len_bytes, reg->len_bytes - off);
	return reg->host + off;
}

/* Adds a buffer to the chain, cut where regions meet. */
static inline enum qring_verdict qring_add_buffer(struct qring *r, const struct qring_buf *d,
						  struct qring_parts *p)
{
	bool write = d->flags & VRING_DESC_F_WRITE;
	uint64_t addr = d->addr, run;

	if (d->len_bytes == 0 || (!write && p->chain->n_in))
		return QRING_BAD_CHAIN;
	for (uint64_t left = d->len_bytes; left; left -= run, addr += run) {
		void *host = qring_resolve(r, addr, left, write, &run);

		if (!host)
			return QRING_BAD_ADDR;
		if (p->n == p->max)
			return QRING_TOO_MANY;
		p->iov[p->n++] = (struct iovec){ .iov_base = host, .iov_len = run };
		*(write ? &p->chain->n_in : &p->chain->n_out) += 1;
	}
	*(write ? &p->chain->in_bytes : &p->chain->out_bytes) += d->len_bytes;
	return QRING_OK;
}

/* ---- the packed half ---- */

int qring_packed_init(struct qring *r, const struct qmem *mem, const struct qring_cfg *cfg);
enum qring_verdict qring_packed_pop(struct qring *r, struct iovec *iov, unsigned max_iov,
				    struct qring_chain *ret_chain);
bool qring_packed_pending(const struct qring *r);
void qring_packed_push(struct qring *r, uint16_t head, uint32_t written_bytes);
bool qring_packed_publish(struct qring *r);
bool qring_packed_arm(struct qring *r);
void qring_packed_disarm(struct qring *r);
