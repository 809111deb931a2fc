/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First code in ring 3 on x86-64: fills the IDT, reads the loader's hvm_start_info, brings the
 * runtime up, runs the guest; and how a guest ends: power off, debug port, reset or triple fault,
 * chosen by the key "exit".
 */
#include "tests/guests/rt/rt.h"
#include "tests/guests/rt/x86/x86.h"

#define START_MAGIC	0x336ec578
#define PORT_DEBUG_EXIT	0xf4
#define PORT_RESET	0xcf9
#define PORT_PM1_EVT	0x600
#define PORT_PM1_EN	0x602
#define PORT_PM1_CNT	0x604
#define PM1_PWRBTN	0x100
#define GSI_SCI		9
#define DEFAULT_POWEROFF "0x3400"	/* SLP_TYP 5, SLP_EN */

struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

struct start_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct idt_gate {
	uint16_t offset_0_15, selector, attr, offset_16_31;
	uint32_t offset_32_63, reserved;
};

extern uint64_t rt_boot_info;
extern uint64_t rt_trap_info[5];
extern struct idt_gate rt_idt[256];
extern char rt_trap_stubs[], rt_irq_stubs[], rt_irq_spurious[], rt_service[];
void rt_main(void);
void rt_trap_report(void);

static int sci_irq = -1;

static void set_gate(unsigned vector, const char *handler, unsigned dpl)
{
	uint64_t at = (uint64_t)handler;

	rt_idt[vector] = (struct idt_gate){
		.offset_0_15 = (uint16_t)at, .selector = 0x08,
		.attr = (uint16_t)(0x8e00 | dpl << 13),
		.offset_16_31 = (uint16_t)(at >> 16), .offset_32_63 = (uint32_t)(at >> 32),
	};
}

static void idt_init(void)
{
	for (unsigned i = 0; i < 32; i++)
		set_gate(i, rt_trap_stubs + 16 * i, 0);
	for (unsigned i = 0; i < ARCH_N_IRQ; i++)
		set_gate(X86_IRQ_VECTOR(i), rt_irq_stubs + 32 * i, 0);
	set_gate(3, rt_service, 3);
	set_gate(0xff, rt_irq_spurious, 0);
}

/* Reached by iretq from an exception's stub, on an empty stack. */
void rt_trap_report(void)
{
	rt_fail("exception vector=%lu error=0x%lx rip=0x%lx cr2=0x%lx rsp=0x%lx", rt_trap_info[0],
		rt_trap_info[1], rt_trap_info[2], rt_trap_info[3], rt_trap_info[4]);
}

static void read_boot_info(struct rt_boot *b)
{
	const struct start_info *si = (const void *)rt_boot_info;

	if (rt_boot_info >= 1ull << 32 || si->magic != START_MAGIC)
		rt_fail("no start info at 0x%lx", rt_boot_info);
	b->cmdline = (const char *)si->cmdline;
	if (si->version == 0)
		rt_fail("start info version 0 has no memory map");
	const struct start_memmap *m = (const void *)si->memmap;
	for (uint32_t i = 0; i < si->n_memmap && b->n_map < RT_ARRAY_LEN(b->map); i++)
		b->map[b->n_map++] = (struct rt_range){ m[i].addr, m[i].size, m[i].type };
}

static void power_button_init(void)
{
	if (arch_in16(PORT_PM1_EVT) == 0xffff)
		return;		/* no ACPI power management here */
	sci_irq = rt_irq_alloc();
	rt_irq_route(GSI_SCI, sci_irq);
	arch_out16(PORT_PM1_EN, PM1_PWRBTN);
}

bool rt_power_button(bool force_poll)
{
	static uint32_t seen;

	if (sci_irq < 0)
		return false;
	uint32_t n = rt_irq_count[sci_irq];
	if (n == seen && !force_poll)
		return false;
	seen = n;
	uint16_t status = arch_in16(PORT_PM1_EVT);
	if (!(status & PM1_PWRBTN) || status == 0xffff)
		return false;
	arch_out16(PORT_PM1_EVT, PM1_PWRBTN);
	return true;
}

void rt_main(void)
{
	static struct rt_boot boot;

	idt_init();
	x86_serial_init();
	read_boot_info(&boot);
	rt_common_init(&boot);
	x86_irq_init();
	rt_time_init();
	power_button_init();
	x86_service(X86_SVC_IRQ_ON, 0, 0, 0);
	guest_main();
	rt_done_ok();
}

/* "poweroff=V[,V...]": writes each value to PM1a control in turn. */
static void power_off(void)
{
	char buf[64] = DEFAULT_POWEROFF;
	const char *s = buf;
	uint64_t v;

	rt_arg_str("poweroff", buf, sizeof(buf));
	while (rt_parse_u64(&s, &v)) {
		arch_out16(PORT_PM1_CNT, (uint16_t)v);
		if (*s == ',')
			s++;
	}
}

static void triple_fault(void)
{
	memset(rt_idt, 0, sizeof(struct idt_gate) * 256);
	__asm__ volatile("ud2");
}

_Noreturn void rt_arch_end(bool ok)
{
	char how[16] = "poweroff";

	x86_serial_flush();
	rt_arg_str("exit", how, sizeof(how));
	if (!strcmp(how, "debug"))
		arch_out32(PORT_DEBUG_EXIT, ok ? 0x10 : 0x11);
	else if (!strcmp(how, "reset"))
		arch_out8(PORT_RESET, 0x06);
	else if (!strcmp(how, "triple"))
		triple_fault();
	else if (strcmp(how, "none"))
		power_off();
	for (;;)
		rt_wait(rt_wake, UINT64_MAX);
}
