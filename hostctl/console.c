/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl console: joins this terminal to a VM's console. Main thread. Owns the terminal's mode
 * while it runs: whatever ends it, a signal included, the terminal is as before.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "hostctl/verbs.h"
#include "lib/qfd.h"

#define DETACH 0x1d	/* Ctrl-] */
#define ANSWER_NS (10 * Q_NSEC_PER_SEC)

static volatile sig_atomic_t signalled, resized;

static void on_resize(int sig)
{
	resized = 1;
}

static void on_signal(int sig)
{
	signalled = sig;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };	/* no SA_RESTART: poll() ends */

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sa.sa_handler = on_resize;
	sigaction(SIGWINCH, &sa, NULL);
}

static bool raw_mode(struct termios *ret_before)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, ret_before) < 0)
		return false;
	raw = *ret_before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST | ONLCR;	/* guests end lines with \n alone as well */
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

enum flow { FLOW_ON, FLOW_END, FLOW_DETACH };

static enum flow from_vm(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? FLOW_ON : FLOW_END;
	if (n == 0)
		return FLOW_END;
	return qfd_write_all(STDOUT_FILENO, buf, (size_t)n) < 0 ? FLOW_DETACH : FLOW_ON;
}

/* @stdin_open becomes false at its end: a script that has typed all still wants to read. */
static enum flow to_vm(int fd, bool tty, bool writer, bool *stdin_open)
{
	char buf[1024];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0) {
		*stdin_open = n < 0 && errno == EINTR;
		return FLOW_ON;
	}
	const char *key = tty ? memchr(buf, DETACH, (size_t)n) : NULL;
	size_t len = key ? (size_t)(key - buf) : (size_t)n;
	if (writer && len && qfd_write_all(fd, buf, len) < 0)
		return FLOW_END;
	return key ? FLOW_DETACH : FLOW_ON;
}

/* The guest hears of it from hostd; one that cannot be told keeps the size that it knows. */
static void tell_size(struct hc *hc, const char *name)
{
	Parley__ConsoleSize size = PARLEY__CONSOLE_SIZE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	struct winsize w;

	resized = 0;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row)
		return;
	size.name = (char *)name;
	size.columns = w.ws_col;
	size.rows = w.ws_row;
	e.body_case = PARLEY__ENVELOPE__BODY_CONSOLE_SIZE;
	e.console_size = &size;
	(void)qp_chan_send(hc->chan, &e, NULL, 0);
	(void)qp_chan_flush(hc->chan);
}

struct joined {
	struct hc *hc;
	const char *name;
	int fd;
	bool input, tty, writer;
};

static enum flow pump(const struct joined *j)
{
	enum flow f = FLOW_ON;
	bool stdin_open = j->input;

	resized = j->tty && j->writer;
	while (f == FLOW_ON && !signalled) {
		struct pollfd p[] = {
			{ .fd = j->fd, .events = POLLIN },
			{ .fd = stdin_open ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (resized && j->writer)
			tell_size(j->hc, j->name);
		if (poll(p, Q_ARRAY_LEN(p), -1) < 0)
			continue;
		if (p[0].revents)
			f = from_vm(j->fd);
		if (f == FLOW_ON && p[1].revents)
			f = to_vm(j->fd, j->tty, j->writer, &stdin_open);
	}
	return f;
}

static void tell_start(const struct hc_opts *o, const char *name, bool tty, bool writer)
{
	if (!tty)
		return;
	fprintf(stderr, "Console of %s; Ctrl-] leaves it.%s\r\n", name,
		writer || o->no_input ? "" : " Another console has the keyboard: this one reads.");
}

enum hc_exit hc_console(struct hc *hc, const struct hc_opts *o, const char *name)
{
	Parley__ConsoleRequest req = PARLEY__CONSOLE_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;
	QCLEAN(qfd_close) int fd = -1;
	bool input = !o->no_input && !o->log;
	struct termios before;

	req.name = (char *)name;
	req.replay = !o->no_replay;
	req.read_only = !input;
	e.body_case = PARLEY__ENVELOPE__BODY_CONSOLE_REQUEST;
	e.console_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_CONSOLE_REPLY, ANSWER_NS, &reply,
				&fd);
	if (r != HC_OK)
		return r;
	bool writer = reply->console_reply->writer;
	qp_msg_free(reply);
	if (fd < 0)
		return hc_fail(hc, HC_FAILED, "hostd gave no console");
	(void)qfd_nonblock(fd, false);
	if (o->log)
		(void)shutdown(fd, SHUT_WR);	/* what was printed until now, and no more */
	catch_signals();
	tell_start(o, name, isatty(STDIN_FILENO) && input, writer);
	bool raw = input && raw_mode(&before);
	const struct joined j = {
		.hc = hc, .name = name, .fd = fd, .input = input, .tty = raw, .writer = writer,
	};
	enum flow f = pump(&j);
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	if (f == FLOW_END && !o->log && isatty(STDERR_FILENO))
		fprintf(stderr, "\nThe console of %s has ended.\n", name);
	return HC_OK;
}
