/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does what nobody serves, and says what came of it: accesses to addresses and ports
 * without an owner, registers that do not exist, an instruction that KVM's emulator does not know.
 * x86 only. Works in ring 3; what takes ring 0 goes through the gate of int3, which it takes over.
 *
 * Exceptions 6 and 13 are caught: each is counted and goes on at resume.
 */
#include "tests/guests/rt/rt.h"

struct gate {
	uint16_t off_0_15, selector;
	uint8_t ist, type;
	uint16_t off_16_31;
	uint32_t off_32_63, zero;
};
extern struct gate rt_idt[256];
extern char unsup_ud[], unsup_gp[], unsup_gate[];

volatile uint64_t unsup_resume;
volatile uint32_t unsup_n_ud, unsup_n_gp;

/*
 * unsup_gate: rdmsr (eax 16) and wrmsr (eax 17) of register ecx with edx:edi; else what the runtime
 * does. Ring 3 is entered with interrupts off in none of them.
 */
__asm__(".text\n"
	".globl unsup_ud, unsup_gp, unsup_gate\n"
	"unsup_gp:	add $8, %rsp\n"
	"	incl unsup_n_gp(%rip)\n"
	"	jmp 1f\n"
	"unsup_ud:	incl unsup_n_ud(%rip)\n"
	"1:	push %rax\n"
	"	mov unsup_resume(%rip), %rax\n"
	"	mov %rax, 8(%rsp)\n"
	"	pop %rax\n"
	"	iretq\n"
	"unsup_gate:	cmp $16, %eax\n"
	"	je 2f\n"
	"	cmp $17, %eax\n"
	"	je 3f\n"
	"	jmp rt_service\n"
	"2:	lea 4f(%rip), %rax\n"
	"	mov %rax, unsup_resume(%rip)\n"
	"	mov $0x11111111, %eax\n"
	"	mov %eax, %edx\n"
	"	rdmsr\n"
	"	iretq\n"
	"3:	lea 4f(%rip), %rax\n"
	"	mov %rax, unsup_resume(%rip)\n"
	"	mov %edi, %eax\n"
	"	wrmsr\n"
	"4:	iretq\n");

static void gate_set(unsigned vector, const char *to)
{
	uint64_t at = (uint64_t)(uintptr_t)to;

	rt_idt[vector].off_0_15 = (uint16_t)at;
	rt_idt[vector].off_16_31 = (uint16_t)(at >> 16);
	rt_idt[vector].off_32_63 = (uint32_t)(at >> 32);
}

static uint64_t msr_read(uint32_t msr)
{
	uint32_t eax = 16, edx = 0;

	__asm__ volatile("int3" : "+a"(eax), "+d"(edx) : "c"(msr) : "memory", "cc");
	return (uint64_t)edx << 32 | eax;
}

static void msr_write(uint32_t msr, uint64_t val)
{
	uint32_t eax = 17;

	__asm__ volatile("int3" : "+a"(eax)
			 : "c"(msr), "d"((uint32_t)(val >> 32)), "D"((uint32_t)val)
			 : "memory", "cc");
}

/* Runs one instruction that may be answered by an exception: it goes on behind it. */
#define TRY(insn, ...)                                                                             \
	__asm__ volatile("lea 9f(%%rip), %%r11\n\tmov %%r11, unsup_resume(%%rip)\n\t" insn         \
			 "\n9:" __VA_ARGS__ : "r11", "memory", "cc")

static uint64_t addr;
static uint32_t n_gp, n_ud;

static void say(const char *what, uint64_t val)
{
	rt_printf("unsup: %s value=0x%lx gp=%u ud=%u\n", what, val, unsup_n_gp - n_gp,
		  unsup_n_ud - n_ud);
	n_gp = unsup_n_gp;
	n_ud = unsup_n_ud;
}

static void references(void)
{
	uint64_t v = 0x1111;
	uint32_t d = 0x2222;

	TRY("movb (%1), %b0", : "+r"(v) : "r"(addr));
	say("read8", v & 0xff);
	v = 0x1111;
	TRY("mov (%1), %0", : "+r"(v) : "r"(addr + 8));
	say("read64", v);
	TRY("movl %0, (%1)", : : "r"(0xabcd1234), "r"(addr + 16));
	say("write32", 0);
	TRY("inl %%dx, %%eax", : "+a"(d) : "d"((uint16_t)0x5555));
	say("in32", d);
	TRY("outb %%al, %%dx", : : "a"(0x5a), "d"((uint16_t)0x5556));
	say("out8", 0);
}

static void storm(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint32_t d = 0;
		TRY("movl (%1), %0", : "+r"(d) : "r"(addr + 4 * (i & 0x3ff)));
	}
	say("storm", n);
}

static void registers(void)
{
	say("rdmsr", msr_read(0x5555));
	msr_write(0x5556, 0x1234567890abcdef);
	say("wrmsr", 0);
}

/* A load of the x87 from a device: KVM's emulator has none. */
static void instruction(void)
{
	TRY("fldl (%0)", : : "r"(addr));
	say("fldl", 0);
}

void guest_main(void)
{
	char what[32];

	addr = rt_arg_u64("addr", 0xf1000000);
	gate_set(6, unsup_ud);
	gate_set(13, unsup_gp);
	gate_set(3, unsup_gate);
	if (!rt_arg_str("do", what, sizeof(what)))
		rt_fail("do= is missing");
	if (!strcmp(what, "references"))
		references();
	else if (!strcmp(what, "storm"))
		storm(rt_arg_u64("n", 1000));
	else if (!strcmp(what, "registers"))
		registers();
	else if (!strcmp(what, "instruction"))
		instruction();
	else if (!strcmp(what, "tsc"))
		rt_printf("unsup: tsc %lu\n", arch_ticks());
	else
		rt_fail("do=%s: not known", what);
	rt_printf("unsup: over\n");
}
