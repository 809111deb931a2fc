/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console guest: every port of a virtio-console gives back what comes in, and what the device
 * says about ports is told on the serial line, where keys ask for more:
 *
 *	f flood of port `port=` with a pattern, `flood=` bytes	e emergency write of "!"
 *	c close that port, o open it				z the size, as config space has it
 *	r reset the device and bring it up again		q finish
 */
#include "tests/guests/console/entropy.h"
#include "tests/guests/console/ports.h"

#define TICK_NS (250 * RT_NS_PER_MS)

static struct con con;
static uint64_t features, flood_bytes, flood_at, flood_left;
static unsigned port_at, dev_at;

static void flood_start(void)
{
	con.ports[port_at].echoes = false;
	flood_at = 0;
	flood_left = flood_bytes;
	rt_printf("con: flood id=%u bytes=%lu\n", port_at, flood_bytes);
}

/* Byte n of the flood: what the host checks. */
static uint8_t flood_byte(uint64_t n)
{
	return (uint8_t)(n * 7 + (n >> 8) * 13 + (n >> 16));
}

static bool flood_work(void)
{
	struct con_port *p = &con.ports[port_at];
	struct con_buf *b;
	bool any = false;

	while (flood_left && (b = con_buf(p))) {
		uint32_t len = flood_left < CON_BUF_BYTES ? (uint32_t)flood_left : CON_BUF_BYTES;

		for (uint32_t i = 0; i < len; i++)
			b->bytes[i] = flood_byte(flood_at++);
		con_send(b, len);
		flood_left -= len;
		any = true;
	}
	if (flood_bytes && !flood_left && flood_at && !p->out_pending) {
		rt_printf("con: flood done id=%u\n", p->id);
		flood_at = 0;
		p->echoes = true;
	}
	return any;
}

static void size_print(void)
{
	rt_printf("con: size cols=%u rows=%u\n", con.dev->ops->config_read(con.dev, 0, 2),
		  con.dev->ops->config_read(con.dev, 2, 2));
}

static void reopen(void)
{
	vio_reset(con.dev);
	rt_printf("con: reset\n");
	memset(&con, 0, sizeof(con));
	con_open(&con, dev_at, features);
}

static bool key(int c)
{
	switch (c) {
	case 'f':
		flood_start();
		break;
	case 'e':
		con.dev->ops->config_write(con.dev, 8, 4, '!');
		rt_printf("con: emergency\n");
		break;
	case 'c':
	case 'o':
		con_say(&con, port_at, CON_PORT_OPEN, c == 'o');
		rt_printf("con: guest %s id=%u\n", c == 'o' ? "opens" : "closes", port_at);
		break;
	case 'z':
		size_print();
		break;
	case 'r':
		reopen();
		break;
	case 'q':
		return false;
	default:
		break;
	}
	return true;
}

/* What came in at a port that does not echo is told when it changes. */
static void tell_input(void)
{
	static uint64_t told;
	struct con_port *p = &con.ports[port_at];

	if (p->echoes || p->in_bytes == told)
		return;
	told = p->in_bytes;
	rt_printf("con: got id=%u bytes=%lu\n", p->id, told);
}

static void run(void)
{
	for (;;) {
		uint32_t seen = rt_wake;
		bool any = con_work(&con);
		int c = rt_getc();

		any |= flood_work();
		tell_input();
		if (c >= 0 && !key(c))
			return;
		if (c >= 0 || any || con_arm(&con))
			continue;
		if (rt_power_button(false))
			return;
		rt_wait(seen, arch_ticks() + rt_ticks(TICK_NS));
	}
}

void guest_main(void)
{
	if (rt_arg_u64("entropy", 0)) {
		entropy_run();
		return;
	}
	dev_at = (unsigned)rt_arg_u64("dev", 0);
	port_at = (unsigned)rt_arg_u64("port", 1);
	flood_bytes = rt_arg_u64("flood", 1 << 20);
	features = CON_F_SIZE | CON_F_EMERG | VIO_F_INDIRECT | VIO_F_EVENT_IDX;
	if (rt_arg_u64("multiport", 1))
		features |= CON_F_MULTIPORT;
	if (rt_arg_u64("packed", 0))
		features |= VIO_F_PACKED;
	con_open(&con, dev_at, features);
	if (port_at >= con.n_ports)
		port_at = 0;
	rt_printf("con: ready\n");
	run();
	for (unsigned i = 0; i < con.n_ports; i++)
		rt_printf("con: total id=%u in=%lu\n", i, con.ports[i].in_bytes);
}
