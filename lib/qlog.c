/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines. A line is made whole in a buffer on the stack and leaves in one write(2) for each
 * destination: no lock, and no two threads' lines mix. It is shorter than PIPE_BUF, so a pipe
 * keeps it whole as well; a system's log gets it as a datagram.
 *
 * Form: "<n>prog: message vm=<vm> err=<errno text>\n"; err= stands last, its text has spaces.
 * Control characters in a message become spaces: one event is one line, whoever chose its words.
 *
 * Owns the process-wide state below, written at start by one thread and only read afterwards.
 * Invariant: errno is after every call what it was before. A destination that fails is not
 * reported: there is nowhere left to say it.
 */
#include "lib/qlog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES 2048
#define SYSLOG_DAEMON (3 << 3)	/* the facility */
#define LIMIT_PERIOD_NS (60 * Q_NSEC_PER_SEC)
#define ESCAPE_SRC_MAX 64

static struct {
	const char *prog, *vm;
	struct qlog_dest dest[QLOG_DESTS_MAX];
	unsigned n_dests;	/* 0: the default */
	bool prefix;
	bool prefix_known;	/* else: decided by the first line */
} state;

static const struct qlog_dest default_dest = { QLOG_DEFAULT_MASK, STDERR_FILENO, NULL };

/* Never 0: journald writes an emergency on every terminal. */
static const struct {
	const char *name;
	char prio;
} sevs[] = {
	[QLOG_FATAL] = { "fatal", '2' },
	[QLOG_INTERNAL] = { "internal", '2' },
	[QLOG_ERROR] = { "error", '3' },
	[QLOG_WARN] = { "warning", '4' },
	[QLOG_INFO] = { "info", '6' },
	[QLOG_DEBUG] = { "debug", '7' },
	[QLOG_VERBOSE] = { "verbose", '7' },
};
static_assert(Q_ARRAY_LEN(sevs) == QLOG_SEVS, "every severity has a row");

void qlog_init(const char *prog, const char *vm)
{
	state.prog = prog;
	state.vm = vm;
	if (!state.prefix_known)
		qlog_set_prefix(!isatty(STDERR_FILENO));
}

int qlog_add(const struct qlog_dest *d)
{
	if (state.n_dests == QLOG_DESTS_MAX)
		return -ENOSPC;
	state.dest[state.n_dests++] = *d;
	return 0;
}

int qlog_add_dest(unsigned mask, int fd)
{
	return qlog_add(&(struct qlog_dest){ .mask = mask, .fd = fd });
}

void qlog_set_prefix(bool on)
{
	state.prefix = on;
	state.prefix_known = true;
}

int qlog_sev_parse(const char *name)
{
	if (!strcmp(name, "warn"))
		return QLOG_WARN;
	for (int i = 0; i < QLOG_SEVS; i++)
		if (!strcmp(name, sevs[i].name))
			return i;
	return -1;
}

const char *qlog_sev_str(enum qlog_sev sev)
{
	return (unsigned)sev < QLOG_SEVS ? sevs[sev].name : "unknown";
}

struct line {
	size_t len;
	size_t body;	/* where the message begins, behind priority and program */
	char text[LINE_BYTES];	/* one byte is kept for the newline */
};

static void line_add_v(struct line *l, const char *fmt, va_list ap) Q_PRINTF(2, 0);
static void line_add(struct line *l, const char *fmt, ...) Q_PRINTF(2, 3);

static void line_add_v(struct line *l, const char *fmt, va_list ap)
{
	size_t room = sizeof(l->text) - 1 - l->len;
	int n = vsnprintf(l->text + l->len, room, fmt, ap);

	if (n > 0)
		l->len += Q_MIN((size_t)n, room - 1);
}

static void line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_add_v(l, fmt, ap);
	va_end(ap);
}

static void line_end(struct line *l)
{
	for (size_t i = 0; i < l->len; i++)
		if ((unsigned char)l->text[i] < ' ' || l->text[i] == 0x7f)
			l->text[i] = ' ';
	l->text[l->len++] = '\n';
}

static void write_line(int fd, const char *text, size_t len)
{
	ssize_t n;

	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
}

/* A datagram is a line: no newline. It never waits: a log that is stuck must not stop a VM. */
static void send_line(const struct qlog_dest *d, enum qlog_sev sev, const struct line *l)
{
	char head[64];
	int prio = SYSLOG_DAEMON | (sevs[sev].prio - '0');
	int n = snprintf(head, sizeof(head), "<%d>%.32s[%d]: ", prio,
			 state.prog ? state.prog : "parley", (int)getpid());
	struct iovec iov[] = { { head, (size_t)n },
			       { (char *)l->text + l->body, l->len - l->body - 1 } };
	const struct msghdr m = { .msg_name = (void *)d->syslog, .msg_namelen = sizeof(*d->syslog),
				  .msg_iov = iov, .msg_iovlen = Q_ARRAY_LEN(iov) };

	sendmsg(d->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static unsigned wanted_mask(const struct qlog_dest *d, unsigned n)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < n; i++)
		mask |= d[i].mask;
	return mask;
}

/* @err: positive errno, or 0 for none. */
static void emit_to(const struct qlog_dest *d, unsigned n, enum qlog_sev sev, int err,
		    const char *fmt, va_list ap) Q_PRINTF(5, 0);
static void emit(enum qlog_sev sev, int err, const char *fmt, va_list ap) Q_PRINTF(3, 0);

static void emit_to(const struct qlog_dest *d, unsigned n, enum qlog_sev sev, int err,
		    const char *fmt, va_list ap)
{
	struct line l;
	char errbuf[128];

	if ((unsigned)sev >= QLOG_SEVS || !(wanted_mask(d, n) & QLOG_BIT(sev)))
		return;
	l.len = 0;
	if (state.prefix_known ? state.prefix : !isatty(STDERR_FILENO))
		line_add(&l, "<%c>", sevs[sev].prio);
	if (state.prog)
		line_add(&l, "%s: ", state.prog);
	l.body = l.len;
	line_add_v(&l, fmt, ap);
	if (state.vm)
		line_add(&l, " vm=%s", state.vm);
	if (err)
		line_add(&l, " err=%s", strerror_r(err, errbuf, sizeof(errbuf)));
	line_end(&l);
	for (unsigned i = 0; i < n; i++) {
		if (!(d[i].mask & QLOG_BIT(sev)))
			continue;
		if (d[i].syslog)
			send_line(&d[i], sev, &l);
		else
			write_line(d[i].fd, l.text, l.len);
	}
}

static void emit(enum qlog_sev sev, int err, const char *fmt, va_list ap)
{
	emit_to(state.n_dests ? state.dest : &default_dest, state.n_dests ? state.n_dests : 1, sev,
		err, fmt, ap);
}

void qlog_to_v(const struct qlog_dest *d, unsigned n, enum qlog_sev sev, const char *fmt,
	       va_list ap)
{
	int saved = errno;

	emit_to(d, n, sev, 0, fmt, ap);
	errno = saved;
}

void qlog_v(enum qlog_sev sev, const char *fmt, va_list ap)
{
	int saved = errno;

	emit(sev, 0, fmt, ap);
	errno = saved;
}

void qlog(enum qlog_sev sev, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	qlog_v(sev, fmt, ap);
	va_end(ap);
}

void qlog_errno(enum qlog_sev sev, int err, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	emit(sev, err < 0 ? -err : err, fmt, ap);
	va_end(ap);
	errno = saved;
}

bool qlog_limit_hit(struct qlog_limit *l, uint64_t now_ns, uint64_t *ret_n)
{
	l->total++;
	l->unlogged++;
	if (l->last_ns && (now_ns < l->last_ns || now_ns - l->last_ns < LIMIT_PERIOD_NS))
		return false;
	*ret_n = l->unlogged;
	l->unlogged = 0;
	l->last_ns = now_ns ? now_ns : 1;	/* 0 means never */
	return true;
}

const char *qlog_escape(char *buf, size_t buf_bytes, const void *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = src;
	size_t at = 0;

	if (buf_bytes == 0)
		return "";
	len = Q_MIN(len, (size_t)ESCAPE_SRC_MAX);
	for (size_t i = 0; i < len; i++) {
		bool plain = s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\' && s[i] != '"';
		size_t need = plain ? 1 : 4;

		if (need >= buf_bytes - at)	/* an escape is never cut in two */
			break;
		if (plain) {
			buf[at++] = (char)s[i];
			continue;
		}
		buf[at++] = '\\';
		buf[at++] = 'x';
		buf[at++] = hex[s[i] >> 4];
		buf[at++] = hex[s[i] & 15];
	}
	buf[at] = '\0';
	return buf;
}
