/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSIs by the ITS (GICv3 architecture, chapter 5): LPI n is line n, in collection 0, which is this
 * processor; the event of a function is the line too. One 64 KiB page for each table is enough for
 * the functions of bus 0. Commands are given one at a time and waited for.
 */
#include "tests/guests/rt/arm64/arm64.h"

#define GICR_CTLR	0x0
#define GICR_TYPER	0x8
#define GICR_PROPBASER	0x70
#define GICR_PENDBASER	0x78
#define ENABLE_LPIS	1u

#define GITS_CTLR	0x0
#define GITS_TYPER	0x8
#define GITS_CBASER	0x80
#define GITS_CWRITER	0x88
#define GITS_CREADR	0x90
#define GITS_BASER	0x100
#define GITS_TRANSLATER	0x10040
#define BASERS		8u
#define TABLE_DEVICES	1u
#define TABLE_COLLECTIONS 4u
#define TYPER_PTA	(UINT64_C(1) << 19)

#define VALID		(UINT64_C(1) << 63)
#define CACHED		(UINT64_C(7) << 59)	/* inner: write-back */
#define LPI_CACHED	(UINT64_C(7) << 7)
#define SHARED		(UINT64_C(1) << 10)	/* inner shareable */
#define PENDING_ZERO	(UINT64_C(1) << 62)
#define PAGE_64K	(UINT64_C(2) << 8)
#define TABLE_BYTES	0x10000u
#define QUEUE_BYTES	0x1000u

#define CMD_SYNC	0x05u
#define CMD_MAPD	0x08u
#define CMD_MAPC	0x09u
#define CMD_MAPTI	0x0au
#define CMD_INV		0x0cu
#define LPI_ID_BITS	14u			/* LPIs 8192 to 16383 */
#define LPI_ON		0xa3u			/* priority 0xa0, enabled */
#define EVENT_BITS	7u			/* ARCH_N_IRQ events fit */
#define COMMAND_NS	RT_NS_PER_S
#define FUNCTIONS	256u

static uint8_t *config_table;
static volatile uint64_t *queue;
static uint64_t target;			/* this processor's redistributor as commands name it */
static unsigned itt_entry_bytes;
static bool device_mapped[FUNCTIONS];

static void command(uint64_t w0, uint64_t w1, uint64_t w2)
{
	const uint64_t its = arm64_board.its;
	uint64_t at = *arm64_reg64(its, GITS_CWRITER) & ~UINT64_C(31);
	uint64_t next = (at + 32) % QUEUE_BYTES, until = arch_ticks() + rt_ticks(COMMAND_NS);
	volatile uint64_t *c = queue + at / 8;

	c[0] = w0;
	c[1] = w1;
	c[2] = w2;
	c[3] = 0;
	arm64_dsb();
	*arm64_reg64(its, GITS_CWRITER) = next;
	while ((*arm64_reg64(its, GITS_CREADR) & ~UINT64_C(31)) != next)
		if (arch_ticks() > until)
			rt_fail("its: command 0x%lx is not done", w0 & 0xff);
}

static void give_tables(uint64_t its)
{
	for (unsigned i = 0; i < BASERS; i++) {
		volatile uint64_t *reg = arm64_reg64(its, GITS_BASER + 8 * i);
		unsigned type = (unsigned)(*reg >> 56) & 7;
		if (type != TABLE_DEVICES && type != TABLE_COLLECTIONS)
			continue;
		uint64_t at = (uint64_t)rt_need(TABLE_BYTES, TABLE_BYTES, "a table of the ITS");
		uint64_t v = VALID | CACHED | SHARED | at;
		*reg = v | PAGE_64K;
		/* The size of a page may be the ITS' own: 4, 16 or 64 KiB. */
		unsigned page = (unsigned)(*reg >> 8) & 3;
		unsigned n_pages = page == 0 ? 16 : page == 1 ? 4 : 1;
		*reg = v | (uint64_t)page << 8 | (n_pages - 1);
	}
}

static void lpis_on(uint64_t gicr)
{
	uint64_t n_lpis = (UINT64_C(1) << LPI_ID_BITS) - ARM64_LPI_FIRST;
	uint64_t pending = (uint64_t)rt_need(TABLE_BYTES, TABLE_BYTES, "the table of pending LPIs");

	config_table = rt_need(n_lpis, 4096, "the table of LPIs");
	arm64_dsb();
	*arm64_reg64(gicr, GICR_PROPBASER) = (uint64_t)config_table | SHARED | LPI_CACHED |
					     (LPI_ID_BITS - 1);
	*arm64_reg64(gicr, GICR_PENDBASER) = pending | SHARED | LPI_CACHED | PENDING_ZERO;
	*arm64_reg32(gicr, GICR_CTLR) |= ENABLE_LPIS;
	arm64_dsb();
}

bool arm64_its_init(uint64_t gicr)
{
	const uint64_t its = arm64_board.its;

	if (!its || !(*arm64_reg64(gicr, GICR_TYPER) & 1))
		return false;
	uint64_t typer = *arm64_reg64(its, GITS_TYPER);
	itt_entry_bytes = (unsigned)(typer >> 4 & 15) + 1;
	target = typer & TYPER_PTA ? gicr : (*arm64_reg64(gicr, GICR_TYPER) >> 8 & 0xffff) << 16;
	lpis_on(gicr);
	*arm64_reg32(its, GITS_CTLR) = 0;
	give_tables(its);
	queue = rt_need(QUEUE_BYTES, TABLE_BYTES, "the command queue of the ITS");
	*arm64_reg64(its, GITS_CBASER) = VALID | CACHED | SHARED | (uint64_t)queue |
					 (QUEUE_BYTES / 4096 - 1);
	*arm64_reg64(its, GITS_CWRITER) = 0;
	*arm64_reg32(its, GITS_CTLR) = 1;
	command(CMD_MAPC, 0, VALID | target);
	command(CMD_SYNC, 0, target);
	return true;
}

void arm64_its_map(unsigned bdf, unsigned event)
{
	const uint64_t device = (uint64_t)bdf << 32;

	if (bdf >= FUNCTIONS)
		rt_fail("its: function 0x%x is not on bus 0", bdf);
	if (!device_mapped[bdf]) {
		size_t bytes = (size_t)itt_entry_bytes << EVENT_BITS;
		uint64_t itt = (uint64_t)rt_need(bytes, 256, "the events of a function");
		arm64_dsb();
		command(CMD_MAPD | device, EVENT_BITS - 1, VALID | itt);
		device_mapped[bdf] = true;
	}
	config_table[event] = LPI_ON;
	arm64_dsb();
	command(CMD_MAPTI | device, event | (uint64_t)(ARM64_LPI_FIRST + event) << 32, 0);
	command(CMD_INV | device, event, 0);
	command(CMD_SYNC, 0, target);
}

uint64_t arm64_its_doorbell(void)
{
	return arm64_board.its + GITS_TRANSLATER;
}
