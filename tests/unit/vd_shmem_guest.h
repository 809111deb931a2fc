/* SPDX-License-Identifier: Apache-2.0 */
/* Guests with a vdev shmem, on one folder of regions, for the tests of vdevs/shmem.c. */
#pragma once

#include <linux/pci_regs.h>

#include "lib/qshm.h"
#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define MMIO_BASE 0x1c050000ull
#define BAR0_AT 0xe0000000ull
#define BAR2_AT 0xe8000000ull
#define WINDOW (1ull << 20)
#define WAIT_S 30

enum { OK, UNKNOWN_FAILURE, NOMEM, CLIENT_MAX, ILLEGAL_NAME, NO_PERMISSION, DOES_NOT_EXIST };

/* One guest. */
struct guest {
	struct vdh h;
	enum vd_space bus;
	uint64_t factory;
};

/* A folder with the regions, and what all tests need. */
static char dir[64];
static struct qshm *hub;

static inline void regions_open(void)
{
	fixture_mkdir(dir, sizeof(dir));
	ck_assert_int_eq(qshm_new(dir, "t-shm", &hub), 0);
}

static inline void regions_close(void)
{
	char path[80];

	hub = qshm_free(hub);
	snprintf(path, sizeof(path), "%s/shm", dir);
	ck_assert_msg(rmdir(path) == 0, "a region is left");
	ck_assert_int_eq(rmdir(dir), 0);
}

static inline void guest_init(struct guest *g)
{
	vdh_init(&g->h);
	g->h.shm = hub;
	g->h.irq_number[0] = 38;
	vdh_arg(&g->h, "window", "1m", WINDOW);
}

static inline void guest_open(struct guest *g, enum vd_space bus)
{
	g->bus = bus;
	g->factory = bus == VD_PCI ? BAR0_AT : MMIO_BASE;
	ck_assert_int_eq(vdh_create(&g->h, "shmem", bus, MMIO_BASE, 1), 0);
	if (bus != VD_PCI)
		return;
	vdh_cfg_write(&g->h, PCI_BASE_ADDRESS_0, 4, (uint32_t)BAR0_AT);
	vdh_cfg_write(&g->h, PCI_BASE_ADDRESS_2, 4, (uint32_t)BAR2_AT);
	vdh_cfg_write(&g->h, PCI_BASE_ADDRESS_3, 4, 0);
	vdh_cfg_write(&g->h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

static inline void guest_start(struct guest *g, enum vd_space bus)
{
	guest_init(g);
	guest_open(g, bus);
}

static inline uint64_t reg(struct guest *g, uint64_t off, unsigned size)
{
	return vdh_read(&g->h, VD_MEM, g->factory + off, size);
}

static inline void reg_set(struct guest *g, uint64_t off, unsigned size, uint64_t val)
{
	vdh_write(&g->h, VD_MEM, g->factory + off, size, val);
}

/* By bytes, with its NUL where there is room. */
static inline void name_set(struct guest *g, const char *name)
{
	for (unsigned i = 0; i < 32 && (i == 0 || name[i - 1]); i++)
		reg_set(g, 0x1c + i, 1, (uint8_t)name[i]);
}

static inline uint32_t create(struct guest *g, const char *name, uint32_t n_pages)
{
	name_set(g, name);
	reg_set(g, 0x18, 4, n_pages);
	return (uint32_t)reg(g, 0x14, 4);
}

static inline uint32_t find(struct guest *g, const char *name)
{
	name_set(g, name);
	reg_set(g, 0x3c, 4, 1);
	return (uint32_t)reg(g, 0x14, 4);
}

/* The control page of a region that must come to be. */
static inline uint64_t created(struct guest *g, const char *name, uint32_t n_pages)
{
	ck_assert_uint_eq(create(g, name, n_pages), OK);
	ck_assert_uint_ne(reg(g, 8, 8), 0);
	return reg(g, 8, 8);
}

static inline uint32_t ctl(struct guest *g, uint64_t page, uint64_t off)
{
	return (uint32_t)vdh_read(&g->h, VD_MEM, page + off, 4);
}

static inline void ctl_set(struct guest *g, uint64_t page, uint64_t off, uint32_t val)
{
	vdh_write(&g->h, VD_MEM, page + off, 4, val);
}

/* Until the interrupt is up; the others' thread needs its moment. */
static inline void until_irq(struct guest *g)
{
	uint64_t end = qnow_ns() + WAIT_S * Q_NSEC_PER_SEC;

	while (!g->h.level[0]) {
		ck_assert_msg(qnow_ns() < end, "no interrupt");
		vdh_step(&g->h, 100);
	}
}

/* Reads status until it is @want, bells gathered. */
static inline void until_status(struct guest *g, uint64_t page, uint32_t want)
{
	uint64_t end = qnow_ns() + WAIT_S * Q_NSEC_PER_SEC;
	uint32_t bells = 0, status;

	for (;;) {
		status = ctl(g, page, 0);
		bells |= status & 0xffff;
		if (((status & 0xffff0000) | bells) == want)
			return;
		ck_assert_msg(qnow_ns() < end, "status %#x, expected %#x", status | bells, want);
		vdh_step(&g->h, 10);
	}
}
