/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net between two enemies: a guest that writes what it likes into rings, chains, commands
 * and registers, and a peer that sends what it likes. Frames that look like TCP are made of the
 * input too, so that segments are cut. vdharness checks that all that the vdev asked for is put
 * back.
 *
 * Input: transport and features, then steps of an operation and its operands.
 */
#include <linux/virtio_net.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/vddriver.h"
#include "tests/unit/vdnet.h"

#define STEPS_MAX 300u
#define PAIRS 2u
#define QUEUES (2 * PAIRS + 1)
#define ENTRIES 16u
#define RING(q) (VDH_RAM_GPA + (uint64_t)(q) * 0x4000)
#define BUFS (VDH_RAM_GPA + 0x20000)
#define F(name) (1ull << VIRTIO_NET_F_##name)

/* A device that is live with what the input takes of the features. */
static void bring_up(struct vdd *d, struct fuzz_in *in)
{
	uint64_t features = (fuzz_u64(in) | F(CTRL_VQ)) & ~VDD_PACKED;

	vdd_negotiate(d, (features & vdd_offered(d)) | VDD_VERSION_1);
	for (unsigned q = 0; q < QUEUES; q++) {
		const struct qring_cfg ring = { .num = ENTRIES, .desc = gpa(RING(q)),
						.avail = gpa(RING(q) + 0x1000),
						.used = gpa(RING(q) + 0x2000) };
		vdd_queue_set(d, q, &ring);
		vdd_queue_enable(d, q);
	}
	vdd_set_status(d, VDD_STATUS_LIVE);
}

/* One chain of up to four parts in queue @q, of lengths and directions of the input. */
static void add_chain(struct vdd *d, struct fuzz_in *in)
{
	const struct qmem *mem = d->h->mem;
	unsigned q = fuzz_u8(in) % QUEUES, n = 1 + fuzz_u8(in) % 4, head = fuzz_u8(in) % ENTRIES;
	uint16_t idx;

	for (unsigned i = 0; i < n; i++) {
		uint32_t len = fuzz_u8(in) % 4 ? fuzz_u8(in) : fuzz_u16(in) * 2u;
		struct { uint64_t addr; uint32_t len; uint16_t flags, next; } w_desc = {
			.addr = BUFS + fuzz_u16(in), .len = len,
			.flags = (uint16_t)((i + 1 < n) | (fuzz_u8(in) & 2)),
			.next = (uint16_t)((head + i + 1) % ENTRIES),
		};
		qmem_write(mem, gpa(RING(q) + (head + i) % ENTRIES * 16), &w_desc, 16);
	}
	qmem_read(mem, gpa(RING(q) + 0x1002), &idx, 2);
	uint16_t w_head = (uint16_t)head;
	qmem_write(mem, gpa(RING(q) + 0x1004 + idx % ENTRIES * 2u), &w_head, 2);
	idx++;
	qmem_write(mem, gpa(RING(q) + 0x1002), &idx, 2);
	vdd_notify(d, q);
}

static void scribble(struct vdh *h, struct fuzz_in *in)
{
	uint8_t bytes[64];
	unsigned len = fuzz_u8(in) % (sizeof(bytes) + 1);
	uint64_t at = (fuzz_u8(in) & 1 ? BUFS : VDH_RAM_GPA) + fuzz_u16(in);

	fuzz_bytes(in, bytes, len);
	qmem_write(h->mem, gpa(at), bytes, len);
}

/* A frame of the peer: its header of the input, and a body that may pass for TCP. */
static void peer_frame(struct vdn *n, struct fuzz_in *in)
{
	static uint8_t frame[VD_NET_FRAME_MAX + 64];
	uint8_t hdr[VD_NET_HDR_BYTES], kind = fuzz_u8(in);
	uint32_t len = kind & 1 ? fuzz_u16(in) : fuzz_u8(in);

	fuzz_bytes(in, hdr, sizeof(hdr));
	memset(frame, fuzz_u8(in), Q_MIN(len + 512, (uint32_t)sizeof(frame)));
	if (kind & 2) {	/* sound, but for what the input changes after */
		static const uint8_t v4[] = { 8, 0, 0x45 }, v6[] = { 0x86, 0xdd, 0x60 };

		memcpy(frame + 12, kind & 4 ? v6 : v4, 3);
		frame[kind & 4 ? 20 : 23] = 6;
		frame[kind & 4 ? 66 : 46] = (uint8_t)(0x50 + (fuzz_u8(in) & 0xf0));
		hdr[0] = 1;
		hdr[1] = (uint8_t)((kind & 4 ? 4 : 1) | (kind & 0x80));
		hdr[6] = kind & 4 ? 54 : 34;
		hdr[7] = hdr[9] = 0;
		hdr[8] = 16;
		len += 100;
	}
	for (unsigned i = kind >> 5; i > 0; i--)
		frame[fuzz_u8(in)] = fuzz_u8(in);
	vdn_put(n, fuzz_u8(in) % PAIRS, hdr, frame, Q_MIN(len, (uint32_t)sizeof(frame)));
}

static void access_window(struct vdh *h, struct fuzz_in *in)
{
	const struct vdh_window *w = &h->win[0];
	unsigned size = 1u << (fuzz_u8(in) % 4);

	if (!w->mapped || w->len_bytes < size)
		return;
	uint64_t off = fuzz_u16(in) % (w->len_bytes - size + 1);
	vdh_write(h, w->space, w->addr + off, size, fuzz_u64(in));
}

static void step(struct vdd *d, struct vdn *n, struct fuzz_in *in)
{
	struct vdh *h = d->h;

	switch (fuzz_u8(in) % 10) {
	case 0: case 1: case 2:
		add_chain(d, in);
		break;
	case 3:
		scribble(h, in);
		break;
	case 4: case 5:
		peer_frame(n, in);
		break;
	case 6:
		vdn_set_link(n, fuzz_u8(in) & 1);
		break;
	case 7:
		vdn_make_room(n, fuzz_u8(in) % 8);
		break;
	case 8:
		if (fuzz_u8(in) & 1)
			bring_up(d, in);
		else
			access_window(h, in);
		break;
	default:
		vdh_advance(h, (uint64_t)fuzz_u8(in) * 4 * Q_NSEC_PER_MSEC);
		break;
	}
	vdh_step(h, 0);
	vdn_clear(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	bool mmio = fuzz_u8(&in) & 1;
	char status[512];
	struct vdn n;
	struct vdh h;
	struct vdd d;

	vdh_init(&h);
	vdn_init(&n, &h);
	vdh_arg(&h, "peer", "ivi/net", 0);
	vdh_arg(&h, "queues", "2", PAIRS);
	vdh_arg(&h, "peerfeats", "0x7fc3", 0x7fc3);
	qassert(!vdh_create(&h, "virtio-net", mmio ? VD_MEM : VD_PCI, VDD_MMIO, 1));
	vdd_init(&d, &h);
	bring_up(&d, &in);
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&d, &n, &in);
	h.v->ops->status(h.v, status, sizeof(status));
	vdh_fini(&h);
	vdn_fini(&n);
	return 0;
}
