/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device of a test guest that is a program of a Linux guest: a file or a disk that the
 * kernel is asked for past its page cache, so that every request reaches the driver. Implements
 * drv/blk.h over the kernel's asynchronous I/O: submitted requests are collected until the kick,
 * finished ones come back in any order, and an eventfd takes the place of the interrupt.
 *
 * disk=PATH names it. It must be there with all its blocks: one that the file system has to find
 * room for would be measured with that.
 */
#include <asm/fcntl.h>
#include <linux/aio_abi.h>
#include "tests/guests/drv/blk.h"
#include "tests/guests/linux/sys.h"

#define SECTOR_BYTES 512u
#define MAX_REQUESTS 256
#define EFD_FLAGS    (O_NONBLOCK | O_CLOEXEC)
#define BLK_S_IOERR  1
#define SEEK_TO_END  2

static struct vio_dev file;
static char path[256];
static int disk_fd, event_fd;
static aio_context_t aio;
static struct iocb cells[MAX_REQUESTS];
static struct iocb *free_cells[MAX_REQUESTS], *waiting[MAX_REQUESTS];
static unsigned n_free, n_waiting;
static struct io_event events[32];
static unsigned n_events, next_event;

struct vio_dev *vio_find(uint32_t id, unsigned nth)
{
	size_t n;

	if (id != VIO_ID_BLK || nth != 0 || !rt_arg_str("disk", path, sizeof(path)))
		rt_fail("want disk=PATH, and dev=0");
	n = strlen(path);
	const char *tail = n < sizeof(file.name) ? path : path + n - sizeof(file.name) + 1;
	memcpy(file.name, tail, strlen(tail) + 1);
	file.id = id;
	return &file;
}

const char *blk_open(struct blk *b, struct vio_dev *d, uint64_t features, uint16_t queue_size)
{
	b->dev = d;
	if (b->n_queues > 1)
		return "queues: the kernel's driver has its own";
	if (b->n_segs > 1)
		return "segs: the kernel's driver cuts as it likes";
	disk_fd = (int)sys_open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk_fd < 0)
		return "cannot be opened for direct reads and writes";
	long bytes = sys4(__NR_lseek, disk_fd, 0, SEEK_TO_END, 0);
	event_fd = (int)sys4(__NR_eventfd2, 0, EFD_FLAGS, 0, 0);
	if (bytes < 0 || event_fd < 0 || sys4(__NR_io_setup, MAX_REQUESTS, (long)&aio, 0, 0) < 0)
		return "no asynchronous I/O";
	b->capacity = (uint64_t)bytes / SECTOR_BYTES;
	b->can_flush = true;
	b->q.dev = d;
	b->q.num = queue_size < MAX_REQUESTS ? queue_size : MAX_REQUESTS;
	b->q.indirect = true;		/* a request takes one place, whatever it is made of */
	for (n_free = 0; n_free < b->q.num; n_free++)
		free_cells[n_free] = &cells[n_free];
	linux_wake_by(event_fd);
	return NULL;
}

struct vq *blk_queue(struct blk *b, unsigned i)
{
	return &b->q;
}

bool blk_submit(struct blk *b, struct blk_req *r)
{
	static const uint16_t opcode[] = {
		[BLK_T_IN] = IOCB_CMD_PREAD,
		[BLK_T_OUT] = IOCB_CMD_PWRITE,
		[BLK_T_FLUSH] = IOCB_CMD_FDSYNC,
	};

	if (n_free == 0)
		return false;
	struct iocb *c = free_cells[--n_free];
	*c = (struct iocb){
		.aio_data = (uintptr_t)r,
		.aio_lio_opcode = opcode[r->header.type],
		.aio_fildes = (uint32_t)disk_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)event_fd,
	};
	if (r->header.type != BLK_T_FLUSH) {
		c->aio_buf = (uintptr_t)r->data;
		c->aio_nbytes = r->len;
		c->aio_offset = (int64_t)(r->header.sector * SECTOR_BYTES);
	}
	r->status = BLK_S_PENDING;
	waiting[n_waiting++] = c;
	return true;
}

void blk_kick(struct blk *b)
{
	unsigned done = 0;

	while (done < n_waiting) {
		long r = sys4(__NR_io_submit, (long)aio, n_waiting - done,
			      (long)(waiting + done), 0);
		if (r <= 0 && r != -SYS_EINTR && r != -SYS_EAGAIN)
			rt_fail("the kernel takes no requests: %ld", r);
		done += r > 0 ? (unsigned)r : 0;
		b->q.n_kicks++;
	}
	n_waiting = 0;
}

/* As a device would tell it: bytes written to memory, the status among them. */
static void finish(struct blk_req *r, int64_t res)
{
	bool data = r->header.type != BLK_T_FLUSH;

	r->status = res == (data ? (int64_t)r->len : 0) ? BLK_S_OK : BLK_S_IOERR;
	r->used_len = 1 + (r->header.type == BLK_T_IN && res > 0 ? (uint32_t)res : 0);
}

struct blk_req *blk_reap(struct blk *b)
{
	if (next_event == n_events) {
		const long at_once[2] = { 0, 0 };
		long r = sys6(__NR_io_getevents, (long)aio, 0, RT_ARRAY_LEN(events), (long)events,
			      (long)at_once, 0);
		n_events = r > 0 ? (unsigned)r : 0;
		next_event = 0;
		if (n_events == 0)
			return NULL;
	}
	const struct io_event *e = &events[next_event++];
	struct blk_req *r = (struct blk_req *)(uintptr_t)e->data;
	free_cells[n_free++] = (struct iocb *)(uintptr_t)e->obj;
	finish(r, e->res);
	return r;
}

/* The eventfd stays readable until rt_wait() has seen it: nothing to arm, nothing to miss. */
bool vq_arm(struct vq *q)
{
	return false;
}

void vq_disarm(struct vq *q)
{
}
