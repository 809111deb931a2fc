/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killrun: kills a mediator again and again, at any moment of its life, under clients that never
 * stop (killload.c), and starts the next at once, as hostd does: the listening sockets are ours and
 * outlive it. Each life lasts until a random moment; one in --serve of them until each client was
 * served, so that all get on.
 *
 * At the end each client reads its share whole. Prints one line of JSON. Exit status: 0 all well,
 * 1 a client saw an error or wrong content, 2 usage, 3 something could not be started or did not
 * come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "proto/qp_chan.h"
#include "tests/integ/killload.h"

#define CLIENTS_MAX 8u
#define SHARE_BYTES (KILLLOAD_SECTORS * Q_SECTOR_BYTES)
#define LIFE_NS (60 * Q_NSEC_PER_SEC)	/* in which all must be served */
#define CONTROL_FD "3"

struct client {
	char share[32], socket[256];
	int listen_fd;
	pid_t pid;
	unsigned depth;
	struct killload_shared *shared;
	uint64_t ops_before, first_before, used_before;
};

struct run {
	const char *mediator, *dir, *direct;
	unsigned kills, serve;		/* one life in so many serves all */
	uint64_t pause_ns;		/* of a life, at most */
	uint64_t mem_bytes, rng;
	bool use;			/* of all of that memory by each mediator */
	struct client client[CLIENTS_MAX];
	unsigned n_clients;
	pid_t pid;
	struct qp_chan *chan;
	bool ready;
	uint64_t killed_ns, started_ns;
	uint64_t *back_ns, *ready_ns;	/* owned: each time from a kill to service; to Ready */
	size_t n_back, n_ready;
};

static uint64_t below(struct run *r, uint64_t n)
{
	r->rng = r->rng * 6364136223846793005ull + 1442695040888963407ull;
	return n ? (r->rng >> 20) % n : 0;
}

/* ---- clients ---- */

static int make_files(struct run *r)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/img", r->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)r->n_clients * SHARE_BYTES) < 0)
		return -errno;
	qfd_close(&fd);
	snprintf(path, sizeof(path), "%s/kill.policy", r->dir);
	FILE *f = fopen(path, "we");
	if (!f)
		return -errno;
	fprintf(f, "[device disk]\npath = img\ndirect = %s\n", r->direct);
	for (unsigned i = 0; i < r->n_clients; i++)
		fprintf(f, "[share %s]\ndevice = disk\nclass = %s\noffset = %llu\nlength = %llu\n",
			r->client[i].share, i ? "best-effort" : "safety",
			(unsigned long long)i * SHARE_BYTES, (unsigned long long)SHARE_BYTES);
	return fclose(f) < 0 ? -errno : 0;
}

static int start_client(const struct run *r, struct client *c, unsigned i)
{
	const struct killload_cfg cfg = {
		.socket = c->socket, .depth = c->depth, .mem_bytes = r->mem_bytes,
		.use = r->use, .seed = r->rng + i, .shared = c->shared,
	};

	snprintf(c->socket, sizeof(c->socket), "%s/%u.sock", r->dir, i);
	c->listen_fd = qfd_listen_unix(c->socket, 64);
	if (c->listen_fd < 0)
		return c->listen_fd;
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(killload_run(&cfg));
	}
	return c->pid < 0 ? -errno : 0;
}

/* ---- the mediator ---- */

static void exec_mediator(const struct run *r, int control_fd)
{
	char policy[300];
	int log = open("/dev/null", O_WRONLY | O_CLOEXEC);

	snprintf(policy, sizeof(policy), "%s/kill.policy", r->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(control_fd, 3) < 0)
		_exit(127);
	close_range(4, ~0u, 0);
	execl(r->mediator, "mediator", "--control-fd=" CONTROL_FD, policy, (char *)NULL);
	_exit(127);
}

static int start_mediator(struct run *r)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	r->started_ns = qnow_ns();
	r->ready = false;
	r->pid = fork();
	if (r->pid == 0)
		exec_mediator(r, sv[1]);
	qfd_close(&sv[1]);
	r->chan = qp_chan_new(sv[0], "hostd");
	return r->pid < 0 || !r->chan ? -ENOMEM : 0;
}

static int hand_sockets(struct run *r, const Parley__Envelope *req)
{
	const Parley__ListenRequest *l = req->listen_request;
	Parley__ListenReply reply = PARLEY__LISTEN_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	int fds[QP_FDS_MAX];
	unsigned n = 0;

	for (size_t i = 0; i < l->n_shares; i++)
		for (unsigned k = 0; k < r->n_clients; k++)
			if (strcmp(l->shares[i], r->client[k].share) == 0)
				fds[n++] = r->client[k].listen_fd;
	reply.n_sockets = n;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_LISTEN_REPLY;
	e.listen_reply = &reply;
	return qp_chan_send(r->chan, &e, fds, n);
}

/* Answers the mediator until @until_ns. QP_OK while it lives. */
static int attend(struct run *r, uint64_t until_ns)
{
	Parley__Envelope *e = NULL;
	int fds[QP_FDS_MAX], v;
	unsigned n_fds;

	while ((v = qp_chan_wait(r->chan, until_ns, &e, fds, &n_fds)) == QP_OK) {
		if (e->body_case == PARLEY__ENVELOPE__BODY_LISTEN_REQUEST)
			v = hand_sockets(r, e);
		if (e->body_case == PARLEY__ENVELOPE__BODY_READY && !r->ready) {
			r->ready = true;
			r->ready_ns[r->n_ready++] = qnow_ns() - r->started_ns;
		}
		qp_msg_free(e);
		if (v != QP_OK)
			return v;
	}
	return v == QP_TIMEOUT ? QP_OK : v;
}

static bool all_served(const struct run *r)
{
	for (unsigned i = 0; i < r->n_clients; i++)
		if (atomic_load(&r->client[i].shared->ops) == r->client[i].ops_before ||
		    (r->killed_ns &&
		     atomic_load(&r->client[i].shared->n_first) == r->client[i].first_before) ||
		    (r->use && atomic_load(&r->client[i].shared->n_used) ==
				       r->client[i].used_before))
			return false;
	return true;
}

static void note_clients(struct run *r)
{
	for (unsigned i = 0; i < r->n_clients; i++) {
		r->client[i].ops_before = atomic_load(&r->client[i].shared->ops);
		r->client[i].first_before = atomic_load(&r->client[i].shared->n_first);
		r->client[i].used_before = atomic_load(&r->client[i].shared->n_used);
	}
}

/* Until each client was served by this mediator: how long after the kill each was is kept. */
static int serve_all(struct run *r, bool timed)
{
	uint64_t until = qnow_ns() + LIFE_NS;
	int v = QP_OK;

	while (v == QP_OK && !all_served(r)) {
		if (qnow_ns() > until) {
			fputs("killrun: a client is not served any more\n", stderr);
			return QP_TIMEOUT;
		}
		v = attend(r, qnow_ns() + Q_NSEC_PER_MSEC / 5);
	}
	for (unsigned i = 0; timed && v == QP_OK && i < r->n_clients; i++)
		r->back_ns[r->n_back++] =
			atomic_load(&r->client[i].shared->first_ns) - r->killed_ns;
	return v;
}

static void kill_mediator(struct run *r)
{
	note_clients(r);
	r->killed_ns = qnow_ns();
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->chan = qp_chan_free(r->chan);
}

static int one_life(struct run *r, unsigned i, bool *was_served)
{
	bool serve = i % r->serve == 0;
	/* Only an outage that began while all were served has a length. */
	bool timed = serve && *was_served;
	int v = start_mediator(r);

	if (v == 0 && serve)
		v = serve_all(r, timed);
	if (v == QP_OK)
		v = attend(r, qnow_ns() + below(r, r->pause_ns));
	*was_served = serve;
	return v;
}

/* ---- the whole ---- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_times(const char *name, uint64_t *v, size_t n)
{
	static const struct {
		const char *name;
		unsigned permille;
	} marks[] = { { "p50", 500 }, { "p90", 900 }, { "p99", 990 }, { "max", 1000 } };

	qsort(v, n, sizeof(v[0]), by_value);
	printf("\"%s\": {\"n\": %zu", name, n);
	for (size_t i = 0; n && i < Q_ARRAY_LEN(marks); i++)
		printf(", \"%s\": %.1f", marks[i].name,
		       (double)v[Q_MIN(n * marks[i].permille / 1000, n - 1)] / 1000);
	printf("}");
}

static void print_result(const struct run *r, double secs)
{
	uint64_t ops = 0, errors = 0, wrong = 0, reconnects = 0;

	for (unsigned i = 0; i < r->n_clients; i++) {
		const struct killload_shared *s = r->client[i].shared;

		ops += s->ops;
		errors += s->errors;
		wrong += s->wrong;
		reconnects += s->reconnects;
	}
	printf("{\"kills\": %u, \"secs\": %.1f, \"clients\": %u, \"ops\": %llu, "
	       "\"reconnects\": %llu, \"errors\": %llu, \"wrong\": %llu, ",
	       r->kills, secs, r->n_clients, (unsigned long long)ops,
	       (unsigned long long)reconnects, (unsigned long long)errors,
	       (unsigned long long)wrong);
	print_times("ready_us", r->ready_ns, r->n_ready);
	fputs(", ", stdout);
	print_times("back_us", r->back_ns, r->n_back);
	puts("}");
}

static int end_clients(struct run *r)
{
	int worst = 0;

	for (unsigned i = 0; i < r->n_clients; i++)
		atomic_store(&r->client[i].shared->stop, true);
	for (unsigned i = 0; i < r->n_clients; i++) {
		int status;

		/* The mediator's events are read meanwhile: it never waits for us. */
		while (waitpid(r->client[i].pid, &status, WNOHANG) == 0)
			if (attend(r, qnow_ns() + Q_NSEC_PER_MSEC) != QP_OK)
				return 3;
		worst = Q_MAX(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 3);
	}
	return worst;
}

static int run(struct run *r)
{
	uint64_t begin = qnow_ns();
	bool served = false;
	int v = 0;

	for (unsigned i = 0; v == 0 && i < r->n_clients; i++)
		v = start_client(r, &r->client[i], i);
	for (unsigned i = 0; v == 0 && i < r->kills; i++) {
		v = one_life(r, i, &served);
		if (v == 0)
			kill_mediator(r);
	}
	if (v == 0)
		v = start_mediator(r);
	if (v != 0) {
		fprintf(stderr, "killrun: the mediator does not work (%d)\n", v);
		return 3;
	}
	v = end_clients(r);
	print_result(r, (double)(qnow_ns() - begin) / 1e9);
	kill(r->pid, SIGTERM);
	waitpid(r->pid, NULL, 0);
	r->chan = qp_chan_free(r->chan);
	return v;
}

static int add_clients(struct run *r, char *depths)
{
	char *save;

	for (char *s = strtok_r(depths, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		struct client *c = &r->client[r->n_clients];

		if (r->n_clients == CLIENTS_MAX)
			return -ENOSPC;
		c->depth = (unsigned)strtoul(s, NULL, 10);
		if (c->depth < 1 || c->depth > KILLLOAD_DEPTH_MAX)
			return -ERANGE;
		snprintf(c->share, sizeof(c->share), "c%u/data", r->n_clients);
		c->shared = mmap(NULL, sizeof(*c->shared), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (c->shared == MAP_FAILED)
			return -ENOMEM;
		r->n_clients++;
	}
	return r->n_clients ? 0 : -EINVAL;
}

static int parse(struct run *r, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "depths", required_argument, NULL, 'd' },
		{ "serve", required_argument, NULL, 's' },
		{ "pause-us", required_argument, NULL, 'p' },
		{ "mem-mib", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 'r' },
		{ "use", no_argument, NULL, 'u' },
		{ "direct", no_argument, NULL, 'D' },
		{ 0 },
	};
	char standard[] = "1,4,32,128", *depths = standard;
	int opt;

	*r = (struct run){ .kills = 100, .serve = 4, .pause_ns = 8 * Q_NSEC_PER_MSEC, .rng = 1,
			   .direct = "no" };
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t v = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (opt) {
		case 'k':
			r->kills = (unsigned)v;
			break;
		case 'd':
			depths = optarg;
			break;
		case 's':
			r->serve = v ? (unsigned)v : 1;
			break;
		case 'p':
			r->pause_ns = v * Q_NSEC_PER_USEC;
			break;
		case 'm':
			r->mem_bytes = v << 20;
			break;
		case 'r':
			r->rng = v;
			break;
		case 'u':
			r->use = true;
			break;
		case 'D':
			r->direct = "yes";
			break;
		default:
			return -EINVAL;
		}
	}
	if (argc - optind != 2)
		return -EINVAL;
	r->mediator = argv[optind];
	r->dir = argv[optind + 1];
	r->back_ns = calloc((size_t)r->kills * CLIENTS_MAX + 1, sizeof(uint64_t));
	r->ready_ns = calloc((size_t)r->kills + 2, sizeof(uint64_t));
	return r->back_ns && r->ready_ns ? add_clients(r, depths) : -ENOMEM;
}

int main(int argc, char **argv)
{
	static struct run r;

	signal(SIGPIPE, SIG_IGN);
	if (parse(&r, argc, argv) < 0) {
		fputs("usage: killrun [--kills N] [--depths N,...] [--serve N] [--pause-us N]\n"
		      "               [--mem-mib N [--use]] [--seed N] [--direct] MEDIATOR "
		      "FOLDER\n",
		      stderr);
		return 2;
	}
	int v = make_files(&r);
	if (v < 0)
		fprintf(stderr, "killrun: %s: %s\n", r.dir, strerror(-v));
	else
		v = run(&r);
	for (unsigned i = 0; i < r.n_clients; i++) {
		if (v != 0 && r.client[i].pid > 0)
			kill(r.client[i].pid, SIGKILL);
		qfd_close(&r.client[i].listen_fd);
	}
	free(r.back_ns);
	free(r.ready_ns);
	return v < 0 ? 3 : v;
}
