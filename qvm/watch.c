/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's loop: a signalfd, the VM's end, dumps, the control channel and the files of the
 * runtime directory on one libevent base.
 *
 * SIGTERM, SIGINT, SIGHUP (the terminal is closed): the power button; when nobody in the guest can
 * see it, or on the second one, the VM ends at once. SIGQUIT: power cut. SIGUSR1: status. SIGUSR2:
 * a dump. An end that was not the guest's own has exit code 3, as a power cut has: 0 says that the
 * guest went by itself.
 */
#include "qvm/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/dump.h"
#include "qvm/pause.h"
#include "qvm/status.h"

#define EVENTS_MAX 6u

struct watch {
	struct vm *vm;
	struct control *control;
	struct env *env;
	struct event_base *base;
	struct event *events[EVENTS_MAX]; /* those of the whole run; freed at the end */
	unsigned n_events;
	struct event *ev_control, *ev_write; /* of the channel that there is; NULL: none */
	bool paused;	/* a hold of ours, too */
	unsigned n_presses;
	struct event *ev_lease;	/* of a freeze; NULL: there was none yet */
	bool frozen;		/* we hold the guest, until then */
};

static void served_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
}

void watch_signals_block(void)
{
	sigset_t set;

	served_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void press_button(struct watch *w, const char *who)
{
	w->n_presses++;
	if (w->n_presses > 1) {
		vm_end(w->vm, VM_EXIT_CUT, "asked to end a second time");
	} else if (!vm_button(w->vm)) {
		vm_end(w->vm, VM_EXIT_CUT,
		       "asked to end; the guest does not listen to its power button");
	} else {
		qlog_info("ev=power_button by=%s", who);
	}
}

static const char *signal_str(uint32_t number)
{
	return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGTERM:
		case SIGINT:
		case SIGHUP:
			press_button(w, signal_str(si.ssi_signo));
			break;
		case SIGQUIT:
			vm_end(w->vm, VM_EXIT_CUT, "power cut (SIGQUIT)");
			break;
		case SIGUSR1:
			status_log(w->vm);
			break;
		case SIGUSR2:
			dump_request(w->vm, "SIGUSR2", VM_EXIT_OK);
			break;
		}
	}
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	event_base_loopbreak(w->base);
}

static void on_dump(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	dump_serve(w->vm);
}

static void on_period(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	env_write(w->env);
}

/* ---- a freeze: a hold of ours (pause.h) that ends by itself ---- */

static void let_go(struct watch *w)
{
	if (!w->frozen)
		return;
	event_del(w->ev_lease);
	w->frozen = false;
	pause_end(w->vm);
	qlog_info("ev=thawed");
}

static void on_lease(evutil_socket_t fd, short what, void *arg)
{
	let_go(arg);
}

static void freeze(struct watch *w, uint32_t lease_ms)
{
	const struct timeval lease = { .tv_sec = lease_ms / 1000,
				       .tv_usec = lease_ms % 1000 * 1000 };

	if (lease_ms == 0) {
		let_go(w);
		return;
	}
	if (!w->ev_lease)
		w->ev_lease = evtimer_new(w->base, on_lease, w);
	/* Without an end there is no beginning. */
	if (!w->ev_lease || event_add(w->ev_lease, &lease) < 0 || w->frozen)
		return;
	w->frozen = true;
	pause_begin(w->vm);
	qlog_info("ev=frozen why=\"a safety share misses its target\"");
}

/* Until an operator says otherwise; a supervisor that is gone changes nothing about it. */
static void set_paused(struct watch *w, bool on)
{
	if (w->paused == on)
		return;
	w->paused = on;
	if (on)
		pause_begin(w->vm);
	else
		pause_end(w->vm);
	qlog_info("ev=%s", on ? "paused" : "resumed");
}

static void drop_control(struct watch *w)
{
	if (w->ev_control)
		event_free(w->ev_control);
	if (w->ev_write)
		event_free(w->ev_write);
	w->ev_control = w->ev_write = NULL;
}

/* Does what hostd wants. False when there is nothing more to be read. */
static bool obey(struct watch *w, enum control_order order)
{
	switch (order) {
	case CONTROL_NOTHING:
		return false;
	case CONTROL_BUTTON:
		/* A guest that stands still sees no button. */
		let_go(w);
		set_paused(w, false);
		press_button(w, "hostd");
		break;
	case CONTROL_CUT:
		vm_end(w->vm, VM_EXIT_CUT, "power cut");
		break;
	case CONTROL_PAUSE:
		set_paused(w, control_paused(w->control));
		break;
	case CONTROL_FREEZE:
		freeze(w, control_lease_ms(w->control));
		break;
	case CONTROL_GONE:
		let_go(w);
		qlog_info("ev=control_gone why=\"the VM goes on without a supervisor\"");
		drop_control(w);
		return false;
	}
	return true;
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	if (what & EV_WRITE)
		control_flush(w->control);
	/* What was read behind an order does not make the channel readable again. */
	while (obey(w, control_serve(w->control, w->vm)))
		;
	if (w->ev_control && control_wants_write(w->control))
		event_add(w->ev_write, NULL);
}

/* A descriptor (-1: none) or a period that is served until the end. 0 or -ENOMEM. */
static int serve(struct watch *w, int fd, short what, const struct timeval *period,
		 event_callback_fn fn)
{
	struct event **ev = &w->events[w->n_events];

	if (fd < 0 && !period)
		return 0;
	*ev = event_new(w->base, fd, what, fn, w);
	if (!*ev)
		return -ENOMEM;
	w->n_events++;
	return event_add(*ev, period) < 0 ? -ENOMEM : 0;
}

static int serve_control(struct watch *w)
{
	int fd = control_fd(w->control);

	if (!w->control)
		return 0;
	w->ev_control = event_new(w->base, fd, EV_READ | EV_PERSIST, on_control, w);
	w->ev_write = event_new(w->base, fd, EV_WRITE, on_control, w);
	if (!w->ev_control || !w->ev_write || event_add(w->ev_control, NULL) < 0 ||
	    (control_wants_write(w->control) && event_add(w->ev_write, NULL) < 0))
		return -ENOMEM;
	return 0;
}

static void on_successor(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	if (!control_succeed(w->control))
		return;
	drop_control(w);
	control_ready(w->control, w->vm);
	if (serve_control(w) < 0)
		drop_control(w);	/* as if it had hung up */
}

static int serve_all(struct watch *w, int sig_fd)
{
	static const struct timeval period = { .tv_sec = ENV_PERIOD_MS / 1000,
					       .tv_usec = ENV_PERIOD_MS % 1000 * 1000 };
	int r = serve(w, sig_fd, EV_READ | EV_PERSIST, NULL, on_signal);

	if (r == 0)
		r = serve(w, w->vm->end_fd, EV_READ, NULL, on_end);
	if (r == 0)
		r = serve(w, dump_wake_fd(w->vm), EV_READ | EV_PERSIST, NULL, on_dump);
	if (r == 0 && w->env)
		r = serve(w, -1, EV_PERSIST, &period, on_period);
	if (r == 0)
		r = serve(w, control_listen_fd(w->control), EV_READ | EV_PERSIST, NULL,
			  on_successor);
	return r < 0 ? r : serve_control(w);
}

int watch_run(struct vm *vm, struct control *c, struct env *env)
{
	struct watch w = { .vm = vm, .control = c, .env = env, .base = event_base_new() };
	int sig_fd QCLEAN(qfd_close) = -1;
	sigset_t set;

	if (!w.base)
		return -ENOMEM;
	served_signals(&set);
	sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int r = sig_fd < 0 ? -errno : serve_all(&w, sig_fd);
	if (r == 0 && event_base_dispatch(w.base) < 0)
		r = -EIO;
	drop_control(&w);
	let_go(&w);
	if (w.ev_lease)
		event_free(w.ev_lease);
	while (w.n_events > 0)
		event_free(w.events[--w.n_events]);
	event_base_free(w.base);
	return r;
}
