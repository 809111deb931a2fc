/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, 5.3): port 0 is the console; each `port` option adds a named one, and
 * the control queues with it. Emergency writes go to port 0 at any time.
 *
 * Bytes go between guest memory and the host's stream without a copy, but for what the console's
 * host does not take at once. The two kinds of port differ in what they do to a guest whose bytes
 * nobody takes:
 *
 *   port 0	never makes it wait: 64 KiB are kept, then the newest bytes are dropped (console.h).
 *		Stock drivers write the console with a lock held and wait for the buffer.
 *   others	keep the buffer until the host takes its bytes, so that nothing is lost between a
 *		sender and a reader who is there; while nobody is, bytes are discarded at once.
 *
 * Input is read only into a buffer of the guest and, with MULTIPORT, while somebody there has the
 * port open: what nobody takes stays with its sender. A guest that closes a port, or resets the
 * device with it open, hangs up on who is connected.
 *
 * Served on the I/O thread, at most TURN_BYTES a queue and turn. Invariants: a chain is in at most
 * one hand; a queue is held exactly while it waits for the host's side and not for buffers.
 */
#include "vdevs/virtio_console.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "vdevs/types.h"

#define QUEUE_SIZE 128u
#define PCI_CLASS 0x078000u	/* communication, other */
#define TURN_BYTES 65536u
#define SIZE_EVERY_NS (500 * Q_NSEC_PER_MSEC)
#define CONFIG_EMERGENCY offsetof(struct virtio_console_config, emerg_wr)

static struct virtio_console *of(struct virtio_dev *d)
{
	return Q_CONTAINER_OF(d, struct virtio_console, d);
}

bool vcon_multiport(const struct virtio_console *c)
{
	return virtio_has(&c->d, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* ---- chains in hand ---- */

static bool hand_take(struct vcon_port *p, struct vcon_hand *hand, unsigned q, bool writable)
{
	struct virtio_dev *d = &p->c->d;
	struct qring_chain chain;

	if (hand->have)
		return true;
	if (!virtio_pop(d, q, hand->iov, VCON_PARTS_MAX, &chain))
		return false;
	if ((writable ? chain.n_out : chain.n_in) || !(writable ? chain.n_in : chain.n_out)) {
		virtio_broken(d, VD_FAULT_BAD_CHAIN);
		return false;
	}
	hand->have = true;
	hand->head = chain.head;
	hand->at = 0;
	hand->n_iov = chain.n_out + chain.n_in;
	hand->written_bytes = 0;
	return true;
}

static void hand_give(struct vcon_port *p, struct vcon_hand *hand, unsigned q)
{
	hand->have = false;
	virtio_push(&p->c->d, q, hand->head, hand->written_bytes);
}

/* The next @max_bytes of it, in @ret. */
static unsigned hand_look(const struct vcon_hand *hand, size_t max_bytes,
			  struct iovec ret[VCON_PARTS_MAX])
{
	unsigned n = 0;

	for (unsigned i = hand->at; i < hand->n_iov && max_bytes > 0; i++) {
		ret[n] = hand->iov[i];
		ret[n].iov_len = Q_MIN(ret[n].iov_len, max_bytes);
		max_bytes -= ret[n++].iov_len;
	}
	return n;
}

static void hand_advance(struct vcon_hand *hand, size_t bytes)
{
	while (bytes > 0) {
		struct iovec *v = &hand->iov[hand->at];
		size_t n = Q_MIN(bytes, v->iov_len);

		v->iov_base = (char *)v->iov_base + n;
		v->iov_len -= n;
		bytes -= n;
		if (!v->iov_len)
			hand->at++;
	}
}

static uint64_t hand_left(const struct vcon_hand *hand)
{
	uint64_t n = 0;

	for (unsigned i = hand->at; i < hand->n_iov; i++)
		n += hand->iov[i].iov_len;
	return n;
}

/* ---- guest to host ---- */

/* Bytes taken. */
static size_t console_take(struct vcon_port *p, const struct iovec *iov, unsigned n_iov)
{
	size_t n = 0;

	for (unsigned i = 0; i < n_iov; i++) {
		vd_console_write(&p->c->con, iov[i].iov_base, iov[i].iov_len);
		n += iov[i].iov_len;
	}
	return n;
}

static void discard(struct vcon_port *p)
{
	p->lost_bytes += hand_left(&p->tx);
	hand_give(p, &p->tx, vcon_tx_queue(p));
}

/* Bytes moved of the chain in hand; 0: the queue is held, or the chain was discarded. */
static size_t tx_step(struct vcon_port *p, size_t max_bytes)
{
	struct iovec iov[VCON_PARTS_MAX];
	unsigned n_iov = hand_look(&p->tx, max_bytes, iov);
	size_t n = p->id ? vd_port_write(p->io, iov, n_iov) : console_take(p, iov, n_iov);

	hand_advance(&p->tx, n);
	p->out_bytes += n;
	if (n && p->tx.at == p->tx.n_iov)
		hand_give(p, &p->tx, vcon_tx_queue(p));
	else if (!n && !vd_port_has_out(p->io) && !vd_port_awaits(p->io))
		discard(p);
	else if (!n)
		virtio_hold(&p->c->d, vcon_tx_queue(p));
	return n;
}

static void hang_up(struct vcon_port *p)
{
	p->closing = false;
	vd_port_hang_up(p->io);
}

static bool tx_serve(struct vcon_port *p, unsigned budget)
{
	unsigned q = vcon_tx_queue(p);
	size_t left = TURN_BYTES;

	for (; budget > 0 && left > 0; budget--) {
		if (!hand_take(p, &p->tx, q, false)) {
			if (p->closing)
				hang_up(p);
			return false;
		}
		left -= tx_step(p, left);
		if (p->c->d.q[q].held)
			return false;
	}
	return true;
}

/* ---- host to guest ---- */

bool vcon_port_listens(const struct vcon_port *p)
{
	if (!vcon_multiport(p->c))
		return true;
	return !p->id || (p->guest_open && !(p->tell & 1u << VCON_TELL_OPEN));
}

static bool rx_serve(struct vcon_port *p, unsigned budget)
{
	unsigned q = vcon_rx_queue(p);
	size_t left = TURN_BYTES;
	struct iovec iov[VCON_PARTS_MAX];

	for (; budget > 0 && left > 0; budget--) {
		if (p->io->in_fd < 0 || !vcon_port_listens(p)) {
			virtio_hold(&p->c->d, q);
			return false;
		}
		if (!hand_take(p, &p->rx, q, true))
			return false;
		size_t n = vd_port_read(p->io, iov, hand_look(&p->rx, left, iov));
		if (!n) {	/* its event comes, and resumes */
			virtio_hold(&p->c->d, q);
			return false;
		}
		p->rx.written_bytes = (uint32_t)n;
		p->in_bytes += n;
		left -= n;
		hand_give(p, &p->rx, q);
	}
	return true;
}

static bool console_serve(struct virtio_dev *d, unsigned q, unsigned budget)
{
	struct virtio_console *c = of(d);

	if (q >= VCON_CTRL_RX && !vcon_multiport(c)) {
		virtio_hold(d, q);	/* the driver did not ask for more than two */
		return false;
	}
	if (q == VCON_CTRL_RX)
		return vcon_ctrl_rx(c, budget);
	if (q == VCON_CTRL_TX)
		return vcon_ctrl_tx(c, budget);
	struct vcon_port *p = &c->ports[q < 2 ? 0 : q / 2 - 1];
	return q % 2 ? tx_serve(p, budget) : rx_serve(p, budget);
}

/* ---- what happens on either side of a port ---- */

static void resume(struct vcon_port *p, unsigned q)
{
	if (p->c->d.run == VIRTIO_RUNNING)
		virtio_resume(&p->c->d, q);
}

static void host_changed(struct vcon_port *p)
{
	resume(p, vcon_rx_queue(p));
	resume(p, vcon_tx_queue(p));
	vcon_tell_open(p);
}

static void line_event(struct vd_port *line, enum vd_port_event e)
{
	struct vcon_port *p = line->arg;

	switch (e) {
	case VD_PORT_IN:
		resume(p, vcon_rx_queue(p));
		break;
	case VD_PORT_OUT:
		resume(p, vcon_tx_queue(p));
		break;
	case VD_PORT_CHANGED:
		host_changed(p);
		break;
	}
}

void vcon_port_guest(struct vcon_port *p, bool open)
{
	unsigned q = vcon_tx_queue(p);

	if (open == p->guest_open)
		return;
	p->guest_open = open;
	if (p->closing)
		hang_up(p);	/* who opened it now is not whom the other side knew */
	if (open) {
		resume(p, vcon_rx_queue(p));
	} else if (p->id) {
		/* What was written before goes out before. */
		p->closing = true;
		qfd_event_signal(p->c->d.q[q].kick_fd);
	}
}

/* ---- size ---- */

static bool size_look(struct virtio_console *c)
{
	struct vd_host *h = c->d.v.host;
	uint16_t size[2], w_size[2];

	if (!c->con.port.stream || !h->ops->stream->size(h, c->con.port.stream, size))
		return false;
	w_size[0] = htole16(size[0]);
	w_size[1] = htole16(size[1]);
	if (!memcmp(c->d.config, w_size, sizeof(w_size)))
		return true;
	memcpy(c->d.config, w_size, sizeof(w_size));
	/* Without F_SIZE the fields mean nothing to the driver (5.3.4). */
	if (!virtio_has(&c->d, VIRTIO_CONSOLE_F_SIZE))
		return true;
	virtio_config_changed(&c->d);
	vcon_tell(&c->ports[0], VCON_TELL_RESIZE);
	return true;
}

/* A terminal does not say that its size changed to who is not its foreground process. */
static void size_timer(struct vdev *v, void *arg)
{
	struct virtio_console *c = arg;

	if (size_look(c))
		v->host->ops->timer_arm(v->host, c->size_timer,
					v->host->ops->now(v->host) + SIZE_EVERY_NS);
}

/* ---- port 0 ---- */

static void con_ready(struct vd_console *con)
{
	struct vcon_port *p = &Q_CONTAINER_OF(con, struct virtio_console, con)->ports[0];

	resume(p, vcon_rx_queue(p));
}

static void con_changed(struct vd_console *con)
{
	struct virtio_console *c = Q_CONTAINER_OF(con, struct virtio_console, con);

	host_changed(&c->ports[0]);
	size_timer(&c->d.v, c);
}

static void console_config_write(struct virtio_dev *d, unsigned off, const void *buf, unsigned len)
{
	if (off != CONFIG_EMERGENCY)
		vdev_fault(&d->v, VD_FAULT_BAD_REQUEST);	/* the rest is read-only */
	else
		vd_console_write(&of(d)->con, buf, 1);
}

/* ---- life of the device ---- */

static void console_start(struct virtio_dev *d)
{
}

static bool console_stop(struct virtio_dev *d)
{
	struct virtio_console *c = of(d);

	for (unsigned i = 0; i < c->n_ports; i++) {
		struct vcon_port *p = &c->ports[i];

		/* The console stays with who has it: he sees the next boot, too. */
		p->rx.have = p->tx.have = false;
		if (p->id && (p->guest_open || p->closing))
			hang_up(p);
		p->guest_open = false;
	}
	vcon_ctrl_stop(c);
	return true;
}

static void console_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	const struct virtio_console *c = of(d);
	uint64_t in = 0, out = 0, lost = c->con.dropped;
	uint16_t w_size[2];

	for (unsigned i = 0; i < c->n_ports; i++) {
		in += c->ports[i].in_bytes;
		out += c->ports[i].out_bytes;
		lost += c->ports[i].lost_bytes;
	}
	memcpy(w_size, d->config, sizeof(w_size));
	snprintf(buf, buf_bytes, "ports=%u in=%" PRIu64 " out=%" PRIu64 " out_dropped=%" PRIu64
		 " size=%ux%u", c->n_ports, in, out, lost, le16toh(w_size[0]), le16toh(w_size[1]));
}

static void console_quiesce(struct virtio_dev *d)
{
	vd_console_flush(&of(d)->con);
}

static void console_free(struct virtio_dev *d)
{
	struct virtio_console *c = of(d);

	virtio_fini(d);
	if (c->size_timer)
		d->v.host->ops->timer_free(d->v.host, c->size_timer);
	for (unsigned i = 1; i < c->n_ports; i++)
		vd_port_close(&c->ports[i].line);
	vd_console_fini(&c->con);
	free(c);
}

static const struct virtio_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = PCI_CLASS,
	.config_write = console_config_write,
	.start = console_start,
	.serve = console_serve,
	.stop = console_stop,
	.status = console_status,
	.quiesce = console_quiesce,
	.free = console_free,
};

/* ---- making one ---- */

static int open_ports(struct virtio_console *c, struct cf_errors *errs)
{
	const struct vd_config *cfg = c->d.v.cfg;
	int r = vd_console_init_out(&c->con, &c->d.v, con_ready, con_changed, errs);

	c->ports[0] = (struct vcon_port){ .c = c, .io = &c->con.port };
	c->n_ports = 1;
	for (size_t i = 0; r == 0 && i < cfg->n_args; i++) {
		struct vcon_port *p = &c->ports[c->n_ports];

		if (!vcon_is_new_port(cfg, i))
			continue;
		p->c = c;
		p->id = c->n_ports++;
		p->io = &p->line;
		memcpy(p->name, cfg->args[i].text, vcon_name_len(cfg->args[i].text));
		r = vd_port_open(&p->line, &c->d.v, p->name, line_event, p, errs);
	}
	return r;
}

static int set_up(struct virtio_console *c, struct cf_errors *errs)
{
	struct virtio_dev *d = &c->d;
	const struct virtio_console_config w_cfg = { .max_nr_ports = htole32(c->n_ports) };

	d->offered = VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_IDX |
		     VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE) | VIRTIO_BIT(VIRTIO_CONSOLE_F_EMERG_WRITE);
	if (c->n_ports > 1)
		d->offered |= VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT);
	d->n_queues = c->n_ports > 1 ? 2 + 2 * c->n_ports : 2;
	d->queue_size_max = QUEUE_SIZE;
	memcpy(d->config, &w_cfg, sizeof(w_cfg));
	d->config_len = sizeof(w_cfg);
	c->size_timer = d->v.host->ops->timer_new(d->v.host, size_timer, c);
	if (!c->size_timer) {
		cf_error_add(errs, CF_ERROR, d->v.cfg->file, d->v.cfg->line, d->v.cfg->col,
			     "%s: out of memory", d->v.cfg->name);
		return -ENOMEM;
	}
	size_timer(&d->v, c);
	return virtio_attach(d, errs);
}

static int console_create(const struct vd_config *cfg, struct vd_host *host,
			  struct cf_errors *errs, struct vdev **ret)
{
	struct virtio_console *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col, "%s: out of memory",
			     cfg->name);
		return -ENOMEM;
	}
	virtio_init(&c->d, &vd_virtio_console_type, cfg, host, &console_ops);
	r = open_ports(c, errs);
	if (r == 0)
		r = set_up(c, errs);
	if (r < 0) {
		console_free(&c->d);
		return r;
	}
	*ret = &c->d.v;
	return 0;
}

static const struct vd_option console_options[] = {
	{ "hostdev", VD_ARG_STRING, true },
	{ "port", VD_ARG_STRING, true },
	{ "delayed", VD_ARG_STRING, false },
	VIRTIO_OPTION_LEGACY,
	{ NULL },
};

const struct vd_type vd_virtio_console_type = {
	.name = "virtio-console",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 0x200,
	.max_irqs = 1,
	.options = console_options,
	.check = vcon_check,
	.create = console_create,
};
