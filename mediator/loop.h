/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a device: one io_uring that carries the device's I/O and the readiness of
 * descriptors alike, so that a round costs one system call. One thread: the one that calls
 * loop_wait().
 */
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include "lib/qdef.h"

struct loop_watch;

/* One I/O at the device. Embedded by its owner; must stay until done() was called. */
struct loop_io {
	void (*done)(struct loop_io *io, int res);	/* bytes, or -errno */
};

struct loop {
	struct io_uring ring;
	bool up;
	unsigned n_watches;	/* that the kernel still knows */
	struct loop_watch *unarmed;	/* that it must know yet: there was no room */
	int file_fd;		/* registered, borrowed; -1 = none */
	bool stale;		/* the kernel's flag for waiting work was seen set without work */
	uint64_t n_enters;	/* system calls made for rounds */
	uint64_t n_cqes;
};

/* @entries: submission queue size, a power of 2. 0 or -errno. */
int loop_init(struct loop *l, unsigned entries);
void loop_fini(struct loop *l);

/*
 * @fn whenever @fd (borrowed, until unwatch) becomes readable or hangs up. Edge-triggered: the
 * callback need not read an eventfd, but must read a socket until -EAGAIN, or remember that more is
 * there. NULL when out of memory or submission slots.
 */
struct loop_watch *loop_watch(struct loop *l, int fd, void (*fn)(void *ctx), void *ctx);
/* Whether @fd is an eventfd and nothing else. */
bool loop_is_eventfd(struct loop *l, int fd);
/* No callback after this. NULL is fine; returns NULL. */
struct loop_watch *loop_unwatch(struct loop *l, struct loop_watch *w);

/*
 * I/Os of @fd (borrowed) find their file without a look into the process's table from now on; -1:
 * none. It is to be told before @fd is closed. 0 or -errno: then they take the usual way.
 */
int loop_register_file(struct loop *l, int fd);

/* Room for @n registered buffers, once. 0 or -errno. */
int loop_buffers_init(struct loop *l, unsigned n);
/*
 * Holds @len_bytes at @at in @slot, which is empty, or with @at NULL empties it. The kernel keeps
 * what is under way. 0; -ENOMEM (no more may be locked), other -errno.
 */
int loop_buffer_set(struct loop *l, unsigned slot, void *at, size_t len_bytes);
/* The same as loop_readv() and loop_writev() with one part, that lies in what @slot holds. */
int loop_read_held(struct loop *l, struct loop_io *io, int fd, const struct iovec *part,
		   uint64_t off, unsigned slot);
int loop_write_held(struct loop *l, struct loop_io *io, int fd, const struct iovec *part,
		    uint64_t off, int flags, unsigned slot);

/*
 * Queue an I/O; it goes to the kernel with the next loop_wait() or loop_submit(). -EBUSY when the
 * submission queue is full even after submitting.
 */
int loop_readv(struct loop *l, struct loop_io *io, int fd, const struct iovec *iov, unsigned n,
	       uint64_t off);
/* @flags: RWF_* of pwritev2(2). */
int loop_writev(struct loop *l, struct loop_io *io, int fd, const struct iovec *iov, unsigned n,
		uint64_t off, int flags);
/* Ends with a descriptor, the caller's, or -errno. @path is borrowed until then. */
int loop_open(struct loop *l, struct loop_io *io, const char *path, int flags);
int loop_fsync(struct loop *l, struct loop_io *io, int fd);
int loop_fallocate(struct loop *l, struct loop_io *io, int fd, int mode, uint64_t off,
		   uint64_t len);

/*
 * Gives what is queued to the kernel, and with @wait sleeps until there is at least one event. 0 or
 * -errno.
 */
int loop_submit(struct loop *l, bool wait);
/* The same with waiting, until @deadline_ns (qnow_ns()) at most; 0 = without end. */
int loop_submit_until(struct loop *l, uint64_t deadline_ns);
/* True when events are there to be handled. Cheap enough to be asked again and again; what comes
 * while the kernel's flag is stale is not seen here, but ends a wait at once. */
bool loop_pending(struct loop *l);
/* Runs the callbacks of at most @budget events; their number. */
unsigned loop_dispatch(struct loop *l, unsigned budget);
