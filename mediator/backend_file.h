/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or block device as a back end: what opening it found out (backend_file_open.c) and what
 * its I/Os go by (backend_file.c). The latter on the device's thread only.
 */
#pragma once

#include "mediator/backend.h"
#include "mediator/pins.h"

enum file_zeroes {
	ZERO_AS_ASKED,	/* zero a range, or punch a hole when it may be unmapped */
	ZERO_PUNCH,
	ZERO_WRITE,	/* nothing else is there: write them */
};

/* What an I/O needs beside itself. */
struct file_slot {
	char *bounce;		/* owned, unaligned_bytes; NULL until it is needed */
	struct iovec iov;	/* of the bounce buffer, or of zeroes */
	enum file_zeroes zero_how;	/* tried with it */
	bool syncing;		/* what it did is being made durable */
};

struct backend_file {
	struct backend be;
	int fd;				/* owned */
	bool is_block_device;
	enum {
		INLINE_NEVER,	/* direct I/O, block devices */
		INLINE_CACHED,	/* what stands in the page cache */
		INLINE_ALWAYS,	/* a file system in memory */
	} inline_io;
	unsigned inline_misses;		/* in a row */
	enum file_zeroes zero_how;
	struct loop *loop;		/* NULL until start() */
	uint64_t pin_bytes;		/* of guest memory, at most */
	struct pins pins;
	/* To open it again. */
	char *path;			/* owned */
	int open_flags;
	bool locked;
	struct loop_io opening;
	void (*reopened)(void *ctx, int result);
	void *reopen_ctx;
	unsigned n_slots;
	struct file_slot slots[];
};

extern const struct backend_ops backend_file_ops;
/* backend_file_open.c: as backend_ops.reopen. */
void backend_file_reopen(struct backend *b, void (*done)(void *ctx, int result), void *ctx);
