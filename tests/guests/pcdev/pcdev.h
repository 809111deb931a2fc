/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of pcdev: the tests by name, and what they say. */
#pragma once
#include "tests/guests/rt/rt.h"

#define HPET_DEFAULT 0xf8008000u

static inline uint32_t mmio32(uint64_t at)
{
	return *(volatile uint32_t *)at;
}

static inline uint64_t mmio64(uint64_t at)
{
	return *(volatile uint64_t *)at;
}

static inline void mmio32_set(uint64_t at, uint32_t v)
{
	*(volatile uint32_t *)at = v;
}

static inline void mmio64_set(uint64_t at, uint64_t v)
{
	*(volatile uint64_t *)at = v;
}

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(0));
}

/* Ends the guest as FAILED unless @ok. */
#define check(ok, ...)                                                                             \
	do {                                                                                       \
		if (!(ok))                                                                         \
			rt_fail(__VA_ARGS__);                                                      \
	} while (0)
void same(const char *what, uint64_t got, uint64_t want);
/* Waits until interrupt @irq has come @more times since it had come @from times. */
void wait_irq(const char *what, int irq, uint32_t from, uint32_t more);
/* The irq that ioapic line @gsi is routed to, by now; the same one each time. */
int line_irq(unsigned gsi);

void hpet_test(void);
void rtc_test(void);
void kbd_test(void);
void pci_test(void);
void progress_test(void);
void wdt_test(void);
void pic_test(void);
void cpu_test(void);
void deadline_test(void);
void smp_test(void);
void storm_test(void);
