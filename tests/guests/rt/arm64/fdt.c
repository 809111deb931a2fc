/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree, read once and front to back (Devicetree Specification, chapter 5). A node is
 * judged when its properties are complete, which is where its first child or its end stands. Runs
 * with the MMU off; what is kept are numbers, and the command line until rt_common_init() copies
 * it. Addresses of buses between are one to one, as on every board of QEMU and qvm.
 */
#include "tests/guests/rt/arm64/arm64.h"

#define FDT_MAGIC	0xd00dfeedu
#define FDT_MAX_BYTES	(2u << 20)
#define MAX_DEPTH	8
#define SPI_FIRST	32u
#define PPI_FIRST	16u
#define IRQ_CELLS	3u
#define PCI_SPACE_MASK	0x03000000u
#define PCI_SPACE_MEM32	0x02000000u

enum { T_BEGIN = 1, T_END, T_PROP, T_NOP, T_FINISH = 9 };

enum prop_name {
	P_ADDR_CELLS, P_SIZE_CELLS, P_COMPATIBLE, P_DEVICE_TYPE, P_STATUS, P_REG, P_INTERRUPTS,
	P_RANGES, P_BUS_RANGE, P_METHOD, P_BOOTARGS, P_INITRD_START, P_INITRD_END, N_PROPS,
};

static const char *const prop_names[N_PROPS] = {
	[P_ADDR_CELLS] = "#address-cells", [P_SIZE_CELLS] = "#size-cells",
	[P_COMPATIBLE] = "compatible", [P_DEVICE_TYPE] = "device_type", [P_STATUS] = "status",
	[P_REG] = "reg", [P_INTERRUPTS] = "interrupts", [P_RANGES] = "ranges",
	[P_BUS_RANGE] = "bus-range", [P_METHOD] = "method", [P_BOOTARGS] = "bootargs",
	[P_INITRD_START] = "linux,initrd-start", [P_INITRD_END] = "linux,initrd-end",
};

struct prop {
	const char *data;		/* NULL: the node has none */
	uint32_t len;
};

struct node {
	struct prop p[N_PROPS];
	bool judged;
};

struct tree {
	const char *at, *end, *strings;
	uint32_t strings_len;
	struct rt_boot *boot;
	struct node node[MAX_DEPTH];
	unsigned depth;			/* node[depth - 1] is being read */
};

struct arm64_board arm64_board;

static uint32_t be32(const void *p)
{
	return __builtin_bswap32(*(const uint32_t *)p);
}

/* --- values of a node --- */

static unsigned n_cells(const struct prop *p)
{
	return p->data ? p->len / 4 : 0;
}

/* Number of @n cells from cell @i on, 0 where the property is too short. */
static uint64_t cells(const struct prop *p, unsigned i, unsigned n)
{
	uint64_t v = 0;

	if (i + n > n_cells(p))
		return 0;
	for (; n > 0; n--, i++)
		v = v << 32 | be32(p->data + (size_t)4 * i);
	return v;
}

/* One of the strings of @p is @want. */
static bool has_string(const struct prop *p, const char *want)
{
	for (uint32_t i = 0; p->data && i < p->len; i += (uint32_t)strlen(p->data + i) + 1)
		if (!strcmp(p->data + i, want))
			return true;
	return false;
}

/* The @nth address and size of the node, in the cells that its parent says. */
static bool reg(const struct tree *t, unsigned nth, uint64_t *ret_addr, uint64_t *ret_size)
{
	const struct node *parent = &t->node[t->depth - 2], *n = parent + 1;
	const struct prop *ac = &parent->p[P_ADDR_CELLS], *sc = &parent->p[P_SIZE_CELLS];
	unsigned na = ac->data ? (unsigned)cells(ac, 0, 1) : 2;
	unsigned ns = sc->data ? (unsigned)cells(sc, 0, 1) : 1;

	if (na > 2 || ns > 2 || (nth + 1) * (na + ns) > n_cells(&n->p[P_REG]))
		return false;
	*ret_addr = cells(&n->p[P_REG], nth * (na + ns), na);
	*ret_size = cells(&n->p[P_REG], nth * (na + ns) + na, ns);
	return true;
}

/* The @nth interrupt of the node as the GIC numbers it, 0 if there is none. */
static unsigned intid(const struct node *n, unsigned nth)
{
	const struct prop *p = &n->p[P_INTERRUPTS];

	if ((nth + 1) * IRQ_CELLS > n_cells(p))
		return 0;
	return (unsigned)cells(p, nth * IRQ_CELLS + 1, 1) +
	       (cells(p, nth * IRQ_CELLS, 1) ? PPI_FIRST : SPI_FIRST);
}

/* --- what the nodes mean --- */

static void take_memory(struct tree *t)
{
	struct rt_boot *b = t->boot;
	uint64_t base, size;

	for (unsigned i = 0; reg(t, i, &base, &size); i++)
		if (size && b->n_map < RT_ARRAY_LEN(b->map))
			b->map[b->n_map++] = (struct rt_range){ base, size, 1 };
}

static void take_gic(struct tree *t, unsigned version)
{
	struct arm64_board *b = &arm64_board;
	uint64_t cpu, size;

	if (b->gic_version || !reg(t, 0, &b->gicd, &size) || !reg(t, 1, &cpu, &size))
		return;
	b->gic_version = version;
	b->gicc = version == 2 ? cpu : 0;
	b->gicr = version == 3 ? cpu : 0;
	b->gicr_bytes = size;
}

static void take_mmio(struct tree *t)
{
	struct arm64_board *b = &arm64_board;
	unsigned irq = intid(&t->node[t->depth - 1], 0);
	uint64_t addr, size;

	if (b->n_mmio == ARM64_MMIO_DEVS || !irq || !reg(t, 0, &addr, &size))
		return;
	b->mmio[b->n_mmio].addr = addr;
	b->mmio[b->n_mmio++].intid = irq;
}

/* ranges: three cells of PCI address, two of ours, two of size. */
static void take_pci(struct tree *t)
{
	const struct node *n = &t->node[t->depth - 1];
	const struct prop *r = &n->p[P_RANGES];
	struct arm64_board *b = &arm64_board;
	uint64_t size;

	if (b->ecam || !reg(t, 0, &b->ecam, &size))
		return;
	b->n_buses = (unsigned)(size >> 20);
	if (n_cells(&n->p[P_BUS_RANGE]) == 2 && cells(&n->p[P_BUS_RANGE], 1, 1) < b->n_buses)
		b->n_buses = (unsigned)cells(&n->p[P_BUS_RANGE], 1, 1) + 1;
	for (unsigned i = 0; i + 7 <= n_cells(r); i += 7) {
		bool mem32 = (cells(r, i, 1) & PCI_SPACE_MASK) == PCI_SPACE_MEM32;
		if (!mem32 || cells(r, i + 1, 2) != cells(r, i + 3, 2))
			continue;
		b->pci_mem = cells(r, i + 3, 2);
		b->pci_mem_bytes = cells(r, i + 5, 2);
	}
}

static void take_chosen(struct tree *t, const struct node *n)
{
	const struct prop *s = &n->p[P_INITRD_START], *e = &n->p[P_INITRD_END];

	if (n->p[P_BOOTARGS].data)
		t->boot->cmdline = n->p[P_BOOTARGS].data;
	arm64_board.initrd = cells(s, 0, n_cells(s) < 2 ? n_cells(s) : 2);
	arm64_board.initrd_end = cells(e, 0, n_cells(e) < 2 ? n_cells(e) : 2);
}

static void judge(struct tree *t)
{
	struct node *n = &t->node[t->depth - 1];
	const struct prop *c = &n->p[P_COMPATIBLE];
	struct arm64_board *b = &arm64_board;
	uint64_t size;

	if (n->judged || t->depth < 2)
		return;
	n->judged = true;
	if (n->p[P_BOOTARGS].data || n->p[P_INITRD_START].data)
		take_chosen(t, n);
	if (n->p[P_STATUS].data && !has_string(&n->p[P_STATUS], "okay"))
		return;
	if (has_string(&n->p[P_DEVICE_TYPE], "memory"))
		take_memory(t);
	else if (has_string(c, "arm,pl011") && !b->uart && reg(t, 0, &b->uart, &size))
		b->uart_intid = intid(n, 0);
	else if (has_string(c, "arm,gic-v3"))
		take_gic(t, 3);
	else if (has_string(c, "arm,cortex-a15-gic") || has_string(c, "arm,gic-400"))
		take_gic(t, 2);
	else if (has_string(c, "arm,gic-v3-its") && !b->its)
		(void)reg(t, 0, &b->its, &size);
	else if (has_string(c, "arm,armv8-timer"))
		b->timer_intid = intid(n, 2);	/* secure, not secure, virtual */
	else if (has_string(c, "arm,psci-0.2") || has_string(c, "arm,psci-1.0"))
		b->psci = has_string(&n->p[P_METHOD], "smc") ? PSCI_SMC : PSCI_HVC;
	else if (has_string(c, "virtio,mmio"))
		take_mmio(t);
	else if (has_string(c, "pci-host-ecam-generic"))
		take_pci(t);
}

/* --- the walk --- */

static size_t left(const struct tree *t)
{
	return (size_t)(t->end - t->at);
}

static bool read_begin(struct tree *t)
{
	if (t->depth > 0)
		judge(t);
	if (t->depth == MAX_DEPTH)
		return false;
	memset(&t->node[t->depth++], 0, sizeof(struct node));
	size_t n = strlen(t->at) + 1;
	if (n > left(t))
		return false;
	t->at += (n + 3) & ~(size_t)3;
	return true;
}

static bool read_prop(struct tree *t)
{
	if (left(t) < 8 || t->depth == 0)
		return false;
	uint32_t len = be32(t->at), name = be32(t->at + 4);
	t->at += 8;
	if (len > left(t) || name >= t->strings_len)
		return false;
	for (unsigned i = 0; i < N_PROPS; i++)
		if (!strcmp(t->strings + name, prop_names[i]))
			t->node[t->depth - 1].p[i] = (struct prop){ t->at, len };
	t->at += (len + 3) & ~3u;
	return true;
}

static bool walk(struct tree *t)
{
	bool ok = true;

	while (ok && left(t) >= 4) {
		uint32_t token = be32(t->at);
		t->at += 4;
		if (token == T_FINISH)
			return true;
		if (token == T_BEGIN) {
			ok = read_begin(t);
		} else if (token == T_PROP) {
			ok = read_prop(t);
		} else if (token == T_END && t->depth > 0) {
			judge(t);
			t->depth--;
		} else {
			ok = token == T_NOP;
		}
	}
	return false;
}

void arm64_cut_initrd(struct rt_boot *b)
{
	const uint64_t from = arm64_board.initrd, to = arm64_board.initrd_end;

	for (unsigned i = 0; from < to && i < b->n_map; i++) {
		struct rt_range r = b->map[i];
		uint64_t end = r.base + r.size;
		if (r.type != 1 || from < r.base || to > end)
			continue;
		b->map[i].size = from - r.base;
		if (b->n_map + 2 <= RT_ARRAY_LEN(b->map)) {
			b->map[b->n_map++] = (struct rt_range){ from, to - from, 2 };
			b->map[b->n_map++] = (struct rt_range){ to, end - to, 1 };
		}
		return;
	}
}

/* Header: magic, total size, offsets of structure and strings, ..., their sizes at 32 and 36. */
bool arm64_fdt_read(uint64_t fdt, struct rt_boot *boot)
{
	static struct tree t;
	const char *h = (const char *)fdt;

	if (!fdt || fdt & 3 || be32(h) != FDT_MAGIC || be32(h + 4) > FDT_MAX_BYTES)
		return false;
	t.at = h + be32(h + 8);
	t.end = t.at + be32(h + 36);
	t.strings = h + be32(h + 12);
	t.strings_len = be32(h + 32);
	t.boot = boot;
	return walk(&t);
}
