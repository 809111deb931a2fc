/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator: the only owner of shared disks. Reads policies, opens devices, gets a listening socket
 * for each share (from hostd, or makes them itself), starts a thread a device, and then answers
 * questions until it is told to stop.
 *
 * Main thread: libevent. Exit codes: 0 stopped by SIGTERM or SIGINT, 64 could not start, 65 the
 * policy was refused, 2 usage.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "lib/qsched.h"
#include "mediator/backend_inject.h"
#include "mediator/audio.h"
#include "mediator/control.h"
#include "mediator/disks.h"
#include "mediator/keeper.h"
#include "mediator/options.h"
#include "mediator/seal.h"
#include "mediator/simulate_run.h"
#include "mediator/statpage.h"

#define LISTEN_WAIT_NS (5 * Q_NSEC_PER_SEC)
#define FDS_PER_SHARE 80u	/* a client's queues, memory and socket, and a message at hand */
#define FDS_OWN 64u
/* More than a thread that rests by itself takes (rest_if_due() in disk_thread.c), so that the
 * kernel's enforcement, which works in ticks, stays out of it. */
#define RT_BUDGET_NS (930 * Q_NSEC_PER_USEC)
#define RT_PERIOD_NS Q_NSEC_PER_MSEC

struct mediator {
	struct options opt;
	struct med_policy *policy;	/* live's, once that is there */
	struct live *live;
	struct statpage page;
	struct med_disk disks[MED_DISKS_MAX];
	struct qp_chan *chan;		/* until control owns it */
	struct event_base *base;
	struct control *control;
	int signal_fd;
	struct event *ev_signal;
	struct med_audio audio;
	int *listen_fds;		/* per share of the policy at first, until a disk owns it */
	size_t n_listen_fds;
};

/* Says it to the operator and to hostd. Returns @code. */
static int failed(struct mediator *m, int code, const char *stage, int err, const char *text)
{
	if (err)
		qlog_errno(QLOG_FATAL, err, "ev=start_failed stage=%s why=\"%s\"", stage, text);
	else
		qlog(QLOG_FATAL, "ev=start_failed stage=%s why=\"%s\"", stage, text);
	control_start_failed(m->chan, stage, err, text);
	return code;
}

/* Prints all errors; the same text goes to hostd. */
static int refused(struct mediator *m, struct cf_errors *errs, const char *stage, int code)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	cf_errors_print(errs, stderr);
	if (f) {
		cf_errors_print(errs, f);
		(void)fclose(f);
		if (len > QP_STRING_MAX)
			text[QP_STRING_MAX] = '\0';
		control_start_failed(m->chan, stage, EINVAL, text);
	}
	free(text);
	return code;
}

/* As live_ops.open. */
static int open_disk(void *ctx, struct med_disk *d, const struct med_policy *p, size_t device,
		     struct qstat_device *stats, enum backend_lock lock, struct cf_errors *errs)
{
	const struct mediator *m = ctx;
	struct med_event_sink sink = control_sink(m->control);
	int r = med_disk_init(d, p, device, stats, &sink, lock, errs);

	return r == 0 && m->opt.inject ? backend_inject_wrap(d) : r;
}

static int open_disks(struct mediator *m, struct cf_errors *errs)
{
	enum backend_lock lock = m->opt.check_only ? BACKEND_NO_LOCK : BACKEND_LOCK_WAITS;
	struct med_extent_rules rules[MED_DEVICES_MAX];
	int first_err = 0;

	for (size_t i = 0; i < m->policy->n_devices; i++) {
		struct med_disk *d = &m->disks[i];
		int r = open_disk(m, d, m->policy, i, qstat_page_device(&m->page.page, (unsigned)i),
				  lock, errs);

		first_err = first_err ? first_err : r;
		if (r == 0)
			rules[i] = (struct med_extent_rules){ d->backend->len_bytes,
							      d->backend->sector_bytes };
	}
	return first_err ? first_err : med_policy_resolve(m->policy, rules, errs);
}

/*
 * The kernel keeps the sockets of a mediator that was killed until the last I/O of it has ended:
 * that is waited for, as its disks are (disk.h).
 */
static int listen_at(const char *path)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t until = qnow_ns() + LISTEN_WAIT_NS;
	int fd;

	while ((fd = qfd_listen_unix(path, 16)) == -EADDRINUSE && qnow_ns() < until)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	return fd;
}

#define PATH_BYTES 512u

/* "SYSTEM/NAME" listens at RUN/mediator/SYSTEM.NAME.sock. */
static bool socket_path(const struct options *o, const char *share, char path[PATH_BYTES])
{
	int n = snprintf(path, PATH_BYTES, "%s/mediator/%s.sock", o->run_dir, share);

	if (n < 0 || (size_t)n >= PATH_BYTES)
		return false;
	*strrchr(path, '/') = '.';
	return true;
}

static int listen_for(const struct options *o, const char *share)
{
	char path[PATH_BYTES];

	return socket_path(o, share, path) ? listen_at(path) : -ENAMETOOLONG;
}

static int make_run_dir(const struct options *o)
{
	char path[512];

	if (mkdir(o->run_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/mediator", o->run_dir);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int get_sockets(struct mediator *m)
{
	size_t n_shares = m->policy->n_shares, n = n_shares + m->policy->sound.n_voices;
	const char **names = calloc(n + 1, sizeof(names[0]));
	int r = names ? 0 : -ENOMEM;

	for (size_t i = 0; names && i < n; i++)
		names[i] = i < n_shares ? m->policy->shares[i].name :
					  m->policy->sound.voices[i - n_shares].name;
	if (r == 0 && m->chan)
		r = control_ask_sockets(m->chan, names, n, m->listen_fds);
	else if (r == 0)
		r = make_run_dir(&m->opt);
	for (size_t i = 0; r == 0 && !m->chan && i < n; i++) {
		m->listen_fds[i] = listen_for(&m->opt, names[i]);
		r = Q_MIN(m->listen_fds[i], 0);
	}
	free(names);
	return r;
}

/* For shares that come while it runs: as live_ops.listen. */
static int listen_more(void *ctx, const char *const *names, size_t n, int *ret_fds)
{
	struct mediator *m = ctx;
	size_t have = 0;
	int r = 0;

	if (m->chan)
		return control_listen(m->control, names, n, ret_fds);
	for (; r == 0 && have < n; have += r == 0) {
		ret_fds[have] = listen_for(&m->opt, names[have]);
		r = Q_MIN(ret_fds[have], 0);
	}
	while (r < 0 && have > 0)
		qfd_close(&ret_fds[--have]);
	return r;
}

/* As live_ops.unlisten. */
static void listen_less(void *ctx, const char *const *names, size_t n)
{
	struct mediator *m = ctx;
	char path[PATH_BYTES];

	if (m->chan)
		control_unlisten(m->control, names, n);
	for (size_t i = 0; !m->chan && i < n; i++)
		if (socket_path(&m->opt, names[i], path))
			(void)unlink(path);
}

static int start_disks(struct mediator *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->policy->n_shares; i++) {
		const struct med_share_policy *s = &m->policy->shares[i];
		int fd = m->listen_fds[i];

		m->listen_fds[i] = -1;
		r = Q_MIN(med_disk_add_share(&m->disks[s->device], s,
					     qstat_page_share(&m->page.page, (unsigned)i), fd), 0);
	}
	for (size_t i = 0; r == 0 && i < m->policy->n_devices; i++)
		r = med_disk_start(&m->disks[i]);
	return r;
}

/* A budget, because the kernel takes the processor from a priority for 50 ms when real-time threads
 * have had it for most of a second, whichever they were. A thread that is bound to some processors
 * cannot have one. */
static int make_realtime(struct med_disk *d)
{
	static const struct sched_param lowest = { .sched_priority = 1 };
	int r = qsched_deadline(d->tid, RT_BUDGET_NS, RT_PERIOD_NS);

	if (r < 0) {
		qlog_info("ev=no_deadline device=%s errno=%d using=SCHED_RR", d->policy->name, -r);
		r = -pthread_setschedparam(d->thread, SCHED_RR, &lowest);
	}
	return r;
}

static bool promises(const struct med_policy *p, const char *device)
{
	bool promised = false;

	for (size_t i = 0; i < p->n_shares; i++)
		promised |= p->shares[i].depth > 0 &&
			    strcmp(p->devices[p->shares[i].device].name, device) == 0;
	return promised;
}

/* A mediator that promises something must not wait for the guests' own threads. */
static void set_priority(void *ctx)
{
	struct mediator *m = ctx;
	struct med_disk *d = NULL;
	int r = 0;

	med_audio_change(&m->audio, &live_policy(m->live)->sound);

	while (r == 0 && (d = med_disks_next(m->disks, d))) {
		if (d->realtime || !promises(live_policy(m->live), d->policy->name))
			continue;
		r = make_realtime(d);
		atomic_store(&d->realtime, r == 0);
	}
	if (r != 0)
		qlog_errno(
			QLOG_WARN, r,
			"ev=no_realtime why=\"the promise holds only while the processors are "
			"free; "
			"run with CAP_SYS_NICE or a limit on rtprio\"");
}

/* Who sent it is the first question of an operator who did not. */
static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct mediator *m = arg;
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	qlog_info("ev=stop signal=%u pid=%u uid=%u", si.ssi_signo, si.ssi_pid, si.ssi_uid);
	event_base_loopbreak(m->base);
}

/* Before there are other threads, which would take the signals. */
static int watch_signals(struct mediator *m)
{
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	if (sigprocmask(SIG_BLOCK, &stops, NULL) < 0)
		return -errno;
	m->signal_fd = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0)
		return -errno;
	m->ev_signal = event_new(m->base, m->signal_fd, EV_READ | EV_PERSIST, on_signal, m);
	return m->ev_signal && event_add(m->ev_signal, NULL) == 0 ? 0 : -ENOMEM;
}

static int control_socket(const struct mediator *m)
{
	char path[512];

	if (m->chan)
		return m->opt.keep_fd;
	snprintf(path, sizeof(path), "%s/mediator/control.sock", m->opt.run_dir);
	return listen_at(path);
}

static int set_up_control(struct mediator *m)
{
	m->base = event_base_new();
	if (!m->base)
		return -ENOMEM;
	int fd = control_socket(m);
	if (fd < 0 && !m->chan)
		return fd;
	struct qp_chan *chan = m->chan;
	m->control = control_new(m->base, m->disks, &m->page, chan, fd);
	if (!m->control) {
		m->chan = NULL;
		return -ENOMEM;
	}
	return watch_signals(m);
}

static void mediator_fini(struct mediator *m)
{
	for (struct med_disk *d = NULL; (d = med_disks_next(m->disks, d)); med_disk_fini(d))
		if (d->inject)
			backend_inject_clear(d, 0);
	med_audio_fini(&m->audio);
	for (size_t i = 0; m->listen_fds && i < m->n_listen_fds; i++)
		qfd_close(&m->listen_fds[i]);
	free(m->listen_fds);
	statpage_fini(&m->page);
	if (m->control)
		control_free(m->control);
	else
		qp_chan_free(m->chan);
	if (m->ev_signal)
		event_free(m->ev_signal);
	qfd_close(&m->signal_fd);
	if (m->base)
		event_base_free(m->base);
	if (m->live)
		live_free(m->live);
	else
		med_policy_free(m->policy);
}

static int load_policy(struct mediator *m, struct cf_errors *errs)
{
	int r = med_policy_load(m->opt.paths, m->opt.n_paths, errs, &m->policy);

	if (r == -ENOMEM)
		return failed(m, EXIT_START, "policy", ENOMEM, "out of memory");
	if (r < 0)
		return refused(m, errs, "policy", EXIT_POLICY);
	if (m->opt.plan)
		med_policy_print(m->policy, stdout);
	m->n_listen_fds = m->policy->n_shares + m->policy->sound.n_voices;
	m->listen_fds = calloc(m->n_listen_fds + 1, sizeof(int));
	for (size_t i = 0; m->listen_fds && i < m->n_listen_fds; i++)
		m->listen_fds[i] = -1;
	return m->listen_fds ? EXIT_OK : failed(m, EXIT_START, "policy", ENOMEM, "out of memory");
}

/* The policy and the devices are right: says what they promise. */
static int checked(const struct mediator *m)
{
	const struct med_policy *p = m->policy;

	for (size_t i = 0; i < p->n_devices; i++) {
		struct sched_cfg cfg = med_policy_sched(&p->devices[i]);
		struct sched s;
		unsigned n = 0;

		sched_init(&s, &cfg, 0);
		if (sched_reserve(&s, (uint32_t)p->n_shares) < 0)
			return EXIT_START;
		for (size_t k = 0; k < p->n_shares; k++) {
			const struct med_share_policy *sh = &p->shares[k];
			struct sched_share_cfg share = { sh->class, sh->weight, sh->depth };

			if (sh->device == i && sched_share_add(&s, &share) >= 0)
				n++;
		}
		printf("device %s: %llu bytes, %u shares, at most %u lower-class slices at once",
		       p->devices[i].name, (unsigned long long)m->disks[i].backend->len_bytes, n,
		       s.cap);
		if (s.depth)
			printf(", safety bound %llu us",
			       (unsigned long long)(sched_bound_ns(&s) / 1000));
		putchar('\n');
		sched_fini(&s);
	}
	med_audio_promise(&p->sound, stdout);
	return EXIT_OK;
}

/* No client may use up the descriptors of the others: we take what the system allows. */
static void set_limits(const struct mediator *m)
{
	rlim_t want = FDS_OWN + FDS_PER_SHARE * (rlim_t)m->policy->n_shares;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_max < want)
		qlog_warn("ev=few_descriptors limit=%llu want=%llu why=\"greedy clients can keep "
			  "others from connecting; raise the limit on open files\"",
			  (unsigned long long)lim.rlim_max, (unsigned long long)want);
}

static int start_audio(struct mediator *m, struct cf_errors *errs)
{
	struct med_event_sink sink = control_sink(m->control);
	m->audio.inject = m->opt.inject;
	int r = med_audio_start(&m->audio, &m->policy->sound, &sink,
				m->listen_fds + m->policy->n_shares, errs);

	if (r < 0 && !cf_errors_ok(errs))
		return refused(m, errs, "device", EXIT_START);
	if (r < 0)
		return failed(m, EXIT_START, "device", r, "a sound device does not start");
	return EXIT_OK;
}

static int serve(struct mediator *m, struct cf_errors *errs)
{
	set_limits(m);
	int r = statpage_init(&m->page, m->policy);

	if (r < 0)
		return failed(m, EXIT_START, "stats", r, "no memory for the counters");
	/* Sockets first: hostd's answer is read before its channel goes to the loop. */
	r = m->opt.check_only ? 0 : get_sockets(m);
	if (r < 0)
		return failed(m, EXIT_START, "sockets", r, "no listening sockets");
	r = m->opt.check_only ? 0 : set_up_control(m);
	if (r < 0)
		return failed(m, EXIT_START, "control", r, "no control socket");
	r = open_disks(m, errs);
	if (r < 0)
		return refused(m, errs, "device", r == -EINVAL ? EXIT_POLICY : EXIT_START);
	if (m->opt.check_only)
		return m->opt.plan ? EXIT_OK : checked(m);
	r = start_disks(m);
	if (r < 0)
		return failed(m, EXIT_START, "device", r, "a device's thread does not start");
	r = start_audio(m, errs);
	if (r != EXIT_OK)
		return r;
	const struct live_ops ops = {
		.changed = set_priority, .listen = listen_more, .unlisten = listen_less,
		.open = open_disk, .ctx = m,
	};
	m->live = live_new(m->opt.paths, m->opt.n_paths, m->policy, m->disks, &m->page, &ops);
	if (!m->live)
		return failed(m, EXIT_START, "policy", -ENOMEM, "out of memory");
	control_set_live(m->control, m->live);
	control_set_audio(m->control, &m->audio);
	set_priority(m);
	r = med_seal(m->opt.sandbox);
	if (r < 0)
		return failed(m, EXIT_START, "sandbox", r, "privileges could not be dropped");
	control_ready(m->control);
	qlog_info("ev=ready devices=%zu shares=%zu", m->policy->n_devices, m->policy->n_shares);
	event_base_dispatch(m->base);
	return EXIT_OK;
}

/* Serves nobody: reads, computes, prints. */
static int simulate(const struct options *o)
{
	const struct sim_options sim = {
		.path = o->simulate, .time_ns = o->simulate_ns, .json = o->json,
	};
	struct cf_errors errs = CF_ERRORS_NULL;
	int r = sim_run_file(&sim, stdout, &errs);

	cf_errors_print(&errs, stderr);
	cf_errors_fini(&errs);
	if (r == -ENOMEM)
		fputs("mediator: out of memory\n", stderr);
	if (r < 0)
		return r == -EINVAL ? EXIT_POLICY : EXIT_START;
	if (fflush(stdout) < 0 || ferror(stdout)) {
		fputs("mediator: the result cannot be written\n", stderr);
		return EXIT_START;
	}
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	/* Room for more disks than there are: not on the stack, where it would all be touched. */
	static struct mediator m;
	int r = parse_options(argc, argv, &m.opt);

	if (r > 0)
		return r - 1;
	m.page = STATPAGE_NULL;
	m.signal_fd = -1;
	if (m.opt.simulate)
		return simulate(&m.opt);
	qlog_init("mediator", NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A supervisor that could make none has left the number free: to us, as well. */
	if (!qfd_is_listening(m.opt.keep_fd))
		m.opt.keep_fd = -1;
	int kept = m.opt.check_only ? 0 : keeper_start();
	if (kept < 0)
		qlog_errno(QLOG_WARN, kept, "ev=no_keeper");
	if (m.opt.control_fd >= 0) {
		m.chan = qp_chan_new(m.opt.control_fd, "mediator");
		if (!m.chan) {
			fprintf(stderr, "mediator: --control-fd %d is no descriptor of a socket\n",
				m.opt.control_fd);
			return EXIT_USAGE;
		}
	}
	r = load_policy(&m, &errs);
	if (r == EXIT_OK)
		r = serve(&m, &errs);
	mediator_fini(&m);
	cf_errors_fini(&errs);
	return r;
}
