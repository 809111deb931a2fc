/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O messages of a virtio sound device (virtio 1.2, 5.14.6.8): a chain of the tx or rx queue, read
 * or filled little by little. No allocation, lock, clock or log; one thread at a time a message.
 * Only what stands in the chain's parts is touched, and those are guest memory: each byte is copied
 * once, and samples have no wrong values.
 *
 * When a message is completed. A buffer is completed only when it has been wholly consumed (output)
 * or filled (input) at the pace of the sound device, so that completions are the period clock: not
 * when it was copied, but when the device's clock has passed its last frame. Then, with S_OK and
 * the bytes that the owner has taken from later messages (or the device still holds) as
 * latency_bytes. A shorter life has only what a flush gives back (qsnd.h: S_OK, an input message
 * with what was recorded), what is malformed, and what comes in a state that takes none: these with
 * IO_ERR, at once. Nothing is completed after a reset of the device.
 *
 * When a stream has no message: the clock goes on, the guest hears a gap, and it is an xrun when
 * data come again or a whole period has passed, whichever is first; one xrun a gap. So the end of
 * a stream, at which a driver just stops sending before it says STOP, is none.
 */
#pragma once

#include "lib/qring.h"
#include "lib/qsnd.h"

/* Parts of a message: header, data, status. A period in single pages has up to half a MiB. */
#define QSND_IOV_MAX 130

struct qsnd_msg {
	struct qsnd_msg *next;		/* in a fifo */
	struct iovec *iov;		/* the caller's, as qring_pop() left it, until then */
	uint16_t head;
	unsigned n_out, n_in;		/* parts */
	bool output;			/* by the queue it came from */
	uint32_t stream;		/* below n_streams */
	uint32_t data_bytes;		/* may be 0 */
	uint32_t done_bytes;		/* read or written so far */
	uint64_t end_bytes;		/* in a fifo: where it ends, in bytes of the stream */
	uint64_t in_bytes;		/* writable: input data and status */
	unsigned part;			/* where done_bytes is: part of iov, and offset in it */
	size_t part_off;
};

enum qsnd_msg_verdict {
	QSND_MSG_OK = 0,
	QSND_MSG_IOERR,		/* answer IO_ERR: no such stream, wrong direction, data in the wrong
				 * half of the chain, longer than UINT32_MAX */
	QSND_MSG_BROKEN,	/* no header or no status: the driver broke the protocol */
};
/*
 * Chain @c of the tx (@output) or rx queue, its parts @iov (kept in @ret). On IOERR
 * qsnd_msg_done() can answer. BROKEN: nothing of @ret but head.
 */
enum qsnd_msg_verdict qsnd_msg_parse(const struct qsnd_dev *d, bool output,
				     const struct qring_chain *c, struct iovec *iov,
				     struct qsnd_msg *ret);
static inline uint32_t qsnd_msg_left(const struct qsnd_msg *m)
{
	return m->data_bytes - m->done_bytes;
}
/* The next bytes of an output message, at most @len; how many. */
uint32_t qsnd_msg_read(struct qsnd_msg *m, void *buf, uint32_t len);
/* The next bytes of an input message, at most @len; how many. */
uint32_t qsnd_msg_write(struct qsnd_msg *m, const void *buf, uint32_t len);
/*
 * Writes the status (VIRTIO_SND_S_OK or IO_ERR) and returns the bytes to give to qring_push(): the
 * status and what was recorded (5.14.6.8.2). The status stands at the end of the chain, also
 * when an input message was not filled.
 */
uint32_t qsnd_msg_done(struct qsnd_msg *m, uint32_t status, uint32_t latency_bytes);

/* ---- messages of a stream, in their order; zeroed = empty ---- */

/*
 * A stream is a row of bytes: put_bytes came (or were given to fill), moved_bytes of them were read
 * (written). The sound device's clock is a place in that row: it stands while there is a gap, and
 * starts at 0 when the fifo was empty and cleared.
 */
struct qsnd_fifo {
	struct qsnd_msg *first, *last;
	struct qsnd_msg *cur;		/* where reading (writing) goes on; NULL = all is moved */
	unsigned n;
	uint64_t put_bytes, moved_bytes;
};
static inline uint64_t qsnd_fifo_left(const struct qsnd_fifo *f)
{
	return f->put_bytes - f->moved_bytes;
}
void qsnd_fifo_put(struct qsnd_fifo *f, struct qsnd_msg *m);
/* Moves at most @len bytes; how many. Messages stay until they are taken. */
uint32_t qsnd_fifo_read(struct qsnd_fifo *f, void *buf, uint32_t len);
uint32_t qsnd_fifo_write(struct qsnd_fifo *f, const void *buf, uint32_t len);
/* The first message when it was moved whole and ends at or before @clock_bytes, taken out; else
 * NULL. */
struct qsnd_msg *qsnd_fifo_passed(struct qsnd_fifo *f, uint64_t clock_bytes);
/* A flush: the first message as it is, taken out. NULL: empty, and the row begins at 0 again. */
struct qsnd_msg *qsnd_fifo_flush(struct qsnd_fifo *f);
