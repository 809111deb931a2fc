/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every vdev that has code of ours, under a guest that writes what it likes: registers, BARs,
 * configuration space and the memory that rings stand in, in any order and width, with the I/O
 * thread's work and completions in between. vdharness checks that windows, notifications, watches
 * and timers are put back at the end.
 *
 * Input: which vdev, then steps of an operation and its operands.
 */
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/vddriver.h"

#define STEPS_MAX 400u
#define RING VDH_RAM_GPA

static const struct {
	const char *type;
	enum vd_space space;
	uint64_t base;
	unsigned n_irqs;
	bool legacy;
} kinds[] = {
	{ "ser8250", VD_IO, 0x3f8, 1 },
	{ "pl011", VD_MEM, 0x1c090000, 1 },
	{ "acpi-pm", VD_IO, 0x600, 1 },
	{ "virtio-blk", VD_PCI, 0, 0 },
	{ "virtio-blk", VD_MEM, VDD_MMIO, 1 },
	{ "virtio-console", VD_PCI, 0, 0 },
	{ "virtio-console", VD_MEM, VDD_MMIO, 1 },
	{ "virtio-entropy", VD_PCI, 0, 0 },
	{ "virtio-entropy", VD_MEM, VDD_MMIO, 1 },
	{ "virtio-blk", VD_PCI, 0, 0, true },
	{ "virtio-blk", VD_MEM, VDD_MMIO, 1, true },
	{ "virtio-console", VD_PCI, 0, 0, true },
};

static unsigned fuzz_size(struct fuzz_in *in)
{
	return 1u << (fuzz_u8(in) % 4);
}

/* An access as the bus hands it on: inside a window, of any width that fits. */
static void access_window(struct vdh *h, struct fuzz_in *in, bool write)
{
	const struct vdh_window *w = &h->win[fuzz_u8(in) % 3];
	unsigned size = fuzz_size(in);
	uint64_t off;

	if (!w->mapped || w->len_bytes < size)
		return;
	off = fuzz_u16(in) % (w->len_bytes - size + 1);
	if (write)
		vdh_write(h, w->space, w->addr + off, size, fuzz_u64(in));
	else
		vdh_read(h, w->space, w->addr + off, size);
}

static void access_cfg(struct vdh *h, struct fuzz_in *in, bool write)
{
	unsigned size = 1u << (fuzz_u8(in) % 3);
	unsigned off = (fuzz_u16(in) % 4096) & ~(size - 1);

	if (!h->v->ops->cfg_read)
		return;
	if (write)
		vdh_cfg_write(h, off, size, (uint32_t)fuzz_u64(in));
	else
		vdh_cfg_read(h, off, size);
}

/* Bytes into the first 64 KiB of memory, where rings and requests are. */
static void scribble(struct vdh *h, struct fuzz_in *in)
{
	uint8_t bytes[32];
	unsigned len = fuzz_u8(in) % (sizeof(bytes) + 1);
	uint64_t at = VDH_RAM_GPA + fuzz_u16(in);

	fuzz_bytes(in, bytes, len);
	qmem_write(h->mem, gpa(at), bytes, len);
}

/* A device that is live, so that what follows reaches the rings. */
static void bring_up(struct vdh *h, struct fuzz_in *in)
{
	uint64_t features = VDD_VERSION_1 | (uint64_t)fuzz_u8(in) << 28;
	struct qring_cfg ring = { .num = 1u << (fuzz_u8(in) % 9), .desc = gpa(RING),
				  .avail = gpa(RING + 0x1000), .used = gpa(RING + 0x2000) };
	struct vdd d;

	if (strncmp(h->v->type->name, "virtio-", 7) != 0)
		return;
	vdd_init(&d, h);
	vdd_negotiate(&d, features & (VDD_VERSION_1 | VDD_INDIRECT | VDD_EVENT_IDX | VDD_PACKED));
	vdd_queue_set(&d, 0, &ring);
	vdd_queue_enable(&d, 0);
	vdd_set_status(&d, VDD_STATUS_LIVE);
	vdd_notify(&d, 0);
}

static void step(struct vdh *h, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 12) {
	case 0: case 1: case 2:
		access_window(h, in, true);
		break;
	case 3:
		access_window(h, in, false);
		break;
	case 4:
		access_cfg(h, in, true);
		break;
	case 5:
		access_cfg(h, in, false);
		break;
	case 6:
		scribble(h, in);
		break;
	case 7:
		bring_up(h, in);
		break;
	case 8:
		h->hold = fuzz_u8(in) & 1;
		h->io_err = -(fuzz_u8(in) % 2);
		break;
	case 9:
		h->taken_addr = (uint64_t)fuzz_u8(in) << 24;
		h->no_notify = fuzz_u8(in) & 1;
		break;
	case 10:
		if (h->v->ops->button)
			h->v->ops->button(h->v);
		break;
	default:
		vdh_step(h, 0);
		break;
	}
}

/* The console's other ends: a few bytes of input, output that nobody reads. */
static void open_pipes(struct vdh *h, int in[2], int out[2], struct fuzz_in *fz)
{
	uint8_t typed[64];
	size_t n = fuzz_u8(fz) % sizeof(typed);

	qassert(!pipe(in) && !pipe(out));
	for (unsigned i = 0; i < 2; i++)
		qassert(!qfd_nonblock(in[i], true) && !qfd_nonblock(out[i], true));
	fuzz_bytes(fz, typed, n);
	qassert(write(in[1], typed, n) == (ssize_t)n);
	h->con_in_fd = in[0];
	h->con_out_fd = out[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned kind = fuzz_u8(&in) % Q_ARRAY_LEN(kinds);
	int pin[2], pout[2];
	char status[256];
	struct vdh h;

	vdh_init(&h);
	open_pipes(&h, pin, pout, &in);
	vdh_arg(&h, "hostdev", "disk", 0);
	if (kinds[kind].legacy)
		vdh_arg(&h, "legacy", NULL, 0);
	h.disk_info.can_discard = h.disk_info.can_zero = true;
	qassert(!vdh_create(&h, kinds[kind].type, kinds[kind].space, kinds[kind].base,
			    kinds[kind].n_irqs));
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&h, &in);
	h.v->ops->status(h.v, status, sizeof(status));
	vdh_fini(&h);
	for (unsigned i = 0; i < 2; i++) {
		qfd_close(&pin[i]);
		qfd_close(&pout[i]);
	}
	return 0;
}
