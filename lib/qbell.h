/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals eventfds that belong to somebody who may not be trusted, without ever waiting for him.
 * One thread a bell.
 *
 * write(2) to an eventfd waits while its counter is full, unless its file description says
 * O_NONBLOCK. Whoever gave us the descriptor shares that description: he can fill the counter and
 * clear the flag at any instant, also between a look of ours and our write, and also inside
 * io_uring, which takes the same way. The kernel's own signallers add to the counter without that
 * question: a full one stays full. So we let the kernel do it, as the completion of an asynchronous
 * read of nothing (IOCB_FLAG_RESFD). That ends inside io_submit(2), which is one system call for
 * all descriptors of a batch.
 */
#pragma once

#include <linux/aio_abi.h>

#include "lib/qdef.h"

#define QBELL_BATCH 32u

struct qbell {
	aio_context_t ctx;	/* 0 = none */
	int nothing_fd;		/* owned: an empty file to read nothing from */
	unsigned n;		/* waiting in the batch */
	struct iocb io[QBELL_BATCH];
};

#define QBELL_NULL ((struct qbell){ .nothing_fd = -1 })

/* 0; -ENOSYS (a kernel without AIO), -EAGAIN (fs.aio-max-nr is used up), other -errno. */
int qbell_init(struct qbell *b);
void qbell_fini(struct qbell *b);

/*
 * Notes @fd to be signalled by the next qbell_flush(), or now when the batch is full. Borrowed:
 * flush before it is closed. What is no eventfd is passed over.
 */
void qbell_ring(struct qbell *b, int fd);
/* Signals all that were noted. Never blocks. */
void qbell_flush(struct qbell *b);
