/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime of the test guests: console, command line, memory, time, interrupts, the end.
 *
 * A guest is one program on one processor. It runs guest_main() in ring 3 on x86, at EL1 on arm64,
 * with all memory and device windows mapped one to one, and may be interrupted at any point;
 * handlers only count (rt_irq_count) and wake (rt_wake).
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/guests/rt/arch.h"

#define RT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define RT_NS_PER_S	UINT64_C(1000000000)
#define RT_NS_PER_MS	UINT64_C(1000000)
#define RT_NS_PER_US	UINT64_C(1000)

/* The guest's own part. Returning means success. */
void guest_main(void);

/* --- console (x86: 8250 at 0x3f8; arm64: the first PL011), output polled --- */
void rt_putc(char c);
/* Conversions: %c %s %d %u %x with l or ll, 0 and width; nothing else. */
void rt_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void rt_vprintf(const char *fmt, va_list ap);
/* Returns the next byte typed, or -1. */
int rt_getc(void);

/* --- command line: words key=value; a later word wins over an earlier one --- */
const char *rt_cmdline(void);
/* Copies the value of the @nth word with @key (0 = first) to @buf; false if there is none. */
bool rt_arg_nth(const char *key, unsigned nth, char *buf, size_t size);
bool rt_arg_str(const char *key, char *buf, size_t size);
/* Number with optional 0x and suffix K, M or G; a malformed one ends the guest as FAILED. */
uint64_t rt_arg_u64(const char *key, uint64_t dflt);
bool rt_parse_u64(const char **text, uint64_t *ret_v);

/* --- memory --- */
struct rt_range {
	uint64_t base, size;
	uint32_t type;			/* 1 is RAM, everything else is not */
};
unsigned rt_memmap(const struct rt_range **ret_map);
/* Zeroed memory that is never given back; NULL if there is none left. @align is a power of 2. */
void *rt_alloc(size_t size, size_t align);
/* The same, but the guest ends as FAILED instead of NULL. */
void *rt_need(size_t size, size_t align, const char *what);
uint64_t rt_alloc_left(void);
/* First address of the RAM that the guest runs in, and the one after it. */
uint64_t rt_ram_base(void);
uint64_t rt_ram_end(void);

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

/* --- time --- */
uint64_t rt_ns(uint64_t ticks);		/* a duration in arch_ticks() to ns */
uint64_t rt_ticks(uint64_t ns);
uint64_t rt_tick_khz(void);
const char *rt_tick_source(void);

/* --- the bus --- */
/*
 * While true, an access that the bus refuses reads as ones or is dropped, as it always is on x86;
 * else it is an exception.
 */
extern volatile bool rt_bus_errors_ok;
/* How many exceptions that were, and what the register of the last load had in it (arm64). */
extern volatile uint32_t rt_bus_errors;
extern volatile uint64_t rt_bus_error_was;

/* --- interrupts --- */
extern volatile uint32_t rt_irq_count[ARCH_N_IRQ];
extern volatile uint32_t rt_wake;	/* incremented by every interrupt */
/* A fresh line; -1 when all are handed out. */
int rt_irq_alloc(void);
/*
 * A fresh line and the message by which PCI function @bdf raises it; -1 when all are handed out or
 * this machine has no messages.
 */
int rt_irq_alloc_msi(unsigned bdf, uint64_t *ret_addr, uint32_t *ret_data);
/* Routes interrupt-controller input @gsi (arm64: the INTID) to @irq, edge-triggered. */
void rt_irq_route(unsigned gsi, int irq);
/*
 * Sleeps until an interrupt has come since rt_wake was @seen, or arch_ticks() has reached
 * @until_ticks. Read rt_wake before looking for work, pass it here after finding none.
 */
void rt_wait(uint32_t seen, uint64_t until_ticks);

/* --- the end --- */
/* True once the power button was pressed. @force_poll asks also if no interrupt came. */
bool rt_power_button(bool force_poll);
_Noreturn void rt_done_ok(void);
_Noreturn void rt_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- between rt/ and rt/<arch>/ --- */
struct rt_boot {
	const char *cmdline;		/* may be NULL */
	struct rt_range map[32];
	unsigned n_map;
};
void rt_common_init(const struct rt_boot *boot);
void rt_time_init(void);
/* How fast arch_ticks() runs, and who says so. */
void rt_clock_set(uint64_t khz, const char *source);
_Noreturn void rt_arch_end(bool ok);
/* Free addresses for memory BARs; false if there is no PCI. */
bool rt_pci_window(uint64_t *ret_base, uint64_t *ret_end);
uint32_t rt_pci_read(unsigned bdf, unsigned reg, unsigned width);
void rt_pci_write(unsigned bdf, unsigned reg, unsigned width, uint32_t v);
/* The @nth place of a virtio-mmio device that the machine itself names; x86 names none. */
bool rt_mmio_device(unsigned nth, uint64_t *ret_addr, unsigned *ret_gsi);
