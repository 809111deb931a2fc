/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console as a driver sees it: port 0, or with MULTIPORT all, and what is said of them. */
#pragma once
#include "tests/guests/drv/vq.h"

#define CON_F_SIZE	 (UINT64_C(1) << 0)
#define CON_F_MULTIPORT	 (UINT64_C(1) << 1)
#define CON_F_EMERG	 (UINT64_C(1) << 2)
#define CON_PORTS_MAX	 7
#define CON_BUFS	 16	/* of a port, each way */
#define CON_BUF_BYTES	 4096

enum {
	CON_DEVICE_READY, CON_PORT_ADD, CON_PORT_REMOVE, CON_PORT_READY, CON_CONSOLE_PORT,
	CON_RESIZE, CON_PORT_OPEN, CON_PORT_NAME,
};

struct con_port;
struct con_buf {
	struct con_port *port;
	struct con_buf *next;
	bool is_echo;			/* goes back to the receive queue when it was sent */
	uint8_t *bytes;
};

struct con_port {
	struct con *con;
	unsigned id;
	bool exists, host_open, echoes;
	char name[40];
	struct vq rx, tx;
	struct con_buf bufs[2 * CON_BUFS];
	struct con_buf *free_out;	/* those that are not for echoing */
	uint64_t in_bytes;
	unsigned out_pending;
};

struct con {
	struct vio_dev *dev;
	bool multiport;
	unsigned n_ports;
	struct vq ctrl_rx, ctrl_tx;
	struct con_port ports[CON_PORTS_MAX];
	uint32_t irqs_seen;
};

/* Brings device @nth up with those of @features that it offers; tells what it finds. */
void con_open(struct con *c, unsigned nth, uint64_t features);
/* Everything that has come and gone since; true when there was something. */
bool con_work(struct con *c);
/* Asks for interrupts; true when something came meanwhile: work again. */
bool con_arm(struct con *c);
/* A control message. */
void con_say(struct con *c, uint32_t id, uint16_t event, uint16_t value);
/* A buffer to fill, NULL when all are out; con_send() takes it. */
struct con_buf *con_buf(struct con_port *p);
void con_send(struct con_buf *b, uint32_t len);
