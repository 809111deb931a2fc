/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rest of the guests may ask of the processor, x86-64. Everything here runs in ring 3
 * with IOPL 3; the arch.h of another processor has the same names.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ARCH_N_IRQ	80	/* interrupt lines a guest can hand out */
#define ARCH_ODD_MMIO	1	/* device windows take accesses that are not aligned */
#define ARCH_PORTS	1	/* there is I/O space */

static inline void arch_out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void arch_out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void arch_out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t arch_in8(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t arch_in16(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t arch_in32(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint64_t arch_ticks(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* Full barrier: a store before it is seen by the device before a load after it is done. */
static inline void arch_mb(void)
{
	__asm__ volatile("lock; addl $0, -4(%%rsp)" : : : "memory", "cc");
}

/* Orders stores with stores and loads with loads: the processor does, the compiler must. */
static inline void arch_order(void)
{
	__asm__ volatile("" : : : "memory");
}

static inline void arch_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* An instruction that is none. */
static inline void arch_crash(void)
{
	__asm__ volatile("ud2");
}

static inline void arch_copy(void *dst, const void *src, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

static inline void arch_fill(void *dst, unsigned char c, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
}
