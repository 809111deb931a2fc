/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-console with a driver that does one thing at a time, for its tests. Port 0 is two pipes;
 * with @ports there are "one" and "two" without a client.
 */
#pragma once

#include <linux/virtio_console.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "tests/unit/vdstream.h"
#include "vdevs/virtio_console.h"

#define N_QUEUES 8u
#define RING_NUM 16u
#define BUF_BYTES 4096u
#define MULTI VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT)
#define SIZE VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE)

struct con {
	struct vdh h;
	struct vdd d;
	struct qdriver q[N_QUEUES];
	uint64_t next_buf;
	int in[2], out[2];	/* of port 0: in[1] and out[0] are the test's */
};

void con_create(struct con *c, bool mmio, bool ports);
/* From the reset to DRIVER_OK. */
void con_live(struct con *c, uint64_t features, unsigned n_queues);
/* Both, with all that the ports need. */
void con_open(struct con *c, bool mmio, bool multi);
void con_close(struct con *c);
/* Publishes, notifies, and lets the device come to rest; so do give, put, type and client. */
void con_kick(struct con *c, unsigned q);
gpa_t con_new_buf(struct con *c);
/* A buffer of @len bytes for the device to write. */
void con_give(struct con *c, unsigned q, uint32_t len);
/* Bytes for the device, in one part. False: the ring is full. */
bool con_put(struct con *c, unsigned q, const void *bytes, uint32_t len);
/* What the device gave back: bytes written to it in @buf, -1 when there is nothing. */
int con_take(struct con *c, unsigned q, void *buf);
void con_expect_in(struct con *c, unsigned q, const char *want);
void con_expect_fd(int fd, const char *want);
void con_type(struct con *c, int fd, const char *text);
/* A client of a port: the test's end of its socket. */
int con_client(struct con *c, const char *port);
/* A control message, taken at once. */
void con_say(struct con *c, uint32_t id, uint16_t event, uint16_t value);
/* The next control message, and a buffer for the one after it; or that there is none. */
void con_expect_told(struct con *c, uint32_t id, uint16_t event, uint16_t value, const void *more,
		     size_t more_bytes);
void con_expect_quiet(struct con *c);
/* The whole handshake: all ports are there, "one" is open in the guest. */
void con_hello(struct con *c);

/* Queues of port "one". */
#define RX_ONE 4u
#define TX_ONE 5u
