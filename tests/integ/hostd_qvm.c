/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qvm without a machine, for the tests of hostd: it speaks the control protocol as qvm does,
 * and behaves as its configuration says. Test program, one thread.
 *
 * A line of the configuration is one of
 *   stderr TEXT            a line to stderr; "<3>" before it makes it an error
 *   print TEXT             a line to the console
 *   flood N                N lines to the console, N to stderr
 *   fail STAGE EXIT TEXT   StartFailed, then exit with EXIT
 *   never-ready            neither Ready nor an end
 *   no-console-read        leaves its console unread
 *   on-button off|ignore|crash
 *   on-cut exit|ignore
 *   no-stats
 *   after MS exit N | after MS signal N | after MS ended N REASON
 *   bad TEXT               "FILE:LINE:1: error: TEXT", exit 65, in a check as well
 *   slow-check             a check that never ends
 *   garbage                bytes on the channel that are no message
 *   stalled MS             says so of a vCPU
 *   system NAME, memory BYTES, cpu JSON, vdev JSON
 *                          what stands in its plan, with the number of the line
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "proto/qp_chan.h"

#define LINES_MAX 64
#define KEPT_LISTEN_FD 4

struct fake {
	struct qp_chan *chan;
	int chan_fd;
	char name[128], run_dir[512];
	char *lines[LINES_MAX];
	unsigned n_lines;
	bool paused, keeps;		/* HD_KEEP_FDS were given */
	bool plan, json;
	bool ignore_button, crash_on_button, ignore_cut, no_stats, no_console_read;
	const char *after;	/* what happens when the time is over, NULL: nothing */
	uint64_t after_ns;
	uint64_t stalled_ns;	/* of its second vCPU, as it says */
};

static volatile sig_atomic_t got_term, got_quit;

static void on_signal(int sig)
{
	if (sig == SIGQUIT)
		got_quit = 1;
	else
		got_term = 1;
}

static void say(struct fake *f, Parley__Envelope *e)
{
	if (f->chan)
		(void)qp_chan_send(f->chan, e, NULL, 0);
}

static void say_done(struct fake *f, uint32_t id)
{
	Parley__Done done = PARLEY__DONE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_DONE;
	e.done = &done;
	say(f, &e);
}

static _Noreturn void start_failed(struct fake *f, const char *stage, int code, const char *text)
{
	Parley__StartFailed m = PARLEY__START_FAILED__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	m.stage = (char *)stage;
	m.text = (char *)text;
	e.body_case = PARLEY__ENVELOPE__BODY_START_FAILED;
	e.start_failed = &m;
	say(f, &e);
	exit(code);
}

static _Noreturn void ended(struct fake *f, int code, const char *reason)
{
	Parley__Ended m = PARLEY__ENDED__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	m.exit_code = code;
	m.reason = (char *)reason;
	m.reset = strcmp(reason, "guest reset") == 0;
	e.body_case = PARLEY__ENVELOPE__BODY_ENDED;
	e.ended = &m;
	say(f, &e);
	exit(code);
}

static void die_of(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The lock of the real one: a second VM of the same name is refused with the first one's pid. */
static void lock(struct fake *f)
{
	char path[1024], text[160];
	int pid = 0;

	if (!*f->run_dir)
		return;
	snprintf(path, sizeof(path), "%s/qvm", f->run_dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/qvm/%s.lock", f->run_dir, f->name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ssize_t n;
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
		n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
		if (ftruncate(fd, 0) == 0 && write(fd, text, (size_t)n) == n)
			return;		/* held until we end */
	}
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	pid = (int)strtol(text, NULL, 10);
	snprintf(text, sizeof(text), "a VM of this name runs already: process %d", pid);
	start_failed(f, "run-dir", 64, text);
}

static void load(struct fake *f, const char *arg)
{
	char line[1024];
	FILE *file = fopen(arg + 1, "re");

	snprintf(f->name, sizeof(f->name), "%s", arg + 1);
	f->name[strcspn(f->name, ".")] = '\0';
	while (file && fgets(line, sizeof(line), file) && f->n_lines < LINES_MAX) {
		line[strcspn(line, "\n")] = '\0';
		f->lines[f->n_lines++] = strdup(line);
	}
	if (file)
		fclose(file);
}

static const char *rest_of(const char *line, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(line, word, n) != 0 || (line[n] && line[n] != ' '))
		return NULL;
	return line[n] ? line + n + 1 : line + n;
}

/* The members of @word's lines, which have no brace in front; each says where it stands. */
static void print_plan_array(const struct fake *f, const char *word, const char *array,
			     const char *before)
{
	const char *lead = "";

	printf(", \"%s\": [", array);
	for (unsigned i = 0; i < f->n_lines; i++) {
		const char *text = rest_of(f->lines[i], word);

		if (!text)
			continue;
		printf("%s{\"at\": {\"file\": \"%s.qvmconf\", \"line\": %u, \"column\": 1}, %s%s}",
		       lead, f->name, i + 1, before, text);
		lead = ", ";
	}
	putchar(']');
}

static void print_plan(const struct fake *f, bool json)
{
	const char *system = f->name;

	for (unsigned i = 0; i < f->n_lines; i++) {
		const char *text = rest_of(f->lines[i], "system");

		system = text ? text : system;
	}
	if (!json) {
		printf("system  %s\n", system);
		return;
	}
	printf("{\"schema\": 1, \"system\": \"%s\"", system);
	print_plan_array(f, "memory", "memory", "\"bytes\": ");
	print_plan_array(f, "cpu", "cpus", "");
	print_plan_array(f, "vdev", "vdevs", "");
	puts("}");
}

static void check(struct fake *f, bool check_only)
{
	bool bad = false;

	for (unsigned i = 0; i < f->n_lines; i++) {
		const char *text = rest_of(f->lines[i], "bad");

		if (text)
			fprintf(stderr, "%s.qvmconf:%u:1: error: %s\n", f->name, i + 1, text);
		bad = bad || text;
		if (check_only && rest_of(f->lines[i], "slow-check"))
			pause();
	}
	if (bad)
		start_failed(f, "config", 65, "see stderr");
	if (check_only && f->plan)
		print_plan(f, f->json);
	if (check_only)
		exit(0);
}

static void flood(const char *count)
{
	long n = strtol(count, NULL, 10);

	for (long i = 0; i < n; i++) {
		printf("console line %ld\n", i);
		fprintf(stderr, "stderr line %ld\n", i);
	}
	fflush(stdout);
}

static void plan_after(struct fake *f, const char *text)
{
	char *what;

	f->after_ns = qnow_ns() + strtoull(text, &what, 10) * Q_NSEC_PER_MSEC;
	f->after = what + 1;
}

static void obey(struct fake *f, const char *line)
{
	const char *r;
	char stage[32];
	int code, at;

	if ((r = rest_of(line, "stderr"))) {
		fprintf(stderr, "%s\n", r);
	} else if ((r = rest_of(line, "print"))) {
		printf("%s\n", r);
		fflush(stdout);
	} else if ((r = rest_of(line, "flood"))) {
		flood(r);
	} else if ((r = rest_of(line, "fail"))) {
		if (sscanf(r, "%31s %d %n", stage, &code, &at) == 2)
			start_failed(f, stage, code, r + at);
	} else if (rest_of(line, "never-ready")) {
		for (;;)
			pause();
	} else if ((r = rest_of(line, "on-button"))) {
		f->ignore_button = strcmp(r, "ignore") == 0;
		f->crash_on_button = strcmp(r, "crash") == 0;
	} else if ((r = rest_of(line, "on-cut"))) {
		f->ignore_cut = strcmp(r, "ignore") == 0;
	} else if (rest_of(line, "no-stats")) {
		f->no_stats = true;
	} else if ((r = rest_of(line, "stalled"))) {
		f->stalled_ns = strtoull(r, NULL, 10) * Q_NSEC_PER_MSEC;
	} else if (rest_of(line, "no-console-read")) {
		f->no_console_read = true;
	} else if ((r = rest_of(line, "after"))) {
		plan_after(f, r);
	} else if (rest_of(line, "garbage")) {
		if (write(f->chan_fd, "\xff\xff\xff\xff garbage", 12) < 0)
			exit(7);
	}
}

static void time_is_over(struct fake *f)
{
	const char *r;
	int code, at;

	if ((r = rest_of(f->after, "exit")))
		exit((int)strtol(r, NULL, 10));
	if ((r = rest_of(f->after, "signal")))
		die_of((int)strtol(r, NULL, 10));
	if ((r = rest_of(f->after, "ended")) && sscanf(r, "%d %n", &code, &at) == 1)
		ended(f, code, r + at);
	f->after = NULL;
}

static void button(struct fake *f)
{
	if (f->crash_on_button)
		die_of(SIGSEGV);
	if (!f->ignore_button)
		ended(f, 0, "guest powered off");
}

static void answer_stats(struct fake *f, uint32_t id)
{
	Parley__VmStats__Counter c = PARLEY__VM_STATS__COUNTER__INIT, *v[] = { &c };
	Parley__VmStats m = PARLEY__VM_STATS__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	c.name = (char *)"exit.io";
	c.value = 42;
	m.n_counters = 1;
	m.counters = v;
	m.uptime_ns = 1;
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_VM_STATS;
	e.vm_stats = &m;
	say(f, &e);
}

static void say_alive(struct fake *f, uint32_t id)
{
	Parley__Alive m = PARLEY__ALIVE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	m.stalled_ns = f->stalled_ns;
	m.what = (char *)"the thread of vCPU 1";
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_ALIVE;
	e.alive = &m;
	say(f, &e);
}

static void handle(struct fake *f, const Parley__Envelope *e)
{
	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_POWER_BUTTON:
		say_done(f, e->id);
		button(f);
		break;
	case PARLEY__ENVELOPE__BODY_POWER_CUT:
		if (!f->ignore_cut)
			exit(3);
		break;
	case PARLEY__ENVELOPE__BODY_PAUSE:
		f->paused = e->pause->on;
		say_done(f, e->id);
		break;
	case PARLEY__ENVELOPE__BODY_DUMP:
		(void)qp_chan_send_error(f->chan, e->id, PARLEY__CODE__E_CONFIG, 0, "no dump");
		break;
	case PARLEY__ENVELOPE__BODY_ALIVE_REQUEST:
		say_alive(f, e->id);
		break;
	case PARLEY__ENVELOPE__BODY_VM_STATS_REQUEST:
		if (!f->no_stats)
			answer_stats(f, e->id);
		break;
	default:
		break;
	}
}

/* hostd's death ends the channel, not the VM. */
static void serve_chan(struct fake *f)
{
	Parley__Envelope *e = NULL;
	int fds[QP_FDS_MAX];
	unsigned n_fds = 0;
	int r = qp_chan_recv(f->chan, &e, fds, &n_fds);

	if (r == QP_AGAIN)
		return;
	if (r != QP_OK) {
		f->chan = qp_chan_free(f->chan);
		return;
	}
	handle(f, e);
	qp_msg_free(e);
}

static void serve_console(struct fake *f)
{
	char buf[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0)
		f->no_console_read = true;
	else if (write(STDOUT_FILENO, "echo:", 5) < 0 || write(STDOUT_FILENO, buf, (size_t)n) < 0)
		f->no_console_read = true;
}

static void say_ready(struct fake *f, uint64_t uptime_ns)
{
	Parley__Ready ready = PARLEY__READY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	ready.n_cpus = 1;
	ready.uptime_ns = uptime_ns;
	ready.paused = f->paused;
	e.body_case = PARLEY__ENVELOPE__BODY_READY;
	e.ready = &ready;
	say(f, &e);
}

/* A later hostd. */
static void serve_successor(struct fake *f)
{
	int fd = accept4(KEPT_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	qp_chan_free(f->chan);
	f->chan = qp_chan_new(fd, "qvm");
	say_ready(f, 3600 * Q_NSEC_PER_SEC);
}

static void run(struct fake *f)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = f->chan ? qp_chan_fd(f->chan) : -1, .events = POLLIN },
			{ .fd = f->no_console_read ? -1 : STDIN_FILENO, .events = POLLIN },
			{ .fd = f->keeps ? KEPT_LISTEN_FD : -1, .events = POLLIN },
		};

		(void)poll(p, Q_ARRAY_LEN(p), f->after ? 5 : 1000);
		if (f->after && qnow_ns() >= f->after_ns)
			time_is_over(f);
		if (p[0].revents)
			serve_chan(f);
		if (p[1].revents)
			serve_console(f);
		if (p[2].revents)
			serve_successor(f);
		if (got_quit && !f->ignore_cut)
			exit(3);
		if (got_term)
			button(f);
		got_term = 0;
	}
}

int main(int argc, char **argv)
{
	static struct fake f;
	bool check_only = false;

	f.chan_fd = -1;
	signal(SIGTERM, on_signal);
	signal(SIGQUIT, on_signal);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--control-fd=", 13) == 0)
			f.chan_fd = (int)strtol(argv[i] + 13, NULL, 10);
		else if (strncmp(argv[i], "--run-dir=", 10) == 0)
			snprintf(f.run_dir, sizeof(f.run_dir), "%s", argv[i] + 10);
		else if (strcmp(argv[i], "--keep-fds=4") == 0)
			f.keeps = true;
		else if (argv[i][0] == '@')
			load(&f, argv[i]);
		else if (strcmp(argv[i], "--check") == 0)
			check_only = true;
		else if (strcmp(argv[i], "--plan") == 0)
			f.plan = check_only = true;
		else if (strcmp(argv[i], "--json") == 0)
			f.json = true;
		else
			fprintf(stderr, "<6>arg %s\n", argv[i]);
	}
	if (f.chan_fd >= 0)
		f.chan = qp_chan_new(f.chan_fd, "qvm");
	check(&f, check_only);
	lock(&f);
	for (unsigned i = 0; i < f.n_lines; i++)
		obey(&f, f.lines[i]);
	say_ready(&f, 0);
	run(&f);
}
