/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rest of the guests may ask of the processor, arm64. Everything runs at EL1. Built with
 * -fno-auto-inc-dec: a hypervisor cannot finish a device access whose instruction also moves its
 * base register.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ARCH_N_IRQ	80	/* interrupt lines a guest can hand out */
#define ARCH_ODD_MMIO	0	/* device windows: what is not aligned faults in the guest itself */
#define ARCH_PORTS	0	/* there is no I/O space */

static inline uint64_t arch_ticks(void)
{
	uint64_t v;
	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(v) : : "memory");
	return v;
}

/* Full barrier: a store before it is seen by the device before a load after it is done. */
static inline void arch_mb(void)
{
	__asm__ volatile("dmb sy" : : : "memory");
}

/* Orders stores with stores and loads with loads. */
static inline void arch_order(void)
{
	__asm__ volatile("dmb ish" : : : "memory");
}

static inline void arch_relax(void)
{
	__asm__ volatile("yield" : : : "memory");
}

/* An instruction that is none. */
static inline void arch_crash(void)
{
	__asm__ volatile("udf #0");
}

typedef uint64_t arch_word __attribute__((may_alias));

static inline void arch_copy(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if ((((uintptr_t)d | (uintptr_t)s) & 7) == 0)
		for (; n >= 8; n -= 8, d += 8, s += 8)
			*(arch_word *)d = *(const arch_word *)s;
	while (n-- > 0)
		*d++ = *s++;
}

static inline void arch_fill(void *dst, unsigned char c, size_t n)
{
	unsigned char *d = dst;

	if (((uintptr_t)d & 7) == 0)
		for (; n >= 8; n -= 8, d += 8)
			*(arch_word *)d = c * UINT64_C(0x0101010101010101);
	while (n-- > 0)
		*d++ = c;
}
