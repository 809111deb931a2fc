/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-blk request format (virtio 1.2, 5.2.6). No state; any thread.
 *
 * A request is a byte stream, not a list of descriptors (2.7.4.1): 16 bytes of header lead the
 * readable part, one status byte ends the writable part, and what is left on either side is data.
 * So the cuts are made in the iovecs by bytes, and only then is anybody asked what the request
 * means.
 *
 * Invariant: the header and the segment are copied out of guest memory once and judged from the
 * copy; a request that is QBLK_OK lies inside the device and has data on its own side only.
 */
#include "lib/qblk.h"

#include <endian.h>
#include <linux/virtio_blk.h>
#include <string.h>

struct wire_header {
	uint32_t w_type, w_ioprio;
	uint64_t w_sector;
};

struct wire_segment {
	uint64_t w_sector;
	uint32_t w_n_sectors, w_flags;
};

/* A run of iovecs and the bytes in it. */
struct span {
	struct iovec *iov;
	unsigned n;
	uint64_t len_bytes;
};

/* Moves @len_bytes from the front of @s to @buf. The caller knows that they are there. */
static void cut_front(struct span *s, void *buf, size_t len_bytes)
{
	char *to = buf;

	s->len_bytes -= len_bytes;
	while (len_bytes > 0) {
		size_t n = Q_MIN(len_bytes, s->iov->iov_len);

		memcpy(to, s->iov->iov_base, n);
		to += n;
		len_bytes -= n;
		s->iov->iov_base = (char *)s->iov->iov_base + n;
		s->iov->iov_len -= n;
		if (s->iov->iov_len == 0) {
			s->iov++;
			s->n--;
		}
	}
}

/* Takes the last byte off @s. */
static uint8_t *cut_status(struct span *s)
{
	struct iovec *last = &s->iov[s->n - 1];

	s->len_bytes--;
	if (--last->iov_len == 0)
		s->n--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static bool in_range(const struct qblk_dev *dev, uint64_t sector, uint64_t n_sectors)
{
	return n_sectors > 0 && qspan_inside(sector, n_sectors, dev->capacity_sectors);
}

static enum qblk_verdict set_data(struct qblk_req *req, const struct span *data)
{
	req->iov = data->iov;
	req->n_iov = data->n;
	req->len_bytes = data->len_bytes;
	return QBLK_OK;
}

static enum qblk_verdict parse_rw(const struct qblk_dev *dev, const struct span *data,
				  const struct span *other, struct qblk_req *req)
{
	if (other->len_bytes > 0 || data->len_bytes % Q_SECTOR_BYTES ||
	    !in_range(dev, req->sector, data->len_bytes / Q_SECTOR_BYTES))
		return QBLK_IOERR;
	if (req->op == QBLK_WRITE && dev->read_only)
		return QBLK_IOERR;
	return set_data(req, data);
}

/* DISCARD and WRITE_ZEROES: the range is in the data (5.2.6.2 says which answer belongs to which
 * mistake). */
static enum qblk_verdict parse_range(const struct qblk_dev *dev, struct span *out,
				     const struct span *in, struct qblk_req *req)
{
	bool zeroes = req->op == QBLK_WRITE_ZEROES;
	struct wire_segment w;

	if (!(zeroes ? dev->write_zeroes : dev->discard))
		return QBLK_UNSUPP;
	if (dev->read_only || in->len_bytes > 0 || out->len_bytes != sizeof(w))
		return QBLK_IOERR;
	cut_front(out, &w, sizeof(w));

	uint32_t flags = le32toh(w.w_flags), n_sectors = le32toh(w.w_n_sectors);
	if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return QBLK_UNSUPP;
	req->sector = le64toh(w.w_sector);
	if (!in_range(dev, req->sector, n_sectors))
		return QBLK_IOERR;
	req->len_bytes = (uint64_t)n_sectors * Q_SECTOR_BYTES;
	req->unmap = flags;	/* zeroes only: refused above for a discard */
	return QBLK_OK;
}

static enum qblk_verdict parse_id(const struct span *in, const struct span *out,
				  struct qblk_req *req)
{
	if (out->len_bytes > 0 || in->len_bytes == 0 || in->len_bytes > QBLK_ID_MAX)
		return QBLK_IOERR;
	return set_data(req, in);
}

static enum qblk_verdict parse_op(const struct qblk_dev *dev, uint32_t type, struct span *out,
				  struct span *in, struct qblk_req *req)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		req->op = QBLK_READ;
		return parse_rw(dev, in, out, req);
	case VIRTIO_BLK_T_OUT:
		req->op = QBLK_WRITE;
		return parse_rw(dev, out, in, req);
	case VIRTIO_BLK_T_FLUSH:
		req->op = QBLK_FLUSH;	/* data SHOULD NOT come with it (5.2.6.1): ignored */
		return QBLK_OK;
	case VIRTIO_BLK_T_GET_ID:
		req->op = QBLK_GET_ID;
		return parse_id(in, out, req);
	case VIRTIO_BLK_T_DISCARD:
		req->op = QBLK_DISCARD;
		return parse_range(dev, out, in, req);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		req->op = QBLK_WRITE_ZEROES;
		return parse_range(dev, out, in, req);
	default:
		return QBLK_UNSUPP;
	}
}

enum qblk_verdict qblk_parse(const struct qblk_dev *dev, const struct qring_chain *c,
			     struct iovec *iov, struct qblk_req *ret)
{
	struct span out = { .iov = iov, .n = c->n_out, .len_bytes = c->out_bytes };
	struct span in = { .iov = iov + c->n_out, .n = c->n_in, .len_bytes = c->in_bytes };
	struct wire_header w;

	*ret = (struct qblk_req){ .head = c->head };
	if (out.len_bytes < sizeof(w) || in.len_bytes < 1)
		return QBLK_BROKEN;
	cut_front(&out, &w, sizeof(w));
	ret->status = cut_status(&in);
	ret->in_bytes = in.len_bytes;
	ret->sector = le64toh(w.w_sector);
	ret->ioprio = (uint16_t)le32toh(w.w_ioprio);
	return parse_op(dev, le32toh(w.w_type), &out, &in, ret);
}

uint32_t qblk_done(const struct qblk_req *req, uint8_t status)
{
	bool filled = status == VIRTIO_BLK_S_OK &&
		      (req->op == QBLK_READ || req->op == QBLK_GET_ID);

	*(volatile uint8_t *)req->status = status;
	if (req->in_bytes > 0 && !filled)
		return 0;
	return Q_MIN(req->in_bytes, UINT32_MAX - 1ull) + 1;
}

uint8_t qblk_get_id(const struct qblk_dev *dev, const struct qblk_req *req)
{
	size_t left = sizeof(dev->serial);
	const char *from = dev->serial;

	for (unsigned i = 0; i < req->n_iov; i++) {
		char *to = req->iov[i].iov_base;
		size_t n = Q_MIN(left, req->iov[i].iov_len);

		memcpy(to, from, n);
		memset(to + n, 0, req->iov[i].iov_len - n);
		from += n;
		left -= n;
	}
	return VIRTIO_BLK_S_OK;
}
