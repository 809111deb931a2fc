/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: GICv3 by system registers, or GICv2 by its windows; one processor, all interrupts in
 * group 1 with one priority. Line 0 is the virtual timer, the guest's alarm clock. Shared
 * interrupts are edge-triggered whatever the device tree says, so that a handler need only count:
 * a level that stays high would come back at once.
 *
 * Wake-up protocol: every interrupt increments rt_wake. The guest reads rt_wake, looks at its
 * rings, and calls rt_wait() with the value it read. That compares with interrupts masked and waits
 * by WFI, which a pending interrupt ends also while it is masked: no gap in which to lose one.
 */
#include "tests/guests/rt/arm64/arm64.h"

#define TIMER_IRQ	0
#define MAX_SLEEP_NS	RT_NS_PER_S
#define PRIORITY	0xa0a0a0a0u
#define SPI_FIRST	32u
#define INTIDS		1020u		/* below LPIs; 1020 to 1023 mean nothing */
#define WAIT_NS		RT_NS_PER_S	/* for the controller itself */

#define GICD_CTLR	0x0
#define GICD_TYPER	0x4
#define GICD_IGROUPR	0x80
#define GICD_ISENABLER	0x100
#define GICD_ICENABLER	0x180
#define GICD_IPRIORITYR	0x400
#define GICD_ITARGETSR	0x800		/* version 2 */
#define GICD_ICFGR	0xc00
#define GICD_IROUTER	0x6000		/* version 3 */
#define CTLR_ENABLE	0x3
#define CTLR_ARE	0x10
#define CTLR_RWP	0x80000000u

#define GICR_TYPER	0x8
#define GICR_WAKER	0x14
#define GICR_SGI	0x10000		/* the second frame: registers as the distributor's */
#define TYPER_VLPIS	0x2
#define TYPER_LAST	0x10
#define WAKER_SLEEP	0x2
#define WAKER_ASLEEP	0x4
#define MPIDR_AFFINITY	UINT64_C(0xff00ffffff)

#define GICC_CTLR	0x0
#define GICC_PMR	0x4
#define GICC_IAR	0xc
#define GICC_EOIR	0x10

volatile uint32_t rt_irq_count[ARCH_N_IRQ];
volatile uint32_t rt_wake;
void arm64_irq(void);

static int next_irq = TIMER_IRQ + 1;
static uint8_t line_of[INTIDS];		/* line + 1, 0: none */
static bool has_msi;
static uint64_t gicr;			/* this processor's redistributor */

static void wait_clear(volatile uint32_t *reg, uint32_t bits, const char *what)
{
	uint64_t until = arch_ticks() + rt_ticks(WAIT_NS);

	while (*reg & bits)
		if (arch_ticks() > until)
			rt_fail("gic: %s does not come to rest", what);
}

static uint64_t affinity(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, mpidr_el1" : "=r"(v));
	return v & MPIDR_AFFINITY;
}

/* --- start --- */

static void distributor_init(void)
{
	const uint64_t d = arm64_board.gicd;
	const bool v3 = arm64_board.gic_version == 3;
	unsigned n = 32 * ((*arm64_reg32(d, GICD_TYPER) & 31) + 1);

	*arm64_reg32(d, GICD_CTLR) = 0;
	if (v3)
		wait_clear(arm64_reg32(d, GICD_CTLR), CTLR_RWP, "the distributor");
	for (unsigned i = SPI_FIRST; i < n; i += 32) {
		*arm64_reg32(d, GICD_ICENABLER + i / 8) = UINT32_MAX;
		*arm64_reg32(d, GICD_IGROUPR + i / 8) = v3 ? UINT32_MAX : 0;
	}
	for (unsigned i = SPI_FIRST; i < n; i += 4) {
		*arm64_reg32(d, GICD_IPRIORITYR + i) = PRIORITY;
		if (!v3)
			*arm64_reg32(d, GICD_ITARGETSR + i) = 0x01010101;
	}
	*arm64_reg32(d, GICD_CTLR) = CTLR_ENABLE | (v3 ? CTLR_ARE : 0);
	if (v3)
		wait_clear(arm64_reg32(d, GICD_CTLR), CTLR_RWP, "the distributor");
}

/* Frames stand one behind the other; each names the processor it belongs to. */
static uint64_t find_redistributor(void)
{
	const uint64_t me = affinity();
	const uint32_t packed = (uint32_t)(me >> 32 << 24) | (uint32_t)(me & 0xffffff);

	for (uint64_t at = 0; at < arm64_board.gicr_bytes;) {
		uint64_t typer = *arm64_reg64(arm64_board.gicr + at, GICR_TYPER);
		if (typer >> 32 == packed)
			return arm64_board.gicr + at;
		if (typer & TYPER_LAST)
			break;
		at += typer & TYPER_VLPIS ? 0x40000 : 0x20000;
	}
	rt_fail("gic: no redistributor for processor 0x%x", packed);
}

static void private_init(uint64_t base)
{
	*arm64_reg32(base, GICD_ICENABLER) = UINT32_MAX;
	*arm64_reg32(base, GICD_IGROUPR) = arm64_board.gic_version == 3 ? UINT32_MAX : 0;
	for (unsigned i = 0; i < SPI_FIRST; i += 4)
		*arm64_reg32(base, GICD_IPRIORITYR + i) = PRIORITY;
}

static void cpu_interface_v3(void)
{
	__asm__ volatile("msr s3_0_c12_c12_5, %0\n\t"	/* ICC_SRE_EL1 */
			 "isb\n\t"
			 "msr s3_0_c4_c6_0, %1\n\t"	/* ICC_PMR_EL1 */
			 "msr s3_0_c12_c12_4, xzr\n\t"	/* ICC_CTLR_EL1: EOI deactivates */
			 "msr s3_0_c12_c12_7, %2\n\t"	/* ICC_IGRPEN1_EL1 */
			 "isb" : : "r"(UINT64_C(7)), "r"(UINT64_C(0xff)), "r"(UINT64_C(1)));
}

void arm64_gic_init(void)
{
	const struct arm64_board *b = &arm64_board;

	if (!b->gic_version)
		rt_fail("no interrupt controller that this runtime knows");
	if (!b->timer_intid)
		rt_fail("no virtual timer in the device tree");
	distributor_init();
	if (b->gic_version == 3) {
		gicr = find_redistributor();
		*arm64_reg32(gicr, GICR_WAKER) &= ~(uint32_t)WAKER_SLEEP;
		wait_clear(arm64_reg32(gicr, GICR_WAKER), WAKER_ASLEEP, "the redistributor");
		private_init(gicr + GICR_SGI);
		cpu_interface_v3();
		has_msi = arm64_its_init(gicr);
	} else {
		private_init(b->gicd);
		*arm64_reg32(b->gicc, GICC_PMR) = 0xff;
		*arm64_reg32(b->gicc, GICC_CTLR) = 1;
	}
	arm64_gic_enable(b->timer_intid, TIMER_IRQ);
}

/* --- lines --- */

void arm64_gic_enable(unsigned intid, int irq)
{
	const uint64_t d = arm64_board.gicd;
	const bool v3 = arm64_board.gic_version == 3, is_private = intid < SPI_FIRST;
	uint64_t base = v3 && is_private ? gicr + GICR_SGI : d;

	if (intid >= INTIDS)
		rt_fail("gic: no interrupt has the number %u", intid);
	line_of[intid] = (uint8_t)(irq + 1);
	if (!is_private) {
		*arm64_reg32(d, GICD_ICFGR + intid / 16 * 4) |= 2u << intid % 16 * 2;
		if (v3)
			*arm64_reg64(d, GICD_IROUTER + (uint64_t)intid * 8) = affinity();
	}
	*arm64_reg32(base, GICD_ISENABLER + intid / 32 * 4) = 1u << intid % 32;
}

int rt_irq_alloc(void)
{
	return next_irq < ARCH_N_IRQ ? next_irq++ : -1;
}

int rt_irq_alloc_msi(unsigned bdf, uint64_t *ret_addr, uint32_t *ret_data)
{
	int irq = has_msi ? rt_irq_alloc() : -1;

	if (irq < 0)
		return -1;
	arm64_its_map(bdf, (unsigned)irq);
	*ret_addr = arm64_its_doorbell();
	*ret_data = (uint32_t)irq;
	return irq;
}

void rt_irq_route(unsigned gsi, int irq)
{
	if (irq >= 0)
		arm64_gic_enable(gsi, irq);
}

/* --- at run time --- */

static uint32_t acknowledge(void)
{
	uint64_t v;

	if (arm64_board.gic_version != 3)
		return *arm64_reg32(arm64_board.gicc, GICC_IAR);
	__asm__ volatile("mrs %0, s3_0_c12_c12_0\n\tdsb sy" : "=r"(v) : : "memory");
	return (uint32_t)v;
}

static void end_of_interrupt(uint32_t iar)
{
	if (arm64_board.gic_version != 3)
		*arm64_reg32(arm64_board.gicc, GICC_EOIR) = iar;
	else
		__asm__ volatile("msr s3_0_c12_c12_1, %0\n\tisb" : : "r"((uint64_t)iar) : "memory");
}

static void timer_off(void)
{
	__asm__ volatile("msr cntv_ctl_el0, xzr\n\tisb" : : : "memory");
}

/* From trap.S, interrupts masked. */
void arm64_irq(void)
{
	uint32_t iar = acknowledge();
	uint32_t intid = iar & 0xffffff, line = ARCH_N_IRQ;

	if (intid < INTIDS)
		line = line_of[intid] - 1u;
	else if (intid >= ARM64_LPI_FIRST)
		line = intid - ARM64_LPI_FIRST;
	else
		return;		/* spurious: nothing to end */
	if (line == TIMER_IRQ)
		timer_off();
	if (line < ARCH_N_IRQ)
		rt_irq_count[line]++;
	rt_wake++;
	end_of_interrupt(iar);
}

/* No wait is longer than MAX_SLEEP_NS, so a lost interrupt shows as slowness, not as a hang. */
void rt_wait(uint32_t seen, uint64_t until_ticks)
{
	uint64_t now = arch_ticks(), limit = now + rt_ticks(MAX_SLEEP_NS);

	if (until_ticks <= now)
		return;
	if (until_ticks > limit)
		until_ticks = limit;
	__asm__ volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb"
			 : : "r"(until_ticks), "r"(UINT64_C(1)) : "memory");
	while (rt_wake == seen) {
		__asm__ volatile("msr daifset, #2" : : : "memory");
		if (rt_wake == seen)
			__asm__ volatile("dsb sy\n\twfi" : : : "memory");
		__asm__ volatile("msr daifclr, #2\n\tisb" : : : "memory");
	}
}
