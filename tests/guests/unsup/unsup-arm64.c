/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does what nobody serves, and says what came of it: accesses to addresses without an
 * owner, and one by an instruction of which the processor says too little (a pair of registers).
 * arm64. The runtime answers an external abort itself; it counts them, and keeps what stood in the
 * register that was to be read.
 */
#include "tests/guests/rt/rt.h"

static uint32_t n_aborts;

static void say(const char *what, uint64_t val)
{
	const uint32_t n = rt_bus_errors;

	/* Behind an abort, what is in the register is the runtime's. */
	rt_printf("unsup: %s value=0x%lx aborts=%u\n", what, n == n_aborts ? val : rt_bus_error_was,
		  n - n_aborts);
	n_aborts = n;
}

static void references(uint64_t addr)
{
	uint64_t v = 0x1111;

	__asm__ volatile("ldrb %w0, [%1]" : "+r"(v) : "r"(addr) : "memory");
	say("read8", v);
	v = 0x2222;
	__asm__ volatile("ldr %0, [%1]" : "+r"(v) : "r"(addr + 8) : "memory");
	say("read64", v);
	__asm__ volatile("str %w0, [%1]" : : "r"(0xabcd1234), "r"(addr + 16) : "memory");
	say("write32", 0);
}

static void instruction(uint64_t addr)
{
	uint64_t v = 0x1111, w = 0x2222;

	__asm__ volatile("ldp %0, %1, [%2]" : "+r"(v), "+r"(w) : "r"(addr) : "memory");
	say("ldp", v);
}

void guest_main(void)
{
	const uint64_t addr = rt_arg_u64("addr", 0x30000000);
	char what[32];

	rt_bus_errors_ok = true;
	if (!rt_arg_str("do", what, sizeof(what)))
		rt_fail("do= is missing");
	if (!strcmp(what, "references"))
		references(addr);
	else if (!strcmp(what, "instruction"))
		instruction(addr);
	else if (!strcmp(what, "ticks"))
		rt_printf("unsup: ticks %lu\n", arch_ticks());
	else
		rt_fail("do=%s: not known", what);
	rt_printf("unsup: over\n");
}
