/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a VM's console: a ring of output, readers (each a socket and a position in the ring),
 * typed input. Main thread.
 *
 * Theory of operation: the VM's output goes into the ring, and every reader that stood at its end
 * is written to; one whose socket is full waits for it to become writable, and is dropped when
 * the ring has passed its position. Input is taken from the writer only while there is room for
 * it, and given to the VM as it takes it: a VM that does not read its console stops its writer,
 * nobody else.
 *
 * Invariants: input_len <= sizeof(input); writer is in readers or NULL; a reader is freed only in
 * its own callbacks or by sweep(), never in the middle of a walk over the list.
 */
#include "hostd/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define READ_BYTES 8192u
#define CLOSE_READS 64u		/* what a socket may still hold when its VM is dead */

static const struct timeval linger = { .tv_sec = 5 };

struct hd_reader {
	LIST_ENTRY(hd_reader) entry;
	struct hd_console *console;
	int fd;
	uint64_t pos;
	struct event *ev_read, *ev_write;
	bool closing;		/* ends when it has all */
	bool dead;		/* ends at the next sweep */
};

static void reader_free(struct hd_reader *r)
{
	struct hd_console *c = r->console;

	LIST_REMOVE(r, entry);
	c->n_readers--;
	if (c->writer == r)
		c->writer = NULL;
	if (r->ev_read)
		event_free(r->ev_read);
	if (r->ev_write)
		event_free(r->ev_write);
	qfd_close(&r->fd);
	free(r);
}

/* Writes what the socket takes. Marks the reader dead when it is gone or too far behind. */
static void reader_feed(struct hd_reader *r)
{
	struct hd_console *c = r->console;
	struct iovec iov[2];
	int n;

	while (!r->dead && (n = hd_ring_span(&c->ring, r->pos, iov)) > 0) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t sent = sendmsg(r->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN) {
			event_add(r->ev_write, r->closing ? &linger : NULL);
			return;
		}
		r->dead = sent < 0 && errno != EINTR;
		r->pos += sent > 0 ? (uint64_t)sent : 0;
	}
	if (!r->dead && r->pos < c->ring.tail) {
		r->dead = true;
		c->n_dropped++;
		qlog_info("ev=console_dropped why=\"a reader was too slow\"");
	}
	if (r->closing)
		r->dead = true;	/* it has all */
}

static void sweep(struct hd_console *c)
{
	struct hd_reader *r, *next;

	for (r = LIST_FIRST(&c->readers); r; r = next) {
		next = LIST_NEXT(r, entry);
		if (r->dead)
			reader_free(r);
	}
}

static void feed_all(struct hd_console *c)
{
	struct hd_reader *r;

	LIST_FOREACH(r, &c->readers, entry)
		reader_feed(r);
	sweep(c);
}

static void on_reader_writable(evutil_socket_t fd, short what, void *arg)
{
	struct hd_reader *r = arg;

	if (what & EV_TIMEOUT)
		r->dead = true;
	else
		reader_feed(r);
	if (r->dead)
		reader_free(r);
}

/* ---- input ---- */

static void push_input(struct hd_console *c)
{
	if (c->vm_fd < 0 || c->input_len == 0)
		return;
	ssize_t n = send(c->vm_fd, c->input, c->input_len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0) {
		if (errno == EAGAIN)
			event_add(c->ev_vm_write, NULL);
		else
			c->input_len = 0;	/* the VM has closed its console */
		return;
	}
	c->input_len -= (size_t)n;
	memmove(c->input, c->input + n, c->input_len);
	if (c->input_len > 0)
		event_add(c->ev_vm_write, NULL);
	else if (c->writer)
		event_add(c->writer->ev_read, NULL);
}

static void on_vm_writable(evutil_socket_t fd, short what, void *arg)
{
	push_input(arg);
}

/* It types no more. One that only shut its writing side wants what was printed until now, and an
 * end. */
static void reader_says_end(struct hd_reader *r)
{
	event_del(r->ev_read);
	if (r->console->writer == r)
		r->console->writer = NULL;
	r->closing = true;
	reader_feed(r);
	if (r->dead)
		reader_free(r);
}

/* From the writer into the VM; from the others into nothing, to see them hang up. */
static void on_reader_readable(evutil_socket_t fd, short what, void *arg)
{
	struct hd_reader *r = arg;
	struct hd_console *c = r->console;
	char waste[256];
	bool types = c->writer == r;
	size_t room = sizeof(c->input) - c->input_len;

	if (types && room == 0) {
		event_del(r->ev_read);	/* push_input() brings it back */
		return;
	}
	char *to = types ? c->input + c->input_len : waste;
	ssize_t n = read(fd, to, types ? room : sizeof(waste));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		reader_says_end(r);
		return;
	}
	if (types && n > 0) {
		c->input_len += (size_t)n;
		push_input(c);
	}
}

/* ---- output ---- */

/* One read. False when there is nothing more. */
static bool pull_output(struct hd_console *c)
{
	char buf[READ_BYTES];
	ssize_t n = read(c->vm_fd, buf, sizeof(buf));

	if (n > 0) {
		hd_ring_put(&c->ring, buf, (size_t)n);
		if (c->tap)
			c->tap(c->tap_ctx, buf, (size_t)n);
		feed_all(c);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(c->ev_vm_read);	/* closed by the VM; its end is told elsewhere */
	return false;
}

static void on_vm_readable(evutil_socket_t fd, short what, void *arg)
{
	pull_output(arg);
}

/* ---- life ---- */

void hd_console_init(struct hd_console *c, struct event_base *base)
{
	*c = (struct hd_console){ .base = base, .vm_fd = -1 };
	hd_ring_init(&c->ring, HD_CONSOLE_BYTES);
	LIST_INIT(&c->readers);
}

static void drop_vm(struct hd_console *c)
{
	if (c->ev_vm_read)
		event_free(c->ev_vm_read);
	if (c->ev_vm_write)
		event_free(c->ev_vm_write);
	c->ev_vm_read = c->ev_vm_write = NULL;
	qfd_close(&c->vm_fd);
	c->input_len = 0;
}

void hd_console_fini(struct hd_console *c)
{
	drop_vm(c);
	while (!LIST_EMPTY(&c->readers))
		reader_free(LIST_FIRST(&c->readers));
	hd_ring_fini(&c->ring);
}

int hd_console_adopt(struct hd_console *c, int take_fd)
{
	qassert(c->vm_fd < 0);
	c->vm_fd = take_fd;
	int r = qfd_nonblock(take_fd, true);
	c->ev_vm_read = event_new(c->base, take_fd, EV_READ | EV_PERSIST, on_vm_readable, c);
	c->ev_vm_write = event_new(c->base, take_fd, EV_WRITE, on_vm_writable, c);
	if (r == 0 && (!c->ev_vm_read || !c->ev_vm_write || event_add(c->ev_vm_read, NULL) < 0))
		r = -ENOMEM;
	if (r < 0)
		drop_vm(c);
	return r;
}

int hd_console_open(struct hd_console *c, int *ret_vm_fd)
{
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	int r = hd_console_adopt(c, p[0]);
	if (r < 0)
		qfd_close(&p[1]);
	else
		*ret_vm_fd = p[1];
	return r;
}

void hd_console_close(struct hd_console *c)
{
	struct hd_reader *r;

	if (c->vm_fd < 0)
		return;
	for (unsigned i = 0; i < CLOSE_READS && pull_output(c); i++)
		;
	drop_vm(c);
	c->writer = NULL;
	LIST_FOREACH(r, &c->readers, entry)
		r->closing = true;
	feed_all(c);
}

static int reader_start(struct hd_reader *r, int take_fd)
{
	struct hd_console *c = r->console;

	r->fd = take_fd;
	LIST_INSERT_HEAD(&c->readers, r, entry);
	c->n_readers++;
	r->ev_read = event_new(c->base, r->fd, EV_READ | EV_PERSIST, on_reader_readable, r);
	r->ev_write = event_new(c->base, r->fd, EV_WRITE, on_reader_writable, r);
	if (!r->ev_read || !r->ev_write || event_add(r->ev_read, NULL) < 0)
		return -ENOMEM;
	return qfd_nonblock(r->fd, true);
}

int hd_console_attach(struct hd_console *c, bool replay, bool read_only, int *ret_fd,
		      bool *ret_writer)
{
	int p[2];

	if (c->n_readers >= HD_CONSOLE_READERS)
		return -EUSERS;
	struct hd_reader *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0) {
		int err = -errno;

		free(r);
		return err;
	}
	r->console = c;
	r->pos = replay ? c->ring.tail : c->ring.head;
	r->closing = c->vm_fd < 0;
	int err = reader_start(r, p[0]);
	if (err < 0) {
		qfd_close(&p[1]);
		reader_free(r);
		return err;
	}
	if (!read_only && !c->writer && c->vm_fd >= 0)
		c->writer = r;
	*ret_writer = c->writer == r;
	*ret_fd = p[1];
	reader_feed(r);
	sweep(c);
	return 0;
}
