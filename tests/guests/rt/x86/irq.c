/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: LAPIC and IOAPIC through their MMIO windows, from ring 3. The LAPIC timer is the
 * guest's alarm clock, one-shot, armed only when the next deadline is earlier than the one that
 * is already set. Line 0 is the timer; the rest is handed out.
 */
#include "tests/guests/rt/rt.h"
#include "tests/guests/rt/x86/x86.h"

#define IOAPIC		0xfec00000u
#define LAPIC_ID	0x20
#define LAPIC_SVR	0xf0
#define LAPIC_LVT_TIMER	0x320
#define LAPIC_LVT_LINT0	0x350
#define LAPIC_TMICT	0x380
#define LAPIC_TMCCT	0x390
#define LAPIC_TDCR	0x3e0
#define TIMER_IRQ	0
#define MAX_SLEEP_NS	RT_NS_PER_S

static int next_irq = TIMER_IRQ + 1;
static uint64_t lapic_per_tick;		/* LAPIC timer counts per TSC tick, 32.32 */
static uint64_t armed_until;		/* TSC; meaningful while armed_count is current */
static uint32_t armed_count;		/* rt_irq_count of the timer when it was armed */

static void lapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(uint64_t)(X86_LAPIC + reg) = v;
}

static uint32_t lapic_read(unsigned reg)
{
	return *(volatile uint32_t *)(uint64_t)(X86_LAPIC + reg);
}

static void ioapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(uint64_t)IOAPIC = reg;
	*(volatile uint32_t *)(uint64_t)(IOAPIC + 0x10) = v;
}

void x86_irq_init(void)
{
	arch_out8(0x21, 0xff);		/* both 8259 silent */
	arch_out8(0xa1, 0xff);
	lapic_write(LAPIC_LVT_LINT0, 0x10000);
	lapic_write(LAPIC_TDCR, 0x0b);	/* divide by 1 */
	lapic_write(LAPIC_LVT_TIMER, X86_IRQ_VECTOR(TIMER_IRQ));
	lapic_write(LAPIC_SVR, 0x1ff);
}

/* 2 ms are enough for the alarm clock; latencies are measured with the TSC. */
uint64_t x86_lapic_per_tick(void)
{
	const uint64_t span = rt_ticks(2 * RT_NS_PER_MS);

	lapic_write(LAPIC_LVT_TIMER, 0x10000);
	lapic_write(LAPIC_TMICT, UINT32_MAX);
	uint64_t t0 = arch_ticks();
	uint32_t c0 = lapic_read(LAPIC_TMCCT);
	while (arch_ticks() - t0 < span)
		arch_relax();
	uint32_t c1 = lapic_read(LAPIC_TMCCT);
	uint64_t t1 = arch_ticks();
	lapic_per_tick = ((uint64_t)(c0 - c1) << 32) / (t1 - t0);
	lapic_write(LAPIC_TMICT, 0);
	lapic_write(LAPIC_LVT_TIMER, X86_IRQ_VECTOR(TIMER_IRQ));
	return lapic_per_tick;
}

int rt_irq_alloc(void)
{
	return next_irq < ARCH_N_IRQ ? next_irq++ : -1;
}

int rt_irq_alloc_msi(unsigned bdf, uint64_t *ret_addr, uint32_t *ret_data)
{
	int irq = rt_irq_alloc();

	(void)bdf;	/* the local APIC does not ask who sends */
	if (irq < 0)
		return -1;
	*ret_addr = X86_LAPIC | (lapic_read(LAPIC_ID) >> 24) << 12;
	*ret_data = X86_IRQ_VECTOR(irq);
	return irq;
}

void rt_irq_route(unsigned gsi, int irq)
{
	if (irq < 0)
		return;
	ioapic_write(0x11 + 2 * gsi, lapic_read(LAPIC_ID));
	ioapic_write(0x10 + 2 * gsi, X86_IRQ_VECTOR(irq));
}

/* Callers read @seen before this runs, so a timer that fires at once still ends the sleep. */
static void arm_timer(uint64_t now, uint64_t until)
{
	uint64_t counts = (uint64_t)((unsigned __int128)(until - now) * lapic_per_tick >> 32) + 1;

	armed_until = until;
	armed_count = rt_irq_count[TIMER_IRQ];
	lapic_write(LAPIC_TMICT, counts > UINT32_MAX ? UINT32_MAX : (uint32_t)counts);
}

/* No wait is longer than MAX_SLEEP_NS, so a lost interrupt shows as slowness, not as a hang. */
void rt_wait(uint32_t seen, uint64_t until_ticks)
{
	uint64_t now = arch_ticks();
	uint64_t limit = now + rt_ticks(MAX_SLEEP_NS);

	if (until_ticks <= now)
		return;
	if (until_ticks > limit)
		until_ticks = limit;
	bool running = armed_count == rt_irq_count[TIMER_IRQ] && armed_until > now;
	if (!running || armed_until > until_ticks)
		arm_timer(now, until_ticks);
	x86_service(X86_SVC_SLEEP, seen, 0, 0);
}
