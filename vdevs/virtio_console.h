/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console, shared by its parts: the ports and their bytes (virtio_console.c), the control
 * queues, by which device and driver tell each other about ports (virtio_console_ctrl.c), and what
 * the configuration says of ports (virtio_console_cfg.c).
 */
#pragma once

#include "vdevs/console.h"
#include "vdevs/virtio.h"

#define VCON_PORTS_MAX 15u	/* 2 queues each, and 2 for control: VIRTIO_QUEUES_MAX */
#define VCON_PARTS_MAX 32u	/* of a chain */
#define VCON_NAME_MAX 32u
#define VCON_CTRL_RX 2u		/* queues; device to driver */
#define VCON_CTRL_TX 3u

/* What the driver is to be told about a port, in this order. */
enum vcon_tell { VCON_TELL_ADD, VCON_TELL_CONSOLE, VCON_TELL_NAME, VCON_TELL_RESIZE,
		 VCON_TELL_OPEN, VCON_TELLS };

/* A chain that was taken and is not given back yet: at part @at, of which @iov is what is left. */
struct vcon_hand {
	bool have;
	uint16_t head;
	unsigned at, n_iov;
	uint32_t written_bytes;
	struct iovec iov[VCON_PARTS_MAX];
};

struct vcon_port {
	struct virtio_console *c;
	unsigned id;
	char name[VCON_NAME_MAX + 1];	/* "" of port 0, which is the console */
	struct vd_port line;		/* of the others */
	struct vd_port *io;
	struct vcon_hand rx, tx;
	uint64_t in_bytes, out_bytes, lost_bytes;
	/* With MULTIPORT: */
	bool ready;			/* the driver has it */
	bool guest_open;		/* somebody in the guest uses it */
	bool closing;			/* no more, but not all that he wrote is through */
	bool told_open;			/* the driver believes that the host's side is there */
	bool left;			/* he left since: that is told before the next one comes */
	unsigned tell;			/* bits of enum vcon_tell */
};

struct virtio_console {
	struct virtio_dev d;
	struct vd_console con;		/* port 0 */
	struct vd_timer *size_timer;
	bool driver_ready;
	unsigned n_ports;
	struct vcon_port ports[VCON_PORTS_MAX];
};

/* Without it the driver knows port 0 alone, and no control queues. */
bool vcon_multiport(const struct virtio_console *c);
static inline unsigned vcon_rx_queue(const struct vcon_port *p)
{
	return p->id ? 2 + 2 * p->id : 0;
}
static inline unsigned vcon_tx_queue(const struct vcon_port *p)
{
	return vcon_rx_queue(p) + 1;
}
/* Somebody in the guest takes what comes in, and knows who sends it. */
bool vcon_port_listens(const struct vcon_port *p);
/* The guest opened or closed it. */
void vcon_port_guest(struct vcon_port *p, bool open);

/* ---- control queues ---- */

/* As virtio_ops.serve, for the two queues. */
bool vcon_ctrl_rx(struct virtio_console *c, unsigned budget);
bool vcon_ctrl_tx(struct virtio_console *c, unsigned budget);
/* Tells @what of @p soon, if the driver has the port. */
void vcon_tell(struct vcon_port *p, enum vcon_tell what);
/* Who is on the host's side of it may have changed. */
void vcon_tell_open(struct vcon_port *p);
/* All that was agreed is forgotten: a reset. */
void vcon_ctrl_stop(struct virtio_console *c);

/* ---- configuration ---- */

/* As vd_type.check. */
void vcon_check(const struct vd_config *cfg, struct cf_errors *errs);
/* How long the name is that @text, of a port option, begins with; 0 when it is none. */
size_t vcon_name_len(const char *text);
/* True when argument @i names a port, and no argument before it does. */
bool vcon_is_new_port(const struct vd_config *cfg, size_t i);
