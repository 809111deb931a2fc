/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's loop: a signalfd, the VM's end and the control channel on one libevent base.
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

struct watch {
	struct vm *vm;
	struct control *control;
	struct event_base *base;
	struct event *ev_control, *ev_write;
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
			vm_status(w->vm);
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

static int watch_start(struct watch *w, struct event *ev_signal, struct event *ev_end)
{
	if (!ev_signal || !ev_end || event_add(ev_signal, NULL) < 0 || event_add(ev_end, NULL) < 0)
		return -ENOMEM;
	if (!w->control)
		return 0;
	int fd = control_fd(w->control);
	w->ev_control = event_new(w->base, fd, EV_READ | EV_PERSIST, on_control, w);
	w->ev_write = event_new(w->base, fd, EV_WRITE, on_control, w);
	if (!w->ev_control || !w->ev_write || event_add(w->ev_control, NULL) < 0)
		return -ENOMEM;
	return control_wants_write(w->control) ? event_add(w->ev_write, NULL) : 0;
}

int watch_run(struct vm *vm, struct control *c)
{
	struct watch w = { .vm = vm, .control = c, .base = event_base_new() };
	int sig_fd QCLEAN(qfd_close) = -1;
	sigset_t set;

	if (!w.base)
		return -ENOMEM;
	served_signals(&set);
	sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	struct event *ev_signal = event_new(w.base, sig_fd, EV_READ | EV_PERSIST, on_signal, &w);
	struct event *ev_end = event_new(w.base, vm->end_fd, EV_READ, on_end, &w);
	int r = sig_fd < 0 ? -errno : watch_start(&w, ev_signal, ev_end);
	struct event *ev_dump = NULL;

	if (r == 0 && dump_wake_fd(vm) >= 0) {
		ev_dump = event_new(w.base, dump_wake_fd(vm), EV_READ | EV_PERSIST, on_dump, &w);
		r = ev_dump && event_add(ev_dump, NULL) == 0 ? 0 : -ENOMEM;
	}
	if (r == 0 && event_base_dispatch(w.base) < 0)
		r = -EIO;
	struct event *all[] = { ev_signal, ev_end, ev_dump, w.ev_control, w.ev_write };
	for (size_t i = 0; i < Q_ARRAY_LEN(all); i++)
		if (all[i])
			event_free(all[i]);
	event_base_free(w.base);
	return r;
}
