/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queues of virtio-console (virtio 1.2, 5.3.6.2). What the device has to say is not a
 * list of messages but a set of things that are still to be told about each port, so that nothing
 * grows while a driver gives no buffers: a message is made when there is a buffer for it, of what
 * is true then. I/O thread, under the vdev's lock.
 *
 * Of who is on the host's side nothing is left out that matters: when one left and another came,
 * the driver is told "closed" and then "open", and gets none of the new one's bytes before.
 *
 * What a driver says wrong (a port that is not there, a message too short, an order that cannot be)
 * is counted and ignored; a buffer of the wrong direction breaks the device.
 */
#include "vdevs/virtio_console.h"

#include <endian.h>
#include <linux/virtio_console.h>
#include <string.h>

#include "lib/qiov.h"

#define MESSAGE_BYTES_MAX (sizeof(struct virtio_console_control) + VCON_NAME_MAX)

struct message {
	uint8_t bytes[MESSAGE_BYTES_MAX];
	size_t len;
};

/* ---- device to driver ---- */

void vcon_tell(struct vcon_port *p, enum vcon_tell what)
{
	if (!p->ready && what != VCON_TELL_ADD)
		return;
	p->tell |= 1u << what;
	if (p->c->d.run == VIRTIO_RUNNING)
		virtio_resume(&p->c->d, VCON_CTRL_RX);
}

/* True when the driver has to hear something, and what. */
static bool open_next(const struct vcon_port *p, bool *ret_open)
{
	bool now = vd_port_has(p->io);

	*ret_open = !p->told_open;
	return p->told_open ? p->left || !now : now;
}

void vcon_tell_open(struct vcon_port *p)
{
	bool open;

	if (!vd_port_has(p->io))
		p->left = p->told_open;
	if (open_next(p, &open))
		vcon_tell(p, VCON_TELL_OPEN);
}

static void open_told(struct vcon_port *p, bool open)
{
	p->told_open = open;
	if (!open)
		p->left = false;
	vcon_tell_open(p);
	/* What came in waited for this. */
	if (vcon_port_listens(p))
		virtio_resume(&p->c->d, vcon_rx_queue(p));
}

static void make(struct message *m, const struct vcon_port *p, uint16_t event, uint16_t value,
		 const void *more, size_t more_bytes)
{
	const struct virtio_console_control c = {
		.id = htole32(p->id), .event = htole16(event), .value = htole16(value),
	};

	memcpy(m->bytes, &c, sizeof(c));
	memcpy(m->bytes + sizeof(c), more, more_bytes);
	m->len = sizeof(c) + more_bytes;
}

static void make_told(struct message *m, const struct vcon_port *p, enum vcon_tell what)
{
	bool open;

	switch (what) {
	case VCON_TELL_ADD:
		make(m, p, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
		break;
	case VCON_TELL_CONSOLE:
		make(m, p, VIRTIO_CONSOLE_CONSOLE_PORT, 1, "", 0);
		break;
	case VCON_TELL_NAME:
		make(m, p, VIRTIO_CONSOLE_PORT_NAME, 1, p->name, strlen(p->name));
		break;
	case VCON_TELL_RESIZE:	/* columns, then rows: as in config space */
		make(m, p, VIRTIO_CONSOLE_RESIZE, 0, p->c->d.config, 4);
		break;
	default:
		open_next(p, &open);
		make(m, p, VIRTIO_CONSOLE_PORT_OPEN, open, "", 0);
		break;
	}
}

static void told(struct vcon_port *p, enum vcon_tell what)
{
	bool open;

	p->tell &= ~(1u << what);
	if (what == VCON_TELL_OPEN && open_next(p, &open))
		open_told(p, open);
}

/* The next thing to tell; false when there is none. */
static bool next_told(struct virtio_console *c, struct vcon_port **ret_p, enum vcon_tell *ret_what)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct vcon_port *p = &c->ports[i];
		bool open;

		/* It was closed and opened again before a buffer came: nothing to tell. */
		if ((p->tell & 1u << VCON_TELL_OPEN) && !open_next(p, &open))
			p->tell &= ~(1u << VCON_TELL_OPEN);
		if (!p->tell)
			continue;
		*ret_p = p;
		*ret_what = (enum vcon_tell)__builtin_ctz(p->tell);
		return true;
	}
	return false;
}

bool vcon_ctrl_rx(struct virtio_console *c, unsigned budget)
{
	struct iovec iov[VCON_PARTS_MAX];
	struct qring_chain chain;
	enum vcon_tell what;
	struct vcon_port *p;
	struct message m;

	for (; budget > 0; budget--) {
		if (!next_told(c, &p, &what)) {
			virtio_hold(&c->d, VCON_CTRL_RX);
			return false;
		}
		if (!virtio_pop(&c->d, VCON_CTRL_RX, iov, VCON_PARTS_MAX, &chain))
			return false;
		if (chain.n_out || !chain.n_in) {
			virtio_broken(&c->d, VD_FAULT_BAD_CHAIN);
			return false;
		}
		make_told(&m, p, what);
		if (chain.in_bytes < m.len) {	/* it waits for a buffer that is large enough */
			vdev_fault(&c->d.v, VD_FAULT_BAD_REQUEST);
			virtio_push(&c->d, VCON_CTRL_RX, chain.head, 0);
			continue;
		}
		qiov_scatter(iov, chain.n_in, m.bytes, m.len);
		virtio_push(&c->d, VCON_CTRL_RX, chain.head, (uint32_t)m.len);
		told(p, what);
	}
	return true;
}

/* ---- driver to device ---- */

static void driver_ready(struct virtio_console *c)
{
	c->driver_ready = true;
	for (unsigned i = 0; i < c->n_ports; i++)
		vcon_tell(&c->ports[i], VCON_TELL_ADD);
}

static void port_ready(struct vcon_port *p)
{
	p->ready = true;
	vcon_tell(p, p->id ? VCON_TELL_NAME : VCON_TELL_CONSOLE);
	if (!p->id && virtio_has(&p->c->d, VIRTIO_CONSOLE_F_SIZE))
		vcon_tell(p, VCON_TELL_RESIZE);
	vcon_tell_open(p);
}

/* False: it makes no sense. */
static bool hear(struct virtio_console *c, const struct virtio_console_control *w)
{
	uint32_t id = le32toh(w->id);
	uint16_t event = le16toh(w->event), value = le16toh(w->value);

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		if (value == 1 && !c->driver_ready)
			driver_ready(c);
		else if (value)
			return false;
		return true;	/* 0: the driver failed, and will reset */
	}
	if (!c->driver_ready || id >= c->n_ports)
		return false;
	struct vcon_port *p = &c->ports[id];
	if (event == VIRTIO_CONSOLE_PORT_READY) {
		if (value == 1 && !p->ready)
			port_ready(p);
		else if (value)
			return false;
		return true;	/* 0: the driver could not add it: it stays unused */
	}
	if (event != VIRTIO_CONSOLE_PORT_OPEN || !p->ready || value > 1)
		return false;
	vcon_port_guest(p, value);
	return true;
}

bool vcon_ctrl_tx(struct virtio_console *c, unsigned budget)
{
	struct iovec iov[VCON_PARTS_MAX];
	struct virtio_console_control w_msg;
	struct qring_chain chain;

	for (; budget > 0; budget--) {
		if (!virtio_pop(&c->d, VCON_CTRL_TX, iov, VCON_PARTS_MAX, &chain))
			return false;
		if (chain.n_in || !chain.n_out) {
			virtio_broken(&c->d, VD_FAULT_BAD_CHAIN);
			return false;
		}
		if (qiov_gather(iov, chain.n_out, &w_msg, sizeof(w_msg)) < sizeof(w_msg) ||
		    !hear(c, &w_msg))
			vdev_fault(&c->d.v, VD_FAULT_BAD_REQUEST);
		virtio_push(&c->d, VCON_CTRL_TX, chain.head, 0);
	}
	return true;
}

void vcon_ctrl_stop(struct virtio_console *c)
{
	c->driver_ready = false;
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct vcon_port *p = &c->ports[i];

		p->ready = p->told_open = p->left = false;
		p->tell = 0;
	}
}
