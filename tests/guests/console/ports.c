/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console driver. Receive buffers stand ready at every port; one that comes back goes out again
 * as it is where the port echoes, and returns to the receive queue when it was sent, so that
 * echoing needs no buffers of its own and cannot lose a byte.
 */
#include "tests/guests/console/ports.h"

#define CTRL_BUFS 16
#define CTRL_BYTES 64

struct ctrl {
	uint32_t id;
	uint16_t event, value;
};

static uint8_t *ctrl_buf[CTRL_BUFS];

static struct vq *all_queues(struct con *c, unsigned i)
{
	if (i < 2)
		return i ? &c->ctrl_tx : &c->ctrl_rx;
	struct con_port *p = &c->ports[i / 2 - 1];
	return i % 2 ? &p->tx : &p->rx;
}

static unsigned n_all_queues(const struct con *c)
{
	return 2 + 2 * c->n_ports;
}

static void must(const char *why, const char *what)
{
	if (why)
		rt_fail("%s: %s", what, why);
}

/* --- control --- */

static void ctrl_give(struct con *c, uint8_t *buf)
{
	const struct vq_seg seg = { buf, CTRL_BYTES };

	if (!vq_add(&c->ctrl_rx, &seg, 0, 1, buf))
		rt_fail("no room for a control buffer");
	vq_kick(&c->ctrl_rx);
}

void con_say(struct con *c, uint32_t id, uint16_t event, uint16_t value)
{
	struct ctrl *m = rt_need(sizeof(*m), 8, "control message");
	const struct vq_seg seg = { m, sizeof(*m) };

	*m = (struct ctrl){ id, event, value };
	if (!vq_add(&c->ctrl_tx, &seg, 1, 0, m))
		rt_fail("no room for a control message");
	vq_kick(&c->ctrl_tx);
}

static void port_named(struct con_port *p, const uint8_t *name, uint32_t len)
{
	if (len >= sizeof(p->name))
		rt_fail("port %u has a name of %u bytes", p->id, len);
	memcpy(p->name, name, len);
	p->name[len] = '\0';
	rt_printf("con: name id=%u name=%s\n", p->id, p->name);
}

static void hear(struct con *c, const uint8_t *bytes, uint32_t len)
{
	struct ctrl m;

	if (len < sizeof(m))
		rt_fail("a control message of %u bytes", len);
	memcpy(&m, bytes, sizeof(m));
	if (m.id >= c->n_ports)
		rt_fail("control event %u of port %u", m.event, m.id);
	struct con_port *p = &c->ports[m.id];
	if (!p->exists && m.event != CON_PORT_ADD)
		rt_fail("event %u of port %u, which was not added", m.event, m.id);
	switch (m.event) {
	case CON_PORT_ADD:
		p->exists = true;
		rt_printf("con: add id=%u\n", m.id);
		con_say(c, m.id, CON_PORT_READY, 1);
		break;
	case CON_CONSOLE_PORT:
		rt_printf("con: console id=%u\n", m.id);
		con_say(c, m.id, CON_PORT_OPEN, 1);
		break;
	case CON_RESIZE:
		if (len != sizeof(m) + 4)
			rt_fail("a size of %u bytes", len);
		rt_printf("con: resize cols=%u rows=%u\n", bytes[8] | bytes[9] << 8,
			  bytes[10] | bytes[11] << 8);
		break;
	case CON_PORT_OPEN:
		p->host_open = m.value;
		rt_printf("con: open id=%u value=%u\n", m.id, m.value);
		break;
	case CON_PORT_NAME:
		port_named(p, bytes + sizeof(m), len - (uint32_t)sizeof(m));
		con_say(c, m.id, CON_PORT_OPEN, 1);
		break;
	default:
		rt_fail("control event %u", m.event);
	}
}

/* --- bytes --- */

static void give(struct con_buf *b)
{
	const struct vq_seg seg = { b->bytes, CON_BUF_BYTES };

	if (!vq_add(&b->port->rx, &seg, 0, 1, b))
		rt_fail("no room for a receive buffer of port %u", b->port->id);
}

struct con_buf *con_buf(struct con_port *p)
{
	struct con_buf *b = p->free_out;

	if (b)
		p->free_out = b->next;
	return b;
}

void con_send(struct con_buf *b, uint32_t len)
{
	const struct vq_seg seg[2] = { { b->bytes, len / 2 },
				       { b->bytes + len / 2, len - len / 2 } };
	bool cut = len > 1;

	if (!vq_add(&b->port->tx, cut ? seg : seg + 1, cut ? 2 : 1, 0, b))
		rt_fail("no room for a send buffer of port %u", b->port->id);
	b->port->out_pending++;
	vq_kick(&b->port->tx);
}

static bool port_work(struct con_port *p)
{
	struct con_buf *b;
	bool any = false;
	uint32_t len;

	while ((b = vq_poll(&p->rx, &len))) {
		any = true;
		if (!len || len > CON_BUF_BYTES)
			rt_fail("port %u got %u bytes", p->id, len);
		p->in_bytes += len;
		if (p->echoes)
			con_send(b, len);
		else
			give(b);
	}
	while ((b = vq_poll(&p->tx, &len))) {
		any = true;
		p->out_pending--;
		if (b->is_echo) {
			give(b);
		} else {
			b->next = p->free_out;
			p->free_out = b;
		}
	}
	vq_kick(&p->rx);
	return any;
}

bool con_work(struct con *c)
{
	uint32_t irqs = 0, len;
	bool any = false;
	uint8_t *buf;

	for (unsigned i = 0; i < VIO_MAX_QUEUES; i++)
		if (c->dev->irq[i] >= 0)
			irqs += rt_irq_count[c->dev->irq[i]];
	if (irqs != c->irqs_seen) {
		c->irqs_seen = irqs;
		c->dev->ops->irq_ack(c->dev);
	}
	while (c->multiport && (buf = vq_poll(&c->ctrl_rx, &len))) {
		hear(c, buf, len);
		ctrl_give(c, buf);
		any = true;
	}
	while (c->multiport && vq_poll(&c->ctrl_tx, &len))
		any = true;
	for (unsigned i = 0; i < c->n_ports; i++)
		any |= port_work(&c->ports[i]);
	return any;
}

bool con_arm(struct con *c)
{
	bool more = false;

	for (unsigned i = c->multiport ? 0 : 2; i < n_all_queues(c); i++)
		more |= vq_arm(all_queues(c, i));
	return more;
}

/* --- life --- */

static void port_init(struct con *c, unsigned id)
{
	struct con_port *p = &c->ports[id];
	unsigned q = id ? 2 + 2 * id : 0;

	p->con = c;
	p->id = id;
	p->echoes = true;
	p->exists = !c->multiport;
	must(vq_init(&p->rx, c->dev, q, 0), "receive queue");
	must(vq_init(&p->tx, c->dev, q + 1, 0), "transmit queue");
	for (unsigned i = 0; i < 2 * CON_BUFS; i++) {
		struct con_buf *b = &p->bufs[i];

		b->port = p;
		b->bytes = rt_need(CON_BUF_BYTES, 16, "port buffer");
		b->is_echo = i < CON_BUFS;
		if (b->is_echo) {
			give(b);
		} else {
			b->next = p->free_out;
			p->free_out = b;
		}
	}
}

void con_open(struct con *c, unsigned nth, uint64_t features)
{
	c->dev = vio_find(VIO_ID_CONSOLE, nth);
	must(vio_begin(c->dev, features), "handshake");
	c->multiport = c->dev->features & CON_F_MULTIPORT;
	c->n_ports = c->multiport ? c->dev->ops->config_read(c->dev, 4, 4) : 1;
	if (c->n_ports < 1 || c->n_ports > CON_PORTS_MAX)
		rt_fail("%u ports", c->n_ports);
	rt_printf("con: device dev=%s multiport=%u ports=%u cols=%u rows=%u packed=%u\n",
		  c->dev->name, c->multiport, c->n_ports, c->dev->ops->config_read(c->dev, 0, 2),
		  c->dev->ops->config_read(c->dev, 2, 2), c->dev->features & VIO_F_PACKED ? 1 : 0);
	for (unsigned i = 0; i < c->n_ports; i++)
		port_init(c, i);
	if (c->multiport) {
		must(vq_init(&c->ctrl_rx, c->dev, 2, 0), "control receive queue");
		must(vq_init(&c->ctrl_tx, c->dev, 3, 0), "control transmit queue");
		for (unsigned i = 0; i < CTRL_BUFS; i++) {
			ctrl_buf[i] = rt_need(CTRL_BYTES, 16, "control buffer");
			ctrl_give(c, ctrl_buf[i]);
		}
	}
	vio_run(c->dev);
	for (unsigned i = 0; i < n_all_queues(c); i++)
		if (i >= 2 || c->multiport)
			all_queues(c, i)->dev->ops->notify(c->dev, all_queues(c, i)->index);
	if (c->multiport)
		con_say(c, UINT32_MAX, CON_DEVICE_READY, 1);
}
