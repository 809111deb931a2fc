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
#include "qvm/status.h"

#define EVENTS_MAX 6u

struct watch {
	struct vm *vm;
	struct control *control;
	struct env *env;
	struct event_base *base;
	struct event *events[EVENTS_MAX]; /* all; freed at the end */
	unsigned n_events;
	struct event *ev_control, *ev_write; /* of them */
	unsigned n_presses;
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

static void lose_control(struct watch *w)
{
	qlog_info("ev=control_gone why=\"the VM goes on without a supervisor\"");
	event_del(w->ev_control);
	event_del(w->ev_write);
	w->control = NULL; /* its owner frees it */
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	if (!w->control)
		return;
	if (what & EV_WRITE)
		control_flush(w->control);
	switch (control_serve(w->control, w->vm)) {
	case CONTROL_NOTHING:
		break;
	case CONTROL_BUTTON:
		press_button(w, "hostd");
		break;
	case CONTROL_CUT:
		vm_end(w->vm, VM_EXIT_CUT, "power cut");
		break;
	case CONTROL_GONE:
		lose_control(w);
		return;
	}
	if (control_wants_write(w->control))
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
	int r = serve(w, fd, EV_READ | EV_PERSIST, NULL, on_control);
	if (r < 0)
		return r;
	w->ev_control = w->events[w->n_events - 1];
	w->ev_write = w->events[w->n_events] = event_new(w->base, fd, EV_WRITE, on_control, w);
	if (!w->ev_write)
		return -ENOMEM;
	w->n_events++;
	return control_wants_write(w->control) ? event_add(w->ev_write, NULL) : 0;
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
	while (w.n_events > 0)
		event_free(w.events[--w.n_events]);
	event_base_free(w.base);
	return r;
}
