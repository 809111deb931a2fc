/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an access to a device costs: `n` accesses one after the other to one register, timed by the
 * guest itself. Each is an exit to the VMM and nothing else: the registers have no side effect.
 */
#include "tests/guests/rt/rt.h"

#define WARM_UP	1000u
#define MAGIC	0x74726976u	/* the first register of virtio-mmio */

struct place {
	const char *name;
	uint64_t at;
	void (*access)(uint64_t at);
};

static void mmio_load(uint64_t at)
{
	if (*(volatile uint32_t *)at != MAGIC)
		rt_fail("0x%lx is no virtio-mmio device", at);
}

/* Selects a feature word, as each driver does. */
static void mmio_store(uint64_t at)
{
	*(volatile uint32_t *)(at + 0x14) = 0;
}

#if ARCH_PORTS
/* The scratch register of an 8250: it keeps what was written, so that it must be there. */
static void port_load(uint64_t at)
{
	if (arch_in8((uint16_t)at) != 0x5a)
		rt_fail("port 0x%lx does not keep what is written", at);
}

static void port_store(uint64_t at)
{
	arch_out8((uint16_t)at, 0x5a);
}
#endif

static void measure(const struct place *p, uint64_t n)
{
	for (unsigned i = 0; i < WARM_UP; i++)
		p->access(p->at);
	uint64_t from = arch_ticks();
	for (uint64_t i = 0; i < n; i++)
		p->access(p->at);
	rt_printf("exits: %s n=%lu ns=%lu\n", p->name, n, rt_ns(arch_ticks() - from));
}

void guest_main(void)
{
	uint64_t n = rt_arg_u64("n", 100000), window = rt_arg_u64("window", 0);
	uint64_t port = rt_arg_u64("port", 0);

	if (window) {
		measure(&(struct place){ "mmio-load", window, mmio_load }, n);
		measure(&(struct place){ "mmio-store", window, mmio_store }, n);
	}
#if ARCH_PORTS
	if (port) {
		measure(&(struct place){ "port-store", port, port_store }, n);
		measure(&(struct place){ "port-load", port, port_load }, n);
	}
#else
	if (port)
		rt_fail("this machine has no ports");
#endif
}
