/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a disk, its driver and its back end, for a test at a time. */
#include "tests/unit/vhudisk.h"

#include <string.h>

void vhd_new(struct vhd *k)
{
	memset(k, 0, sizeof(*k));
	vdh_init(&k->h);
	vdb_init(&k->b);
	k->h.backend = vdb_connect;
	k->h.backend_ctx = &k->b;
	vdh_arg(&k->h, "hostdev", "mediator:disk", 0);
}

void vhd_open(struct vhd *k, bool mmio)
{
	ck_assert_int_eq(vdh_create(&k->h, "virtio-blk", mmio ? VD_MEM : VD_PCI, VDD_MMIO, 1), 0);
	vdd_init(&k->d, &k->h);
}

struct virtio_dev *vhd_virtio(struct vhd *k)
{
	return Q_CONTAINER_OF(k->h.v, struct virtio_dev, v);
}

bool vhd_in_state(struct vhd *k, const char *state)
{
	char text[512], want[64];

	snprintf(want, sizeof(want), "backend_state=%s", state);
	k->h.v->ops->status(k->h.v, text, sizeof(text));
	return strstr(text, want);
}

void vhd_wait_state(struct vhd *k, const char *state)
{
	uint64_t until_ns = qnow_ns() + VHD_WAIT_NS;

	while (!vhd_in_state(k, state)) {
		ck_assert_msg(qnow_ns() < until_ns, "never %s", state);
		vdh_step(&k->h, 5);
	}
}

void vhd_wait_count(struct vhd *k, atomic_uint *count, unsigned want)
{
	uint64_t until_ns = qnow_ns() + VHD_WAIT_NS;

	while (atomic_load(count) < want) {
		ck_assert_msg(qnow_ns() < until_ns, "%u of %u", atomic_load(count), want);
		vdh_step(&k->h, 5);
	}
}

void vhd_live(struct vhd *k, uint64_t features)
{
	if (k->live)
		qdriver_fini(&k->q);
	vdd_live(&k->d, VDD_VERSION_1 | features, &k->q, VHD_RING, 64);
	k->live = true;
	vhd_wait_state(k, "running");
}

void vhd_close(struct vhd *k)
{
	if (k->live)
		qdriver_fini(&k->q);
	vdh_fini(&k->h);
	vdb_kill(&k->b);
}

uint64_t vhd_slot(unsigned n)
{
	return VHD_BUF + (uint64_t)n * VHD_SLOT_BYTES;
}

void vhd_queue(struct vhd *k, unsigned n, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	const struct qdriver_buf bufs[] = {
		{ gpa(vhd_slot(n)), 16, false },
		{ gpa(vhd_slot(n) + 0x200), 4096, type == VIRTIO_BLK_T_IN },
		{ gpa(vhd_slot(n) + 0x10), 1, true },
	};
	uint8_t none = 0xff;

	qmem_write(k->h.mem, gpa(vhd_slot(n)), &hdr, sizeof(hdr));
	qmem_write(k->h.mem, gpa(vhd_slot(n) + 0x10), &none, 1);
	ck_assert_int_eq(qdriver_add(&k->q, bufs, 3, (void *)(uintptr_t)(n + 1)), QDRIVER_OK);
}

void vhd_kick(struct vhd *k)
{
	if (qdriver_publish(&k->q))
		vdd_notify(&k->d, 0);
}

void vhd_reap(struct vhd *k, unsigned n)
{
	uint64_t until_ns = qnow_ns() + VHD_WAIT_NS, seen = 0;
	uint32_t written;
	void *token;

	while (n > 0) {
		uint8_t st;

		if (qdriver_poll(&k->q, &token, &written) != QDRIVER_OK) {
			ck_assert_msg(qnow_ns() < until_ns, "%u answers are missing", n);
			vdh_step(&k->h, 5);
			continue;
		}
		unsigned i = (unsigned)(uintptr_t)token - 1;
		ck_assert(!(seen & 1ull << i));
		seen |= 1ull << i;
		qmem_read(k->h.mem, gpa(vhd_slot(i) + 0x10), &st, 1);
		ck_assert_uint_eq(st, VIRTIO_BLK_S_OK);
		n--;
	}
}

void vhd_fill(struct vhd *k, unsigned n, uint8_t byte)
{
	uint8_t data[4096];

	memset(data, byte, sizeof(data));
	qmem_write(k->h.mem, gpa(vhd_slot(n) + 0x200), data, sizeof(data));
}
