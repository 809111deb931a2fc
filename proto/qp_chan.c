/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one control channel: its socket, the bytes of an unfinished frame, descriptors that came
 * with it, and what waits to be sent. One thread.
 *
 * Invariants: in_len < QP_FRAME_MAX + 4 always; descriptors in in_fds belong to the frame that is
 * being read, because a sender attaches them to a frame's first byte and we never read past a
 * frame's end in one call: the header is read alone, then exactly the body. Out frames are sent
 * in order; a frame's descriptors go with its first byte.
 */
#include "proto/qp_chan.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "proto/qp_check.h"

#define HDR_BYTES 4u
#define IN_FIRST_BYTES 1024u
#define IN_KEEP_BYTES (16u << 10)
/* What one message may take in memory: two bytes on the wire can be a whole empty structure. */
#define DECODE_MAX_BYTES (8u << 20)

struct out_frame {
	struct out_frame *next;
	size_t len, sent;
	int fds[QP_FDS_MAX];
	unsigned n_fds;
	uint8_t bytes[];
};

struct qp_chan {
	int fd;
	bool greeted;			/* the peer's Hello was read and is ours to talk to */
	char fault[64];

	uint8_t *in;			/* the frame being read, header included */
	size_t in_len, in_cap;
	int in_fds[QP_FDS_MAX];
	unsigned n_in_fds;

	struct out_frame *out, **out_tail;
	size_t out_bytes;		/* unsent */
};

static void close_in_fds(struct qp_chan *c)
{
	for (unsigned i = 0; i < c->n_in_fds; i++)
		qfd_close(&c->in_fds[i]);
	c->n_in_fds = 0;
}

static void out_free(struct out_frame *f)
{
	for (unsigned i = 0; i < f->n_fds; i++)
		qfd_close(&f->fds[i]);
	free(f);
}

struct qp_chan *qp_chan_new(int take_fd, const char *program)
{
	struct qp_chan *c = calloc(1, sizeof(*c));

	if (!c || qfd_nonblock(take_fd, true) < 0) {
		free(c);
		qfd_close(&take_fd);
		return NULL;
	}
	c->fd = take_fd;
	c->out_tail = &c->out;

	Parley__Hello hello = PARLEY__HELLO__INIT;
	hello.major = QP_VERSION_MAJOR;
	hello.minor = QP_VERSION_MINOR;
	hello.program = (char *)program;
	hello.pid = (uint32_t)getpid();
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	e.body_case = PARLEY__ENVELOPE__BODY_HELLO;
	e.hello = &hello;
	/* A peer that is gone already shows at the first receive. */
	if (qp_chan_send(c, &e, NULL, 0) == -ENOMEM)
		return qp_chan_free(c);
	return c;
}

struct qp_chan *qp_chan_free(struct qp_chan *c)
{
	if (!c)
		return NULL;
	while (c->out) {
		struct out_frame *f = c->out;

		c->out = f->next;
		out_free(f);
	}
	close_in_fds(c);
	free(c->in);
	qfd_close(&c->fd);
	free(c);
	return NULL;
}

int qp_chan_fd(const struct qp_chan *c)
{
	return c->fd;
}

bool qp_chan_wants_write(const struct qp_chan *c)
{
	return c->out != NULL;
}

const char *qp_chan_fault(const struct qp_chan *c)
{
	return c->fault;
}

static int fault(struct qp_chan *c, const char *why)
{
	snprintf(c->fault, sizeof(c->fault), "%s", why);
	return QP_FAULT;
}

/* Room for at least one byte more, @want in the end. Memory follows the bytes that came, not the
 * length that a peer has only announced. */
static int grow_in(struct qp_chan *c, size_t want)
{
	size_t cap = Q_MIN(want, Q_MAX(2 * c->in_len, (size_t)IN_FIRST_BYTES));

	if (c->in_len < c->in_cap)
		return 0;
	uint8_t *grown = realloc(c->in, cap);
	if (!grown)
		return -ENOMEM;
	c->in = grown;
	c->in_cap = cap;
	return 0;
}

/* The frame was read. What a large one took is given back. */
static void end_frame(struct qp_chan *c)
{
	c->in_len = 0;
	if (c->in_cap > IN_KEEP_BYTES) {
		free(c->in);
		c->in = NULL;
		c->in_cap = 0;
	}
}

/* Reads until in_len is @want. QP_OK, QP_AGAIN, QP_CLOSED, QP_FAULT or -errno. */
static int fill(struct qp_chan *c, size_t want)
{
	while (c->in_len < want) {
		unsigned n_fds = 0;
		int g = grow_in(c, want);
		if (g < 0)
			return g;
		ssize_t r = qfd_recv(c->fd, c->in + c->in_len, Q_MIN(want, c->in_cap) - c->in_len,
				     c->in_fds + c->n_in_fds, QP_FDS_MAX - c->n_in_fds, &n_fds);

		c->n_in_fds += n_fds;
		if (r == -EAGAIN)
			return QP_AGAIN;
		if (r == -EBADMSG)
			return fault(c, "too_many_descriptors");
		if (r == 0 || r == -ECONNRESET || r == -EPIPE)
			return c->in_len ? fault(c, "cut_off") : QP_CLOSED;
		if (r < 0)
			return (int)r;
		c->in_len += (size_t)r;
	}
	return QP_OK;
}

static int read_frame(struct qp_chan *c, uint32_t *ret_len)
{
	int r = c->in_len < HDR_BYTES ? fill(c, HDR_BYTES) : QP_OK;
	uint32_t w_len;

	if (r != QP_OK)
		return r;
	memcpy(&w_len, c->in, HDR_BYTES);
	uint32_t len = le32toh(w_len);
	if (len == 0 || len > QP_FRAME_MAX)
		return fault(c, "frame_size");
	r = fill(c, HDR_BYTES + len);
	if (r == QP_OK)
		*ret_len = len;
	return r;
}

static int take_hello(struct qp_chan *c, const Parley__Envelope *e)
{
	if (e->body_case != PARLEY__ENVELOPE__BODY_HELLO)
		return fault(c, "no_hello");
	if (e->hello->major != QP_VERSION_MAJOR) {
		qp_chan_send_error(c, e->id, PARLEY__CODE__E_VERSION, 0,
				   "version %u is spoken here, not %u", QP_VERSION_MAJOR,
				   e->hello->major);
		return fault(c, "version");
	}
	c->greeted = true;
	return QP_OK;
}

static void *decode_alloc(void *ctx, size_t len)
{
	size_t *left = ctx;

	if (len > *left)
		return NULL;
	*left -= len;
	return malloc(len);
}

static void decode_free(void *ctx, void *at)
{
	free(at);
}

static int decode(struct qp_chan *c, uint32_t len, Parley__Envelope **ret)
{
	size_t left = DECODE_MAX_BYTES;
	ProtobufCAllocator allocator = {
		.alloc = decode_alloc, .free = decode_free, .allocator_data = &left,
	};
	/* Freed without the allocator later: its memory is malloc()'s. */
	Parley__Envelope *e = parley__envelope__unpack(&allocator, len, c->in + HDR_BYTES);

	if (!e)
		return fault(c, "not_an_envelope");
	const char *bad = qp_check_message(&e->base);
	if (bad) {
		qp_msg_free(e);
		return fault(c, bad);
	}
	/* A body that we do not know is a later version's: not a fault, but an empty message is. */
	if (e->body_case == PARLEY__ENVELOPE__BODY__NOT_SET && e->base.n_unknown_fields == 0) {
		qp_msg_free(e);
		return fault(c, "empty");
	}
	*ret = e;
	return QP_OK;
}

int qp_chan_recv(struct qp_chan *c, Parley__Envelope **ret, int *fds, unsigned *ret_n_fds)
{
	for (;;) {
		Parley__Envelope *e = NULL;
		uint32_t len = 0;
		int r = read_frame(c, &len);

		if (r == QP_OK)
			r = decode(c, len, &e);
		if (r != QP_OK)
			return r;
		end_frame(c);
		if (c->greeted && e->body_case != PARLEY__ENVELOPE__BODY_HELLO) {
			memcpy(fds, c->in_fds, c->n_in_fds * sizeof(fds[0]));
			*ret_n_fds = c->n_in_fds;
			c->n_in_fds = 0;
			*ret = e;
			return QP_OK;
		}
		close_in_fds(c);
		r = c->greeted ? fault(c, "hello_twice") : take_hello(c, e);
		qp_msg_free(e);
		if (r != QP_OK)
			return r;
	}
}

void qp_msg_free(Parley__Envelope *e)
{
	if (e)
		parley__envelope__free_unpacked(e, NULL);
}

int qp_chan_flush(struct qp_chan *c)
{
	while (c->out) {
		struct out_frame *f = c->out;
		ssize_t r = qfd_send(c->fd, f->bytes + f->sent, f->len - f->sent, f->fds,
				     f->sent ? 0 : f->n_fds);

		if (r == -EAGAIN)
			return QP_OK;
		if (r == -EPIPE || r == -ECONNRESET)
			return QP_CLOSED;
		if (r < 0)
			return (int)r;
		f->sent += (size_t)r;
		c->out_bytes -= (size_t)r;
		if (f->sent < f->len)
			continue;
		c->out = f->next;
		if (!c->out)
			c->out_tail = &c->out;
		out_free(f);
	}
	return QP_OK;
}

static struct out_frame *frame_new(const Parley__Envelope *e, size_t len, const int *fds,
				   unsigned n_fds)
{
	struct out_frame *f = calloc(1, sizeof(*f) + HDR_BYTES + len);

	if (!f)
		return NULL;
	for (; f->n_fds < n_fds; f->n_fds++) {
		f->fds[f->n_fds] = qfd_dup(fds[f->n_fds]);
		if (f->fds[f->n_fds] < 0) {
			out_free(f);
			return NULL;
		}
	}
	uint32_t w_len = htole32((uint32_t)len);
	memcpy(f->bytes, &w_len, HDR_BYTES);
	parley__envelope__pack(e, f->bytes + HDR_BYTES);
	f->len = HDR_BYTES + len;
	return f;
}

int qp_chan_send(struct qp_chan *c, const Parley__Envelope *e, const int *fds, unsigned n_fds)
{
	size_t len = parley__envelope__get_packed_size(e);

	if (len > QP_FRAME_MAX || n_fds > QP_FDS_MAX)
		return -EMSGSIZE;
	if (c->out_bytes + len + HDR_BYTES > QP_OUT_MAX)
		return QP_FULL;
	struct out_frame *f = frame_new(e, len, fds, n_fds);
	if (!f)
		return -ENOMEM;
	*c->out_tail = f;
	c->out_tail = &f->next;
	c->out_bytes += f->len;
	return qp_chan_flush(c);
}

int qp_chan_send_error(struct qp_chan *c, uint32_t id, Parley__Code code, int sys_errno,
		       const char *fmt, ...)
{
	char text[QP_STRING_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	qp_text_clean(text);	/* it may quote anything, and is cut anywhere */

	Parley__Error err = PARLEY__ERROR__INIT;
	err.code = code;
	err.sys_errno = sys_errno;
	err.text = text;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_ERROR;
	e.error = &err;
	return qp_chan_send(c, &e, NULL, 0);
}

int qp_chan_wait(struct qp_chan *c, uint64_t deadline_ns, Parley__Envelope **ret, int *fds,
		 unsigned *ret_n_fds)
{
	for (;;) {
		int sent = qp_chan_flush(c);

		/* What a peer said before it hung up is still to be read. */
		if (sent < 0)
			return sent;
		int r = qp_chan_recv(c, ret, fds, ret_n_fds);
		if (r != QP_AGAIN)
			return r;
		uint64_t now = qnow_ns();
		if (now >= deadline_ns)
			return QP_TIMEOUT;
		uint64_t left_ms = (deadline_ns - now) / Q_NSEC_PER_MSEC + 1;
		struct pollfd p = {
			.fd = c->fd,
			/* To one that is gone nothing is written: POLLOUT would come at once. */
			.events = POLLIN | (sent == QP_OK && qp_chan_wants_write(c) ? POLLOUT : 0),
		};
		if (poll(&p, 1, (int)Q_MIN(left_ms, 60000)) < 0 && errno != EINTR)
			return -errno;
	}
}

int qp_chan_peer(const struct qp_chan *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_pid = cred.pid;
	*ret_uid = cred.uid;
	*ret_gid = cred.gid;
	return 0;
}

int qp_chan_succeed(int listen_fd, const char *program, uid_t owner, struct qp_chan **ret,
		    pid_t *ret_pid, uid_t *ret_uid)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct qp_chan *c = fd < 0 ? NULL : qp_chan_new(fd, program);
	gid_t gid;

	if (!c)
		return -EAGAIN;
	*ret_pid = 0;
	*ret_uid = 0;
	if (qp_chan_peer(c, ret_pid, ret_uid, &gid) < 0 || (*ret_uid != owner && *ret_uid != 0)) {
		qp_chan_free(c);
		return -EACCES;
	}
	*ret = c;
	return 0;
}

static const char *const class_words[] = {
	[PARLEY__CLASS__CLASS_NORMAL] = "normal",
	[PARLEY__CLASS__CLASS_SAFETY] = "safety",
	[PARLEY__CLASS__CLASS_BEST_EFFORT] = "best-effort",
};

const char *qp_class_str(Parley__Class c)
{
	return (size_t)c < Q_ARRAY_LEN(class_words) ? class_words[c] : "unknown";
}

int qp_class_parse(const char *word, Parley__Class *ret)
{
	for (size_t i = 0; i < Q_ARRAY_LEN(class_words); i++) {
		if (strcmp(word, class_words[i]) == 0) {
			*ret = (Parley__Class)i;
			return 0;
		}
	}
	return -EINVAL;
}
