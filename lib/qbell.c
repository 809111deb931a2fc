/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one AIO context and its batch. On its owner's thread.
 *
 * Each read of nothing has ended when io_submit() returns, and leaves an event in the context's
 * completion ring, which nobody is interested in: the ring is emptied after each submission, by
 * moving its head in the mapping that the kernel made for that. A kernel whose ring looks different
 * is asked with io_getevents() instead.
 *
 * Invariant: between two calls the completion ring is empty, so that a batch always finds room.
 */
#include "lib/qbell.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/qfd.h"

#define RING_MAGIC 0xa10a10a1u

/* What the kernel maps at the context's address. */
struct ring {
	unsigned id, nr, head, tail;
	unsigned magic, compat_features, incompat_features, header_length;
};

int qbell_init(struct qbell *b)
{
	*b = QBELL_NULL;
	b->nothing_fd = qfd_memfd("parley-bell", 0);
	int r = Q_MIN(b->nothing_fd, 0);

	if (r == 0 && syscall(SYS_io_setup, QBELL_BATCH, &b->ctx) < 0)
		r = -errno;
	if (r < 0)
		qbell_fini(b);
	return r;
}

void qbell_fini(struct qbell *b)
{
	if (b->ctx)
		syscall(SYS_io_destroy, b->ctx);
	qfd_close(&b->nothing_fd);
	*b = QBELL_NULL;
}

static void forget_events(struct qbell *b)
{
	struct ring *r = (struct ring *)(uintptr_t)b->ctx;
	struct io_event ev[QBELL_BATCH];
	struct timespec now = { 0 };

	if (r->magic == RING_MAGIC && r->incompat_features == 0) {
		/* Relaxed: the events were made inside our own system call, and none is looked
		 * at. */
		unsigned tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);

		__atomic_store_n(&r->head, tail, __ATOMIC_RELAXED);
		return;
	}
	syscall(SYS_io_getevents, b->ctx, 0L, (long)QBELL_BATCH, ev, &now);
}

void qbell_flush(struct qbell *b)
{
	struct iocb *at[QBELL_BATCH];
	unsigned done = 0;

	for (unsigned i = 0; i < b->n; i++)
		at[i] = &b->io[i];
	while (done < b->n) {
		long n = syscall(SYS_io_submit, b->ctx, (long)(b->n - done), at + done);

		/* An error is the first one's alone: it is no eventfd. The others are not to
		 * suffer. */
		done += n > 0 ? (unsigned)n : 1;
	}
	if (b->n)
		forget_events(b);
	b->n = 0;
}

void qbell_ring(struct qbell *b, int fd)
{
	if (b->n == QBELL_BATCH)
		qbell_flush(b);
	b->io[b->n++] = (struct iocb){
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)b->nothing_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
}
