/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the mediator's process and the listening sockets of its shares. Main thread.
 *
 * Theory of operation: the mediator asks for its sockets, at most 16 at a time; each is made once
 * and kept, so that the next mediator is handed the same, until a mediator says that it is no share
 * any more. A death is answered at once the first
 * time, later with a growing pause, and no more when it died too often or said that its policy is
 * wrong.
 *
 * Invariants: set_state() is the only writer of state; child is NULL in OFF, WAITING and FAILED;
 * a socket's path is inside RUN/mediator and no other place, whatever a mediator calls its
 * shares.
 */
#include "hostd/med.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostd/alive.h"
#include "hostd/pidfile.h"
#include "hostd/spawn.h"
#include "lib/qfd.h"
#include "lib/qlog.h"

#define SHARES_MAX 1024u
#define SHARE_NAME_MAX 100u
#define BACKLOG 64
#define READY_TIMEOUT_NS (30 * Q_NSEC_PER_SEC)
#define STOP_TIMEOUT_NS (5 * Q_NSEC_PER_SEC)
#define DEATHS_WITHIN_NS (60 * Q_NSEC_PER_SEC)
/* One that was ready so long has served: its death begins no crash loop, and its guests wait. */
#define STOOD_NS (100 * Q_NSEC_PER_MSEC)
#define BACKOFF_FIRST_NS (100 * Q_NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (5 * Q_NSEC_PER_SEC)
#define EVENTS_A_SECOND 8u
#define PIDFILE_NAME "@mediator"	/* no VM can be called that */

struct share {
	char name[SHARE_NAME_MAX + 1];
	int fd;
};

struct hd_med {
	struct hd_env *env;
	hd_med_changed_fn changed;
	hd_med_freeze_fn freeze;	/* or NULL */
	void *ctx;
	enum hd_med_state state;
	struct hd_child *child;
	struct hd_alive alive;		/* is watched while it runs */
	char hung[HD_HUNG_BYTES];	/* it was killed because of this; "": it was not */
	struct hd_lines lines;
	struct event *ev_deadline;
	struct share *shares;		/* owned */
	unsigned n_shares;
	bool has_run;			/* its sockets are there */
	uint64_t ready_ns;
	uint32_t starts;
	uint64_t deaths_ns[HD_MED_DEATHS_MAX]; /* young ones: when, a ring */
	unsigned n_deaths;
	char reason[HD_REASON_BYTES];
	char *failed_text;		/* of StartFailed; owned */
	struct qstat_view page;		/* of the last one that was ready */
	uint64_t events_sec;		/* the second that n_events counts */
	uint32_t n_events;
};

#define TO(s) (1u << HD_MED_##s)

static const char *const state_str[] = {
	[HD_MED_OFF] = "off",		[HD_MED_STARTING] = "starting",
	[HD_MED_RUNNING] = "running",	[HD_MED_WAITING] = "waiting",
	[HD_MED_FAILED] = "failed",	[HD_MED_STOPPING] = "stopping",
};
static_assert(Q_ARRAY_LEN(state_str) == HD_MED_STATES, "every state has a word");

static const unsigned state_next[] = {
	[HD_MED_OFF] = TO(STARTING) | TO(FAILED),
	[HD_MED_STARTING] = TO(RUNNING) | TO(WAITING) | TO(FAILED) | TO(STOPPING),
	[HD_MED_RUNNING] = TO(WAITING) | TO(FAILED) | TO(STOPPING),
	[HD_MED_WAITING] = TO(STARTING) | TO(FAILED) | TO(OFF),
	[HD_MED_FAILED] = TO(STARTING) | TO(OFF),
	[HD_MED_STOPPING] = TO(OFF),
};
static_assert(Q_ARRAY_LEN(state_next) == HD_MED_STATES, "every state has a row");

const char *hd_med_state_str(enum hd_med_state s)
{
	return (unsigned)s < HD_MED_STATES ? state_str[s] : "unknown";
}

bool hd_med_state_may(enum hd_med_state from, enum hd_med_state to)
{
	return (unsigned)from < HD_MED_STATES && (unsigned)to < HD_MED_STATES &&
	       (state_next[from] & 1u << to);
}

uint64_t hd_med_backoff_ns(unsigned n_deaths)
{
	if (n_deaths <= 1)
		return 0;
	return Q_MIN(BACKOFF_FIRST_NS << Q_MIN(n_deaths - 2, 10u), BACKOFF_MAX_NS);
}

static void set_deadline(struct hd_med *m, uint64_t ns)
{
	const struct timeval tv = {
		.tv_sec = (time_t)(ns / Q_NSEC_PER_SEC),
		.tv_usec = (suseconds_t)(ns % Q_NSEC_PER_SEC / Q_NSEC_PER_USEC),
	};

	event_add(m->ev_deadline, &tv);
}

/* Its guests wait for it, and would for ever: another one serves them. */
static void on_hung(void *ctx, const char *why)
{
	struct hd_med *m = ctx;

	hd_event_add(&m->env->events, "mediator_hung", "mediator", "%s: it is killed", why);
	snprintf(m->hung, sizeof(m->hung), "%s", why);
	hd_child_signal(m->child, SIGKILL);
}

static void watch(struct hd_med *m)
{
	if (m->state != HD_MED_RUNNING)
		hd_alive_stop(&m->alive);
	else if (hd_alive_start(&m->alive, m->env->base, m->child, m->env->conf.mediator_hang_ns,
				on_hung, m) < 0)
		qlog_err(-ENOMEM, "ev=not_watched proc=mediator");
}

/* The sole writer of m->state. */
static void set_state(struct hd_med *m, enum hd_med_state to, const char *why)
{
	qassert(hd_med_state_may(m->state, to));
	hd_event_add(&m->env->events, "mediator_state", "mediator", "%s -> %s: %s",
		     hd_med_state_str(m->state), hd_med_state_str(to), why);
	m->state = to;
	watch(m);
	m->changed(m->ctx);
}

/* ---- sockets ---- */

/* "SYSTEM/NAME", of letters that cannot lead out of a folder. */
static bool share_name_ok(const char *name)
{
	const char *slash = strchr(name, '/');

	if (!slash || slash == name || !slash[1] || name[0] == '.' || slash[1] == '.' ||
	    strlen(name) > SHARE_NAME_MAX || strchr(slash + 1, '/'))
		return false;
	for (const char *s = name; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("/._-", *s))
			return false;
	return true;
}

static bool socket_path(const struct hd_med *m, const char *name, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s/mediator/%s.sock", m->env->run_dir, name);

	if (n < 0 || n >= PATH_MAX)
		return false;
	*strrchr(path, '/') = '.';
	return true;
}

static int listen_for(const struct hd_med *m, const char *name)
{
	char path[PATH_MAX];

	return socket_path(m, name, path) ? qfd_listen_unix(path, BACKLOG) : -ENAMETOOLONG;
}

/* Nobody will listen any more: who comes is to see that, not to wait for it. */
static void remove_socket(const struct hd_med *m, struct share *s)
{
	char path[PATH_MAX];

	qfd_close(&s->fd);
	if (socket_path(m, s->name, path))
		(void)unlink(path);
}

/* A share that the mediator has no more; of one that was never asked for there is nothing. */
static void drop_socket(struct hd_med *m, const char *name)
{
	for (unsigned i = 0; i < m->n_shares; i++) {
		if (strcmp(m->shares[i].name, name) != 0)
			continue;
		remove_socket(m, &m->shares[i]);
		m->shares[i] = m->shares[--m->n_shares];
		return;
	}
}

/* The socket of a share, made when it is asked for the first time. Borrowed, or -errno. */
static int socket_of(struct hd_med *m, const char *name)
{
	for (unsigned i = 0; i < m->n_shares; i++)
		if (strcmp(m->shares[i].name, name) == 0)
			return m->shares[i].fd;
	if (m->n_shares >= SHARES_MAX)
		return -EUSERS;
	struct share *v = reallocarray(m->shares, m->n_shares + 1, sizeof(v[0]));
	if (!v)
		return -ENOMEM;
	m->shares = v;
	int fd = listen_for(m, name);
	if (fd < 0)
		return fd;
	v[m->n_shares].fd = fd;
	snprintf(v[m->n_shares].name, sizeof(v[0].name), "%s", name);
	m->n_shares++;
	return fd;
}

static void refuse_sockets(struct hd_med *m, const Parley__Envelope *req, const char *share,
			   int err)
{
	Parley__Error error = PARLEY__ERROR__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	hd_event_add(&m->env->events, "mediator_socket", "mediator",
		     "no socket for share %s: %s", share, strerror(-err));
	error.code = PARLEY__CODE__E_FAILED;
	error.sys_errno = -err;
	error.text = (char *)"no socket";
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_ERROR;
	e.error = &error;
	hd_child_send(m->child, &e, NULL, 0);
}

static void on_listen(struct hd_med *m, const Parley__Envelope *req)
{
	const Parley__ListenRequest *l = req->listen_request;
	Parley__ListenReply reply = PARLEY__LISTEN_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	int fds[QP_FDS_MAX];

	for (size_t i = 0; i < l->n_gone; i++)
		drop_socket(m, l->gone[i]);
	if (l->n_shares > QP_FDS_MAX) {
		refuse_sockets(m, req, "(too many at once)", -EINVAL);
		return;
	}
	for (size_t i = 0; i < l->n_shares; i++) {
		fds[i] = share_name_ok(l->shares[i]) ? socket_of(m, l->shares[i]) : -EINVAL;
		if (fds[i] < 0) {
			refuse_sockets(m, req, l->shares[i], fds[i]);
			return;
		}
	}
	reply.n_sockets = (uint32_t)l->n_shares;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_LISTEN_REPLY;
	e.listen_reply = &reply;
	hd_child_send(m->child, &e, fds, (unsigned)l->n_shares);
}

/* ---- its process ---- */

static void on_mediator_event(struct hd_med *m, const Parley__MediatorEvent *ev)
{
	uint64_t sec = qnow_ns() / Q_NSEC_PER_SEC;

	/* Its clients can make these at will, but for steps of a ladder: they shall not push
	 * everything else out. */
	if (sec != m->events_sec) {
		m->events_sec = sec;
		m->n_events = 0;
	}
	if (m->n_events++ < EVENTS_A_SECOND || strcmp(ev->kind, "ladder") == 0)
		hd_event_keep(&m->env->events, ev->kind, ev->share, ev->text);
}

/* One without a page, or with a bad one, serves as well: only its silence tells less. */
static void take_page(struct hd_med *m, const int *fds, unsigned n_fds)
{
	qstat_view_fini(&m->page);
	if (n_fds == 0)
		return;
	int r = qstat_view_init(&m->page, fds[0]);
	if (r < 0)
		qlog_errno(QLOG_WARN, r, "ev=bad_state_page proc=mediator");
}

static void freeze(struct hd_med *m, char *const *names, size_t n, const char *why)
{
	if (m->freeze)
		m->freeze(m->ctx, names, n, why);
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	struct hd_med *m = ctx;

	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_LISTEN_REQUEST:
		on_listen(m, e);
		return;
	case PARLEY__ENVELOPE__BODY_READY:
		if (m->state == HD_MED_RUNNING) {
			/* One of an earlier hostd: all is known of it again. */
			take_page(m, fds, n_fds);
			m->reason[0] = '\0';
			return;
		}
		if (m->state != HD_MED_STARTING)
			return;
		m->ready_ns = qnow_ns();
		m->has_run = true;
		take_page(m, fds, n_fds);
		m->reason[0] = '\0';
		event_del(m->ev_deadline);
		set_state(m, HD_MED_RUNNING, "ready");
		return;
	case PARLEY__ENVELOPE__BODY_START_FAILED:
		free(m->failed_text);
		m->failed_text = strdup(e->start_failed->text);
		return;
	case PARLEY__ENVELOPE__BODY_FREEZE_VMS:
		freeze(m, e->freeze_vms->systems, e->freeze_vms->n_systems,
		       e->freeze_vms->n_systems ?
			       "a safety share misses its target while lower classes wait" :
			       "the mediator asks for it no more");
		return;
	case PARLEY__ENVELOPE__BODY_MEDIATOR_EVENT:
		on_mediator_event(m, e->mediator_event);
		return;
	default:
		return;
	}
}

static void on_line(void *ctx, const struct hd_line *line)
{
	struct hd_med *m = ctx;

	hd_logs_add(&m->env->logs, "mediator", false, line->prio, line->text);
	/* It limits itself: what a client can trigger is a sum a minute. */
	qlog(line->prio < 0 || line->prio > 3 ? QLOG_INFO : QLOG_ERROR, "proc=mediator %s",
	     line->text);
}

static void on_chan_lost(void *ctx, const char *why)
{
	struct hd_med *m = ctx;

	/* Most often it is about to end, and its exit status says why. If it is not: without its
	 * channel it cannot be asked or handed sockets, and a new one can. */
	qlog_info("ev=mediator_channel_closed why=%s", why);
	if (m->child && m->state != HD_MED_STOPPING)
		set_deadline(m, STOP_TIMEOUT_NS);
}

/* Young deaths within the last minute, this one included; 0 when this one was none. */
static unsigned count_death(struct hd_med *m, uint64_t was_ready_ns, uint64_t now_ns)
{
	unsigned n = 0;

	if (was_ready_ns && now_ns - was_ready_ns >= STOOD_NS)
		return 0;
	m->deaths_ns[m->n_deaths++ % HD_MED_DEATHS_MAX] = now_ns;
	for (unsigned i = 0; i < Q_MIN(m->n_deaths, HD_MED_DEATHS_MAX); i++)
		n += now_ns - m->deaths_ns[i] < DEATHS_WITHIN_NS;
	return n;
}

static void on_exited(void *ctx, const struct hd_exit *ex)
{
	struct hd_med *m = ctx;
	uint64_t ready_ns = m->ready_ns;
	const struct hd_end end = {
		.exit = *ex, .was_ready = ready_ns != 0, .failed_text = m->failed_text,
		.quote = hd_lines_quote(&m->lines),
	};

	hd_alive_stop(&m->alive);
	m->child = hd_child_free(m->child);
	m->ready_ns = 0;
	freeze(m, NULL, 0, "the mediator is gone");
	event_del(m->ev_deadline);
	hd_pidfile_remove(m->env->state_dir, PIDFILE_NAME);
	if (m->state == HD_MED_STOPPING) {
		snprintf(m->reason, sizeof(m->reason), "stopped");
		set_state(m, HD_MED_OFF, m->reason);
		return;
	}
	if (*m->hung)
		snprintf(m->reason, sizeof(m->reason), "%s: killed", m->hung);
	else
		hd_reason(&end, m->reason, sizeof(m->reason));
	unsigned n = count_death(m, ready_ns, qnow_ns());
	if (hd_reason_is_config(&end)) {
		set_state(m, HD_MED_FAILED, m->reason);
	} else if (n >= HD_MED_DEATHS_MAX) {
		char why[HD_REASON_BYTES];

		snprintf(why, sizeof(why), "died young %u times within a minute, not tried again "
			 "until a VM is started; the last time: %.400s", n, m->reason);
		memcpy(m->reason, why, sizeof(why));
		set_state(m, HD_MED_FAILED, m->reason);
	} else {
		set_deadline(m, hd_med_backoff_ns(n));
		set_state(m, HD_MED_WAITING, m->reason);
	}
}

static const struct hd_child_ops child_ops = {
	.msg = on_msg, .line = on_line, .chan_lost = on_chan_lost, .exited = on_exited,
};

static int make_run_dir(const struct hd_med *m)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/mediator", m->env->run_dir);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int spawn(struct hd_med *m)
{
	char exe[PATH_MAX], run[PATH_MAX + 16], dir[PATH_MAX];
	char *const argv[] = {
		exe, (char *)"--control-fd=" HD_CONTROL_FD, (char *)"--keep-fds=" HD_KEEP_FDS, run,
		dir, (char *)(m->env->conf.inject ? "--inject" : NULL), NULL,
	};
	char takeover[PATH_MAX];
	struct hd_child_spec spec = {
		.path = exe, .cwd = m->env->config_dir, .argv = argv, .control = true,
		.stdin_fd = -1, .stdout_fd = -1, .console_fd = -1,
	};

	if (hd_takeover_path(m->env->state_dir, PIDFILE_NAME, takeover, sizeof(takeover)))
		spec.takeover_path = takeover;
	snprintf(exe, sizeof(exe), "%s/mediator", m->env->bin_dir);
	snprintf(run, sizeof(run), "--run-dir=%s", m->env->run_dir);
	snprintf(dir, sizeof(dir), "%s/mediator.d", m->env->config_dir);
	int r = make_run_dir(m);
	if (r == 0)
		r = hd_child_start(m->env->base, &spec, &m->lines, &child_ops, m, &m->child);
	if (r == 0)
		r = hd_pidfile_write(m->env->state_dir, PIDFILE_NAME, hd_child_pid(m->child));
	if (r < 0 && m->child) {
		qlog_err(r, "ev=pidfile_failed proc=mediator");
		r = 0;
	}
	return r;
}

static void start(struct hd_med *m, const char *why)
{
	m->ready_ns = 0;
	m->hung[0] = '\0';
	m->starts++;
	free(m->failed_text);
	m->failed_text = NULL;
	int r = spawn(m);
	if (r < 0) {
		snprintf(m->reason, sizeof(m->reason), "could not be started: %s", strerror(-r));
		if (m->state == HD_MED_FAILED)
			m->changed(m->ctx);
		else
			set_state(m, HD_MED_FAILED, m->reason);
		return;
	}
	set_deadline(m, READY_TIMEOUT_NS);
	set_state(m, HD_MED_STARTING, why);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct hd_med *m = arg;

	if (m->state == HD_MED_WAITING) {
		start(m, "started again");
	} else if (m->child) {
		qlog_warn("ev=mediator_kill why=\"it did not answer in time\"");
		hd_child_signal(m->child, SIGKILL);
		set_deadline(m, STOP_TIMEOUT_NS);
	}
}

bool hd_med_has_policies(const struct hd_env *env)
{
	static const char suffix[] = ".policy";
	char path[PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "%s/mediator.d", env->config_dir);
	DIR *d = opendir(path);
	if (!d)
		return false;
	for (const struct dirent *e = readdir(d); e && !found; e = readdir(d)) {
		size_t len = strlen(e->d_name), end = sizeof(suffix) - 1;

		found = len > end && strcmp(e->d_name + len - end, suffix) == 0;
	}
	closedir(d);
	return found;
}

void hd_med_try(struct hd_med *m)
{
	if (m->state == HD_MED_FAILED || (m->state == HD_MED_OFF && hd_med_has_policies(m->env)))
		start(m, "asked for by the start of a VM");
}

/* One of an earlier hostd still serves its clients: it is taken over as it is. */
static bool adopt(struct hd_med *m)
{
	pid_t pid = hd_pidfile_alive(m->env->state_dir, PIDFILE_NAME);
	char path[PATH_MAX];
	bool has_path = hd_takeover_path(m->env->state_dir, PIDFILE_NAME, path, sizeof(path));

	if (pid == 0 || hd_child_adopt(m->env->base, pid, has_path ? path : NULL, &m->lines,
				       &child_ops, m, NULL, &m->child) < 0)
		return false;
	m->ready_ns = qnow_ns();
	m->has_run = true;
	snprintf(m->reason, sizeof(m->reason), "started by an earlier hostd: it %s",
		 hd_child_has_chan(m->child) ? "has not answered yet" : "has no statistics here");
	set_state(m, HD_MED_STARTING, "a process of an earlier hostd was found");
	set_state(m, HD_MED_RUNNING, "taken over");
	return true;
}

struct hd_med *hd_med_new(struct hd_env *env, hd_med_changed_fn changed, void *ctx)
{
	struct hd_med *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->env = env;
	m->changed = changed;
	m->ctx = ctx;
	m->ev_deadline = evtimer_new(env->base, on_deadline, m);
	if (!m->ev_deadline)
		return hd_med_free(m);
	if (!adopt(m) && hd_med_has_policies(env))
		start(m, "there are policies");
	return m;
}

struct hd_med *hd_med_free(struct hd_med *m)
{
	if (!m)
		return NULL;
	hd_alive_stop(&m->alive);
	hd_child_free(m->child);
	hd_lines_reset(&m->lines);
	if (m->ev_deadline)
		event_free(m->ev_deadline);
	for (unsigned i = 0; i < m->n_shares; i++) {
		if (m->state == HD_MED_OFF)
			remove_socket(m, &m->shares[i]);
		qfd_close(&m->shares[i].fd);
	}
	qstat_view_fini(&m->page);
	free(m->shares);
	free(m->failed_text);
	free(m);
	return NULL;
}

void hd_med_on_freeze(struct hd_med *m, hd_med_freeze_fn fn)
{
	m->freeze = fn;
}

bool hd_med_settled(const struct hd_med *m)
{
	return m->has_run || m->state == HD_MED_OFF || m->state == HD_MED_FAILED;
}

void hd_med_stop(struct hd_med *m, bool force)
{
	if (m->state == HD_MED_WAITING || m->state == HD_MED_FAILED) {
		event_del(m->ev_deadline);
		set_state(m, HD_MED_OFF, "hostd ends");
	} else if (m->child) {
		hd_child_signal(m->child, force ? SIGKILL : SIGTERM);
		if (m->state == HD_MED_STOPPING)
			return;
		set_deadline(m, STOP_TIMEOUT_NS);
		set_state(m, HD_MED_STOPPING, "hostd ends");
	}
}

enum hd_med_state hd_med_state(const struct hd_med *m)
{
	return m->state;
}

struct hd_child *hd_med_process(struct hd_med *m)
{
	return m->child;
}

struct hd_child *hd_med_child(struct hd_med *m)
{
	return m->state == HD_MED_RUNNING && hd_child_has_chan(m->child) ? m->child : NULL;
}

const struct qstat_view *hd_med_page(const struct hd_med *m)
{
	return m->page.map ? &m->page : NULL;
}

void hd_med_info(const struct hd_med *m, Parley__ProcInfo *ret)
{
	*ret = (Parley__ProcInfo)PARLEY__PROC_INFO__INIT;
	ret->name = (char *)"mediator";
	ret->state = (char *)hd_med_state_str(m->state);
	ret->pid = m->child ? (uint32_t)hd_child_pid(m->child) : 0;
	ret->uptime_ms = m->ready_ns ? (qnow_ns() - m->ready_ns) / Q_NSEC_PER_MSEC : 0;
	ret->starts = m->starts;
	ret->reason = (char *)m->reason;
}
