/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end of a vhost-user device: see virtio_vhu.h for the machine. Desired is what the
 * guest's driver wants (d.run), actual is the state of the connection; advance() takes one step
 * from one to the other on each event.
 *
 * vCPU threads only arm the timer; everything else is the I/O thread's, under the vdev's lock,
 * except the jobs (vhu_job.c), which run on copies without it. Invariant: fe is not NULL in all
 * states but LOST and CONNECTING; the watch stands exactly as long as fe.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "vdevs/vhu_job.h"
#include "vdevs/virtio_vhu.h"

#define RETRY_FIRST_NS (10 * Q_NSEC_PER_MSEC)
#define RETRY_MAX_NS Q_NSEC_PER_SEC
#define START_WAIT_NS (5 * Q_NSEC_PER_SEC)
/* A connection that stood so long was not refused: the next attempt comes at once again. */
#define STOOD_NS (100 * Q_NSEC_PER_MSEC)

enum vhu_state {
	VHU_LOST,
	VHU_CONNECTING,
	VHU_READY,
	VHU_STARTING,
	VHU_RUNNING,
	VHU_STOPPING,
	VHU_STATES
};

static const char *const vhu_state_str[] = {
	[VHU_LOST] = "lost",
	[VHU_CONNECTING] = "connecting",
	[VHU_READY] = "ready",
	[VHU_STARTING] = "starting",
	[VHU_RUNNING] = "running",
	[VHU_STOPPING] = "stopping",
};
static_assert(Q_ARRAY_LEN(vhu_state_str) == VHU_STATES, "every state has a word");

#define TO(st) (1u << (st))
static const unsigned vhu_next[] = {
	[VHU_LOST] = TO(VHU_CONNECTING),
	[VHU_CONNECTING] = TO(VHU_READY) | TO(VHU_LOST),
	[VHU_READY] = TO(VHU_STARTING) | TO(VHU_LOST),
	[VHU_STARTING] = TO(VHU_RUNNING) | TO(VHU_LOST),
	[VHU_RUNNING] = TO(VHU_STARTING) | TO(VHU_STOPPING) | TO(VHU_LOST),
	[VHU_STOPPING] = TO(VHU_READY) | TO(VHU_LOST),
};
static_assert(Q_ARRAY_LEN(vhu_next) == VHU_STATES, "every state has a row");

struct virtio_vhu {
	struct virtio_dev d;
	struct virtio_ops ops;
	const struct virtio_vhu_kind *kind;
	const struct vd_arg *hostdev;
	enum vhu_state st;
	struct qvhu_fe *fe;
	struct vd_watch *watch;
	int err_fd;		/* owned: the back end tells that the guest broke a queue */
	struct vd_watch *err_watch;
	struct vd_timer *timer;
	uint64_t retry_ns, next_try_ns;
	uint64_t lost_at_ns, connected_at_ns;
	struct qlog_limit lost_limit;
	uint64_t n_lost;
	bool refused_logged;	/* the back end that came back is another: said once an outage */
	bool started;		/* the rings were given out since DRIVER_OK */
	bool recall[VIRTIO_QUEUES_MAX];
	struct qvhu_inflight inflight;
	int inflight_fd;	/* owned; -1 = none yet */
	/* In use while CONNECTING, STARTING, STOPPING; while RUNNING it says what was started. */
	struct vhu_job job;
	void (*job_done)(struct virtio_vhu *u);
};

static struct virtio_vhu *vhu_of(struct virtio_dev *d)
{
	return Q_CONTAINER_OF(d, struct virtio_vhu, d);
}

static void advance(struct virtio_vhu *u);

/* Sole writer of u->st. The moves are ours alone: an illegal one is a bug. */
static void set_state(struct virtio_vhu *u, enum vhu_state to, const char *why)
{
	struct vd_host *h = u->d.v.host;

	qassert(vhu_next[u->st] & TO(to));
	h->ops->log(h, QLOG_DEBUG, "ev=backend_state from=%s to=%s why=%s", vhu_state_str[u->st],
		    vhu_state_str[to], why);
	u->st = to;
}

/* Looks at the state again soon, on the I/O thread. Cannot fail, from any thread. */
static void poke(struct virtio_vhu *u)
{
	u->d.v.host->ops->timer_arm(u->d.v.host, u->timer, qnow_ns());
}

/* Nothing of the guest's rings is known to a back end any more. */
static void session_end(struct virtio_vhu *u)
{
	qfd_close(&u->inflight_fd);
	u->started = false;
	memset(u->recall, 0, sizeof(u->recall));
}

static void guest_stopped(struct virtio_vhu *u)
{
	if (u->d.run != VIRTIO_STOPPING)
		return;
	session_end(u);
	virtio_stopped(&u->d);
}

/* ---- losing the back end ---- */

static void retry_later(struct virtio_vhu *u)
{
	u->next_try_ns = qnow_ns() + u->retry_ns;
	u->retry_ns = Q_MIN(u->retry_ns * 2, RETRY_MAX_NS);
	u->d.v.host->ops->timer_arm(u->d.v.host, u->timer, u->next_try_ns);
}

static void drop_connection(struct virtio_vhu *u)
{
	if (u->watch)
		u->d.v.host->ops->unwatch(u->d.v.host, u->watch);
	u->watch = NULL;
	u->fe = qvhu_fe_free(u->fe);
}

static void lose(struct virtio_vhu *u, const char *why)
{
	struct vd_host *h = u->d.v.host;
	uint64_t now = qnow_ns(), n;

	drop_connection(u);
	if (!u->lost_at_ns) {
		u->lost_at_ns = now;
		u->n_lost++;
		if (now - u->connected_at_ns > STOOD_NS)
			u->retry_ns = RETRY_FIRST_NS;
		/* A back end that refuses this guest does so again and again: sums, then. */
		if (qlog_limit_hit(&u->lost_limit, now, &n))
			h->ops->log(h, QLOG_WARN,
				    "ev=backend_lost backend=%s why=%s n=%" PRIu64,
				    u->hostdev->text, why, n);
	}
	set_state(u, VHU_LOST, why);
	retry_later(u);
	guest_stopped(u);
}

static const char *result_str(int r)
{
	static const char *const str[] = {
		[QVHU_OK] = "ok", [QVHU_AGAIN] = "again", [QVHU_CLOSED] = "hang_up",
		[QVHU_FAULT] = "protocol", [QVHU_TIMEOUT] = "late", [QVHU_REFUSED] = "refused",
	};

	if (r < 0)
		return strerror(-r);
	return (unsigned)r < Q_ARRAY_LEN(str) ? str[r] : "unknown";
}

/* With no request outstanding a back end has nothing to say: it has gone, or talks rubbish. */
static void backend_event(struct vdev *v, void *arg)
{
	lose(arg, "hang_up");
}

/*
 * The guest broke the rules of a queue: it has to reset the device. Before its rings are given out
 * (it may have reset the device and set it up again already), this is about what it did before.
 */
static void backend_err(struct vdev *v, void *arg)
{
	struct virtio_vhu *u = arg;

	if (qfd_event_clear(u->err_fd) && u->started && u->d.run == VIRTIO_RUNNING)
		virtio_broken(&u->d, VD_FAULT_BAD_REQUEST);
}

/* ---- jobs ---- */

static void job_ended(struct vdev *v, void *arg)
{
	struct virtio_vhu *u = arg;

	u->job_done(u);
	advance(u);
}

static void job_begin(struct virtio_vhu *u, enum vhu_state st, void (*work)(void *job),
		      void (*done)(struct virtio_vhu *u), const char *why)
{
	struct vd_host *h = u->d.v.host;

	set_state(u, st, why);
	u->job_done = done;
	u->job.r = -ENOMEM;	/* what it comes to when it cannot be run */
	if (h->ops->call(h, work, &u->job, job_ended, u) < 0)
		job_ended(&u->d.v, u);
}

/*
 * What the guest has acknowledged, as far as it is the back end's. A legacy guest's rings and
 * requests, little-endian and at addresses of its choice, are virtio 1's to the back end: it need
 * not know.
 */
static uint64_t backend_features(const struct virtio_vhu *u)
{
	return (u->d.acked & ~VIRTIO_ANY_LAYOUT) | VIRTIO_VERSION_1;
}

/* The rings as the guest has set them up, for a job that has no lock. */
static void job_copy_queues(struct virtio_vhu *u)
{
	struct vhu_job *j = &u->job;
	struct virtio_dev *d = &u->d;

	j->fe = u->fe;
	j->mem = d->v.host->mem;
	j->features = backend_features(u);
	j->n_queues = d->n_queues;
	j->queue_size_max = d->queue_size_max;
	j->inflight = u->inflight;
	j->inflight_fd = u->inflight_fd;
	j->err_fd = u->err_fd;
	for (unsigned i = 0; i < d->n_queues; i++) {
		j->q[i] = (struct vhu_queue){
			.on = d->q[i].enabled, .again = u->recall[i], .ring = d->q[i].cfg,
			.kick_fd = d->q[i].kick_fd, .call_fd = virtio_call_fd(d, i),
		};
		j->q[i].ring.features = virtio_ring_features(d);
		u->recall[i] = false;
	}
}

/* ---- connecting ---- */

/* Feature bits that the guest may see, of what the back end has. */
static uint64_t usable_features(const struct virtio_vhu *u, const struct qvhu_fe *fe)
{
	return qvhu_fe_features(fe) & (u->kind->features | VIRTIO_SERVED);
}

static void put_n_queues(const struct virtio_vhu *u, uint8_t *config)
{
	uint16_t n = htole16((uint16_t)u->d.n_queues);

	if (u->kind->mq_feature)
		memcpy(config + u->kind->mq_off, &n, sizeof(n));
}

static void take_config(struct virtio_vhu *u)
{
	put_n_queues(u, u->job.config);
	if (!memcmp(u->d.config, u->job.config, u->kind->config_len))
		return;
	memcpy(u->d.config, u->job.config, u->kind->config_len);
	virtio_config_changed(&u->d);	/* a disk that has grown, say */
}

/* The guest was promised features and queues: a back end that lacks one cannot take over. */
static bool same_device(struct virtio_vhu *u)
{
	struct vd_host *h = u->d.v.host;
	uint64_t missing = u->d.offered & ~VIRTIO_ANY_LAYOUT & ~usable_features(u, u->job.fe);

	if (!missing && u->job.n_queues_max >= u->d.n_queues)
		return true;
	if (!u->refused_logged)
		h->ops->log(h, QLOG_ERROR,
			    "ev=backend_differs backend=%s missing_features=%#" PRIx64
			    " queues=%u wanted_queues=%u", u->hostdev->text, missing,
			    u->job.n_queues_max, u->d.n_queues);
	u->refused_logged = true;
	return false;
}

static void watch_backend(struct virtio_vhu *u)
{
	struct vd_host *h = u->d.v.host;

	u->watch = h->ops->watch(h, qvhu_fe_fd(u->fe), backend_event, u);
}

static void connect_done(struct virtio_vhu *u)
{
	struct vd_host *h = u->d.v.host;

	if (u->job.r != QVHU_OK) {
		qfd_close(&u->job.sock_fd);	/* only when the job did not run */
		lose(u, result_str(u->job.r));
		return;
	}
	u->fe = u->job.fe;
	if (!same_device(u)) {
		lose(u, "differs");
		return;
	}
	watch_backend(u);
	if (!u->watch) {
		lose(u, result_str(-ENOMEM));
		return;
	}
	set_state(u, VHU_READY, "connected");
	u->connected_at_ns = qnow_ns();
	h->ops->log(h, u->lost_limit.unlogged ? QLOG_DEBUG : QLOG_INFO,
		    "ev=backend_back backend=%s outage_ms=%llu", u->hostdev->text,
		    (u->connected_at_ns - u->lost_at_ns) / Q_NSEC_PER_MSEC);
	u->lost_at_ns = 0;
	u->refused_logged = false;
	take_config(u);
}

static void job_set_connect(struct virtio_vhu *u, int take_fd)
{
	u->job = (struct vhu_job){ .timeout_ms = u->d.v.cfg->block_timeout_ms,
				   .sock_fd = take_fd, .config_len = u->kind->config_len,
				   .inflight_fd = -1 };
}

static void reconnect(struct virtio_vhu *u)
{
	struct vd_host *h = u->d.v.host;
	int fd;

	if (qnow_ns() < u->next_try_ns) {	/* poked early */
		h->ops->timer_arm(h, u->timer, u->next_try_ns);
		return;
	}
	fd = h->ops->backend_connect(h, u->hostdev);
	if (fd < 0) {
		retry_later(u);
		return;
	}
	job_set_connect(u, fd);
	job_begin(u, VHU_CONNECTING, vhu_job_connect, connect_done, "there");
}

/* ---- starting and stopping ---- */

static void start_done(struct virtio_vhu *u)
{
	struct virtio_dev *d = &u->d;

	/* The region is kept also when the rest failed: something may have been noted in it. */
	u->inflight = u->job.inflight;
	u->inflight_fd = u->job.inflight_fd;
	if (u->job.r != QVHU_OK) {
		lose(u, result_str(u->job.r));
		return;
	}
	set_state(u, VHU_RUNNING, "started");
	for (unsigned i = 0; i < d->n_queues; i++) {
		if (!u->job.q[i].on)
			continue;
		qfd_event_signal(u->job.q[i].kick_fd);
		/* The last signal of a back end that died may have died with it. */
		if (u->started && u->job.q[i].call_fd >= 0)
			qfd_event_signal(u->job.q[i].call_fd);
	}
	u->started = true;
}

static void stop_done(struct virtio_vhu *u)
{
	if (u->job.r != QVHU_OK) {
		lose(u, result_str(u->job.r));
		return;
	}
	set_state(u, VHU_READY, "stopped");
	guest_stopped(u);
}

static void start_begin(struct virtio_vhu *u, void (*work)(void *job), const char *why)
{
	qfd_event_clear(u->err_fd);	/* what it told was of the guest's last session */
	job_copy_queues(u);
	job_begin(u, VHU_STARTING, work, start_done, why);
}

static bool recall_wanted(const struct virtio_vhu *u)
{
	for (unsigned i = 0; i < u->d.n_queues; i++)
		if (u->recall[i])
			return true;
	return false;
}

/* One step from the actual to the desired. */
static void advance(struct virtio_vhu *u)
{
	bool wanted = u->d.run == VIRTIO_RUNNING;

	if (u->st == VHU_LOST)
		reconnect(u);
	else if (u->st == VHU_READY && wanted)
		start_begin(u, vhu_job_start, "driver_ok");
	else if (u->st == VHU_RUNNING && !wanted)
		/* The job still knows which queues run: the guest's registers are reset already. */
		job_begin(u, VHU_STOPPING, vhu_job_stop, stop_done, "reset");
	else if (u->st == VHU_RUNNING && recall_wanted(u))
		start_begin(u, vhu_job_recall, "vector");
}

static void timer_fired(struct vdev *v, void *arg)
{
	advance(arg);
}

/* ---- virtio_ops ---- */

static void vhu_start(struct virtio_dev *d)
{
	poke(vhu_of(d));
}

static bool vhu_stop(struct virtio_dev *d)
{
	struct virtio_vhu *u = vhu_of(d);

	if (u->st == VHU_LOST || u->st == VHU_CONNECTING || u->st == VHU_READY) {
		session_end(u);
		return true;
	}
	poke(u);
	return false;
}

static void vhu_call_changed(struct virtio_dev *d, unsigned q)
{
	vhu_of(d)->recall[q] = true;
	poke(vhu_of(d));
}

static void vhu_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	const struct virtio_vhu *u = vhu_of(d);

	snprintf(buf, buf_bytes, "backend=%s backend_state=%s outages=%" PRIu64,
		 u->hostdev->text, vhu_state_str[u->st], u->n_lost);
}

static void vhu_free(struct virtio_dev *d)
{
	struct virtio_vhu *u = vhu_of(d);

	/* A job that has not run any more still has what it would connect with. */
	if (u->st == VHU_CONNECTING)
		qfd_close(&u->job.sock_fd);
	drop_connection(u);
	if (u->timer)
		d->v.host->ops->timer_free(d->v.host, u->timer);
	if (u->err_watch)
		d->v.host->ops->unwatch(d->v.host, u->err_watch);
	qfd_close(&u->err_fd);
	qfd_close(&u->inflight_fd);
	virtio_fini(d);
	free(u);
}

/* ---- create ---- */

static int refuse(const struct virtio_vhu *u, struct cf_errors *errs, int err, const char *why)
{
	cf_error_add(errs, CF_ERROR, u->hostdev->file, u->hostdev->line, u->hostdev->col,
		     "%s: back end %s %s", u->d.v.cfg->name, u->hostdev->text, why);
	return err;
}

static bool worth_waiting(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN || r == QVHU_CLOSED;
}

/* The first connection, on the main thread: nothing runs yet that could wait for us. */
static int connect_first(struct virtio_vhu *u, struct cf_errors *errs)
{
	struct vd_host *h = u->d.v.host;
	uint64_t until_ns = qnow_ns() + START_WAIT_NS;
	char why[160];
	int r;

	do {
		r = h->ops->backend_connect(h, u->hostdev);
		if (r >= 0) {
			job_set_connect(u, r);
			vhu_job_connect(&u->job);
			r = u->job.r;
			if (r == QVHU_OK)
				return 0;
		}
		nanosleep(&(struct timespec){ .tv_nsec = RETRY_FIRST_NS }, NULL);
	} while (worth_waiting(r) && qnow_ns() < until_ns);
	if (r == QVHU_CLOSED)
		snprintf(why, sizeof(why), "hangs up on this guest (tried for %u s): it refuses "
			 "it, and its log says why",
			 (unsigned)(START_WAIT_NS / Q_NSEC_PER_SEC));
	else if (worth_waiting(r))
		snprintf(why, sizeof(why), "is not there (waited %u s: %s); is it running, and "
			 "does it serve this name?",
			 (unsigned)(START_WAIT_NS / Q_NSEC_PER_SEC), result_str(r));
	else
		snprintf(why, sizeof(why), "cannot be used: %s", result_str(r));
	return refuse(u, errs, r < 0 ? r : -ECONNREFUSED, why);
}

/* How many queues the guest is to have, of those of the back end. */
static unsigned queues_wanted(const struct virtio_vhu *u)
{
	const struct vd_arg *queues = vd_arg_find(u->d.v.cfg, "queues");

	if (queues)
		return (unsigned)queues->num;
	return u->d.v.host->n_vcpus ? u->d.v.host->n_vcpus : VIRTIO_QUEUES_MAX;
}

static void describe(struct virtio_vhu *u)
{
	const struct virtio_vhu_kind *k = u->kind;
	uint16_t n = 1;

	u->d.offered = usable_features(u, u->fe);
	u->d.n_queues = k->n_queues;
	if (u->d.offered & k->mq_feature) {
		memcpy(&n, u->job.config + k->mq_off, sizeof(n));
		u->d.n_queues = Q_MIN(Q_MIN(le16toh(n), u->job.n_queues_max), VIRTIO_QUEUES_MAX);
		u->d.n_queues = Q_MAX(Q_MIN(u->d.n_queues, queues_wanted(u)), 1u);
	}
	u->d.queue_size_max = k->queue_size_max;
	u->d.config_len = k->config_len;
	put_n_queues(u, u->job.config);
	memcpy(u->d.config, u->job.config, k->config_len);
}

static int vhu_open(struct virtio_vhu *u, struct cf_errors *errs)
{
	struct vd_host *h = u->d.v.host;
	int r = u->err_fd < 0 ? refuse(u, errs, u->err_fd, "cannot be watched: no descriptor") :
				connect_first(u, errs);

	if (r < 0)
		return r;
	u->fe = u->job.fe;
	u->st = VHU_READY;	/* where the machine begins */
	if (!(qvhu_fe_features(u->fe) & VIRTIO_VERSION_1))
		return refuse(u, errs, -EPROTO, "does not serve virtio 1");
	if (u->job.n_queues_max < u->kind->n_queues)
		return refuse(u, errs, -EPROTO, "has too few queues");
	describe(u);
	u->timer = h->ops->timer_new(h, timer_fired, u);
	u->err_watch = h->ops->watch(h, u->err_fd, backend_err, u);
	watch_backend(u);
	if (!u->timer || !u->watch || !u->err_watch)
		return refuse(u, errs, -ENOMEM, "cannot be watched: out of memory");
	return virtio_attach(&u->d, errs);
}

int virtio_vhu_create(const struct vd_type *type, const struct virtio_vhu_kind *kind,
		      const struct vd_config *cfg, const struct vd_arg *hostdev,
		      struct vd_host *host, struct cf_errors *errs, struct vdev **ret)
{
	struct virtio_vhu *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->kind = kind;
	u->hostdev = hostdev;
	u->inflight_fd = -1;
	u->err_fd = qfd_eventfd();
	u->retry_ns = RETRY_FIRST_NS;
	u->ops = (struct virtio_ops){
		.id = kind->ops.id, .pci_class = kind->ops.pci_class, .start = vhu_start,
		.stop = vhu_stop, .call_changed = vhu_call_changed, .status = vhu_status,
		.free = vhu_free,
	};
	virtio_init(&u->d, type, cfg, host, &u->ops);
	r = vhu_open(u, errs);
	if (r < 0) {
		vhu_free(&u->d);
		return r;
	}
	*ret = &u->d.v;
	return 0;
}
