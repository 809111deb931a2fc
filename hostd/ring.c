/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of the last bytes. Owns its buffer. One thread. Invariant: the byte at position p stands
 * at buf[p % cap] for every p in [tail, head), and head - tail <= cap; cap is 0 or a power of two
 * up to max.
 */
#include "hostd/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 2048u

void hd_ring_init(struct hd_ring *r, size_t max_bytes)
{
	qassert(max_bytes && !(max_bytes & (max_bytes - 1)));
	*r = (struct hd_ring){ .max = max_bytes };
}

void hd_ring_fini(struct hd_ring *r)
{
	free(r->buf);
	r->buf = NULL;
	r->cap = 0;
	r->tail = r->head = 0;
}

int hd_ring_span(const struct hd_ring *r, uint64_t pos, struct iovec iov[2])
{
	if (pos < r->tail)
		return -ESTALE;
	if (pos >= r->head)
		return 0;
	size_t len = (size_t)(r->head - pos), at = (size_t)(pos & (r->cap - 1));
	size_t one = Q_MIN(len, r->cap - at);

	iov[0] = (struct iovec){ .iov_base = r->buf + at, .iov_len = one };
	iov[1] = (struct iovec){ .iov_base = r->buf, .iov_len = len - one };
	return one < len ? 2 : 1;
}

/* Makes room for @want bytes where the limit and the memory allow it. */
static void grow(struct hd_ring *r, uint64_t want)
{
	size_t cap = r->cap ? r->cap : FIRST_BYTES;
	struct iovec iov[2];

	while (cap < want && cap < r->max)
		cap *= 2;
	cap = Q_MIN(cap, r->max);
	if (cap <= r->cap)
		return;
	char *buf = malloc(cap);
	if (!buf)
		return;
	uint64_t pos = r->tail;
	int n = hd_ring_span(r, pos, iov);
	for (int i = 0; i < n; i++) {
		for (size_t k = 0; k < iov[i].iov_len; k++)
			buf[(pos + k) & (cap - 1)] = ((const char *)iov[i].iov_base)[k];
		pos += iov[i].iov_len;
	}
	free(r->buf);
	r->buf = buf;
	r->cap = cap;
}

void hd_ring_put(struct hd_ring *r, const char *bytes, size_t len)
{
	grow(r, r->head - r->tail + len);
	if (!r->cap) {
		r->tail = r->head += len;
		return;
	}
	if (len > r->cap) {
		r->head += len - r->cap;
		bytes += len - r->cap;
		len = r->cap;
	}
	size_t at = (size_t)(r->head & (r->cap - 1)), one = Q_MIN(len, r->cap - at);
	memcpy(r->buf + at, bytes, one);
	memcpy(r->buf, bytes + one, len - one);
	r->head += len;
	if (r->head - r->tail > r->cap)
		r->tail = r->head - r->cap;
}
