/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations of log lines. The system's log is a datagram socket that journald or syslogd listens
 * at; it is named anew with every line, so that one which is restarted is found again.
 *
 * `internal` goes there whatever the configuration says: it is about a bug of ours, and the process
 * ends with it.
 */
#include "qvm/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"

static struct {
	int fd; /* -1: the system's log is standard error */
	struct sockaddr_un at;
} slog = { .fd = -1 };

/* The journal says which file it reads from us (systemd.exec(5), $JOURNAL_STREAM). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* What `set slog-buffer` asks for is what lines may wait in; it is never less than the usual. */
static void set_buffer(int fd, uint32_t bytes)
{
	int usual = 0, size = (int)bytes;
	socklen_t len = sizeof(usual);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &usual, &len) == 0 && size > usual)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void open_slog(const char *path, uint32_t bytes)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(at.sun_path) || stderr_is_journal())
		return;
	memcpy(at.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Only to see that somebody is there. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		qfd_close(&fd);
		return;
	}
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	connect(fd, &none, sizeof(none));
	set_buffer(fd, bytes);
	slog.fd = fd;
	slog.at = at;
}

struct qlog_dest logs_dest(const struct cfg_logger *l)
{
	struct qlog_dest d = { .mask = l->dest == CFG_LOG_NONE ? 0 : l->mask,
			       .fd = l->dest == CFG_LOG_STDOUT ? STDOUT_FILENO : STDERR_FILENO };

	if (l->dest == CFG_LOG_SLOG && slog.fd >= 0) {
		d.fd = slog.fd;
		d.syslog = &slog.at;
	}
	return d;
}

static bool same_place(const struct qlog_dest *a, const struct qlog_dest *b)
{
	return a->fd == b->fd && a->syslog == b->syslog;
}

void logs_open(const struct vm_cfg *cfg, const char *syslog)
{
	const struct cfg_logger usual = { .mask = QLOG_DEFAULT_MASK, .dest = CFG_LOG_STDERR };
	const struct cfg_logger always = { .mask = QLOG_BIT(QLOG_INTERNAL), .dest = CFG_LOG_SLOG };
	const struct cfg_logger *l = cfg->n_loggers ? cfg->loggers : &usual;
	size_t n = cfg->n_loggers ? cfg->n_loggers : 1;

	open_slog(syslog, cfg->slog_bytes);
	struct qlog_dest bug = logs_dest(&always);
	for (size_t i = 0; i < n; i++) {
		struct qlog_dest d = logs_dest(&l[i]);
		qlog_add(&d);
		/* One line of it is enough. */
		if (same_place(&d, &bug))
			bug.mask &= ~d.mask;
	}
	if (bug.mask)
		qlog_add(&bug);
}

void logs_close(void)
{
	qfd_close(&slog.fd);
}
