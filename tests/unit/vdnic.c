/* SPDX-License-Identifier: Apache-2.0 */
/* See vdnic.h. */
#include "tests/unit/vdnic.h"

#include "tests/unit/fixture.h"

void nic_config(struct nic *k)
{
	vdh_init(&k->h);
	vdn_init(&k->n, &k->h);
	memset(k->q, 0, sizeof(k->q));
	vdh_arg(&k->h, "peer", "ivi/net", 0);
}

void nic_create(struct nic *k, enum how how)
{
	enum vd_space space = how == MMIO ? VD_MEM : VD_PCI;

	if (how == LEGACY)
		vdh_arg(&k->h, "legacy", NULL, 0);
	ck_assert_int_eq(vdh_create(&k->h, "virtio-net", space, VDD_MMIO, 1), 0);
	vdd_init(&k->d, &k->h);
}

/* Driver up with @pairs queue pairs and the control queue. */
void nic_live(struct nic *k, uint64_t features, unsigned pairs)
{
	unsigned max = pairs > 1 ? (unsigned)vdd_config(&k->d, 8, 2) : 1;
	unsigned ring = (features & VDD_INDIRECT ? QRING_INDIRECT : 0) |
			(features & VDD_EVENT_IDX ? QRING_EVENT_IDX : 0) |
			(features & VDD_PACKED ? QRING_PACKED : 0);

	if (!k->d.legacy)
		features |= VDD_VERSION_1;
	k->features = features;
	vdd_negotiate(&k->d, features);
	k->ctrl = 2 * max;
	k->n_queues = k->ctrl + 1;
	for (unsigned q = 0; q < k->n_queues; q++) {
		qdriver_fini(&k->q[q]);
		/* The ring of a legacy device is as long as the device says. */
		uint32_t num = k->d.legacy ? vdd_queue_max(&k->d, q) : ENTRIES;
		ck_assert_int_eq(qdriver_init(&k->q[q], k->h.mem, gpa(RING(q)), num, ring,
					      gpa(RING(q) + 0x10000), 8), 0);
		vdd_queue_set(&k->d, q, &k->q[q].cfg);
		vdd_queue_enable(&k->d, q);
	}
	vdd_set_status(&k->d, k->d.legacy ? VDD_STATUS_LIVE_LEGACY : VDD_STATUS_LIVE);
	vdh_settle(&k->h);
}

void nic_open(struct nic *k, enum how how, uint64_t features)
{
	nic_config(k);
	nic_create(k, how);
	nic_live(k, features | (how == PACKED ? VDD_PACKED : 0), 1);
}

void nic_close(struct nic *k)
{
	for (unsigned q = 0; q < k->n_queues; q++)
		qdriver_fini(&k->q[q]);
	vdh_fini(&k->h);
	vdn_fini(&k->n);
}

uint32_t nic_hdr_bytes(const struct nic *k)
{
	return k->d.legacy && !(k->features & B(MRG_RXBUF)) ? 10 : 12;
}

void nic_go(struct nic *k, unsigned q)
{
	if (qdriver_publish(&k->q[q]))
		vdd_notify(&k->d, q);
	vdh_settle(&k->h);
}

void nic_fill(uint8_t *p, uint32_t len, unsigned seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + seed + (i >> 8));
}

void nic_reaped(struct nic *k, unsigned q, uint32_t want)
{
	void *token;
	uint32_t written;

	ck_assert_int_eq(qdriver_poll(&k->q[q], &token, &written), QDRIVER_OK);
	ck_assert_uint_eq(written, want);
}

void nic_queue_frames(struct nic *k, unsigned n)
{
	static const uint8_t buf[12 + 60];
	const struct qdriver_buf b = { gpa(MEM(1)), sizeof(buf), false };

	qmem_write(k->h.mem, gpa(MEM(1)), buf, sizeof(buf));
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(qdriver_add(&k->q[1], &b, 1, k), QDRIVER_OK);
	nic_go(k, 1);
}

void nic_give_buffers(struct nic *k, unsigned q, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		const struct qdriver_buf b = { gpa(MEM(q) + (uint64_t)i * bytes), bytes, true };

		ck_assert_int_eq(qdriver_add(&k->q[q], &b, 1, (void *)(uintptr_t)(b.at.v)),
				 QDRIVER_OK);
	}
	nic_go(k, q);
}

uint32_t nic_take_frame(struct nic *k, unsigned q, uint8_t *buf)
{
	uint32_t written, total = 0;
	unsigned n = 1;
	void *token;

	for (unsigned i = 0; i < n; i++) {
		if (qdriver_poll(&k->q[q], &token, &written) != QDRIVER_OK) {
			ck_assert_uint_eq(i, 0);
			return 0;
		}
		gpa_t from = gpa((uintptr_t)token);

		ck_assert_int_eq(qmem_read(k->h.mem, from, buf + total, written), 0);
		total += written;
		if (i == 0 && nic_hdr_bytes(k) == 12)
			n = buf[10] | buf[11] << 8;
	}
	ck_assert_uint_ge(n, 1);
	return total;
}
