/* SPDX-License-Identifier: Apache-2.0 */
/* The rest of the board: keyboard controller, a dummy on PCI, progress port, processors. */
#include "tests/guests/pcdev/pcdev.h"
#include "tests/guests/rt/x86/x86.h"

/* ---- keyboard controller ---- */

static int kbd_get(void)
{
	uint64_t end = arch_ticks() + rt_ticks(RT_NS_PER_S);

	while (arch_ticks() < end)
		if (arch_in8(0x64) & 1)
			return arch_in8(0x60);
	return -1;
}

static void kbd_answers(const char *what, uint16_t port, uint8_t byte, int a, int b, int c)
{
	const int want[] = { a, b, c };

	arch_out8(port, byte);
	for (unsigned i = 0; i < 3 && want[i] >= 0; i++)
		same(what, (uint64_t)(unsigned)kbd_get(), (unsigned)want[i]);
	same(what, arch_in8(0x64) & 1, 0);
}

/* "kbd=reset" ends the machine by the controller's reset line. */
void kbd_test(void)
{
	char how[8] = "";

	kbd_answers("kbd: self test", 0x64, 0xaa, 0x55, -1, -1);
	kbd_answers("kbd: wire test", 0x64, 0xab, 0x00, -1, -1);
	kbd_answers("kbd: second port", 0x64, 0xa9, 0x01, -1, -1);
	kbd_answers("kbd: control register", 0x64, 0x20, 0x74, -1, -1);
	arch_out8(0x64, 0x60);
	arch_out8(0x60, 0x45);
	int irq = line_irq(1);
	uint32_t from = rt_irq_count[irq];
	kbd_answers("kbd: identity", 0x60, 0xf2, 0xfa, 0xab, 0x41);
	wait_irq("kbd", irq, from, 3);
	kbd_answers("kbd: reset", 0x60, 0xff, 0xfa, 0xaa, -1);
	kbd_answers("kbd: lights", 0x60, 0xed, 0xfa, -1, -1);
	kbd_answers("kbd: which lights", 0x60, 0x07, 0xfa, -1, -1);
	kbd_answers("kbd: output port", 0x64, 0xd0, 0xc3, -1, -1);
	rt_arg_str("kbd", how, sizeof(how));
	if (!strcmp(how, "reset")) {
		rt_printf("pc: resetting\n");
		x86_serial_flush();
		arch_out8(0x64, 0xfe);
		for (;;)
			rt_wait(rt_wake, arch_ticks() + rt_ticks(RT_NS_PER_S));
	}
}

/* ---- pci-dummy: "slot=", "id=" (device and vendor), "class=" ---- */

void pci_test(void)
{
	unsigned bdf = (unsigned)rt_arg_u64("slot", 1) << 3;

	same("pci: identity", rt_pci_read(bdf, 0, 4), rt_arg_u64("id", 0));
	same("pci: class", rt_pci_read(bdf, 8, 4) >> 8, rt_arg_u64("class", 0));
	for (unsigned reg = 0; reg < 0x100; reg += 4)
		rt_pci_write(bdf, reg, 4, 0xffffffff);
	same("pci: identity", rt_pci_read(bdf, 0, 4), rt_arg_u64("id", 0));
	for (unsigned bar = 0x10; bar < 0x28; bar += 4)
		same("pci: bar", rt_pci_read(bdf, bar, 4), 0);
	same("pci: rom", rt_pci_read(bdf, 0x30, 4), 0);
	same("pci: capabilities", rt_pci_read(bdf, 0x34, 1), 0);
	same("pci: interrupt pin", rt_pci_read(bdf, 0x3d, 1), 0);
	same("pci: no other function", rt_pci_read(bdf + 1, 0, 4), 0xffffffff);
	same("pci: by the window", mmio32(0xe0000000 + ((uint64_t)bdf << 12)), rt_arg_u64("id", 0));
}

/* ---- progress: the host looks at it while we wait for a key ---- */

void progress_test(void)
{
	arch_out8(0x80, 0x10);
	arch_out8(0x80, 0x20);
	arch_out8(0x80, 0x20);
	arch_out16(0x80, 0xbeef);
	same("progress: it is written only", arch_in8(0x80), 0xff);
	rt_printf("pc: progress told\n");
	while (rt_getc() < 0)
		rt_wait(rt_wake, arch_ticks() + rt_ticks(50 * RT_NS_PER_MS));
}

/* ---- what the processor says it runs on ---- */

static void says(const char *what, const uint32_t r[4], const char *want)
{
	check(!memcmp(&r[1], want, 12), "%s: 0x%x 0x%x 0x%x", what, r[1], r[2], r[3]);
}

void cpu_test(void)
{
	uint32_t r[4];

	cpuid(1, r);
	check(r[2] & 1u << 31, "cpuid: no hypervisor: 0x%x", r[2]);
	rt_printf("pc: cpuid deadline=%u\n", r[2] >> 24 & 1);
	cpuid(0x40000000, r);
	says("cpuid: KVM's leaf", r, "KVMKVMKVM\0\0");
	cpuid(0x40000001, r);
	check(r[0] & 9, "cpuid: no kvmclock: 0x%x", r[0]);
	cpuid(0x40000100, r);
	says("cpuid: our leaf", r, "ParleyParley");
	same("cpuid: our last leaf", r[0], 0x40000100);
}

#define LAPIC_ID	0x20
#define LAPIC_ICR_LOW	0x300
#define LAPIC_ICR_HIGH	0x310
#define LAPIC_LVT_TIMER 0x320
#define TIMER_DEADLINE	(2u << 17)
#define MSR_DEADLINE	0x6e0

/* The local APIC's timer at a value of the time stamp counter. */
void deadline_test(void)
{
	int irq = rt_irq_alloc();
	uint32_t from = rt_irq_count[irq];
	uint32_t was = mmio32(X86_LAPIC + LAPIC_LVT_TIMER);
	uint64_t at = 0;

	mmio32_set(X86_LAPIC + LAPIC_LVT_TIMER, TIMER_DEADLINE | X86_IRQ_VECTOR(irq));
	arch_mb();
	for (unsigned i = 1; i <= 5; i++) {
		at = arch_ticks() + rt_ticks(2 * RT_NS_PER_MS);
		x86_service(X86_SVC_WRMSR, MSR_DEADLINE, (uint32_t)at, (uint32_t)(at >> 32));
		uint64_t end = arch_ticks() + rt_ticks(10 * RT_NS_PER_S);
		/* Awake: the runtime's own alarm is this timer. */
		while (rt_irq_count[irq] - from < i && arch_ticks() < end)
			arch_relax();
		same("deadline: interrupts", rt_irq_count[irq] - from, i);
		check(arch_ticks() >= at, "deadline: too early");
	}
	mmio32_set(X86_LAPIC + LAPIC_LVT_TIMER, was);
}

/*
 * "cpus=": so many run after INIT and SIPI: each counts itself with its first instructions, in real
 * mode at 0x8000, and stops.
 */
void smp_test(void)
{
	static const uint8_t code[] = {
		0xfa,				/* cli */
		0x2e, 0xf0, 0xff, 0x06, 0x40, 0x00,	/* lock incw %cs:0x40 */
		0xf4,				/* hlt */
		0xeb, 0xfd,			/* jmp to the hlt */
	};
	const uint16_t n_others = (uint16_t)(rt_arg_u64("cpus", 1) - 1);
	volatile uint8_t *page = (volatile uint8_t *)0x8000;
	volatile uint16_t *counted = (volatile uint16_t *)0x8040;

	for (unsigned i = 0; i < sizeof(code); i++)
		page[i] = code[i];
	*counted = 0;
	for (unsigned step = 0; step < 2; step++) {
		/* To all but me: INIT, then start at page 8. */
		mmio32_set(X86_LAPIC + LAPIC_ICR_HIGH, 0);
		mmio32_set(X86_LAPIC + LAPIC_ICR_LOW, step ? 0xc4608 : 0xc4500);
		uint64_t end = arch_ticks() + rt_ticks(10 * RT_NS_PER_MS);
		while (arch_ticks() < end)
			arch_relax();
	}
	uint64_t end = arch_ticks() + rt_ticks(20 * RT_NS_PER_S);
	while (*counted < n_others && arch_ticks() < end)
		arch_relax();
	same("smp: processors that started", *counted, n_others);
	rt_printf("pc: smp others=%u\n", *counted);
}
