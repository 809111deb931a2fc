/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a child's pidfd, channel, stderr pipe and the questions it has not answered. Main thread.
 *
 * Theory of operation: three events stand on a child. Its channel and its stderr are served as
 * they come. When its pidfd becomes readable it is dead; then whatever still lies in the two is
 * delivered first, so that the reason is complete, the process is reaped, and ops->exited is
 * called.
 *
 * Invariant: a question stands in `asks` until it is answered, forgotten, or given up with NULL.
 */
#include "hostd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostd/spawn.h"
#include "lib/qfd.h"
#include "lib/qlog.h"

#define READ_BYTES 4096u
#define DRAIN_READS 32u		/* a pipe holds 64 KiB */
#define TAKEOVER_BACKLOG 4
#define ASK_ID_FIRST 0x80000000u /* a child's own requests count from 1 */

struct ask {
	LIST_ENTRY(ask) entry;
	uint32_t id;
	hd_answer_fn fn;
	void *ctx;
};

struct hd_child {
	const struct hd_child_ops *ops;
	void *ctx;
	struct hd_lines *lines;
	pid_t pid;
	int pidfd, err_fd;
	bool ours;		/* can be waited for */
	struct hd_link *link;
	struct event *ev_exit, *ev_err;
	uint32_t next_id;
	LIST_HEAD(, ask) asks;
};

static void give_up_asks(struct hd_child *c)
{
	while (!LIST_EMPTY(&c->asks)) {
		struct ask *a = LIST_FIRST(&c->asks);

		LIST_REMOVE(a, entry);
		a->fn(a->ctx, NULL);
		free(a);
	}
}

struct hd_child *hd_child_free(struct hd_child *c)
{
	if (!c)
		return NULL;
	give_up_asks(c);
	hd_link_free(c->link);
	if (c->ev_exit)
		event_free(c->ev_exit);
	if (c->ev_err)
		event_free(c->ev_err);
	qfd_close(&c->err_fd);
	qfd_close(&c->pidfd);
	free(c);
	return NULL;
}

static bool is_answer(const Parley__Envelope *e)
{
	return e->id >= ASK_ID_FIRST && e->body_case != PARLEY__ENVELOPE__BODY_LISTEN_REQUEST;
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	struct hd_child *c = ctx;
	struct ask *a;

	if (!is_answer(e)) {
		c->ops->msg(c->ctx, e, fds, n_fds);
		return;
	}
	LIST_FOREACH(a, &c->asks, entry) {
		if (a->id != e->id)
			continue;
		LIST_REMOVE(a, entry);
		a->fn(a->ctx, e);
		free(a);
		return;
	}
	/* An answer that came too late is no fault. */
}

static void on_link_end(void *ctx, const char *why)
{
	struct hd_child *c = ctx;

	c->link = hd_link_free(c->link);
	give_up_asks(c);
	/* A process that ends closes its channel first: not worth a word. */
	if (c->ops->chan_lost)
		c->ops->chan_lost(c->ctx, why);
}

static const struct hd_link_ops link_ops = { .msg = on_msg, .end = on_link_end };

static void on_line(void *ctx, const struct hd_line *line)
{
	struct hd_child *c = ctx;

	c->ops->line(c->ctx, line);
}

/* One read. False when nothing more is to be had. */
static bool read_err(struct hd_child *c)
{
	char buf[READ_BYTES];
	ssize_t n = read(c->err_fd, buf, sizeof(buf));

	if (n > 0) {
		hd_lines_put(c->lines, buf, (size_t)n, on_line, c);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	event_del(c->ev_err);
	hd_lines_end(c->lines, on_line, c);
	return false;
}

static void on_err(evutil_socket_t fd, short what, void *arg)
{
	read_err(arg);
}

static void reap(const struct hd_child *c, struct hd_exit *ret)
{
	siginfo_t si = { 0 };

	*ret = (struct hd_exit){ 0 };
	if (!c->ours || waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED | WNOHANG) < 0)
		return;
	ret->known = true;
	if (si.si_code == CLD_EXITED) {
		ret->code = si.si_status;
	} else {
		ret->signal = si.si_status;
		ret->core = si.si_code == CLD_DUMPED;
	}
}

static void on_exit_event(evutil_socket_t fd, short what, void *arg)
{
	struct hd_child *c = arg;
	struct hd_exit ex;

	event_del(c->ev_exit);
	if (c->link)
		hd_link_drain(c->link);
	for (unsigned i = 0; c->err_fd >= 0 && i < DRAIN_READS && read_err(c); i++)
		;
	if (c->lines)
		hd_lines_end(c->lines, on_line, c);
	reap(c, &ex);
	c->ops->exited(c->ctx, &ex);
}

static struct hd_child *child_new(const struct hd_child_ops *ops, void *ctx)
{
	struct hd_child *c = calloc(1, sizeof(*c));

	if (c) {
		c->ops = ops;
		c->ctx = ctx;
		c->pidfd = c->err_fd = -1;
		c->next_id = ASK_ID_FIRST;
		LIST_INIT(&c->asks);
	}
	return c;
}

/* Its ends in @ret, the child's in @child. Nobody who writes a log waits for us to read it: what a
 * full pipe does not take is lost. */
static int make_pipes(bool control, int ret[2], int child[2])
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	ret[0] = p[0];
	child[0] = p[1];
	int r = qfd_nonblock(ret[0], true);
	if (r == 0)
		r = qfd_nonblock(child[0], true);
	if (r < 0 || !control)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	ret[1] = p[0];
	child[1] = p[1];
	return 0;
}

static int watch_exit(struct hd_child *c, struct event_base *base)
{
	c->ev_exit = event_new(base, c->pidfd, EV_READ | EV_PERSIST, on_exit_event, c);
	return c->ev_exit && event_add(c->ev_exit, NULL) == 0 ? 0 : -ENOMEM;
}

/* All that can fail for want of memory comes before the fork. */
static int prepare(struct hd_child *c, struct event_base *base, int *take_chan_fd)
{
	c->ev_err = event_new(base, c->err_fd, EV_READ | EV_PERSIST, on_err, c);
	if (!c->ev_err || event_add(c->ev_err, NULL) < 0)
		return -ENOMEM;
	if (*take_chan_fd < 0)
		return 0;
	c->link = hd_link_new(base, *take_chan_fd, &link_ops, c);
	*take_chan_fd = -1;
	return c->link ? 0 : -ENOMEM;
}

/* A child that no later hostd can find is better than none. */
static int listen_at(const char *path)
{
	(void)unlink(path);
	int fd = qfd_listen_unix(path, TAKEOVER_BACKLOG);

	if (fd < 0)
		qlog_err(fd, "ev=no_takeover path=%s why=\"a later hostd will have no channel to "
			 "it\"", path);
	return fd;
}

static int start(struct hd_child *c, struct event_base *base, const struct hd_child_spec *spec)
{
	int ours[2] = { -1, -1 }, theirs[2] = { -1, -1 };
	QCLEAN(qfd_close) int listen_fd = -1;
	int r = make_pipes(spec->control, ours, theirs);

	c->err_fd = ours[0];
	if (r == 0)
		r = prepare(c, base, &ours[1]);
	if (r == 0 && spec->takeover_path)
		listen_fd = listen_at(spec->takeover_path);
	const struct hd_spawn s = {
		.path = spec->path, .argv = spec->argv, .cwd = spec->cwd,
		.environment = spec->environment,
		.fds = {
			spec->stdin_fd, spec->stdout_fd, theirs[0], theirs[1], listen_fd,
			spec->takeover_path ? spec->console_fd : -1,
			spec->takeover_path ? c->err_fd : -1,
		},
	};
	if (r == 0)
		r = hd_spawn(&s, &c->pid, &c->pidfd);
	qfd_close(&ours[1]);
	qfd_close(&theirs[0]);
	qfd_close(&theirs[1]);
	if (r < 0)
		return r;
	c->ours = true;
	r = watch_exit(c, base);
	if (r < 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	return r;
}

int hd_child_start(struct event_base *base, const struct hd_child_spec *spec,
		   struct hd_lines *lines, const struct hd_child_ops *ops, void *ctx,
		   struct hd_child **ret)
{
	struct hd_child *c = child_new(ops, ctx);

	if (!c)
		return -ENOMEM;
	c->lines = lines;
	hd_lines_reset(lines);
	int r = start(c, base, spec);
	if (r < 0)
		hd_child_free(c);
	else
		*ret = c;
	return r;
}

/* A descriptor that the child keeps for us; -1: it cannot be had. */
static int kept(const struct hd_child *c, int number)
{
	int fd = pidfd_getfd(c->pidfd, number, 0);	/* O_CLOEXEC by itself */

	if (fd < 0)
		qlog_err(errno, "ev=not_kept pid=%d fd=%d", (int)c->pid, number);
	return fd;
}

/* True when it is a pipe or a socket, as it was given: numbers are free to a child that is not as
 * it should be. */
static bool is_stream(int fd, mode_t type)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

static int take_stderr(struct hd_child *c, struct event_base *base, struct hd_lines *lines)
{
	QCLEAN(qfd_close) int fd = kept(c, HD_FD_STDERR);

	if (!is_stream(fd, S_IFIFO) || qfd_nonblock(fd, true) < 0)
		return 0;
	c->lines = lines;
	c->err_fd = fd;
	fd = -1;
	c->ev_err = event_new(base, c->err_fd, EV_READ | EV_PERSIST, on_err, c);
	return c->ev_err && event_add(c->ev_err, NULL) == 0 ? 0 : -ENOMEM;
}

static int take_chan(struct hd_child *c, struct event_base *base, const char *path)
{
	int fd = qfd_connect_unix_now(path);

	if (fd < 0) {
		qlog_err(fd, "ev=no_takeover pid=%d path=%s", (int)c->pid, path);
		return 0;
	}
	c->link = hd_link_new(base, fd, &link_ops, c);
	return c->link ? 0 : -ENOMEM;
}

int hd_child_adopt(struct event_base *base, pid_t pid, const char *takeover_path,
		   struct hd_lines *lines, const struct hd_child_ops *ops, void *ctx,
		   int *ret_console_fd, struct hd_child **ret)
{
	struct hd_child *c = child_new(ops, ctx);
	QCLEAN(qfd_close) int console_fd = -1;

	if (!c)
		return -ENOMEM;
	c->pid = pid;
	c->pidfd = pidfd_open(pid, 0);
	int r = c->pidfd < 0 ? -errno : watch_exit(c, base);
	if (r == 0 && takeover_path)
		r = take_stderr(c, base, lines);
	if (r == 0 && takeover_path)
		r = take_chan(c, base, takeover_path);
	if (r < 0) {
		hd_child_free(c);
		return r;
	}
	if (ret_console_fd)
		*ret_console_fd = -1;
	if (takeover_path && ret_console_fd)
		console_fd = kept(c, HD_FD_CONSOLE);
	if (is_stream(console_fd, S_IFSOCK)) {
		*ret_console_fd = console_fd;
		console_fd = -1;
	}
	*ret = c;
	return 0;
}

pid_t hd_child_pid(const struct hd_child *c)
{
	return c->pid;
}

bool hd_child_has_chan(const struct hd_child *c)
{
	return c->link != NULL;
}

void hd_child_signal(struct hd_child *c, int sig)
{
	if (pidfd_send_signal(c->pidfd, sig, NULL, 0) < 0 && errno != ESRCH)
		qlog_err(errno, "ev=signal_failed pid=%d signal=%d", (int)c->pid, sig);
}

int hd_child_send(struct hd_child *c, const Parley__Envelope *e, const int *fds, unsigned n_fds)
{
	return c->link ? hd_link_send(c->link, e, fds, n_fds) : -EPIPE;
}

int hd_child_ask(struct hd_child *c, Parley__Envelope *e, hd_answer_fn fn, void *ctx)
{
	struct ask *a = c->link ? calloc(1, sizeof(*a)) : NULL;

	if (!a)
		return c->link ? -ENOMEM : -EPIPE;
	*a = (struct ask){ .id = c->next_id++, .fn = fn, .ctx = ctx };
	if (c->next_id < ASK_ID_FIRST)
		c->next_id = ASK_ID_FIRST;
	e->id = a->id;
	int r = hd_link_send(c->link, e, NULL, 0);
	if (r < 0) {
		free(a);
		return r;
	}
	LIST_INSERT_HEAD(&c->asks, a, entry);
	return 0;
}

void hd_child_forget(struct hd_child *c, void *ctx)
{
	struct ask *a, *next;

	for (a = LIST_FIRST(&c->asks); a; a = next) {
		next = LIST_NEXT(a, entry);
		if (a->ctx != ctx)
			continue;
		LIST_REMOVE(a, entry);
		free(a);
	}
}
