/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First C code on arm64: reads the device tree, turns the MMU on, brings the runtime up, runs the
 * guest; and how a guest ends: power off or reset by PSCI, chosen by the key "exit".
 */
#include "tests/guests/rt/arm64/arm64.h"

#define PSCI_SYSTEM_OFF		0x84000008u
#define PSCI_SYSTEM_RESET	0x84000009u
#define SYNC			4	/* the entry in the vectors */
#define ESR_CLASS_SHIFT		26
#define CLASS_DATA_ABORT	0x25u	/* at this EL */
#define FAULT_EXTERNAL		0x10u	/* synchronous, not in a table walk */

void rt_main(uint64_t fdt);
void arm64_sync(uint64_t regs[31]);
_Noreturn void arm64_trap(uint64_t kind, uint64_t esr, uint64_t elr, uint64_t far, uint64_t sp);

/* From trap.S, on an empty stack. */
_Noreturn void arm64_trap(uint64_t kind, uint64_t esr, uint64_t elr, uint64_t far, uint64_t sp)
{
	static unsigned depth;

	while (depth++ > 0)	/* the report itself faulted: keep what the first left */
		__asm__ volatile("wfi");
	rt_fail("exception kind=%lu esr=0x%lx elr=0x%lx far=0x%lx sp=0x%lx", kind, esr, elr, far,
		sp);
}

/*
 * From trap.S with x0 to x30 in @regs: a data abort that came from the bus is skipped, a load gives
 * ones. Loads and stores of device windows are single ones with an immediate or register offset.
 */
void arm64_sync(uint64_t regs[31])
{
	uint64_t esr, elr, far;

	__asm__ volatile("mrs %0, esr_el1\n\tmrs %1, elr_el1\n\tmrs %2, far_el1"
			 : "=r"(esr), "=r"(elr), "=r"(far));
	/* Linux 6.1's KVM extends the sign of what it puts there itself. */
	if ((uint32_t)esr >> ESR_CLASS_SHIFT != CLASS_DATA_ABORT || (esr & 63) != FAULT_EXTERNAL)
		arm64_trap(SYNC, esr, elr, far, (uint64_t)regs + 256);
	uint32_t insn = *(const uint32_t *)elr;
	unsigned to = insn & 31;
	rt_bus_errors++;
	rt_bus_error_was = 0;
	if (insn >> 22 & 3 && to != 31) {
		rt_bus_error_was = regs[to];
		regs[to] = UINT64_MAX >> (64 - (8u << (insn >> 30)));
	}
	__asm__ volatile("msr elr_el1, %0" : : "r"(elr + 4));
}

/* There is none on this board: the key `q` does its work. */
bool rt_power_button(bool force_poll)
{
	(void)force_poll;
	return false;
}

void rt_time_init(void)
{
	uint64_t hz;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	if (hz < 1000)
		rt_fail("the counter's frequency is %lu Hz", hz);
	rt_clock_set(hz / 1000, "cntfrq");
}

void rt_main(uint64_t fdt)
{
	static struct rt_boot boot;

	bool ok = arm64_fdt_read(fdt, &boot);
	if (ok) {
		arm64_mmu_on(&boot);
		arm64_cut_initrd(&boot);
	}
	arm64_serial_init();
	rt_common_init(&boot);
	if (!ok)
		rt_fail("no device tree that can be read at 0x%lx", fdt);
	rt_time_init();
	arm64_gic_init();
	__asm__ volatile("msr daifclr, #2" : : : "memory");
	guest_main();
	rt_done_ok();
}

static void psci(uint32_t function)
{
	register uint64_t x0 __asm__("x0") = function;

	if (arm64_board.psci == PSCI_HVC)
		__asm__ volatile("hvc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
	else if (arm64_board.psci == PSCI_SMC)
		__asm__ volatile("smc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
}

_Noreturn void rt_arch_end(bool ok)
{
	char how[16] = "poweroff";

	(void)ok;	/* the closing line has said it */
	arm64_serial_flush();
	rt_arg_str("exit", how, sizeof(how));
	if (strcmp(how, "none"))
		psci(strcmp(how, "reset") ? PSCI_SYSTEM_OFF : PSCI_SYSTEM_RESET);
	for (;;)
		__asm__ volatile("wfi");
}
