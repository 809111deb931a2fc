/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O messages of a virtio sound device: a chain as a row of bytes, and the messages of a stream as
 * one longer row. No state of its own; one thread at a time a message and a fifo.
 *
 * A message is bytes, not descriptors (2.7.4.1): the readable half begins with the header, the
 * writable half ends with the status, and what is left is data. Parts are never cut: a place in the
 * row is a part and an offset.
 *
 * Invariant: done_bytes ≤ data_bytes; (part, part_off) is where done_bytes is; no byte outside the
 * chain's parts is touched.
 */
#include "lib/qsnd_msg.h"

#include <endian.h>
#include <string.h>

#define HDR_BYTES sizeof(struct virtio_snd_pcm_xfer)
#define STATUS_BYTES sizeof(struct virtio_snd_pcm_status)

/* ---- a place in a row of parts ---- */

struct place {
	const struct iovec *iov;
	unsigned n, part;
	size_t off;
};

/* The next piece at @p, at most @len long; the place moves behind it. NULL at the end. */
static void *piece(struct place *p, size_t len, size_t *ret_len)
{
	char *at;

	while (p->part < p->n && p->off == p->iov[p->part].iov_len) {
		p->part++;
		p->off = 0;
	}
	if (p->part == p->n)
		return NULL;
	at = (char *)p->iov[p->part].iov_base + p->off;
	*ret_len = Q_MIN(len, p->iov[p->part].iov_len - p->off);
	p->off += *ret_len;
	return at;
}

static void skip(struct place *p, uint64_t len)
{
	size_t n;

	while (len > 0 && piece(p, len, &n))
		len -= n;
}

static void copy_from(struct place *p, void *buf, size_t len)
{
	char *to = buf;
	const char *at;
	size_t n;

	for (; len > 0 && (at = piece(p, len, &n)); to += n, len -= n)
		memcpy(to, at, n);
}

/* @buf NULL: zeroes. */
static void copy_to(struct place *p, const void *buf, size_t len)
{
	const char *from = buf;
	char *at;
	size_t n;

	for (; len > 0 && (at = piece(p, len, &n)); len -= n) {
		if (!from) {
			memset(at, 0, n);
			continue;
		}
		memcpy(at, from, n);
		from += n;
	}
}

/* ---- a message ---- */

static struct place data_place(const struct qsnd_msg *m)
{
	return (struct place){ .iov = m->iov, .n = m->output ? m->n_out : m->n_out + m->n_in,
			       .part = m->part, .off = m->part_off };
}

static void keep_place(struct qsnd_msg *m, const struct place *p, uint32_t len)
{
	m->part = p->part;
	m->part_off = p->off;
	m->done_bytes += len;
}

/* Where the data begin: behind the header, or with the writable half. */
static void find_data(struct qsnd_msg *m)
{
	struct place p = { .iov = m->iov, .n = m->n_out };

	m->part = m->n_out;
	if (!m->output)
		return;
	skip(&p, HDR_BYTES);
	keep_place(m, &p, 0);
}

static uint32_t read_stream(const struct qsnd_msg *m)
{
	struct place p = { .iov = m->iov, .n = m->n_out };
	struct virtio_snd_pcm_xfer w = { 0 };

	copy_from(&p, &w, sizeof(w));
	return le32toh(w.stream_id);
}

enum qsnd_msg_verdict qsnd_msg_parse(const struct qsnd_dev *d, bool output,
				     const struct qring_chain *c, struct iovec *iov,
				     struct qsnd_msg *ret)
{
	uint64_t data, other;

	*ret = (struct qsnd_msg){ .iov = iov, .head = c->head, .n_out = c->n_out, .n_in = c->n_in,
				  .output = output, .in_bytes = c->in_bytes };
	if (c->out_bytes < HDR_BYTES || c->in_bytes < STATUS_BYTES)
		return QSND_MSG_BROKEN;
	data = output ? c->out_bytes - HDR_BYTES : c->in_bytes - STATUS_BYTES;
	other = output ? c->in_bytes - STATUS_BYTES : c->out_bytes - HDR_BYTES;
	ret->stream = read_stream(ret);
	find_data(ret);
	if (ret->stream >= d->n_streams || other || data > UINT32_MAX - STATUS_BYTES ||
	    (d->streams[ret->stream].direction == VIRTIO_SND_D_OUTPUT) != output)
		return QSND_MSG_IOERR;
	ret->data_bytes = (uint32_t)data;
	return QSND_MSG_OK;
}

uint32_t qsnd_msg_read(struct qsnd_msg *m, void *buf, uint32_t len)
{
	struct place p = data_place(m);

	len = Q_MIN(len, qsnd_msg_left(m));
	copy_from(&p, buf, len);
	keep_place(m, &p, len);
	return len;
}

uint32_t qsnd_msg_write(struct qsnd_msg *m, const void *buf, uint32_t len)
{
	struct place p = data_place(m);

	len = Q_MIN(len, qsnd_msg_left(m));
	copy_to(&p, buf, len);
	keep_place(m, &p, len);
	return len;
}

uint32_t qsnd_msg_done(struct qsnd_msg *m, uint32_t status, uint32_t latency_bytes)
{
	struct virtio_snd_pcm_status w = { .status = htole32(status),
					   .latency_bytes = htole32(latency_bytes) };
	struct place p = { .iov = m->iov, .n = m->n_out + m->n_in, .part = m->n_out };
	uint64_t recorded = m->output ? 0 : m->done_bytes;

	skip(&p, recorded);
	/* What the driver is told was written has been, wherever it looks for the status. */
	copy_to(&p, NULL, Q_MIN(STATUS_BYTES, m->in_bytes - STATUS_BYTES - recorded));
	p = (struct place){ .iov = m->iov, .n = m->n_out + m->n_in, .part = m->n_out };
	skip(&p, m->in_bytes - STATUS_BYTES);
	copy_to(&p, &w, sizeof(w));
	return (uint32_t)(recorded + STATUS_BYTES);
}

/* ---- a fifo ---- */

void qsnd_fifo_put(struct qsnd_fifo *f, struct qsnd_msg *m)
{
	m->next = NULL;
	if (f->last)
		f->last->next = m;
	else
		f->first = m;
	f->last = m;
	if (!f->cur)
		f->cur = m;
	f->n++;
	f->put_bytes += m->data_bytes;
	m->end_bytes = f->put_bytes;
}

/* The message that has bytes to be moved, NULL = none has. */
static struct qsnd_msg *moving(struct qsnd_fifo *f)
{
	while (f->cur && !qsnd_msg_left(f->cur))
		f->cur = f->cur->next;
	return f->cur;
}

uint32_t qsnd_fifo_read(struct qsnd_fifo *f, void *buf, uint32_t len)
{
	struct qsnd_msg *m;
	char *to = buf;
	uint32_t got = 0;

	while (got < len && (m = moving(f)))
		got += qsnd_msg_read(m, to + got, len - got);
	f->moved_bytes += got;
	return got;
}

uint32_t qsnd_fifo_write(struct qsnd_fifo *f, const void *buf, uint32_t len)
{
	struct qsnd_msg *m;
	const char *from = buf;
	uint32_t put = 0;

	while (put < len && (m = moving(f)))
		put += qsnd_msg_write(m, from + put, len - put);
	f->moved_bytes += put;
	return put;
}

static struct qsnd_msg *take_first(struct qsnd_fifo *f)
{
	struct qsnd_msg *m = f->first;

	f->first = m->next;
	if (f->cur == m)
		f->cur = m->next;
	if (!f->first)
		f->last = NULL;
	f->n--;
	return m;
}

struct qsnd_msg *qsnd_fifo_passed(struct qsnd_fifo *f, uint64_t clock_bytes)
{
	struct qsnd_msg *m = f->first;

	if (!m || qsnd_msg_left(m) || m->end_bytes > clock_bytes)
		return NULL;
	return take_first(f);
}

struct qsnd_msg *qsnd_fifo_flush(struct qsnd_fifo *f)
{
	if (f->first)
		return take_first(f);
	*f = (struct qsnd_fifo){ 0 };
	return NULL;
}
