/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl top: VMs, latencies beside their bounds, ladders and levels, again and again. Main
 * thread. Owns the terminal's mode while it runs: whatever ends it, a signal included, the
 * terminal is as before. What does not fit the terminal is cut off, at the right and below.
 */
#include "hostctl/top.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "hostctl/show.h"
#include "lib/qtable.h"

#define EVERY_MS 1000
#define ROWS_ELSE 24u
#define COLUMNS_ELSE 80u

static volatile sig_atomic_t ends;

static void on_signal(int sig)
{
	ends = 1;
}

/* Only wakes who waits. */
static void on_resize(int sig)
{
}

/* ---- what is asked ---- */

struct picture {
	Parley__Envelope *list, *stats;
};

static void picture_fini(struct picture *p)
{
	qp_msg_free(p->list);
	qp_msg_free(p->stats);
	*p = (struct picture){ NULL, NULL };
}

static enum hc_exit take_picture(struct hc *hc, uint64_t timeout_ns, struct picture *ret)
{
	Parley__ListRequest list = PARLEY__LIST_REQUEST__INIT;
	Parley__StatsRequest stats = PARLEY__STATS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_LIST_REQUEST;
	e.list_request = &list;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_LIST_REPLY, timeout_ns, &ret->list,
				NULL);
	if (r != HC_OK)
		return r;
	e = (Parley__Envelope)PARLEY__ENVELOPE__INIT;
	e.body_case = PARLEY__ENVELOPE__BODY_STATS_REQUEST;
	e.stats_request = &stats;
	return hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_STATS_REPLY, timeout_ns, &ret->stats, NULL);
}

/* ---- what is drawn ---- */

static void draw_head(const Parley__ListReply *m, FILE *to)
{
	size_t n_running = 0;
	time_t now = time(NULL);
	struct tm tm;
	char when[32];

	for (size_t i = 0; i < m->n_vms; i++)
		n_running += m->vms[i]->state == PARLEY__VM_STATE__VM_RUNNING;
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	fprintf(to, "%s  %zu of %zu VMs run", when, n_running, m->n_vms);
	for (size_t i = 0; i < m->n_procs; i++)
		fprintf(to, ", %s %s", m->procs[i]->name, m->procs[i]->state);
	fputs("\n\n", to);
}

static void draw_vms(const Parley__ListReply *m, FILE *to)
{
	static const char *const heads[] = { "VM", "CLASS", "STATE", ">UPTIME", "REASON" };
	char buf[QTABLE_UNIT_BYTES];
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_vms; i++) {
		const Parley__VmInfo *v = m->vms[i];
		bool up = v->state == PARLEY__VM_STATE__VM_RUNNING;

		qtable_add(&t, "%s", v->name);
		qtable_add(&t, "%s", qp_class_str(v->class_));
		qtable_add(&t, "%s", hc_vm_state_str(v));
		qtable_add(&t, "%s", up ? qtable_uptime(buf, v->uptime_ms) : "-");
		qtable_add(&t, "%s", v->reason);
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

static void draw_shares(const Parley__MediatorStats *m, FILE *to)
{
	static const char *const heads[] = {
		"SHARE", "CLASS", ">P50", ">P99", ">WORST", ">BOUND", ">ABOVE", ">OPS",
	};
	static const Parley__Latency none = PARLEY__LATENCY__INIT;
	char buf[QTABLE_UNIT_BYTES];
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_shares; i++) {
		const Parley__ShareStats *s = m->shares[i];
		const Parley__Latency *l = s->latency ? s->latency : &none;

		qtable_add(&t, "%s", s->share);
		qtable_add(&t, "%s", qp_class_str(s->class_));
		qtable_add(&t, "%s", qtable_ns(buf, l->p50_ns));
		qtable_add(&t, "%s", qtable_ns(buf, l->p99_ns));
		qtable_add(&t, "%s", qtable_ns(buf, l->max_ns));
		qtable_add(&t, "%s", qtable_ns(buf, s->bound_ns));
		hc_promised_cell(&t, s->bound_ns, s->bound_violations);
		qtable_add(&t, "%" PRIu64, s->read_ops + s->write_ops + s->flush_ops);
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

static void draw_devices(const Parley__MediatorStats *m, FILE *to)
{
	static const char *const heads[] = { "DEVICE", "LADDER", ">IN FLIGHT", ">WORST" };
	char buf[QTABLE_UNIT_BYTES];
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_devices; i++) {
		const Parley__DeviceStats *d = m->devices[i];

		qtable_add(&t, "%s", d->device);
		qtable_add(&t, "%s", hc_ladder_str(d->ladder_step));
		qtable_add(&t, "%" PRIu32, d->in_flight);
		qtable_add(&t, "%s", qtable_ns(buf, d->service ? d->service->max_ns : 0));
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

static void draw_voices(const Parley__MediatorStats *m, FILE *to)
{
	static const char *const heads[] = {
		"VOICE", "CLASS", "STREAM", ">LEVEL", "WHY", ">GAPS",
	};
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_voices; i++) {
		const Parley__VoiceStats *v = m->voices[i];

		qtable_add(&t, "%s", v->voice);
		qtable_add(&t, "%s", qp_class_str(v->class_));
		qtable_add(&t, "%s", !v->running ? "off" : v->speaks ? "speaks" : "silent");
		qtable_add(&t, "%" PRIu32 "%%", v->gain_ppm / 10000);
		qtable_add(&t, "%s%s%s", v->why, *v->by ? " by " : "", v->by);
		qtable_add(&t, "%" PRIu64, v->xruns);
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

/* All of it as text; NULL when out of memory. */
static char *drawn(const struct picture *p)
{
	const Parley__StatsReply *stats = p->stats->stats_reply;
	const Parley__MediatorStats *m = stats->mediator;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	draw_head(p->list->list_reply, f);
	draw_vms(p->list->list_reply, f);
	if (m && m->n_shares)
		fputc('\n', f), draw_shares(m, f);
	if (m && m->n_devices)
		fputc('\n', f), draw_devices(m, f);
	if (m && m->n_voices)
		fputc('\n', f), draw_voices(m, f);
	if (*stats->mediator_error || *stats->mediator_hangs)
		fprintf(f, "\nmediator: %s%s\n", stats->mediator_error, stats->mediator_hangs);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

/* ---- once ---- */

static enum hc_exit once(struct hc *hc, const struct picture *p)
{
	if (hc->json) {
		json_t *all = hc_stats_json(p->stats->stats_reply, "");
		json_t *list = hc_list_json(p->list->list_reply);
		json_t *counters = all ? json_object_get(all, "vms") : NULL;

		if (counters)
			json_object_set(all, "counters", counters);
		json_object_update(all, list);
		json_decref(list);
		return hc_print_json(hc, all);
	}
	char *text = drawn(p);
	if (!text)
		return hc_fail(hc, HC_FAILED, "out of memory");
	fputs(text, stdout);
	free(text);
	return HC_OK;
}

/* ---- on a terminal ---- */

static void paint(const char *text)
{
	struct winsize w;
	unsigned rows = ROWS_ELSE, columns = COLUMNS_ELSE, row = 0;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col) {
		rows = w.ws_row;
		columns = w.ws_col;
	}
	fputs("\033[H", stdout);
	for (; *text && row < rows; row++) {
		size_t len = strcspn(text, "\n");

		printf("%s%.*s\033[K", row ? "\r\n" : "", (int)Q_MIN(len, (size_t)columns), text);
		text += len + (text[len] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

/* True when the operator has had enough. */
static bool wait_for_key(uint64_t ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char key;

	if (poll(&p, 1, (int)ms) <= 0)
		return ends;
	return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q';
}

static enum hc_exit again_and_again(struct hc *hc, uint64_t timeout_ns, uint64_t every_ms)
{
	enum hc_exit r = HC_OK;
	bool stop = false;

	while (r == HC_OK && !stop && !ends) {
		struct picture p = { NULL, NULL };

		r = take_picture(hc, timeout_ns, &p);
		char *text = r == HC_OK ? drawn(&p) : NULL;
		if (text)
			paint(text);
		free(text);
		picture_fini(&p);
		stop = r == HC_OK && wait_for_key(every_ms);
	}
	return r;
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

enum hc_exit hc_top(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns)
{
	struct termios before, quiet;

	if (o->once || hc->json || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &before) < 0) {
		struct picture p = { NULL, NULL };
		enum hc_exit r = take_picture(hc, timeout_ns, &p);

		r = r == HC_OK ? once(hc, &p) : r;
		picture_fini(&p);
		return r;
	}
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	catch_signals();
	tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
	fputs("\033[?1049h\033[?25l", stdout);		/* a screen of its own, no cursor */
	enum hc_exit r = again_and_again(hc, timeout_ns, o->watch_ms ? o->watch_ms : EVERY_MS);
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return r;
}
