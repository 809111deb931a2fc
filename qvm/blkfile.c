/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring a disk, with an eventfd that the I/O thread watches. A request that the kernel did
 * in part goes on with its rest; it ends with success only when every byte moved. Requests above
 * the ring's size wait in a list of ours: a guest decides how many there are, its queues bound
 * them.
 *
 * The file is locked with an open-file-description lock, so that a second writer anywhere on this
 * host is refused, and so that the lock goes with the descriptor, whatever else in this process
 * opens and closes the same file.
 */
#include "qvm/blkfile.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "qvm/blkinfo.h"
#include "qvm/loop.h"

#define RING_ENTRIES 128u
#define REAPS_MAX    64u /* completions of one round: others on the thread wait */

struct blk_req {
	struct vd_blk_io *io;
	uint64_t done_bytes;
	struct iovec *rest; /* own copy once a part was done; NULL before */
	unsigned n_rest;
	bool use_punch; /* zero range was refused: punch a hole instead */
	bool cached;	/* a direct transfer was refused: through the cache instead */
	struct blk_req *next;
	struct blk_req *all_next;
};

struct vd_blk {
	struct blkfile_cfg cfg;
	int fd, event_fd;
	bool has_ring, read_only, can_zero_range, can_punch;
	bool direct; /* O_DIRECT is on */
	bool is_broken; /* told: nothing is submitted any more */
	struct io_uring ring;
	struct loop_watch *watch;
	unsigned n_inflight; /* in the ring */
	struct blk_req *waiting, **waiting_end;
	struct blk_req *pool; /* free ones */
	struct blk_req *all;  /* those of a ring that broke are in no other list */
};

static struct blk_req *req_get(struct vd_blk *b, struct vd_blk_io *io)
{
	struct blk_req *q = b->pool;

	if (q) {
		b->pool = q->next;
	} else {
		q = calloc(1, sizeof(*q));
		if (!q)
			return NULL;
		q->all_next = b->all;
		b->all = q;
	}
	*q = (struct blk_req){ .io = io, .all_next = q->all_next };
	return q;
}

static void req_put(struct vd_blk *b, struct blk_req *q)
{
	free(q->rest);
	q->rest = NULL;
	q->next = b->pool;
	b->pool = q;
}

/* ---- into the ring ---- */

static int alloc_mode(const struct vd_blk *b, const struct blk_req *q)
{
	bool punch = q->io->op == VD_BLK_DISCARD || (q->io->unmap && b->can_punch) ||
		     q->use_punch || !b->can_zero_range;

	return FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static void req_prep(struct vd_blk *b, struct blk_req *q, struct io_uring_sqe *sqe)
{
	const struct vd_blk_io *io = q->io;
	const struct iovec *iov = q->rest ? q->rest : io->iov;
	unsigned n_iov = q->rest ? q->n_rest : io->n_iov;
	uint64_t off = io->off + q->done_bytes;

	switch (io->op) {
	case VD_BLK_READ:
		io_uring_prep_readv(sqe, b->fd, iov, n_iov, off);
		break;
	case VD_BLK_WRITE:
		io_uring_prep_writev(sqe, b->fd, iov, n_iov, off);
		break;
	case VD_BLK_FLUSH:
		io_uring_prep_fsync(sqe, b->fd, IORING_FSYNC_DATASYNC);
		break;
	case VD_BLK_DISCARD:
	case VD_BLK_ZERO:
		io_uring_prep_fallocate(sqe, b->fd, alloc_mode(b, q), (off_t)io->off,
					(off_t)io->len_bytes);
		break;
	}
	io_uring_sqe_set_data(sqe, q);
}

static bool ring_put(struct vd_blk *b, struct blk_req *q)
{
	struct io_uring_sqe *sqe = b->n_inflight < RING_ENTRIES ? io_uring_get_sqe(&b->ring) : NULL;

	if (!sqe)
		return false;
	req_prep(b, q, sqe);
	b->n_inflight++;
	return true;
}

static void ring_or_wait(struct vd_blk *b, struct blk_req *q)
{
	if (!b->waiting && ring_put(b, q))
		return;
	q->next = NULL;
	*b->waiting_end = q;
	b->waiting_end = &q->next;
}

static void refill(struct vd_blk *b)
{
	while (b->waiting) {
		struct blk_req *q = b->waiting, *next = q->next;
		if (!ring_put(b, q))
			return;
		b->waiting = next;
		if (!next)
			b->waiting_end = &b->waiting;
	}
}

int blkfile_submit(struct vd_blk *b, struct vd_blk_io *io)
{
	struct blk_req *q = req_get(b, io);

	if (!q)
		return -ENOMEM;
	ring_or_wait(b, q);
	return 0;
}

void blkfile_kick(struct vd_blk *b)
{
	int r = b->is_broken || !io_uring_sq_ready(&b->ring) ? 0 : io_uring_submit(&b->ring);

	/* Completions must be fetched first, or a signal came: the next round submits again. */
	if (r == -EBUSY || r == -EAGAIN || r == -EINTR) {
		qfd_event_signal(b->event_fd);
	} else if (r < 0) {
		b->is_broken = true;
		b->cfg.failed(b->cfg.failed_arg, "the host's io_uring takes no requests any more");
	}
}

/* ---- out of the ring ---- */

/* Cuts @n_bytes off the front of what is still to do. */
static int req_advance(struct blk_req *q, uint64_t n_bytes)
{
	if (!q->rest) {
		q->rest = malloc(q->io->n_iov * sizeof(*q->rest));
		if (!q->rest)
			return -ENOMEM;
		memcpy(q->rest, q->io->iov, q->io->n_iov * sizeof(*q->rest));
		q->n_rest = q->io->n_iov;
	}
	q->done_bytes += n_bytes;
	unsigned i = 0;
	while (i < q->n_rest && n_bytes >= q->rest[i].iov_len)
		n_bytes -= q->rest[i++].iov_len;
	q->n_rest -= i;
	memmove(q->rest, q->rest + i, q->n_rest * sizeof(*q->rest));
	if (q->n_rest) {
		q->rest[0].iov_base = (char *)q->rest[0].iov_base + n_bytes;
		q->rest[0].iov_len -= n_bytes;
	}
	return 0;
}

/* The file system, or the memory that a guest reads to, does not bear it: the cache does. */
static bool direct_off(struct vd_blk *b, const char *why)
{
	int flags = fcntl(b->fd, F_GETFL);

	if (flags < 0 || fcntl(b->fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return false;
	b->direct = false;
	qlog_warn("ev=dio_off dev=%s file=%s why=%s", b->cfg.name, b->cfg.path, why);
	return true;
}

/*
 * A direct request that was refused, or one that was under way when the first was: again, through
 * the cache. A second refusal is the file's own.
 */
static bool again_cached(struct vd_blk *b, struct blk_req *q, int res)
{
	bool moves = q->io->op == VD_BLK_READ || q->io->op == VD_BLK_WRITE;

	if (res != -EINVAL || !b->cfg.direct || !moves || q->cached)
		return false;
	q->cached = true;
	return !b->direct || direct_off(b, "request_refused");
}

/* What follows from result @res: 1 = again, with what is left; else 0 or -errno for done(). */
static int req_result(struct vd_blk *b, struct blk_req *q, int res)
{
	const struct vd_blk_io *io = q->io;

	if (res == -EINTR || res == -EAGAIN || again_cached(b, q, res))
		return 1;
	if (res == -EOPNOTSUPP && io->op == VD_BLK_ZERO && !io->unmap && !q->use_punch) {
		q->use_punch = true;
		return 1;
	}
	if (res < 0 || (io->op != VD_BLK_READ && io->op != VD_BLK_WRITE))
		return res;
	if ((uint64_t)res >= io->len_bytes - q->done_bytes)
		return 0;
	if (res == 0)
		return -EIO; /* the file became shorter than the disk */
	int r = req_advance(q, (uint64_t)res);
	return r < 0 ? r : 1;
}

static void req_end(struct vd_blk *b, struct blk_req *q, int err)
{
	struct vd_blk_io *io = q->io;

	req_put(b, q);
	io->done(*b->cfg.owner, io, err);
}

static unsigned reap(struct vd_blk *b)
{
	struct io_uring_cqe *cqe;
	unsigned n = 0;

	for (; n < REAPS_MAX && io_uring_peek_cqe(&b->ring, &cqe) == 0; n++) {
		struct blk_req *q = io_uring_cqe_get_data(cqe);
		int r = req_result(b, q, cqe->res);
		io_uring_cqe_seen(&b->ring, cqe);
		b->n_inflight--;
		if (r > 0)
			ring_or_wait(b, q);
		else
			req_end(b, q, r);
	}
	refill(b);
	blkfile_kick(b);
	return n;
}

static void on_event(void *owner, void *arg)
{
	struct vd_blk *b = arg;

	qfd_event_clear(b->event_fd);
	if (reap(b) == REAPS_MAX)
		qfd_event_signal(b->event_fd);
}

void blkfile_close(struct vd_blk *b)
{
	struct io_uring_cqe *cqe;

	if (!b)
		return;
	if (b->watch)
		loop_unwatch(b->watch);
	while (b->has_ring && (b->n_inflight || b->waiting)) {
		refill(b);
		int r = io_uring_submit_and_wait(&b->ring, 1);
		if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
			break;
		if (io_uring_peek_cqe(&b->ring, &cqe) == 0)
			reap(b);
	}
	if (b->has_ring)
		io_uring_queue_exit(&b->ring);
	while (b->all) {
		struct blk_req *next = b->all->all_next;
		free(b->all->rest);
		free(b->all);
		b->all = next;
	}
	qfd_close(&b->event_fd);
	qfd_close(&b->fd);
	free(b);
}

/* ---- opening ---- */

static int lock_file(int fd, bool read_only)
{
	struct flock l = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int ring_init(struct vd_blk *b)
{
	int r = io_uring_queue_init(RING_ENTRIES, &b->ring, 0);

	if (r < 0)
		return r;
	b->has_ring = true;
	b->event_fd = qfd_eventfd();
	if (b->event_fd < 0)
		return b->event_fd;
	r = io_uring_register_eventfd(&b->ring, b->event_fd);
	if (r < 0)
		return r;
	b->watch = loop_watch(b->cfg.loop, b->cfg.lock, b->event_fd, on_event, NULL, b);
	return b->watch ? 0 : -ENOMEM;
}

static const char *open_text(int err)
{
	switch (err) {
	case -EBUSY:
		return "is in use as a disk by another process: a disk has one writer";
	case -ENOTBLK:
		return "is neither a file nor a block device";
	default:
		return strerrordesc_np(-err);
	}
}

static int open_file(struct vd_blk *b, const char *path)
{
	/*
	 * O_NONBLOCK: what is neither a file nor a device does not hold us. Off again, for requests
	 * are to wait.
	 */
	int flags = (b->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	b->direct = b->cfg.direct;
	b->fd = open(path, flags | (b->direct ? O_DIRECT : 0));
	if (b->fd < 0 && errno == EINVAL && b->direct) {
		b->direct = false;
		b->fd = open(path, flags);
		if (b->fd >= 0)
			qlog_warn("ev=dio_off dev=%s file=%s why=open_refused", b->cfg.name, path);
	}
	if (b->fd < 0 || fcntl(b->fd, F_SETFL, b->direct ? O_DIRECT : 0) < 0)
		return -errno;
	return 0;
}

static int open_all(struct vd_blk *b, const char *path, char *text, size_t text_bytes,
		    struct vd_blk_info *info)
{
	int r = open_file(b, path);
	if (r == 0)
		r = blkinfo_size(b->fd, info);
	if (r == 0)
		r = lock_file(b->fd, b->read_only);
	if (r < 0) {
		snprintf(text, text_bytes, "%s: %s", path, open_text(r));
		return r;
	}
	if (info->len_bytes < Q_SECTOR_BYTES) {
		snprintf(text, text_bytes,
			 "%s: has %llu bytes; a disk has at least one sector of 512", path,
			 (unsigned long long)info->len_bytes);
		return -EINVAL;
	}
	if (b->direct)
		blkinfo_direct(b->fd, info);
	info->len_bytes &= ~(uint64_t)(info->block_bytes - 1);
	info->read_only = b->read_only;
	if (!b->read_only)
		blkinfo_abilities(b->fd, info, &b->can_punch, &b->can_zero_range);
	r = ring_init(b);
	if (r < 0)
		snprintf(text, text_bytes, "%s: io_uring is not to be had: %s%s", path,
			 strerrordesc_np(-r),
			 r == -EPERM  ? " (see the sysctl kernel.io_uring_disabled)" :
			 r == -ENOMEM ? " (see the limit of locked memory, ulimit -l)" :
					"");
	return r;
}

int blkfile_open(const struct blkfile_cfg *cfg, char *text, size_t text_bytes, struct vd_blk **ret,
		 struct vd_blk_info *ret_info)
{
	struct vd_blk *b = calloc(1, sizeof(*b));
	struct vd_blk_info info = { 0 };

	if (!b) {
		snprintf(text, text_bytes, "out of memory");
		return -ENOMEM;
	}
	b->cfg = *cfg;
	b->fd = b->event_fd = -1;
	b->waiting_end = &b->waiting;
	b->read_only = cfg->path[0] == '<';
	int r = open_all(b, cfg->path + b->read_only, text, text_bytes, &info);
	if (r < 0) {
		blkfile_close(b);
		return r;
	}
	*ret = b;
	*ret_info = info;
	return 0;
}
