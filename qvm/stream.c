/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream has one or two ends, each a thing of the host with one descriptor:
 *
 *   state    entered when               leaves on                     deadline     held
 *   ABSENT   `delayed`, and it is not   it is there: OPEN             that of      timer
 *            there at the start;        deadline: GONE                `delayed`
 *            a lost connection
 *   VACANT   a socket of ours           a client: OPEN                none         listening
 *            without a client                                                      socket, watch
 *   OPEN     there is a descriptor      dropped: a socket of ours:    none         descriptor
 *                                       VACANT; a connection with
 *                                       `delayed`: ABSENT; else GONE
 *   GONE     it ended, or never came    never                         none         nothing
 *
 * Opening is done before the guest runs, and by the I/O thread for what is waited for; nothing that
 * is opened so waits (O_NONBLOCK). Called with the vdev's lock held.
 */
#include "qvm/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/console.h"
#include "qvm/loop.h"
#include "qvm/vmdev.h"

#define PREFIX_SOCKET "socket:"
#define RETRY_NS      (100 * Q_NSEC_PER_MSEC)
#define BACKLOG	      4
#define PATH_BYTES    sizeof(((struct sockaddr_un *)0)->sun_path)

enum end_state { END_ABSENT, END_VACANT, END_OPEN, END_GONE, END_STATES };
static const char *const end_state_str[] = {
	[END_ABSENT] = "absent", [END_VACANT] = "vacant", [END_OPEN] = "open", [END_GONE] = "gone",
};
static_assert(Q_ARRAY_LEN(end_state_str) == END_STATES, "every state has a word");

#define TO(state) (1u << (state))
static const unsigned end_next[] = {
	[END_ABSENT] = TO(END_OPEN) | TO(END_GONE),
	[END_VACANT] = TO(END_OPEN) | TO(END_GONE),
	[END_OPEN] = TO(END_ABSENT) | TO(END_VACANT) | TO(END_GONE),
	[END_GONE] = TO(END_ABSENT) | TO(END_VACANT) | TO(END_OPEN),	/* at the start only */
};
static_assert(Q_ARRAY_LEN(end_next) == END_STATES, "every state has a row");

struct end {
	struct vd_stream *s;
	const struct vd_arg *arg; /* NULL: the endpoint that nobody named */
	const char *path;
	int flags;		  /* O_RDONLY, O_WRONLY, O_RDWR */
	enum end_state state;
	bool is_connection;
	bool dropped[2];	  /* by direction; of what is no connection */
	int fd, listen_fd;
	struct loop_watch *listen_watch;
	char made_path[PATH_BYTES];	/* a socket of ours; "" = none */
};

struct vd_stream {
	struct vm_dev *d;
	struct vd_stream_cfg cfg;
	struct end ends[2];
	struct end *by_dir[2];	/* in, out; may be the same; NULL = none */
	struct loop_timer *timer;
	uint64_t delay_ns;	/* 0: nothing is waited for */
	uint64_t give_up_ns;
};

static void set_state(struct end *e, enum end_state to, const char *why)
{
	qassert(end_next[e->state] & TO(to));
	qlog_debug("ev=stream dev=%s path=%s from=%s to=%s why=%s", e->s->d->cfg->cfg.name, e->path,
		   end_state_str[e->state], end_state_str[to], why);
	e->state = to;
}

static void end_use(struct end *e, int take_fd)
{
	e->fd = take_fd;
	e->dropped[0] = e->dropped[1] = false;
}

static void tell_changed(struct vd_stream *s)
{
	if (s->d->v)
		s->cfg.changed(s->d->v, s->cfg.arg);
}

/* ---- what is opened by its path ---- */

/* A negative errno that says "not there", which may change. */
static bool is_absence(int err)
{
	return err == -ENOENT || err == -ENXIO || err == -ENODEV || err == -ECONNREFUSED ||
	       err == -EAGAIN;
}

static const char *why_not(int err)
{
	return err == -ENOTSUP ? "bytes go through it one way: write <PATH or >PATH" :
				 strerrordesc_np(-err);
}

static int connect_to(const char *path)
{
	int fd = qfd_connect_unix_now(path);
	int r = fd < 0 ? fd : qfd_nonblock(fd, true);

	if (r < 0)
		qfd_close(&fd);
	return r < 0 ? r : fd;
}

static int open_path(struct end *e)
{
	struct stat st = { 0 };

	if (!strcmp(e->path, "-"))
		return console_open_path(e->path, e->flags);
	if (stat(e->path, &st) == 0) {
		e->is_connection = S_ISSOCK(st.st_mode);
		if (e->flags == O_RDWR && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode)))
			return -ENOTSUP;
	}
	return e->is_connection ? connect_to(e->path) : console_open_path(e->path, e->flags);
}

static bool try_open(struct end *e, int *ret_err)
{
	int r = open_path(e);

	*ret_err = r < 0 ? r : 0;
	if (r < 0)
		return false;
	end_use(e, r);
	set_state(e, END_OPEN, "opened");
	return true;
}

static void wait_for(struct end *e, const char *why)
{
	struct vd_stream *s = e->s;
	uint64_t now = qnow_ns();

	set_state(e, END_ABSENT, why);
	s->give_up_ns = s->delay_ns > UINT64_MAX - now ? UINT64_MAX : now + s->delay_ns;
	loop_timer_arm(s->timer, now + RETRY_NS);
}

static void give_up(struct end *e, int err)
{
	qlog_warn("ev=stream_absent dev=%s path=%s why=\"%s\"", e->s->d->cfg->cfg.name, e->path,
		  why_not(err));
	set_state(e, END_GONE, "never came");
}

/* The I/O thread looks for what is waited for. */
static void on_retry(void *owner, void *arg)
{
	struct vd_stream *s = arg;
	bool came = false, waits = false;

	for (unsigned i = 0; i < 2; i++) {
		struct end *e = &s->ends[i];
		int err;

		if (e->state != END_ABSENT)
			continue;
		if (try_open(e, &err))
			came = true;
		else if (!is_absence(err) || qnow_ns() >= s->give_up_ns)
			give_up(e, err);
		else
			waits = true;
	}
	if (waits)
		loop_timer_arm(s->timer, qnow_ns() + RETRY_NS);
	if (came)
		tell_changed(s);
}

/* ---- sockets of ours ---- */

static int listen_watch(struct end *e);

static void on_client(void *owner, void *arg)
{
	struct end *e = arg;
	int fd = accept4(e->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;	/* it went again, or we have no descriptor left: the watch stays */
	end_use(e, fd);
	/* The next one waits in the backlog. */
	loop_unwatch(e->listen_watch);
	e->listen_watch = NULL;
	set_state(e, END_OPEN, "client");
	tell_changed(e->s);
}

static int listen_watch(struct end *e)
{
	struct vm_dev *d = e->s->d;

	e->listen_watch = loop_watch(d->vm->loop, &d->lock, e->listen_fd, on_client, d, e);
	return e->listen_watch ? 0 : -ENOMEM;
}

static int listen_at(struct end *e)
{
	int fd = qfd_listen_unix(e->path, BACKLOG);

	if (fd < 0)
		return fd;
	e->listen_fd = fd;
	snprintf(e->made_path, sizeof(e->made_path), "%s", e->path);
	e->is_connection = true;
	set_state(e, END_VACANT, "listens");
	return listen_watch(e);
}

/* ---- what the configuration says ---- */

static void end_fini(struct end *e)
{
	loop_unwatch(e->listen_watch);
	e->listen_watch = NULL;
	qfd_close(&e->fd);
	qfd_close(&e->listen_fd);
	if (e->made_path[0])
		unlink(e->made_path);
	e->made_path[0] = '\0';
	e->state = END_GONE;
}

static int end_open(struct end *e, struct cf_errors *errs)
{
	const struct vd_config *cfg = e->s->cfg.cfg;
	bool ours = !strncmp(e->path, PREFIX_SOCKET, strlen(PREFIX_SOCKET));
	int err = 0;

	if (ours) {
		e->path += strlen(PREFIX_SOCKET);
		err = listen_at(e);
	} else if (!try_open(e, &err) && e->s->delay_ns && is_absence(err)) {
		wait_for(e, "delayed");
		err = 0;
	}
	if (err < 0)
		cf_error_add(errs, CF_ERROR, e->arg ? e->arg->file : cfg->file,
			     e->arg ? e->arg->line : cfg->line, e->arg ? e->arg->col : cfg->col,
			     "hostdev %s: cannot be opened: %s", e->path, why_not(err));
	return err;
}

/* What @a says for this stream, or NULL when it is about something else. */
static const char *text_for(const struct vd_stream *s, const struct vd_arg *a)
{
	const char *port = s->cfg.port;
	size_t len;

	if (!port)
		return strcmp(a->opt->name, "hostdev") ? NULL : a->text;
	len = strlen(port);
	if (strcmp(a->opt->name, "port") != 0 || strncmp(a->text, port, len) != 0 ||
	    a->text[len] != ',')
		return NULL;
	return a->text + len + 1;
}

struct choice {
	const struct vd_arg *arg[2];	/* in, out */
	const char *path[2];
};

static void choose(const struct vd_stream *s, struct choice *ret)
{
	const struct vd_config *cfg = s->cfg.cfg;

	*ret = (struct choice){ 0 };
	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];
		const char *text = text_for(s, a);

		if (!text)
			continue;
		bool in_only = text[0] == '<', out_only = text[0] == '>';
		const char *path = text + (in_only || out_only);
		for (unsigned dir = 0; dir < 2; dir++) {
			if (dir ? in_only : out_only)
				continue;
			ret->arg[dir] = a;
			ret->path[dir] = path;
		}
	}
}

static int open_chosen(struct vd_stream *s, const struct choice *c, struct cf_errors *errs)
{
	bool one = c->arg[0] && c->arg[0] == c->arg[1] && strcmp(c->path[0], "-") != 0;

	for (unsigned dir = 0; dir < 2; dir++) {
		struct end *e = &s->ends[dir];

		if (!c->arg[dir])
			continue;
		s->by_dir[dir] = one ? &s->ends[0] : e;
		if (one && dir)
			continue;
		e->arg = c->arg[dir];
		e->path = c->path[dir];
		e->flags = one ? O_RDWR : dir ? O_WRONLY : O_RDONLY;
		int r = end_open(e, errs);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A client can come later; without a directory to put the socket in, nobody can. */
static void open_endpoint(struct vd_stream *s)
{
	const struct vm *vm = s->d->vm;
	const char *port = s->cfg.port;
	struct end *e = &s->ends[0];
	char path[1024];

	if (!vm->run_dir || !vm->run_dir[0] || !vm->cfg->system_given)
		return;
	snprintf(path, sizeof(path), "%s/qvm/%s/%s%s%s", vm->run_dir, vm->cfg->system,
		 s->cfg.cfg->name, port ? "." : "", port ? port : "");
	e->path = path;
	int r = listen_at(e);
	if (r < 0) {
		qlog_warn("ev=no_endpoint dev=%s path=%s why=\"%s\"", s->cfg.cfg->name, path,
			  strerrordesc_np(-r));
		end_fini(e);
		return;
	}
	e->path = e->made_path;
	s->by_dir[0] = s->by_dir[1] = e;
}

/* ---- ops ---- */

static void stream_close(struct vd_host *h, struct vd_stream *s)
{
	if (!s)
		return;
	end_fini(&s->ends[0]);
	end_fini(&s->ends[1]);
	loop_timer_free(s->timer);
	free(s);
}

static int stream_open(struct vd_host *h, const struct vd_stream_cfg *cfg, struct cf_errors *errs,
		       struct vd_stream **ret)
{
	struct vm_dev *d = Q_CONTAINER_OF(h, struct vm_dev, host);
	const struct vd_arg *delayed = vd_arg_find(cfg->cfg, "delayed");
	struct vd_stream *s = calloc(1, sizeof(*s));
	struct choice c;
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->d = d;
	s->cfg = *cfg;
	for (unsigned i = 0; i < 2; i++)
		s->ends[i] = (struct end){ .s = s, .state = END_GONE, .fd = -1, .listen_fd = -1 };
	if (delayed)
		vd_delay_parse(delayed->text, &s->delay_ns);
	s->timer = loop_timer_new(d->vm->loop, &d->lock, on_retry, d, s);
	choose(s, &c);
	if (!s->timer)
		r = -ENOMEM;
	else if (c.arg[0] || c.arg[1])
		r = open_chosen(s, &c, errs);
	else
		open_endpoint(s);
	if (r < 0) {
		stream_close(h, s);
		return r;
	}
	*ret = s;
	return 0;
}

static int stream_fd(struct vd_host *h, struct vd_stream *s, bool out)
{
	const struct end *e = s->by_dir[out];

	if (e && e->state == END_ABSENT)
		return -EAGAIN;
	return e && e->state == END_OPEN && !e->dropped[out] ? e->fd : -1;
}

static void end_lost(struct end *e, const char *why)
{
	qfd_close(&e->fd);
	if (e->listen_fd >= 0) {
		set_state(e, END_VACANT, why);
		if (listen_watch(e) < 0)
			give_up(e, -ENOMEM);
	} else if (e->is_connection && e->s->delay_ns) {
		wait_for(e, why);
	} else {
		set_state(e, END_GONE, why);
	}
}

static void stream_drop(struct vd_host *h, struct vd_stream *s, bool out)
{
	struct end *e = s->by_dir[out];

	if (!e || e->state != END_OPEN)
		return;
	e->dropped[out] = true;
	if (!e->is_connection && s->by_dir[!out] == e && !e->dropped[!out])
		return;
	end_lost(e, "ended");
}

static void stream_hang_up(struct vd_host *h, struct vd_stream *s)
{
	for (unsigned i = 0; i < 2; i++)
		if (s->ends[i].state == END_OPEN && s->ends[i].is_connection)
			end_lost(&s->ends[i], "the guest is done");
}

/* A supervisor holds the other end of our standard input, and says how large its terminal is. */
static bool supervised_size(const struct vd_stream *s, uint16_t ret[2])
{
	struct stat st;

	if (!s->by_dir[0] || !s->by_dir[0]->path || strcmp(s->by_dir[0]->path, "-") != 0 ||
	    fstat(STDIN_FILENO, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	uint32_t size = atomic_load(&s->d->vm->console_size);
	ret[0] = (uint16_t)(size >> 16);
	ret[1] = (uint16_t)size;
	return true;
}

static bool stream_size(struct vd_host *h, struct vd_stream *s, uint16_t ret[2])
{
	struct winsize w;

	for (unsigned i = 0; i < 2; i++) {
		if (s->ends[!i].fd < 0 || ioctl(s->ends[!i].fd, TIOCGWINSZ, &w) < 0)
			continue;
		ret[0] = w.ws_col;
		ret[1] = w.ws_row;
		return true;
	}
	return supervised_size(s, ret);
}

const struct vd_stream_ops stream_ops = {
	.open = stream_open,
	.fd = stream_fd,
	.drop = stream_drop,
	.hang_up = stream_hang_up,
	.size = stream_size,
	.close = stream_close,
};
