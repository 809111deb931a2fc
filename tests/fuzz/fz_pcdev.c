/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Old devices of a PC, and Arm's watchdog, under a guest that writes what it likes, while time
 * passes and the host's clock jumps. Bytes are a program: which device, then accesses of any
 * width anywhere in its windows, and time. Whatever they are, the device says its status and
 * goes away cleanly, and time that passes costs a bounded number of events.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vdharness.h"

#define STEPS_MAX 400u
#define TIME_MAX_NS (20 * Q_NSEC_PER_MSEC) /* a step */
#define RAISES_MAX 4000u		   /* interrupts a step: 8 devices' worth of 20 kHz */

static const struct {
	const char *type;
	enum vd_space space;
	uint64_t base;
	unsigned n_irqs;
} kinds[] = {
	{ "hpet", VD_MEM, 0xfed00000, 3 },
	{ "mc146818", VD_IO, 0x70, 1 },
	{ "pckeyboard", VD_IO, 0x60, 1 },
	{ "pci-dummy", VD_PCI, 0, 0 },
	{ "progress", VD_IO, 0x80, 0 },
	{ "wdt-ib700", VD_IO, 0x441, 0 },
	{ "wdt-sp805", VD_MEM, 0x1c0f0000, 1 },
};

static void access_window(struct vdh *h, struct fuzz_in *in, bool write)
{
	const struct vdh_window *w = &h->win[fuzz_u8(in) % 2];
	unsigned size = 1u << (fuzz_u8(in) % 4);
	uint64_t off = fuzz_u16(in);

	if (!w->mapped || w->len_bytes < size)
		return;
	off %= w->len_bytes - size + 1;
	if (write)
		vdh_write(h, w->space, w->addr + off, size, fuzz_u64(in));
	else
		vdh_read(h, w->space, w->addr + off, size);
}

static void access_cfg(struct vdh *h, struct fuzz_in *in)
{
	unsigned size = 1u << (fuzz_u8(in) % 3);
	unsigned off = (fuzz_u16(in) % 4096) & ~(size - 1);

	if (!h->v->ops->cfg_read)
		return;
	vdh_cfg_write(h, off, size, (uint32_t)fuzz_u64(in));
	vdh_cfg_read(h, off, size);
	qassert(vdh_cfg_read(h, 0, 4) == 0x22221111);
}

static void pass_time(struct vdh *h, struct fuzz_in *in)
{
	unsigned before = 0, after = 0;

	for (unsigned i = 0; i < VDH_LINES; i++)
		before += h->raises[i];
	vdh_advance(h, fuzz_u64(in) % TIME_MAX_NS);
	for (unsigned i = 0; i < VDH_LINES; i++)
		after += h->raises[i];
	qassert(after - before < RAISES_MAX);
}

/*
 * The clock and the watchdog count seconds, and a comparator of the HPET may be far off: one long
 * step, in which it is told to be quiet first.
 */
static void pass_long(struct vdh *h, struct fuzz_in *in)
{
	if (!strcmp(h->v->type->name, "hpet"))
		vdh_write(h, VD_MEM, 0xfed00010, 8, 0);
	vdh_advance(h, fuzz_u8(in) * (Q_NSEC_PER_SEC / 8));
}

static void step(struct vdh *h, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 8) {
	case 0: case 1: case 2:
		access_window(h, in, true);
		break;
	case 3:
		access_window(h, in, false);
		break;
	case 4:
		access_cfg(h, in);
		break;
	case 5:
		pass_time(h, in);
		break;
	case 6:
		pass_long(h, in);
		break;
	default:
		h->utc_ns += fuzz_u64(in) % (1ull << 55);	/* a year */
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int lines[VDH_LINES] = { 0, 8, 10, 11 };
	struct fuzz_in in = { data, size };
	unsigned kind = fuzz_u8(&in) % Q_ARRAY_LEN(kinds);
	char status[256];
	struct vdh h;

	vdh_init(&h);
	vdh_advance(&h, 1);
	h.utc_ns = 1700000000 * Q_NSEC_PER_SEC;
	memcpy(h.irq_number, lines, sizeof(lines));
	vdh_arg(&h, "vendor", "0x1111", 0x1111);
	vdh_arg(&h, "device", "0x2222", 0x2222);
	/* What a bite of Arm's watchdog does. */
	if (!strcmp(kinds[kind].type, "wdt-sp805"))
		vdh_arg(&h, "action", size & 1 ? "fiq" : "dump,terminate", 0);
	qassert(!vdh_create(&h, kinds[kind].type, kinds[kind].space, kinds[kind].base,
			    kinds[kind].n_irqs));
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&h, &in);
	h.v->ops->status(h.v, status, sizeof(status));
	vdh_fini(&h);
	return 0;
}
