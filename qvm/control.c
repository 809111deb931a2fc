/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel. hostd is trusted more than we are, but its bytes are checked all the same by
 * proto/. When it hangs up the VM goes on: a supervisor that is upgraded takes no VM with it.
 */
#include "qvm/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "proto/qp_chan.h"
#include "qvm/dump.h"

#define LAST_WORDS_NS (2 * Q_NSEC_PER_SEC) /* that StartFailed and Ended may take */
#define COUNTERS_MAX  256u
#define LEASE_MAX_MS  10000u

struct control {
	struct qp_chan *chan;
	uint32_t lease_ms;
	bool gone;	/* the supervisor hung up: nobody is told anything until another comes */
	bool paused;
	int listen_fd;
	uid_t owner;	/* the supervisor's user */
};

struct control *control_new(int take_fd, int listen_fd)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		qfd_close(&take_fd);
		return NULL;
	}
	pid_t pid;
	gid_t gid;
	c->chan = qp_chan_new(take_fd, "qvm");
	if (!c->chan)
		return control_free(c);
	/* A supervisor that could make none has left the number free: to us, as well. */
	bool usable = qfd_is_listening(listen_fd) &&
		      qp_chan_peer(c->chan, &pid, &c->owner, &gid) == 0;
	c->listen_fd = usable ? listen_fd : -1;
	return c;
}

struct control *control_free(struct control *c)
{
	if (c && c->chan)
		qp_chan_free(c->chan);
	free(c);
	return NULL;
}

int control_fd(const struct control *c)
{
	return c ? qp_chan_fd(c->chan) : -1;
}

bool control_paused(const struct control *c)
{
	return c->paused;
}

int control_listen_fd(const struct control *c)
{
	return c ? c->listen_fd : -1;
}

bool control_succeed(struct control *c)
{
	struct qp_chan *chan;
	pid_t pid;
	uid_t uid;
	int r = qp_chan_succeed(c->listen_fd, "qvm", c->owner, &chan, &pid, &uid);

	if (r == -EACCES)
		qlog_warn("ev=control_refused pid=%d uid=%u", (int)pid, (unsigned)uid);
	if (r < 0)
		return false;
	qp_chan_free(c->chan);
	c->chan = chan;
	c->gone = false;
	qlog_info("ev=control_taken_over pid=%d", (int)pid);
	return true;
}

uint32_t control_lease_ms(const struct control *c)
{
	return c->lease_ms;
}

bool control_wants_write(const struct control *c)
{
	return c && qp_chan_wants_write(c->chan);
}

static void send_body(struct control *c, uint32_t id, Parley__Envelope *e)
{
	e->id = id;
	int r = qp_chan_send(c->chan, e, NULL, 0);
	if (r != QP_OK)
		qlog_warn("ev=control_send_failed verdict=%d", r);
}

void control_ready(struct control *c, const struct vm *vm)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Ready m = PARLEY__READY__INIT;

	if (!c || c->gone)
		return;
	m.guest_ram_bytes = qmem_total(vm->mem);
	m.n_cpus = (uint32_t)vm->n_vcpus;
	m.uptime_ns = qnow_ns() - vm->started_ns;
	m.paused = c->paused;
	e.body_case = PARLEY__ENVELOPE__BODY_READY;
	e.ready = &m;
	send_body(c, 0, &e);
}

/* The process ends after this: what is queued must go out first. */
static void flush_last(struct control *c)
{
	uint64_t deadline = qnow_ns() + LAST_WORDS_NS;
	Parley__Envelope *e;
	int fds[QP_FDS_MAX];
	unsigned n_fds;

	while (qp_chan_wants_write(c->chan) && qnow_ns() < deadline) {
		int r = qp_chan_wait(c->chan, Q_MIN(deadline, qnow_ns() + 10 * Q_NSEC_PER_MSEC), &e,
				     fds, &n_fds);
		if (r == QP_OK) {
			qp_msg_free(e);
			while (n_fds > 0)
				qfd_close(&fds[--n_fds]);
		} else if (r != QP_TIMEOUT) {
			return;
		}
	}
}

void control_start_failed(struct control *c, const char *stage, int sys_errno, const char *text)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__StartFailed m = PARLEY__START_FAILED__INIT;
	char cut[QP_STRING_MAX];

	if (!c || c->gone)
		return;
	snprintf(cut, sizeof(cut), "%s", text);
	m.stage = (char *)stage;
	m.sys_errno = sys_errno;
	m.text = cut;
	e.body_case = PARLEY__ENVELOPE__BODY_START_FAILED;
	e.start_failed = &m;
	send_body(c, 0, &e);
	flush_last(c);
}

void control_ended(struct control *c, int exit_code, const char *reason, bool reset)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Ended m = PARLEY__ENDED__INIT;

	if (!c || c->gone)
		return;
	m.exit_code = exit_code;
	m.reason = (char *)reason;
	m.reset = reset;
	e.body_case = PARLEY__ENVELOPE__BODY_ENDED;
	e.ended = &m;
	send_body(c, 0, &e);
	flush_last(c);
}

/* ---- requests ---- */

struct counters {
	Parley__VmStats__Counter v[COUNTERS_MAX];
	Parley__VmStats__Counter *p[COUNTERS_MAX];
	char names[COUNTERS_MAX][64];
	size_t n;
};

static void add_counter(void *arg, const char *name, uint64_t value)
{
	struct counters *k = arg;

	if (k->n == COUNTERS_MAX)
		return;
	snprintf(k->names[k->n], sizeof(k->names[0]), "%s", name);
	parley__vm_stats__counter__init(&k->v[k->n]);
	k->v[k->n].name = k->names[k->n];
	k->v[k->n].value = value;
	k->p[k->n] = &k->v[k->n];
	k->n++;
}

static void send_stats(struct control *c, uint32_t id, struct vm *vm)
{
	struct counters *k = calloc(1, sizeof(*k));
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__VmStats m = PARLEY__VM_STATS__INIT;

	if (!k) {
		qp_chan_send_error(c->chan, id, PARLEY__CODE__E_FAILED, ENOMEM, "out of memory");
		return;
	}
	vm_counters(vm, add_counter, k);
	m.n_counters = k->n;
	m.counters = k->p;
	m.uptime_ns = qnow_ns() - vm->started_ns;
	e.body_case = PARLEY__ENVELOPE__BODY_VM_STATS;
	e.vm_stats = &m;
	send_body(c, id, &e);
	free(k);
}

static void send_done(struct control *c, uint32_t id)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Done m = PARLEY__DONE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_DONE;
	e.done = &m;
	send_body(c, id, &e);
}

static void send_alive(struct control *c, uint32_t id, struct vm *vm)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Alive m = PARLEY__ALIVE__INIT;
	char what[64];

	m.stalled_ns = alive_look(&vm->alive, vm, what, sizeof(what));
	m.what = what;
	e.body_case = PARLEY__ENVELOPE__BODY_ALIVE;
	e.alive = &m;
	send_body(c, id, &e);
}

static void start_dump(struct control *c, uint32_t id, struct vm *vm)
{
	if (!vm->dump)
		qp_chan_send_error(c->chan, id, PARLEY__CODE__E_CONFIG, 0,
				   "its configuration has no 'dump', which says where to");
	else if (dump_request(vm, "an operator asked for it", VM_EXIT_OK))
		send_done(c, id);
	else
		qp_chan_send_error(c->chan, id, PARLEY__CODE__E_BUSY, 0,
				   "another dump is being written");
}

static enum control_order answer(struct control *c, struct vm *vm, const Parley__Envelope *e)
{
	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_POWER_BUTTON:
		send_done(c, e->id);
		return CONTROL_BUTTON;
	case PARLEY__ENVELOPE__BODY_POWER_CUT:
		send_done(c, e->id);
		return CONTROL_CUT;
	case PARLEY__ENVELOPE__BODY_PAUSE:
		c->paused = e->pause->on;
		send_done(c, e->id);
		return CONTROL_PAUSE;
	case PARLEY__ENVELOPE__BODY_CONSOLE_SIZE:
		/* Streams look at it now and then: vdevs hear of it on their own thread. */
		atomic_store(&vm->console_size, (e->console_size->columns & UINT16_MAX) << 16 |
							(e->console_size->rows & UINT16_MAX));
		break;
	case PARLEY__ENVELOPE__BODY_DUMP:
		start_dump(c, e->id, vm);
		break;
	case PARLEY__ENVELOPE__BODY_FREEZE:
		c->lease_ms = Q_MIN(e->freeze->lease_ms, LEASE_MAX_MS);
		return CONTROL_FREEZE;
	case PARLEY__ENVELOPE__BODY_VM_STATS_REQUEST:
		send_stats(c, e->id, vm);
		break;
	case PARLEY__ENVELOPE__BODY_ALIVE_REQUEST:
		send_alive(c, e->id, vm);
		break;
	default:
		qp_chan_send_error(c->chan, e->id, PARLEY__CODE__E_USAGE, 0,
				   "qvm does not serve this message");
		break;
	}
	return CONTROL_NOTHING;
}

enum control_order control_serve(struct control *c, struct vm *vm)
{
	Parley__Envelope *e;
	int fds[QP_FDS_MAX];
	unsigned n_fds = 0;
	enum control_order order = CONTROL_NOTHING;

	while (order == CONTROL_NOTHING) {
		int r = qp_chan_recv(c->chan, &e, fds, &n_fds);
		if (r == QP_AGAIN)
			break;
		if (r != QP_OK) {
			if (r == QP_FAULT)
				qlog_warn("ev=control_fault why=%s", qp_chan_fault(c->chan));
			c->gone = true;
			return CONTROL_GONE;
		}
		while (n_fds > 0) /* none of the messages that we serve carries any */
			qfd_close(&fds[--n_fds]);
		order = answer(c, vm, e);
		qp_msg_free(e);
	}
	return order;
}

void control_flush(struct control *c)
{
	if (c)
		qp_chan_flush(c->chan);
}
