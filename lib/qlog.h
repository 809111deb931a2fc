/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: one line, key=value, to stderr (or a descriptor) with a "<n>" priority prefix that
 * journald reads. Filters are a set of severities, not a level (QNX: logger).
 * Any thread; a line is one write(2), so lines of several threads never mix. errno is preserved.
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <sys/un.h>

#include "lib/qdef.h"

enum qlog_sev {
	QLOG_FATAL,
	QLOG_INTERNAL,
	QLOG_ERROR,
	QLOG_WARN,
	QLOG_INFO,
	QLOG_DEBUG,
	QLOG_VERBOSE,
	QLOG_SEVS
};
#define QLOG_BIT(sev) (1u << (sev))
#define QLOG_DEFAULT_MASK                                                                          \
	(QLOG_BIT(QLOG_FATAL) | QLOG_BIT(QLOG_INTERNAL) | QLOG_BIT(QLOG_ERROR) |                   \
	 QLOG_BIT(QLOG_WARN) | QLOG_BIT(QLOG_INFO))

/* Set once at start, before threads exist. @prog and @vm are borrowed for the process' life;
 * @vm may be NULL, else every line carries " vm=<vm>". */
void qlog_init(const char *prog, const char *vm);
/* Sends the severities of @mask to @fd (borrowed; a file is one opened with O_APPEND); several
 * calls add destinations. The first call replaces the default (QLOG_DEFAULT_MASK to stderr).
 * Returns 0 or -ENOSPC (QLOG_DESTS_MAX destinations). */
int qlog_add_dest(unsigned mask, int fd);

/* One destination. Everything in it is borrowed. */
struct qlog_dest {
	unsigned mask;
	int fd;
	/* NULL: lines are written to fd. Else they go to the system's log that listens here
	 * (RFC 3164 without a date, as journald and syslogd take it), fd being any unconnected
	 * AF_UNIX datagram socket; a log that does not take a line now does not get it. */
	const struct sockaddr_un *syslog;
};
#define QLOG_DESTS_MAX 9
/* As qlog_add_dest(). */
int qlog_add(const struct qlog_dest *d);
/* As qlog_v(), to @n destinations instead of those that were added. */
void qlog_to_v(const struct qlog_dest *d, unsigned n, enum qlog_sev sev, const char *fmt,
	       va_list ap) Q_PRINTF(4, 0);
/* "<n>" prefixes on (default: on when stderr is not a terminal). */
void qlog_set_prefix(bool on);

/* Severity by its name of the configuration ("warn" and "warning" alike), -1 when unknown. */
int qlog_sev_parse(const char *name);
const char *qlog_sev_str(enum qlog_sev sev);

void qlog(enum qlog_sev sev, const char *fmt, ...) Q_PRINTF(2, 3);
void qlog_v(enum qlog_sev sev, const char *fmt, va_list ap) Q_PRINTF(2, 0);
/* Appends " err=<errno text>" for @err (positive errno, or a negative -errno). */
void qlog_errno(enum qlog_sev sev, int err, const char *fmt, ...) Q_PRINTF(3, 4);

#define qlog_err(e, ...) qlog_errno(QLOG_ERROR, (e), __VA_ARGS__)
#define qlog_warn(...) qlog(QLOG_WARN, __VA_ARGS__)
#define qlog_info(...) qlog(QLOG_INFO, __VA_ARGS__)
#define qlog_debug(...) qlog(QLOG_DEBUG, __VA_ARGS__)

/*
 * Limiter for what a guest or peer can trigger: the first event of a kind is logged, then a sum at
 * most once a minute ("… n=<count>"). One limiter per (peer, kind), embedded in the peer's object.
 * One thread at a time.
 */
struct qlog_limit {
	uint64_t total;		/* events ever */
	uint64_t unlogged;	/* events since the last line */
	uint64_t last_ns;	/* time of the last line, 0 = never */
};
/* Counts one event at @now_ns; true when a line is due, with the events it stands for in @ret_n. */
bool qlog_limit_hit(struct qlog_limit *l, uint64_t now_ns, uint64_t *ret_n);

/* Escapes @len bytes of a peer's string into @buf (NUL-terminated, cut to fit; at most 64 source
 * bytes are shown): printable ASCII stays, the rest becomes \xNN, and so do the backslash and the
 * double quote: the result may stand between quotes. Returns @buf ("" when it has no byte). */
const char *qlog_escape(char *buf, size_t buf_bytes, const void *src, size_t len);
