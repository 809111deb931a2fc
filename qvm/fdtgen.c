/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fdtgen.h. Vdevs with a place in memory stand below /vdevs; PCI devices are found by the
 * guest. Every node that something may refer to has a phandle. libfdt remembers nothing of a
 * failure, so the first error is kept and ends the writing.
 */
#include "qvm/fdtgen.h"

#include <errno.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "qvm/cfg_arch.h"
#include "qvm/hosttypes.h"
#include "qvm/memmap.h"

enum { OWN_GIC, OWN_ITS, OWN_FRAME, OWN_PCIE, OWN_FIXED };
enum { IRQ_SPI = 0, IRQ_PPI = 1 };
enum { IRQ_EDGE_RISING = 1, IRQ_LEVEL_HIGH = 4, IRQ_LEVEL_LOW = 8 };
#define CELLS_MAX	64u
#define PCI_RANGE_MEM32 0x02000000u
#define PCI_SLOT_SHIFT	11u
#define PCI_BUSES	(MM_ARM64_ECAM_LEN >> 20)
#define COMPATIBLE	"parley,qvm"
/* What guests look for when they want to know who made their machine. */
#define MODEL "QVM-v8A"

struct tree {
	const struct fdtgen *g;
	void *buf;
	int err; /* the first error of libfdt, or 0 */
	uint32_t gic;
};

static void note(struct tree *t, int r)
{
	if (!t->err && r < 0)
		t->err = r;
}

static void node(struct tree *t, const char *name)
{
	note(t, fdt_begin_node(t->buf, name));
}

static void node_at(struct tree *t, const char *name, uint64_t addr)
{
	char full[64];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)addr);
	node(t, full);
}

static void end(struct tree *t)
{
	note(t, fdt_end_node(t->buf));
}

static void str(struct tree *t, const char *name, const char *val)
{
	note(t, fdt_property_string(t->buf, name, val));
}

static void u32(struct tree *t, const char *name, uint32_t val)
{
	note(t, fdt_property_u32(t->buf, name, val));
}

static void u64(struct tree *t, const char *name, uint64_t val)
{
	note(t, fdt_property_u64(t->buf, name, val));
}

static void flag(struct tree *t, const char *name)
{
	note(t, fdt_property(t->buf, name, NULL, 0));
}

static void bytes(struct tree *t, const char *name, const void *val, size_t len)
{
	note(t, fdt_property(t->buf, name, val, (int)len));
}

/* A list as in struct vd_fdt: what it has in bytes, without the NUL that ends it. */
static size_t list_bytes(const char *list)
{
	size_t n = 0;

	while (list[n])
		n += strlen(list + n) + 1;
	return n;
}

static unsigned list_len(const char *list)
{
	unsigned n = 0;

	for (; *list; list += strlen(list) + 1)
		n++;
	return n;
}

static void cells(struct tree *t, const char *name, const uint32_t *val, size_t n)
{
	fdt32_t be[CELLS_MAX];

	qassert(n <= CELLS_MAX);
	for (size_t i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(val[i]);
	bytes(t, name, be, n * sizeof(be[0]));
}
#define CELLS(t, name, ...)                               \
	cells(t, name, (const uint32_t[]){ __VA_ARGS__ }, \
	      Q_ARRAY_LEN(((const uint32_t[]){ __VA_ARGS__ })))
#define U64_CELLS(v) (uint32_t)((uint64_t)(v) >> 32), (uint32_t)(v)

/* ---- names ---- */

static const char *gic_name(const struct vm_cfg *cfg)
{
	const struct cfg_vdev *gic = cfg_vdev_of_type(cfg, qvm_type_gic.name);

	return gic ? gic->cfg.name : cfg->arch->implicit_pic;
}

static void gic_path(char *path)
{
	snprintf(path, FDTGEN_PATH_MAX, "/interrupt-controller@%llx", MM_ARM64_GICD_BASE);
}

static void child_of_gic(char *path, const char *name, uint64_t addr)
{
	snprintf(path, FDTGEN_PATH_MAX, "/interrupt-controller@%llx/%s@%llx", MM_ARM64_GICD_BASE,
		 name, (unsigned long long)addr);
}

static void clock_path(char *path, uint32_t hz)
{
	snprintf(path, FDTGEN_PATH_MAX, "/clock-%u", hz);
}

/* What the tree says of @v; false: it has no node. */
static bool describe(const struct cfg_vdev *v, struct vd_fdt *ret)
{
	if (v->on_pci || v->cfg.space != VD_MEM || v->type->flags & VD_IMPLICIT)
		return false;
	if (v->type->fdt) {
		v->type->fdt(&v->cfg, ret);
		return true;
	}
	if (strncmp(v->type->name, "virtio-", strlen("virtio-")) != 0)
		return false;
	*ret = (struct vd_fdt){ .node = "virtio_mmio",
				.compatible = "virtio,mmio\0",
				.dma_coherent = true,
				.irq_edge = true }; /* eventfds make edges */
	return true;
}

static void vdev_path(const struct cfg_vdev *v, const struct vd_fdt *d, char *path)
{
	snprintf(path, FDTGEN_PATH_MAX, "/vdevs/%.32s@%llx", d->node,
		 (unsigned long long)v->cfg.base);
}

int fdtgen_path(const struct vm_cfg *cfg, const char *name, char *path)
{
	struct vd_fdt d;

	if (!strcmp(name, gic_name(cfg))) {
		gic_path(path);
		return 0;
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];

		if (strcmp(v->cfg.name, name) != 0)
			continue;
		if (!describe(v, &d))
			return -ENODEV;
		vdev_path(v, &d, path);
		return 0;
	}
	return -ENOENT;
}

void fdtgen_label(const char *name, char *label)
{
	size_t n = 0;

	for (; name[n] && n < FDTGEN_PATH_MAX - 1; n++) {
		char c = name[n];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9');
		label[n] = plain ? c : '_';
	}
	label[n] = '\0';
}

/* ---- phandles ---- */

static uint32_t phandle_of(const struct tree *t, const char *name, const char *path, uint32_t own)
{
	const struct fdtgen *g = t->g;
	uint32_t other = g->phandle ? g->phandle(g->arg, name, path) : 0;

	return other ? other : g->phandle_first + own;
}

static uint32_t vdev_phandle(const struct tree *t, size_t i, const char *path)
{
	return phandle_of(t, t->g->cfg->vdevs[i].cfg.name, path,
			  OWN_FIXED + (uint32_t)t->g->cfg->n_vdevs + (uint32_t)i);
}

/* The first vdev whose clock has @hz stands for it. */
static uint32_t clock_phandle(const struct tree *t, uint32_t hz, size_t first)
{
	char path[FDTGEN_PATH_MAX];

	clock_path(path, hz);
	return phandle_of(t, NULL, path, OWN_FIXED + (uint32_t)first);
}

static size_t first_of_clock(const struct vm_cfg *cfg, uint32_t hz)
{
	struct vd_fdt d;

	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (describe(&cfg->vdevs[i], &d) && d.clock_names && d.clock_hz == hz)
			return i;
	return cfg->n_vdevs;
}

/* ---- the parts ---- */

/* Where the kernel's first words go: the first serial port. */
static void stdout_path(struct tree *t)
{
	const struct vm_cfg *cfg = t->g->cfg;
	char path[FDTGEN_PATH_MAX];
	struct vd_fdt d;

	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		if (!describe(&cfg->vdevs[i], &d) || strcmp(d.node, "uart") != 0)
			continue;
		vdev_path(&cfg->vdevs[i], &d, path);
		str(t, "stdout-path", path);
		return;
	}
}

static void put_chosen(struct tree *t)
{
	const struct fdtgen *g = t->g;

	node(t, "chosen");
	str(t, "bootargs", g->cfg->cmdline ? g->cfg->cmdline : "");
	if (g->initrd_bytes) {
		u64(t, "linux,initrd-start", g->initrd_gpa);
		u64(t, "linux,initrd-end", g->initrd_gpa + g->initrd_bytes);
	}
	stdout_path(t);
	/* Without them a guest has no randomness to place itself with. */
	if (g->seed) {
		bytes(t, "kaslr-seed", g->seed, 8);
		bytes(t, "rng-seed", g->seed + 8, FDTGEN_SEED_BYTES - 8);
	}
	end(t);
}

static void put_memory(struct tree *t)
{
	for (size_t i = 0; i < t->g->cfg->n_ram; i++) {
		const struct cfg_ram *r = &t->g->cfg->ram[i];

		if (r->rom)
			continue;
		node_at(t, "memory", r->gpa);
		str(t, "device_type", "memory");
		CELLS(t, "reg", U64_CELLS(r->gpa), U64_CELLS(r->len_bytes));
		end(t);
	}
}

uint64_t fdtgen_mpidr(unsigned idx)
{
	return (idx & 0xf) | (uint64_t)(idx >> 4 & 0xff) << 8 | (uint64_t)(idx >> 12 & 0xff) << 16;
}

static void put_cpus(struct tree *t)
{
	static const char psci[] = "arm,psci-1.0\0arm,psci-0.2";

	node(t, "cpus");
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 0);
	for (size_t i = 0; i < t->g->cfg->n_cpus; i++) {
		node_at(t, "cpu", t->g->mpidrs[i]);
		str(t, "device_type", "cpu");
		str(t, "compatible", "arm,armv8");
		str(t, "enable-method", "psci");
		CELLS(t, "reg", U64_CELLS(t->g->mpidrs[i]));
		end(t);
	}
	end(t);
	node(t, "psci");
	bytes(t, "compatible", psci, sizeof(psci));
	str(t, "method", "hvc");
	end(t);
}

static void put_its(struct tree *t)
{
	char path[FDTGEN_PATH_MAX];

	child_of_gic(path, "msi-controller", MM_ARM64_ITS_BASE);
	node_at(t, "msi-controller", MM_ARM64_ITS_BASE);
	str(t, "compatible", "arm,gic-v3-its");
	flag(t, "msi-controller");
	u32(t, "#msi-cells", 1);
	CELLS(t, "reg", U64_CELLS(MM_ARM64_ITS_BASE), U64_CELLS(MM_ARM64_ITS_LEN));
	u32(t, "phandle", phandle_of(t, NULL, path, OWN_ITS));
	end(t);
}

static void put_frame(struct tree *t)
{
	const struct cfg_msi_frame *f = &t->g->frame;
	char path[FDTGEN_PATH_MAX];

	child_of_gic(path, "v2m", f->base);
	node_at(t, "v2m", f->base);
	str(t, "compatible", "arm,gic-v2m-frame");
	flag(t, "msi-controller");
	CELLS(t, "reg", U64_CELLS(f->base), U64_CELLS(CFG_MSI_FRAME_BYTES));
	u32(t, "arm,msi-base-spi", f->first);
	u32(t, "arm,msi-num-spis", f->count);
	u32(t, "phandle", phandle_of(t, NULL, path, OWN_FRAME));
	end(t);
}

static void put_gic(struct tree *t)
{
	const struct fdtgen *g = t->g;

	node_at(t, "interrupt-controller", MM_ARM64_GICD_BASE);
	str(t, "compatible", g->gic_version == 3 ? "arm,gic-v3" : "arm,cortex-a15-gic");
	flag(t, "interrupt-controller");
	u32(t, "#interrupt-cells", 3);
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 2);
	flag(t, "ranges");
	if (g->gic_version == 3)
		CELLS(t, "reg", U64_CELLS(MM_ARM64_GICD_BASE), U64_CELLS(MM_ARM64_GICD_LEN),
		      U64_CELLS(MM_ARM64_GICR_BASE),
		      U64_CELLS(MM_ARM64_GICR_CPU_LEN * g->cfg->n_cpus));
	else
		CELLS(t, "reg", U64_CELLS(MM_ARM64_GICD_BASE), U64_CELLS(MM_ARM64_GICD_LEN),
		      U64_CELLS(MM_ARM64_GICC_BASE), U64_CELLS(MM_ARM64_GICC_LEN));
	u32(t, "phandle", t->gic);
	if (g->has_its)
		put_its(t);
	if (g->frame.count)
		put_frame(t);
	end(t);
}

static void put_timer(struct tree *t)
{
	const struct fdtgen *g = t->g;
	uint32_t mask = g->gic_version == 2 ? ((1u << g->cfg->n_cpus) - 1) << 8 & 0xff00 : 0;
	uint32_t how = mask | IRQ_LEVEL_LOW;

	node(t, "timer");
	str(t, "compatible", "arm,armv8-timer");
	flag(t, "always-on");
	u32(t, "interrupt-parent", t->gic);
	CELLS(t, "interrupts", IRQ_PPI, 13, how, IRQ_PPI, 14, how, IRQ_PPI, 11, how, IRQ_PPI, 10,
	      how);
	end(t);
}

static void put_intx(struct tree *t)
{
	uint32_t map[MM_INTX_LINES * 10];
	unsigned n = 0;

	/* Slots by their number modulo 4; unit addresses of the GIC have 2 cells. */
	for (unsigned i = 0; i < MM_INTX_LINES; i++) {
		const uint32_t row[] = { i << PCI_SLOT_SHIFT,
					 0,
					 0,
					 1,
					 t->gic,
					 0,
					 0,
					 IRQ_SPI,
					 MM_ARM64_IRQ_INTX + i - MM_ARM64_SPI_FIRST,
					 IRQ_LEVEL_HIGH };
		memcpy(map + n, row, sizeof(row));
		n += Q_ARRAY_LEN(row);
	}
	CELLS(t, "interrupt-map-mask", (MM_INTX_LINES - 1) << PCI_SLOT_SHIFT, 0, 0, 7);
	cells(t, "interrupt-map", map, n);
}

static void put_pci(struct tree *t)
{
	const struct fdtgen *g = t->g;
	char path[FDTGEN_PATH_MAX];

	node_at(t, "pcie", MM_ARM64_ECAM_BASE);
	str(t, "compatible", "pci-host-ecam-generic");
	str(t, "device_type", "pci");
	flag(t, "dma-coherent");
	u32(t, "#address-cells", 3);
	u32(t, "#size-cells", 2);
	u32(t, "#interrupt-cells", 1);
	u32(t, "linux,pci-domain", 0);
	CELLS(t, "bus-range", 0, PCI_BUSES - 1);
	CELLS(t, "reg", U64_CELLS(MM_ARM64_ECAM_BASE), U64_CELLS(MM_ARM64_ECAM_LEN));
	CELLS(t, "ranges", PCI_RANGE_MEM32, U64_CELLS(MM_ARM64_PCI_MEM_BASE),
	      U64_CELLS(MM_ARM64_PCI_MEM_BASE), U64_CELLS(MM_ARM64_PCI_MEM_LEN));
	put_intx(t);
	if (g->has_its) {
		child_of_gic(path, "msi-controller", MM_ARM64_ITS_BASE);
		CELLS(t, "msi-map", 0, phandle_of(t, NULL, path, OWN_ITS), 0, 0x10000);
	} else if (g->frame.count) {
		child_of_gic(path, "v2m", g->frame.base);
		u32(t, "msi-parent", phandle_of(t, NULL, path, OWN_FRAME));
	}
	snprintf(path, sizeof(path), "/pcie@%llx", MM_ARM64_ECAM_BASE);
	u32(t, "phandle", phandle_of(t, NULL, path, OWN_PCIE));
	end(t);
}

/* ---- vdevs with a place ---- */

static void put_clocks(struct tree *t)
{
	const struct vm_cfg *cfg = t->g->cfg;
	struct vd_fdt d;

	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		if (!describe(&cfg->vdevs[i], &d) || !d.clock_names ||
		    first_of_clock(cfg, d.clock_hz) != i)
			continue;
		char path[FDTGEN_PATH_MAX];
		clock_path(path, d.clock_hz);
		node(t, path + 1);
		str(t, "compatible", "fixed-clock");
		u32(t, "#clock-cells", 0);
		u32(t, "clock-frequency", d.clock_hz);
		u32(t, "phandle", clock_phandle(t, d.clock_hz, i));
		end(t);
	}
}

static void vdev_clocks(struct tree *t, const struct vd_fdt *d)
{
	uint32_t clocks[8];
	unsigned n = list_len(d->clock_names);

	qassert(n <= Q_ARRAY_LEN(clocks));
	for (unsigned i = 0; i < n; i++)
		clocks[i] = clock_phandle(t, d->clock_hz, first_of_clock(t->g->cfg, d->clock_hz));
	cells(t, "clocks", clocks, n);
	bytes(t, "clock-names", d->clock_names, list_bytes(d->clock_names));
}

static void vdev_irqs(struct tree *t, const struct cfg_vdev *v, bool edge)
{
	uint32_t irqs[CFG_IRQS_MAX * 3];
	unsigned n = 0;

	for (unsigned i = 0; i < v->n_irqs; i++) {
		irqs[n++] = IRQ_SPI;
		irqs[n++] = v->irqs[i].line - MM_ARM64_SPI_FIRST;
		irqs[n++] = edge ? IRQ_EDGE_RISING : IRQ_LEVEL_HIGH;
	}
	if (n)
		cells(t, "interrupts", irqs, n);
}

static void put_vdev(struct tree *t, size_t i)
{
	const struct cfg_vdev *v = &t->g->cfg->vdevs[i];
	char path[FDTGEN_PATH_MAX];
	struct vd_fdt d;

	if (!describe(v, &d))
		return;
	vdev_path(v, &d, path);
	node(t, strrchr(path, '/') + 1);
	bytes(t, "compatible", d.compatible, list_bytes(d.compatible));
	if (d.dma_coherent)
		flag(t, "dma-coherent");
	for (const char *f = d.flags; f && *f; f += strlen(f) + 1)
		flag(t, f);
	if (d.clock_names)
		vdev_clocks(t, &d);
	CELLS(t, "reg", U64_CELLS(v->cfg.base), U64_CELLS(v->cfg.len_bytes));
	vdev_irqs(t, v, d.irq_edge);
	u32(t, "phandle", vdev_phandle(t, i, path));
	end(t);
}

static void put_vdevs(struct tree *t)
{
	node(t, "vdevs");
	str(t, "compatible", "simple-bus");
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 2);
	u32(t, "interrupt-parent", t->gic);
	flag(t, "ranges");
	for (size_t i = 0; i < t->g->cfg->n_vdevs; i++)
		put_vdev(t, i);
	end(t);
}

/* ---- labels ---- */

static void symbol(struct tree *t, const char *name, const char *path)
{
	char label[FDTGEN_PATH_MAX];

	fdtgen_label(name, label);
	str(t, label, path);
}

static void put_symbols(struct tree *t)
{
	const struct fdtgen *g = t->g;
	char path[FDTGEN_PATH_MAX];
	struct vd_fdt d;

	node(t, "__symbols__");
	gic_path(path);
	symbol(t, gic_name(g->cfg), path);
	snprintf(path, sizeof(path), "/pcie@%llx", MM_ARM64_ECAM_BASE);
	symbol(t, "pcie", path);
	if (g->has_its) {
		child_of_gic(path, "msi-controller", MM_ARM64_ITS_BASE);
		symbol(t, "its", path);
	}
	for (size_t i = 0; i < g->cfg->n_vdevs; i++) {
		if (!describe(&g->cfg->vdevs[i], &d))
			continue;
		vdev_path(&g->cfg->vdevs[i], &d, path);
		symbol(t, g->cfg->vdevs[i].cfg.name, path);
	}
	end(t);
}

int fdtgen_build(const struct fdtgen *g, void *buf, size_t buf_bytes)
{
	struct tree t = { .g = g, .buf = buf };
	char path[FDTGEN_PATH_MAX];

	gic_path(path);
	t.gic = phandle_of(&t, gic_name(g->cfg), path, OWN_GIC);
	note(&t, fdt_create(buf, (int)Q_MIN(buf_bytes, (size_t)INT32_MAX)));
	note(&t, fdt_finish_reservemap(buf));
	node(&t, "");
	str(&t, "compatible", COMPATIBLE);
	str(&t, "model", MODEL);
	u32(&t, "#address-cells", 2);
	u32(&t, "#size-cells", 2);
	u32(&t, "interrupt-parent", t.gic);
	put_chosen(&t);
	put_memory(&t);
	put_cpus(&t);
	put_gic(&t);
	put_timer(&t);
	put_clocks(&t);
	put_pci(&t);
	put_vdevs(&t);
	if (g->symbols)
		put_symbols(&t);
	end(&t);
	note(&t, fdt_finish(buf));
	return t.err;
}
