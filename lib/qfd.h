/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: -1 when absent, O_CLOEXEC always, EINTR handled. Any thread.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"

#define QFD_PASS_MAX 32	/* descriptors in one message, at most */

/* Closes *fd if it is not -1 and sets it to -1. For QCLEAN(qfd_close) and for fini. */
void qfd_close(int *fd);

int qfd_dup(int fd);			/* a CLOEXEC duplicate, or -errno */
int qfd_nonblock(int fd, bool on);	/* 0 or -errno */
bool qfd_is_listening(int fd);		/* open, and a socket that listens */

/* A sealed-size memfd of @len_bytes, zeroed; descriptor or -errno. */
int qfd_memfd(const char *name, uint64_t len_bytes);

/*
 * 0 when what is mapped of @fd now can be touched for ever: sealed against shrinking, and no
 * hugetlbfs, whose owner may punch a hole, which gives the reservation back; with the pool empty
 * the next access is SIGBUS as well. -EPERM when it can shrink, or -errno.
 */
int qfd_check_no_shrink(int fd);

/* An eventfd (nonblocking, CLOEXEC) with counter 0; descriptor or -errno. */
int qfd_eventfd(void);
/* Adds 1. Never blocks: a full counter means the reader is signalled already. */
void qfd_event_signal(int fd);
/* Reads and clears the counter: the number of signals, 0 when none. */
uint64_t qfd_event_clear(int fd);

/* A UNIX stream (SOCK_STREAM) listening socket at @path, replacing a dead socket file there (a live
 * one, or any other file: -EADDRINUSE). Mode 0600. Nonblocking. Descriptor or -errno
 * (-ENAMETOOLONG for long paths). */
int qfd_listen_unix(const char *path, int backlog);
/* Connects to @path, blocking; descriptor or -errno. */
int qfd_connect_unix(const char *path);
/* The same, but does not wait for a listener whose backlog is full: -EAGAIN. */
int qfd_connect_unix_now(const char *path);

/* Reads or writes exactly @len bytes (blocking descriptors). 0, -errno, -EPIPE at end of file. */
int qfd_read_all(int fd, void *buf, size_t len);
int qfd_write_all(int fd, const void *buf, size_t len);

/*
 * Sends @len bytes with @n_fds descriptors (borrowed) attached to the first byte. Returns bytes
 * sent (may be short) or -errno (-EAGAIN when nonblocking and full). MSG_NOSIGNAL.
 */
ssize_t qfd_send(int sock, const void *buf, size_t len, const int *fds, unsigned n_fds);
/*
 * Receives up to @len bytes and up to @max_fds descriptors (CLOEXEC, the caller's from then on).
 * Descriptors beyond @max_fds, or any when the control data was truncated, are closed and
 * -EBADMSG is returned with none handed out. 0 = end of file. @ret_n_fds is always written.
 */
ssize_t qfd_recv(int sock, void *buf, size_t len, int *fds, unsigned max_fds,
		 unsigned *ret_n_fds);
