/* SPDX-License-Identifier: Apache-2.0 */
/* A device without a device. Any I/O is over when submit() returns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/backend.h"

static int null_start(struct backend *b, struct loop *l)
{
	return 0;
}

static void null_stop(struct backend *b)
{
}

static void null_submit(struct backend *b, struct backend_io *io)
{
	for (unsigned i = 0; io->op == QBLK_READ && i < io->n_iov; i++)
		memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	io->ended(io, 0);
}

static void null_free(struct backend *b)
{
	free(b);
}

int backend_null_open(uint64_t len_bytes, struct backend **ret)
{
	static const struct backend_ops ops = {
		.start = null_start,
		.submit = null_submit,
		.stop = null_stop,
		.free = null_free,
	};
	struct backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*b = (struct backend){ .ops = &ops, .len_bytes = len_bytes, .mem_align = 1 };
	*ret = b;
	return 0;
}
