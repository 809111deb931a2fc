/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight region of a vhost-user connection: shared memory, made by a back end and kept by
 * the front end, in which the back end notes what it has taken and not yet completed, so that the
 * next back end can go on after a crash. What is done for each request is declared in qvhu_be.h;
 * this is the region as a whole. The thread of the connection.
 */
#pragma once

#include "lib/qvhu_be.h"

struct qvhu_inflight_region;

#define QVHU_INFLIGHT_EXTRA_MAX 4096u

/* A fresh region (a sealed memfd, zeroed) for @n_queues queues of @queue_size entries, and behind
 * them @extra_bytes of the device's own. 0 or -errno. */
int qvhu_inflight_create(uint16_t n_queues, uint16_t queue_size, uint32_t extra_bytes,
			 struct qvhu_inflight *ret, int *ret_fd);

/*
 * Maps what a front end gave us; @take_fd is consumed. QVHU_OK; -errno; QVHU_FAULT with one word
 * in *ret_why when the file cannot hold it, can shrink, or carries something that is not ours.
 */
int qvhu_inflight_map(const struct qvhu_inflight *in, int take_fd, const char **ret_why,
		      struct qvhu_inflight_region **ret);
struct qvhu_inflight_region *qvhu_inflight_unmap(struct qvhu_inflight_region *r); /* NULL is fine */

/* The device's own @bytes behind the queues, or NULL: the region has less. The front end can write
 * there, as everywhere in it. */
void *qvhu_inflight_extra(struct qvhu_inflight_region *r, uint32_t bytes);
/* Queue @i, or NULL when the region has none for it. Lives as long as the region. */
struct qvhu_inflight_queue *qvhu_inflight_of(struct qvhu_inflight_region *r, unsigned i);
/*
 * A ring of @num entries starts on the queue, @used_idx standing in its used ring and @base
 * having been asked for. QVHU_OK and the avail index to go on from; QVHU_FAULT when the region
 * has no room for the ring; -ENOMEM.
 */
int qvhu_inflight_begin(struct qvhu_inflight_queue *q, uint32_t num, uint16_t used_idx,
			 uint16_t base, uint16_t *ret_base);
