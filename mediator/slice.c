/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how requests are cut into slices, and that a slice becomes an I/O of the device's back end.
 * Device's thread only.
 */
#include "mediator/slice.h"

#include <stdint.h>

#include "mediator/cut.h"

static struct iovec next_part(struct med_req *r, uint64_t max)
{
	const struct iovec *part = &r->iov[r->iov_at];
	struct iovec cut = {
		.iov_base = (char *)part->iov_base + r->iov_off,
		.iov_len = Q_MIN(part->iov_len - r->iov_off, max),
	};

	r->iov_off += cut.iov_len;
	if (r->iov_off == part->iov_len) {
		r->iov_at++;
		r->iov_off = 0;
	}
	return cut;
}

void med_slice_cut(struct med_slice *s, struct med_req *r, uint32_t len)
{
	uint64_t left = len;
	struct backend_io *io = &s->io;

	s->req = r;
	io->op = r->op;
	io->durable = r->durable;
	io->unmap = r->unmap;
	io->unaligned = r->unaligned;
	io->mem = r->mem;
	io->len_bytes = len;
	io->off_bytes = r->share->policy->offset_bytes + r->sector * Q_SECTOR_BYTES + r->next_byte;
	io->iov = io->iov_store;
	io->n_iov = 0;
	if (!backend_is_barrier(r->op)) {
		while (left > 0) {
			io->iov_store[io->n_iov] = next_part(r, left);
			left -= io->iov_store[io->n_iov++].iov_len;
		}
	}
	r->next_byte += len;
}

uint32_t med_slice_next_bytes(const struct med_disk *d, const struct med_req *r)
{
	uint64_t left = r->len_bytes - r->next_byte;
	bool barrier = backend_is_barrier(r->op);

	if (r->op == QBLK_WRITE_ZEROES && d->backend->writes_zeroes)
		left = Q_MIN(left, d->policy->slice_bytes);
	else if (!barrier && r->unaligned)
		left = Q_MIN(left, d->backend->unaligned_bytes);
	return cut_bytes(&d->sched, r->share->sched_id, barrier, left);
}

bool med_req_is_barrier(const struct med_req *r)
{
	return backend_is_barrier(r->op);
}

bool med_req_is_unaligned(const struct med_disk *d, const struct med_req *r)
{
	uintptr_t bits = 0;

	if (d->backend->mem_align == 1 || med_req_is_barrier(r))
		return false;
	for (unsigned i = 0; i < r->n_iov; i++)
		bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return bits % d->backend->mem_align;
}
