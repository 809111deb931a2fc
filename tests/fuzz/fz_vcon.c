/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console under a driver that sends what it likes: chains of any direction and length on any
 * queue, control messages sound and unsound, resets in between, memory of the rings written over;
 * with clients that come, write, read and leave at any moment.
 *
 * What must hold: the device comes to rest, and gives back no chain that is not out and no more
 * bytes than fit it, as long as the ring is sound. vdharness checks that nothing is left behind.
 *
 * Input: transport and ports, then steps of an operation and its operands.
 */
#include <endian.h>
#include <linux/virtio_console.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/vddriver.h"
#include "tests/unit/vdstream.h"

#define STEPS_MAX 300u
#define REST_MAX 5000u		/* rounds of the I/O thread until nothing is due */
#define N_QUEUES 8u
#define N_PORTS 3u
#define RING_NUM 8u
#define RING_BYTES 0x2000u	/* qdriver_layout() of them */
#define DATA (VDH_RAM_GPA + 0x100000)

struct world {
	struct vdh h;
	struct vdd d;
	struct qdriver q[N_QUEUES];
	unsigned n_queues;
	bool scribbled;
	int client[N_PORTS];	/* our ends; of port 0 too */
};

static const char *const names[N_PORTS] = { NULL, "one", "two" };

static void rest(struct world *w)
{
	unsigned n = 0;

	while (vdh_step(&w->h, 0))
		qassert(++n < REST_MAX);
}

static void live(struct world *w, uint64_t features)
{
	vdd_negotiate(&w->d, VDD_VERSION_1 | (features & vdd_offered(&w->d)));
	for (unsigned i = 0; i < w->n_queues; i++) {
		qdriver_fini(&w->q[i]);
		qassert(!qdriver_init(&w->q[i], w->h.mem, gpa(VDH_RAM_GPA + i * RING_BYTES),
				      RING_NUM, 0, gpa(0), 0));
		vdd_queue_set(&w->d, i, &w->q[i].cfg);
		vdd_queue_enable(&w->d, i);
	}
	vdd_set_status(&w->d, VDD_STATUS_LIVE);
	w->scribbled = false;
}

static void take_all(struct world *w)
{
	for (unsigned i = 0; i < w->n_queues; i++) {
		enum qdriver_verdict v;
		uint32_t len;
		void *token;

		do
			v = qdriver_poll(&w->q[i], &token, &len);
		while (v == QDRIVER_OK);
		qassert(v == QDRIVER_EMPTY || w->scribbled);
	}
}

static void add(struct world *w, unsigned q, const struct qdriver_buf *bufs, unsigned n)
{
	if (qdriver_add(&w->q[q], bufs, n, w) == QDRIVER_OK)
		qdriver_publish(&w->q[q]);
	vdd_notify(&w->d, q);
}

/* Any chain on any queue, or one of the right direction there. */
static void add_chain(struct world *w, struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % w->n_queues, n = fuzz_u8(in) % 4 + 1;
	uint8_t how = fuzz_u8(in);
	struct qdriver_buf bufs[4];

	for (unsigned i = 0; i < n; i++)
		bufs[i] = (struct qdriver_buf){
			gpa(DATA + (uint64_t)fuzz_u8(in) * 4096), fuzz_u16(in) % 5000 + 1,
			how & 0x80 ? how >> i & 1 : !(q % 2),
		};
	add(w, q, bufs, n);
}

static void add_message(struct world *w, struct fuzz_in *in)
{
	const struct virtio_console_control m = {
		.id = htole32(fuzz_u8(in) % (N_PORTS + 1)), .event = htole16(fuzz_u8(in) % 9),
		.value = htole16(fuzz_u8(in) % 3),
	};
	const struct qdriver_buf b = { gpa(DATA + (uint64_t)fuzz_u8(in) * 4096), sizeof(m), false };

	if (w->n_queues <= 3)
		return;
	qmem_write(w->h.mem, b.at, &m, sizeof(m));
	add(w, 3, &b, 1);
}

static void scribble(struct world *w, struct fuzz_in *in)
{
	uint8_t bytes[16];
	uint64_t at = VDH_RAM_GPA + fuzz_u16(in) % (N_QUEUES * RING_BYTES);

	fuzz_bytes(in, bytes, sizeof(bytes));
	qmem_write(w->h.mem, gpa(at), bytes, sizeof(bytes));
	w->scribbled = true;
}

static void write_config(struct world *w, struct fuzz_in *in)
{
	uint64_t at = w->d.pci ? w->d.device : VDD_MMIO + 0x100;
	unsigned size = 1u << (fuzz_u8(in) % 3);

	vdh_write(&w->h, VD_MEM, at + fuzz_u8(in) % 16, size, fuzz_u16(in));
}

/* ---- the host's side ---- */

static void come(struct world *w, unsigned port)
{
	int pair[2];

	if (w->client[port] >= 0 || !vdh_stream(&w->h, names[port]))
		return;
	qassert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	w->client[port] = pair[1];
	/* Who was there before and is not noticed yet stays: the host takes the next when he went.
	 */
	if (vdh_stream(&w->h, names[port])->fds[0] >= 0)
		qfd_close(&pair[0]);
	else
		vdh_stream_give(&w->h, vdh_stream(&w->h, names[port]), pair[0], pair[0], true);
}

static void client_act(struct world *w, struct fuzz_in *in)
{
	static char bytes[70000];
	unsigned port = fuzz_u8(in) % N_PORTS, what = fuzz_u8(in) % 4;
	ssize_t n = 0;

	if (what == 0)
		come(w, port);
	else if (what == 1 && w->client[port] >= 0)
		n = write(w->client[port], bytes, (size_t)fuzz_u16(in) + 1);
	else if (what == 2 && w->client[port] >= 0)
		n = read(w->client[port], bytes, sizeof(bytes));
	else if (what == 3)
		qfd_close(&w->client[port]);
	(void)n;	/* full, empty or gone: so be it */
}

static void step(struct world *w, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 10) {
	case 0: case 1:
		add_chain(w, in);
		break;
	case 2: case 3:
		add_message(w, in);
		break;
	case 4: case 5:
		client_act(w, in);
		break;
	case 6:
		live(w, fuzz_u8(in));
		break;
	case 7:
		scribble(w, in);
		break;
	case 8:
		write_config(w, in);
		break;
	default:
		take_all(w);
		break;
	}
	rest(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	static struct world w;
	uint8_t how = fuzz_u8(&in);
	char status[256];

	signal(SIGPIPE, SIG_IGN);
	memset(&w, 0, sizeof(w));
	vdh_init(&w.h);
	for (unsigned i = 0; i < N_PORTS; i++)
		w.client[i] = -1;
	for (unsigned i = 1; how & 2 && i < N_PORTS; i++)
		vdh_arg(&w.h, "port", names[i], 0);
	if (how & 1)
		qassert(!vdh_create(&w.h, "virtio-console", VD_MEM, VDD_MMIO, 1));
	else
		qassert(!vdh_create(&w.h, "virtio-console", VD_PCI, 0, 0));
	w.n_queues = how & 2 ? N_QUEUES : 2;
	vdd_init(&w.d, &w.h);
	live(&w, how >> 2);
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&w, &in);
	w.h.v->ops->status(w.h.v, status, sizeof(status));
	vdh_fini(&w.h);
	for (unsigned i = 0; i < N_QUEUES; i++)
		qdriver_fini(&w.q[i]);
	for (unsigned i = 0; i < N_PORTS; i++)
		qfd_close(&w.client[i]);
	return 0;
}
