/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user back end: messages about shared memory, which are the memory table and the
 * in-flight region. Handlers as qvhu_be_msg.c has them, same thread. All queues stand still.
 *
 * A table is never changed: each message makes a new one, and requests of the owner that are
 * still looking into the old one keep their reference.
 */
#include <errno.h>

#include "lib/qfd.h"
#include "lib/qvhu_be_priv.h"

static int mem_fault(struct qvhu_be *be, int err)
{
	switch (err) {
	case -EINVAL:
		return be_fault(be, "region not aligned or wraps");
	case -EEXIST:
		return be_fault(be, "regions overlap");
	case -ENOSPC:
		return be_fault(be, "too many regions");
	case -ERANGE:
		return be_fault(be, "file shorter than its region");
	case -EPERM:
		return be_fault(be, "file can shrink");
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
		return err;
	default:
		return be_fault(be, "file cannot be mapped");
	}
}

/* Adds @w with @fd, which is consumed. The same memory may stand at two guest addresses, so that
 * user addresses may overlap. */
static int mem_add(struct qvhu_be *be, struct qmem *mem, const struct qvhu_mem_region *w, int fd)
{
	unsigned flags = be->ops->require_sealed ? QMEM_SEALED : 0;

	if (!qspan_inside(w->user_addr, w->len_bytes, UINT64_MAX)) {
		qfd_close(&fd);
		return be_fault(be, "user address wraps");
	}
	uint64_t max = be->ops->mem_bytes_max;
	if (max && !qspan_inside(qmem_total(mem), w->len_bytes, max)) {
		qfd_close(&fd);
		return be_fault(be, "more memory than a front end may have");
	}
	int r = qmem_add_fd(mem, gpa(w->gpa), w->len_bytes, flags, w->user_addr, fd, w->fd_off);
	return r < 0 ? mem_fault(be, r) : QVHU_OK;
}

static void mem_clean(struct qmem **mem)
{
	*mem = qmem_unref(*mem);
}

/* Makes @take_mem the table. Requests in flight hold references of the old one. */
static int mem_swap(struct qvhu_be *be, struct qmem **take_mem)
{
	qmem_unref(be->mem);
	be->mem = *take_mem;
	be->mem->heir = be->ops->mem_heir;
	*take_mem = NULL;
	return be_queues_start(be);
}

int be_set_mem_table(struct qvhu_be *be)
{
	struct qvhu_mem_region w[QVHU_MEM_REGIONS_MAX];
	unsigned n;

	if (!qvhu_get_mem_table(&be->msg, w, &n))
		return be_fault(be, "length or number of descriptors");
	QCLEAN(mem_clean) struct qmem *mem = qmem_new();
	if (!mem)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		int r = mem_add(be, mem, &w[i], be_take_fd(&be->msg, i));
		if (r != QVHU_OK)
			return r;
	}
	return mem_swap(be, &mem);
}

int be_get_max_mem_slots(struct qvhu_be *be)
{
	return be_reply_u64(be, QMEM_REGIONS_MAX);
}

/* A copy of the table without region @skip (-1: with all). Mapped anew: what is in flight has the
 * old one. */
static int mem_copy(struct qvhu_be *be, int skip, struct qmem **ret)
{
	QCLEAN(mem_clean) struct qmem *mem = qmem_new();

	if (!mem)
		return -ENOMEM;
	for (unsigned i = 0; be->mem && i < be->mem->n; i++) {
		const struct qmem_region *r = &be->mem->r[i];
		struct qvhu_mem_region w = { .gpa = r->gpa, .len_bytes = r->len_bytes,
					     .user_addr = r->user_addr, .fd_off = r->fd_off };

		if ((int)i == skip)
			continue;
		int fd = qfd_dup(r->fd);
		if (fd < 0)
			return fd;
		int err = mem_add(be, mem, &w, fd);
		if (err != QVHU_OK)
			return err;
	}
	*ret = mem;
	mem = NULL;
	return QVHU_OK;
}

int be_add_mem_reg(struct qvhu_be *be)
{
	struct qvhu_mem_region w;

	if (!qvhu_get_mem_reg(&be->msg, &w))
		return be_fault(be, "length");
	QCLEAN(mem_clean) struct qmem *mem = NULL;
	int r = mem_copy(be, -1, &mem);
	if (r == QVHU_OK)
		r = mem_add(be, mem, &w, be_take_fd(&be->msg, 0));
	return r == QVHU_OK ? mem_swap(be, &mem) : r;
}

int be_rem_mem_reg(struct qvhu_be *be)
{
	struct qvhu_mem_region w;
	int at = -1;

	if (!qvhu_get_mem_reg(&be->msg, &w))
		return be_fault(be, "length");
	for (unsigned i = 0; be->mem && i < be->mem->n; i++) {
		const struct qmem_region *r = &be->mem->r[i];
		if (r->gpa == w.gpa && r->user_addr == w.user_addr && r->len_bytes == w.len_bytes)
			at = (int)i;
	}
	if (at < 0)
		return be_fault(be, "no such region");
	QCLEAN(mem_clean) struct qmem *mem = NULL;
	int r = mem_copy(be, at, &mem);
	return r == QVHU_OK ? mem_swap(be, &mem) : r;
}

/* ---- in-flight region ---- */

static int check_inflight(struct qvhu_be *be, const struct qvhu_inflight *in)
{
	if (in->n_queues == 0 || in->n_queues > be->ops->n_queues)
		return be_fault(be, "number of queues");
	if (in->queue_size == 0 || in->queue_size > be->ops->queue_size_max)
		return be_fault(be, "queue size");
	return QVHU_OK;
}

int be_get_inflight_fd(struct qvhu_be *be)
{
	struct qvhu_inflight in = { 0 };
	QCLEAN(qfd_close) int fd = -1;

	if (!qvhu_get_inflight(&be->msg, &in))
		return be_fault(be, "length");
	int r = check_inflight(be, &in);
	if (r == QVHU_OK)
		r = qvhu_inflight_create(in.n_queues, in.queue_size, be->ops->extra_bytes, &in,
					 &fd);
	if (r != QVHU_OK)
		return r;
	return be_reply(be, &in, be->msg.hdr.len_bytes, fd);
}

int be_set_inflight_fd(struct qvhu_be *be)
{
	struct qvhu_inflight in = { 0 };
	struct qvhu_inflight_region *region;
	const char *why;

	if (!qvhu_get_inflight(&be->msg, &in))
		return be_fault(be, "length");
	int r = check_inflight(be, &in);
	if (r != QVHU_OK)
		return r;
	r = qvhu_inflight_map(&in, be_take_fd(&be->msg, 0), &why, &region);
	if (r != QVHU_OK)
		return r == QVHU_FAULT ? be_fault(be, why) : r;
	qvhu_inflight_unmap(be->inflight);
	be->inflight = region;
	return be_queues_start(be);
}
