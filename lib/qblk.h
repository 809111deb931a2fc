/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-blk request format (virtio 1.2, 5.2.6), decoded from a chain and checked against the
 * device: shared by the vdev (own backing file) and the mediator. No state, any thread.
 */
#pragma once

#include "lib/qring.h"

#define QBLK_IOV_MAX 130	/* header + 128 data segments + status */
#define QBLK_SEG_MAX 128	/* what config space offers as seg_max */

#define QBLK_ID_MAX 4096	/* longest GET_ID buffer we fill (20 bytes and zeroes) */

enum qblk_op { QBLK_READ, QBLK_WRITE, QBLK_FLUSH, QBLK_GET_ID, QBLK_DISCARD, QBLK_WRITE_ZEROES };

/* The device that requests are checked against. */
struct qblk_dev {
	uint64_t capacity_sectors;	/* of 512 bytes */
	bool read_only;
	bool discard, write_zeroes;	/* negotiated */
	char serial[20];		/* not NUL-terminated when full */
};

enum qblk_verdict {
	QBLK_OK = 0,
	QBLK_IOERR,	/* answer VIRTIO_BLK_S_IOERR (out of range, read-only, odd or no length) */
	QBLK_UNSUPP,	/* unknown or not negotiated type or flag: answer VIRTIO_BLK_S_UNSUPP */
	QBLK_BROKEN,	/* no header or no status byte: the driver broke the protocol */
};

struct qblk_req {
	enum qblk_op op;
	uint16_t head;
	uint16_t ioprio;		/* the driver's hint, Linux encoding class<<13|level */
	uint64_t sector;
	uint64_t len_bytes;		/* of data, multiple of 512 for READ/WRITE */
	struct iovec *iov;		/* data parts, inside the caller's array (trimmed in place);
					 * none for FLUSH, DISCARD and WRITE_ZEROES */
	unsigned n_iov;
	uint64_t in_bytes;		/* device-writable bytes in front of the status byte */
	uint8_t *status;		/* one byte of guest memory */
	bool unmap;			/* WRITE_ZEROES: may deallocate */
};

/*
 * Decodes chain @c whose parts are @iov (as qring_pop() left them; header and status are cut off
 * in place; they may be split or merged with data in any way, virtio 1.2 2.7.4.1). @ret is filled
 * as far as known: on QBLK_IOERR and QBLK_UNSUPP head and status are valid, so that qblk_done()
 * can answer. DISCARD and WRITE_ZEROES with one segment only (config space offers 1).
 */
enum qblk_verdict qblk_parse(const struct qblk_dev *dev, const struct qring_chain *c,
			     struct iovec *iov, struct qblk_req *ret);
/* Writes the status byte (VIRTIO_BLK_S_*) and returns the bytes to give to qring_push(): how far
 * the writable part was written without a hole (virtio 1.2, 2.7.8.2), so 0 when data in front of
 * the status is missing. */
uint32_t qblk_done(const struct qblk_req *req, uint8_t status);
/* Answers GET_ID from the device; the status to give. */
uint8_t qblk_get_id(const struct qblk_dev *dev, const struct qblk_req *req);
