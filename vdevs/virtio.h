/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio 1.2 device without its transport: status, features, queues, config space. The device
 * (virtio_blk.c, …) fills a struct virtio_dev and calls virtio_attach(), which gives it PCI or MMIO
 * as the configuration says. All calls with the vdev's lock held.
 *
 * Two machines run side by side. The status byte is the driver's, and says what it may do next.
 * Whether the device touches guest memory is ours:
 *
 *   state     entered when               leaves on                        deadline   held
 *   IDLE      start; virtio_stopped()    DRIVER_OK: RUNNING               none       kick fds
 *   RUNNING   DRIVER_OK, all queues      reset, fault: STOPPING           none       + rings,
 *             usable                                                                 watches
 *   STOPPING  ops->stop() said           virtio_stopped(): IDLE; when     the        what is in
 *             "not yet"                  DRIVER_OK came: RUNNING          device's   flight
 *
 * A reset takes effect at once in every register but status, which reads as non-zero
 * (DEVICE_NEEDS_RESET) while STOPPING: a driver waits for 0 (virtio 1.2, 2.4.2) before it takes its
 * memory back. A driver that does not wait (MMIO drivers) can set the device up meanwhile; it
 * starts when the old work is over.
 */
#pragma once

#include <linux/virtio_config.h>

#include "lib/qring.h"
#include "vdevs/vdev.h"

#define VIRTIO_QUEUES_MAX 32u
#define VIRTIO_CONFIG_BYTES 256u
#define VIRTIO_SUB_VENDOR 0x1c05u /* what a guest of this kind of hypervisor looks for */
#define VIRTIO_BUDGET 64u	/* chains a queue is served in one go */

/*
 * For the option table of a vdev that serves `legacy` too: the device is a virtio 0.9.5 one then,
 * and nothing else (registers, ring layout and handshake of 1.2's "legacy interface" sections). All
 * of that is done here; config space is little-endian either way. A device has to look at
 * virtio_is_legacy() only where its own requests differ: virtio-net's header has num_buffers only
 * with MRG_RXBUF.
 */
#define VIRTIO_OPTION_LEGACY { "legacy", VD_ARG_NONE, false }

#define VIRTIO_BIT(bit) (1ull << (bit))
/*
 * Feature bits of the transport and the rings that this code serves; the rest of 24–41 is never
 * offered.
 */
#define VIRTIO_ANY_LAYOUT VIRTIO_BIT(27)	/* legacy only: what virtio 1 takes for granted */
#define VIRTIO_RING_INDIRECT VIRTIO_BIT(28)
#define VIRTIO_RING_EVENT_IDX VIRTIO_BIT(29)
#define VIRTIO_VERSION_1 VIRTIO_BIT(32)
#define VIRTIO_RING_PACKED VIRTIO_BIT(34)
/* Offered by every device whose queues are served here. */
#define VIRTIO_RINGS (VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_IDX | VIRTIO_RING_PACKED)
/*
 * What may be passed on from a back end. Not packed rings: a crashed back end's successor goes on
 * from the used index of a split ring and from an in-flight region for split rings.
 */
#define VIRTIO_SERVED (VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_IDX | VIRTIO_VERSION_1)
#define VIRTIO_RESERVED_BITS (((1ull << 42) - 1) & ~((1ull << 24) - 1))

struct virtio_dev;
struct virtio_transport;	/* virtio_transport.h */

struct virtio_ops {
	uint16_t id;		/* virtio device id */
	uint32_t pci_class;	/* class << 16 | subclass << 8 | interface */
	/* The driver wrote config space, inside its bounds. NULL: it is read-only. */
	void (*config_write)(struct virtio_dev *d, unsigned off, const void *buf, unsigned len);
	/* DRIVER_OK: acked is final, enabled queues have a usable ring. */
	void (*start)(struct virtio_dev *d);
	/*
	 * Serves queue @q: at most @budget chains. True = more remains. I/O thread. NULL: kicks go
	 * elsewhere (a back end reads kick_fd).
	 */
	bool (*serve)(struct virtio_dev *d, unsigned q, unsigned budget);
	/*
	 * Touch no guest memory any more. True = so it is; false = virtio_stopped() follows, soon.
	 */
	bool (*stop)(struct virtio_dev *d);
	/*
	 * The descriptor to signal for queue @q is another now, while RUNNING. NULL: always asked
	 * for afresh.
	 */
	void (*call_changed)(struct virtio_dev *d, unsigned q);
	void (*status)(struct virtio_dev *d, char *buf, size_t buf_bytes); /* may be NULL */
	/* The guest is gone for good, after stop. May be NULL. */
	void (*quiesce)(struct virtio_dev *d);
	void (*free)(struct virtio_dev *d);
};

struct virtio_queue {
	struct virtio_dev *d;
	struct qring_cfg cfg;	/* as the driver wrote it */
	bool enabled;		/* and usable when it was */
	/* owned eventfd: ioeventfd of the transport, read by serve's watch or a back end */
	int kick_fd;
	struct vd_watch *watch;
	bool held;		/* kicks do nothing until virtio_resume() */
	struct qring ring;	/* while RUNNING */
};

enum virtio_run { VIRTIO_IDLE, VIRTIO_RUNNING, VIRTIO_STOPPING, VIRTIO_RUNS };
const char *virtio_run_str(enum virtio_run run);

struct virtio_dev {
	struct vdev v;		/* first */
	/* Filled by the device before virtio_attach(). */
	const struct virtio_ops *ops;
	uint64_t offered;	/* without VIRTIO_RINGS and VERSION_1, which are added */
	unsigned n_queues;
	uint32_t queue_size_max;
	uint8_t config[VIRTIO_CONFIG_BYTES];
	unsigned config_len;
	/* Kept here; read by all. */
	bool legacy;		/* for life: of the configuration */
	uint64_t acked;
	uint8_t status;
	enum virtio_run run;
	uint32_t config_gen;
	struct virtio_queue q[VIRTIO_QUEUES_MAX];
	/* The transport's. */
	const struct virtio_transport *tr;
	void *tr_state;
	uint32_t dfsel, gfsel, qsel;
};

/* ---- for devices ---- */

/* Prepares @d (zeroed by the caller) as a vdev of @type. Then virtio_fini() is due. */
void virtio_init(struct virtio_dev *d, const struct vd_type *type, const struct vd_config *cfg,
		 struct vd_host *host, const struct virtio_ops *ops);
/* Chooses the transport from cfg->space. 0 or -errno with a sentence in @errs. */
int virtio_attach(struct virtio_dev *d, struct cf_errors *errs);
/* For ops->free, and for a create() that failed. Does not free @d. */
void virtio_fini(struct virtio_dev *d);
/* Common checks of a virtio vdev's configuration. */
void virtio_check(const struct vd_config *cfg, struct cf_errors *errs);

/* A device of virtio 0.9.5: VERSION_1 is neither offered nor acked. */
static inline bool virtio_is_legacy(const struct virtio_dev *d)
{
	return d->legacy;
}
static inline bool virtio_has(const struct virtio_dev *d, unsigned bit)
{
	return d->acked & VIRTIO_BIT(bit);
}
/* Takes a chain of queue @q. False: none, or the ring was broken and the device is too now. */
bool virtio_pop(struct virtio_dev *d, unsigned q, struct iovec *iov, unsigned max_iov,
		struct qring_chain *ret_chain);
/* Gives a chain back and tells the driver when it wants to know. Nothing when not RUNNING. */
void virtio_push(struct virtio_dev *d, unsigned q, uint16_t head, uint32_t written_bytes);
/* The same in two steps, for many chains: the driver sees none of them before virtio_tell(). */
void virtio_push_quiet(struct virtio_dev *d, unsigned q, uint16_t head, uint32_t written_bytes);
void virtio_tell(struct virtio_dev *d, unsigned q);
/*
 * For ops->serve that returns false with buffers left: queue @q is left alone, whatever the driver
 * adds to it, until virtio_resume(), which has it served soon. A queue that starts is not held.
 */
void virtio_hold(struct virtio_dev *d, unsigned q);
void virtio_resume(struct virtio_dev *d, unsigned q);
/* The driver broke the rules: DEVICE_NEEDS_RESET, nothing is served until it resets. */
void virtio_broken(struct virtio_dev *d, enum vd_fault f);
/* What ops->stop() announced: no guest memory is touched any more. */
void virtio_stopped(struct virtio_dev *d);
/* d->config was changed by the device. */
void virtio_config_changed(struct virtio_dev *d);
/* Ring features that were negotiated (enum qring_feature). */
unsigned virtio_ring_features(const struct virtio_dev *d);
int virtio_call_fd(struct virtio_dev *d, unsigned q);
