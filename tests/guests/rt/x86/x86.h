/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of rt/x86/. */
#pragma once
#include <stdint.h>

#define X86_IRQ_VECTOR(irq)	(0x30u + (unsigned)(irq))
#define X86_LAPIC		0xfee00000u

void x86_serial_init(void);
void x86_serial_flush(void);
void x86_irq_init(void);
/* Measures LAPIC timer counts per TSC tick, 32.32 fixed point; 0 if it stands still. */
uint64_t x86_lapic_per_tick(void);

enum x86_service {
	X86_SVC_SLEEP,		/* @a: the value of rt_wake to leave behind */
	X86_SVC_WRMSR,		/* @a: MSR, @b and @c: low and high half */
	X86_SVC_IRQ_ON,
};

/* The services of ring 0, see trap.S. */
static inline void x86_service(enum x86_service nr, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t eax = nr;
	__asm__ volatile("int3" : "+a"(eax)
			 : "D"(a), "c"(a), "S"(b), "d"(c) : "memory", "cc");
}
