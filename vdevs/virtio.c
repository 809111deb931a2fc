/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport-independent part of a virtio device: see virtio.h for the two machines. Runs on
 * vCPU threads (registers) and the I/O thread (queues), always under the vdev's lock.
 *
 * Everything that a driver can do in a wrong order is answered here, by one of three: not accepted
 * (FEATURES_OK stays clear, a queue stays as it is) and counted; or the device is broken until it
 * is reset. Invariant: rings are used and queues are watched exactly while run is RUNNING.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qring_wire.h"
#include "vdevs/virtio_transport.h"

#define S_ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER VIRTIO_CONFIG_S_DRIVER
#define S_FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define S_DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define S_NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define S_FAILED VIRTIO_CONFIG_S_FAILED
#define S_DRIVERS (S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK | S_FAILED)

/* ---- states ---- */

static const char *const run_str[] = {
	[VIRTIO_IDLE] = "idle",
	[VIRTIO_RUNNING] = "running",
	[VIRTIO_STOPPING] = "stopping",
};
static_assert(Q_ARRAY_LEN(run_str) == VIRTIO_RUNS, "every state has a word");

#define TO(run) (1u << (run))
static const unsigned run_next[] = {
	[VIRTIO_IDLE] = TO(VIRTIO_RUNNING),
	[VIRTIO_RUNNING] = TO(VIRTIO_STOPPING),
	[VIRTIO_STOPPING] = TO(VIRTIO_IDLE),
};
static_assert(Q_ARRAY_LEN(run_next) == VIRTIO_RUNS, "every state has a row");

const char *virtio_run_str(enum virtio_run run)
{
	return (unsigned)run < VIRTIO_RUNS ? run_str[run] : "unknown";
}

/*
 * Sole writer of d->run. The moves are ours alone, whatever a driver does: an illegal one is a bug.
 */
static void set_run(struct virtio_dev *d, enum virtio_run to)
{
	qassert(run_next[d->run] & TO(to));
	d->run = to;
}

unsigned virtio_ring_features(const struct virtio_dev *d)
{
	return (d->acked & VIRTIO_RING_INDIRECT ? QRING_INDIRECT : 0) |
	       (d->acked & VIRTIO_RING_EVENT_IDX ? QRING_EVENT_IDX : 0) |
	       (d->acked & VIRTIO_RING_PACKED ? QRING_PACKED : 0);
}

static int ring_open(struct virtio_dev *d, struct virtio_queue *q)
{
	q->cfg.features = virtio_ring_features(d);
	q->cfg.base = 0;
	qring_fini(&q->ring);
	return qring_init(&q->ring, d->v.host->mem, &q->cfg);
}

/* ---- queues while RUNNING ---- */

static void queue_kicked(struct vdev *v, void *arg)
{
	struct virtio_queue *q = arg;
	struct virtio_dev *d = q->d;
	bool more;

	qfd_event_clear(q->kick_fd);
	if (d->run != VIRTIO_RUNNING || q->held)
		return;
	qring_disarm(&q->ring);
	more = d->ops->serve(d, (unsigned)(q - d->q), VIRTIO_BUDGET);
	if (d->run != VIRTIO_RUNNING || q->held)
		return;
	/* Our own kick puts us at the tail of the loop's queue: other vdevs are served first. */
	if (more || qring_arm(&q->ring))
		qfd_event_signal(q->kick_fd);
}

static void queue_unwatch(struct virtio_dev *d, struct virtio_queue *q)
{
	if (q->watch)
		d->v.host->ops->unwatch(d->v.host, q->watch);
	q->watch = NULL;
}

static void unwatch_queues(struct virtio_dev *d)
{
	for (unsigned i = 0; i < d->n_queues; i++)
		queue_unwatch(d, &d->q[i]);
}

static int queue_watch(struct virtio_dev *d, struct virtio_queue *q)
{
	q->held = false;
	queue_unwatch(d, q);
	if (!q->enabled || !d->ops->serve)
		return 0;
	q->watch = d->v.host->ops->watch(d->v.host, q->kick_fd, queue_kicked, q);
	if (!q->watch)
		return -ENOMEM;
	/* What was made available before we looked has no kick of its own. */
	qfd_event_signal(q->kick_fd);
	return 0;
}

static int watch_queues(struct virtio_dev *d)
{
	for (unsigned i = 0; i < d->n_queues; i++) {
		int r = queue_watch(d, &d->q[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void start(struct virtio_dev *d)
{
	for (unsigned i = 0; i < d->n_queues; i++) {
		if (d->q[i].enabled && ring_open(d, &d->q[i]) < 0) {
			virtio_broken(d, VD_FAULT_BAD_RING);
			return;
		}
	}
	set_run(d, VIRTIO_RUNNING);
	if (watch_queues(d) < 0) {
		virtio_broken(d, VD_FAULT_NONE);	/* out of memory: not the guest's doing */
		return;
	}
	d->ops->start(d);
}

static void stop(struct virtio_dev *d)
{
	if (d->run != VIRTIO_RUNNING)
		return;
	unwatch_queues(d);
	set_run(d, VIRTIO_STOPPING);
	if (d->ops->stop(d))
		virtio_stopped(d);
}

void virtio_stopped(struct virtio_dev *d)
{
	set_run(d, VIRTIO_IDLE);
	for (unsigned i = 0; i < d->n_queues; i++) {
		qfd_event_clear(d->q[i].kick_fd);
		qring_fini(&d->q[i].ring);
		/* What a legacy driver has made available meanwhile has lost its kick. */
		if (d->legacy && d->q[i].enabled)
			qfd_event_signal(d->q[i].kick_fd);
	}
	if ((d->status & S_DRIVER_OK) && !(d->status & S_NEEDS_RESET))
		start(d);
}

void virtio_broken(struct virtio_dev *d, enum vd_fault f)
{
	if (f != VD_FAULT_NONE)
		vdev_fault(&d->v, f);
	if (d->status & S_NEEDS_RESET)
		return;
	d->status |= S_NEEDS_RESET;
	stop(d);
	if (d->status & S_DRIVER_OK)
		d->tr->config_irq(d);
}

/* A driver need not have set up every queue. */
static bool is_live(const struct virtio_dev *d, unsigned q)
{
	return d->run == VIRTIO_RUNNING && d->q[q].enabled;
}

bool virtio_pop(struct virtio_dev *d, unsigned q, struct iovec *iov, unsigned max_iov,
		struct qring_chain *ret_chain)
{
	static const enum vd_fault fault[QRING_VERDICTS] = {
		[QRING_BAD_AVAIL] = VD_FAULT_BAD_INDEX, [QRING_BAD_INDEX] = VD_FAULT_BAD_INDEX,
		[QRING_BAD_CHAIN] = VD_FAULT_BAD_CHAIN, [QRING_BAD_ADDR] = VD_FAULT_BAD_ADDR,
		[QRING_TOO_MANY] = VD_FAULT_BAD_CHAIN,
	};
	enum qring_verdict verdict;

	if (!is_live(d, q))
		return false;
	verdict = qring_pop(&d->q[q].ring, iov, max_iov, ret_chain);
	if (verdict == QRING_OK)
		return true;
	if (verdict != QRING_EMPTY)
		virtio_broken(d, fault[verdict]);
	return false;
}

void virtio_push_quiet(struct virtio_dev *d, unsigned q, uint16_t head, uint32_t written_bytes)
{
	if (is_live(d, q))
		qring_push(&d->q[q].ring, head, written_bytes);
}

void virtio_tell(struct virtio_dev *d, unsigned q)
{
	int fd;

	if (!is_live(d, q) || !qring_publish(&d->q[q].ring))
		return;
	fd = d->tr->call_fd(d, q);
	if (fd >= 0)
		qfd_event_signal(fd);
}

void virtio_push(struct virtio_dev *d, unsigned q, uint16_t head, uint32_t written_bytes)
{
	virtio_push_quiet(d, q, head, written_bytes);
	virtio_tell(d, q);
}

void virtio_hold(struct virtio_dev *d, unsigned q)
{
	d->q[q].held = true;
}

void virtio_resume(struct virtio_dev *d, unsigned q)
{
	if (!d->q[q].held)
		return;
	d->q[q].held = false;
	qfd_event_signal(d->q[q].kick_fd);
}

int virtio_call_fd(struct virtio_dev *d, unsigned q)
{
	return d->tr->call_fd(d, q);
}

/* ---- status ---- */

static void queue_clear(struct virtio_dev *d, struct virtio_queue *q)
{
	if (d->run != VIRTIO_RUNNING)	/* else stop() takes it */
		queue_unwatch(d, q);
	q->cfg = (struct qring_cfg){ .num = d->queue_size_max };
	q->enabled = false;
}

static void reset(struct virtio_dev *d)
{
	d->status = 0;
	d->acked = 0;
	d->dfsel = d->gfsel = d->qsel = 0;
	for (unsigned i = 0; i < d->n_queues; i++)
		queue_clear(d, &d->q[i]);
	d->tr->reset(d);
	stop(d);
}

uint8_t virtio_status_read(const struct virtio_dev *d)
{
	return d->status | (d->run == VIRTIO_STOPPING ? S_NEEDS_RESET : 0);
}

/* Each bit needs another one: set together with it, or (DRIVER_OK) seen set before. */
static bool status_order_ok(uint8_t before, uint8_t after)
{
	static const struct { uint8_t bit, needs; bool earlier; } rules[] = {
		{ S_DRIVER, S_ACK, false },
		{ S_FEATURES_OK, S_DRIVER, false },
		{ S_DRIVER_OK, S_FEATURES_OK, true },
	};

	if (before & ~after & S_DRIVERS)	/* bits are cleared by a reset only */
		return false;
	for (unsigned i = 0; i < Q_ARRAY_LEN(rules); i++)
		if ((after & rules[i].bit) &&
		    !((rules[i].earlier ? before : after) & rules[i].needs))
			return false;
	return true;
}

/* Virtio 1.2, 3.1.1 step 5: a set we cannot serve leaves FEATURES_OK clear. */
static bool features_ok(struct virtio_dev *d)
{
	if (d->acked & ~d->offered) {
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);
		return false;
	}
	return d->acked & VIRTIO_VERSION_1;
}

static bool may_start(const struct virtio_dev *d)
{
	return d->run == VIRTIO_IDLE && !(d->status & S_NEEDS_RESET);
}

/* There is no FEATURES_OK and no order that a driver of 0.9.5 was held to. */
static void legacy_status_write(struct virtio_dev *d, uint8_t val)
{
	d->status = (d->status & S_NEEDS_RESET) | (val & (S_DRIVERS & ~S_FEATURES_OK));
	if ((d->status & S_DRIVER_OK) && may_start(d))
		start(d);
}

void virtio_status_write(struct virtio_dev *d, uint8_t val)
{
	uint8_t before = d->status & S_DRIVERS;
	uint8_t added;

	if (!val) {
		reset(d);
		return;
	}
	if (d->legacy) {
		legacy_status_write(d, val);
		return;
	}
	if (val & ~(S_DRIVERS | S_NEEDS_RESET))
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);	/* reserved bits: ignored */
	val &= S_DRIVERS;
	if (!status_order_ok(before, val)) {
		virtio_broken(d, VD_FAULT_BAD_STATE);
		return;
	}
	added = val & ~before;
	if ((added & S_FEATURES_OK) && !features_ok(d))
		val &= ~S_FEATURES_OK;
	d->status |= val;
	if ((added & S_DRIVER_OK) && may_start(d))
		start(d);
}

/* ---- features ---- */

static uint32_t word_of(uint64_t features, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(features >> (32 * sel)) : 0;
}

uint32_t virtio_offered_word(const struct virtio_dev *d)
{
	return word_of(d->offered, d->dfsel);
}

uint32_t virtio_acked_word(const struct virtio_dev *d)
{
	return word_of(d->acked, d->gfsel);
}

void virtio_acked_write(struct virtio_dev *d, uint32_t val)
{
	unsigned shift = 32 * d->gfsel;

	if ((d->status & S_FEATURES_OK) || (d->legacy && d->run == VIRTIO_RUNNING)) {
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);	/* final since FEATURES_OK */
		return;
	}
	/* A legacy driver cannot be told that it asked for too much: it does not get it. */
	if (d->legacy)
		val &= word_of(d->offered, d->gfsel);
	if (d->gfsel < 2)
		d->acked = (d->acked & ~(0xffffffffull << shift)) | (uint64_t)val << shift;
	else if (val)
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);
}

/* ---- queue set-up ---- */

struct virtio_queue *virtio_queue_sel(struct virtio_dev *d)
{
	return d->qsel < d->n_queues ? &d->q[d->qsel] : NULL;
}

struct virtio_queue *virtio_queue_edit(struct virtio_dev *d)
{
	struct virtio_queue *q = virtio_queue_sel(d);

	if (q && !q->enabled && !(d->status & S_DRIVER_OK))
		return q;
	vdev_fault(&d->v, VD_FAULT_BAD_STATE);
	return NULL;
}

void virtio_queue_enable(struct virtio_dev *d)
{
	struct virtio_queue *q = virtio_queue_edit(d);

	if (!q)
		return;
	if (!(d->status & S_FEATURES_OK)) {
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);
		return;
	}
	if (q->cfg.num > d->queue_size_max || ring_open(d, q) < 0) {
		virtio_broken(d, VD_FAULT_BAD_RING);
		return;
	}
	q->enabled = true;
}

/* ---- legacy queues ---- */

/* The first kick: the driver means it, whether it has said DRIVER_OK or not. */
static void legacy_kicked(struct vdev *v, void *arg)
{
	struct virtio_queue *q = arg;

	qfd_event_clear(q->kick_fd);
	if (may_start(q->d))
		start(q->d);	/* looks at all queues, and has its own watches */
}

static int legacy_watch(struct virtio_dev *d, struct virtio_queue *q)
{
	if (d->run == VIRTIO_RUNNING)
		return queue_watch(d, q);
	queue_unwatch(d, q);
	q->watch = d->v.host->ops->watch(d->v.host, q->kick_fd, legacy_kicked, q);
	return q->watch ? 0 : -ENOMEM;
}

static void legacy_give_up(struct virtio_dev *d, struct virtio_queue *q)
{
	if (d->run == VIRTIO_RUNNING) {
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);	/* it takes a reset */
		return;
	}
	queue_unwatch(d, q);
	q->enabled = false;
}

void virtio_queue_place(struct virtio_dev *d, uint64_t at, uint64_t align)
{
	struct virtio_queue *q = virtio_queue_sel(d);

	if (!q || (at && q->enabled)) {
		vdev_fault(&d->v, VD_FAULT_BAD_STATE);
		return;
	}
	if (!at) {
		legacy_give_up(d, q);
		return;
	}
	if (!align || (align & (align - 1)) || q->cfg.num > d->queue_size_max) {
		virtio_broken(d, VD_FAULT_BAD_RING);
		return;
	}
	q->cfg.desc = gpa(at);
	q->cfg.avail = gpa(at + qring_desc_bytes(q->cfg.num));
	q->cfg.used = gpa(Q_ALIGN_UP(q->cfg.avail.v + qring_avail_bytes(q->cfg.num, true), align));
	if (ring_open(d, q) < 0) {
		virtio_broken(d, VD_FAULT_BAD_RING);
		return;
	}
	q->enabled = true;
	if (legacy_watch(d, q) < 0)
		virtio_broken(d, VD_FAULT_NONE);	/* out of memory: not the guest's doing */
}

void virtio_queue_kick(struct virtio_dev *d, uint32_t q)
{
	if (q >= d->n_queues) {
		vdev_fault(&d->v, VD_FAULT_BAD_INDEX);
		return;
	}
	qfd_event_signal(d->q[q].kick_fd);
}

/* ---- config space ---- */

void virtio_config_read(const struct virtio_dev *d, unsigned off, void *buf, unsigned len)
{
	memset(buf, 0, len);
	if (off < d->config_len)
		memcpy(buf, d->config + off, Q_MIN(len, d->config_len - off));
}

void virtio_config_write(struct virtio_dev *d, unsigned off, const void *buf, unsigned len)
{
	if (d->ops->config_write && qspan_inside(off, len, d->config_len))
		d->ops->config_write(d, off, buf, len);
	else
		vdev_fault(&d->v, VD_FAULT_BAD_REQUEST);
}

void virtio_config_changed(struct virtio_dev *d)
{
	d->config_gen++;
	if (d->status & S_DRIVER_OK)
		d->tr->config_irq(d);
}

/* ---- life ---- */

void virtio_init(struct virtio_dev *d, const struct vd_type *type, const struct vd_config *cfg,
		 struct vd_host *host, const struct virtio_ops *ops)
{
	d->v = (struct vdev){ .type = type, .cfg = cfg, .host = host };
	d->ops = ops;
	d->legacy = vd_arg_find(cfg, "legacy");
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		d->q[i] = (struct virtio_queue){ .d = d, .kick_fd = -1 };
}

static uint64_t offer(const struct virtio_dev *d)
{
	uint64_t f = d->offered & (~VIRTIO_RESERVED_BITS | VIRTIO_SERVED);

	if (d->ops->serve)
		f |= VIRTIO_RINGS;
	/* Legacy features are 32. Each device takes requests apart by bytes, as virtio 1 wants. */
	return d->legacy ? (uint32_t)f | VIRTIO_ANY_LAYOUT : f | VIRTIO_VERSION_1;
}

int virtio_attach(struct virtio_dev *d, struct cf_errors *errs)
{
	const struct vd_config *cfg = d->v.cfg;

	qassert(d->n_queues && d->n_queues <= VIRTIO_QUEUES_MAX &&
		d->config_len <= VIRTIO_CONFIG_BYTES);
	d->offered = offer(d);
	for (unsigned i = 0; i < d->n_queues; i++) {
		queue_clear(d, &d->q[i]);
		d->q[i].kick_fd = qfd_eventfd();
		if (d->q[i].kick_fd < 0) {
			cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
				     "%s: no descriptor is left: %s", cfg->name,
				     strerror(-d->q[i].kick_fd));
			return d->q[i].kick_fd;
		}
	}
	return cfg->space == VD_PCI ? virtio_pci_attach(d, errs) : virtio_mmio_attach(d, errs);
}

void virtio_fini(struct virtio_dev *d)
{
	unwatch_queues(d);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		qfd_close(&d->q[i].kick_fd);
		qring_fini(&d->q[i].ring);
	}
}

void virtio_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->space == VD_IO)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: loc is in memory or on PCI, not an I/O port", cfg->type);
	if (cfg->space == VD_MEM && cfg->n_irqs != 1)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: loc in memory needs one intr", cfg->type);
}

void virtio_quiesce(struct virtio_dev *d)
{
	d->status &= ~S_DRIVER_OK;	/* nothing starts again */
	unwatch_queues(d);
	stop(d);
	if (d->ops->quiesce)
		d->ops->quiesce(d);
}

void virtio_status_text(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	int n = snprintf(buf, buf_bytes, "status=%#x run=%s features=%#" PRIx64 " ", d->status,
			 virtio_run_str(d->run), d->acked);

	if (n < 0 || (size_t)n >= buf_bytes)
		return;
	if (d->ops->status)
		d->ops->status(d, buf + n, buf_bytes - (size_t)n);
	else
		buf[n - 1] = 0;
}
