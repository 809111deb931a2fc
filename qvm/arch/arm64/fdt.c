/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree of a VM, written in one pass. Vdevs with a place stand below /vdevs; PCI devices
 * are found by the guest. libfdt remembers nothing of a failure, so the first error is kept and
 * ends the writing.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "qvm/arch/arm64/arm64.h"
#include "qvm/memmap.h"
#include "qvm/vcpu.h"
#include "qvm/vmdev.h"

enum { PHANDLE_GIC = 1, PHANDLE_ITS, PHANDLE_CLOCK };
enum { IRQ_SPI = 0, IRQ_PPI = 1 };
enum { IRQ_EDGE_RISING = 1, IRQ_LEVEL_HIGH = 4, IRQ_LEVEL_LOW = 8 };
#define UART_CLOCK_HZ	24000000u
#define CELLS_MAX	64u
#define PCI_RANGE_MEM32 0x02000000u
#define PCI_SLOT_SHIFT	11u
#define PCI_BUSES	(MM_ARM64_ECAM_LEN >> 20)

struct tree {
	void *buf;
	int err; /* the first error of libfdt, or 0 */
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

static void irq(struct tree *t, unsigned line, unsigned how)
{
	CELLS(t, "interrupts", IRQ_SPI, line - MM_ARM64_SPI_FIRST, how);
}

/* ---- the parts ---- */

/* Where the kernel's first words go: the first serial port. */
static void stdout_path(struct tree *t, const struct vm *vm)
{
	char path[64];

	for (size_t i = 0; i < vm->n_devs; i++) {
		const struct cfg_vdev *c = vm->devs[i].cfg;
		if (strcmp(c->type->name, "pl011") != 0)
			continue;
		snprintf(path, sizeof(path), "/vdevs/uart@%llx", (unsigned long long)c->cfg.base);
		str(t, "stdout-path", path);
		return;
	}
}

static void put_chosen(struct tree *t, const struct vm *vm)
{
	uint8_t seed[32];

	node(t, "chosen");
	str(t, "bootargs", vm->cfg->cmdline ? vm->cfg->cmdline : "");
	if (vm->boot.initrd_bytes) {
		u64(t, "linux,initrd-start", vm->boot.initrd_gpa);
		u64(t, "linux,initrd-end", vm->boot.initrd_gpa + vm->boot.initrd_bytes);
	}
	stdout_path(t, vm);
	/* Without them a guest has no randomness to place itself with. */
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed)) {
		bytes(t, "kaslr-seed", seed, 8);
		bytes(t, "rng-seed", seed + 8, sizeof(seed) - 8);
	}
	end(t);
}

static void put_memory(struct tree *t, const struct vm *vm)
{
	for (unsigned i = 0; i < vm->mem->n; i++) {
		const struct qmem_region *r = &vm->mem->r[i];
		if (r->flags & QMEM_READONLY)
			continue;
		node_at(t, "memory", r->gpa);
		str(t, "device_type", "memory");
		CELLS(t, "reg", U64_CELLS(r->gpa), U64_CELLS(r->len_bytes));
		end(t);
	}
}

static int put_cpus(struct tree *t, struct vm *vm)
{
	node(t, "cpus");
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 0);
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		uint64_t mpidr;
		int r = arm64_vcpu_mpidr(&vm->vcpus[i], &mpidr);
		if (r < 0)
			return r;
		node_at(t, "cpu", mpidr);
		str(t, "device_type", "cpu");
		str(t, "compatible", "arm,armv8");
		str(t, "enable-method", "psci");
		CELLS(t, "reg", U64_CELLS(mpidr));
		end(t);
	}
	end(t);
	node(t, "psci");
	bytes(t, "compatible", "arm,psci-1.0\0arm,psci-0.2", sizeof("arm,psci-1.0\0arm,psci-0.2"));
	str(t, "method", "hvc");
	end(t);
	return 0;
}

static void put_gic(struct tree *t, const struct vm *vm)
{
	const struct vm_arch *a = vm->arch;

	node_at(t, "interrupt-controller", MM_ARM64_GICD_BASE);
	str(t, "compatible", a->gic_version == 3 ? "arm,gic-v3" : "arm,cortex-a15-gic");
	flag(t, "interrupt-controller");
	u32(t, "#interrupt-cells", 3);
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 2);
	flag(t, "ranges");
	if (a->gic_version == 3)
		CELLS(t, "reg", U64_CELLS(MM_ARM64_GICD_BASE), U64_CELLS(MM_ARM64_GICD_LEN),
		      U64_CELLS(MM_ARM64_GICR_BASE),
		      U64_CELLS(MM_ARM64_GICR_CPU_LEN * vm->n_vcpus));
	else
		CELLS(t, "reg", U64_CELLS(MM_ARM64_GICD_BASE), U64_CELLS(MM_ARM64_GICD_LEN),
		      U64_CELLS(MM_ARM64_GICC_BASE), U64_CELLS(MM_ARM64_GICC_LEN));
	u32(t, "phandle", PHANDLE_GIC);
	if (a->has_its) {
		node_at(t, "msi-controller", MM_ARM64_ITS_BASE);
		str(t, "compatible", "arm,gic-v3-its");
		flag(t, "msi-controller");
		u32(t, "#msi-cells", 1);
		CELLS(t, "reg", U64_CELLS(MM_ARM64_ITS_BASE), U64_CELLS(MM_ARM64_ITS_LEN));
		u32(t, "phandle", PHANDLE_ITS);
		end(t);
	}
	end(t);
}

static void put_timer(struct tree *t, const struct vm *vm)
{
	uint32_t mask = vm->arch->gic_version == 2 ? ((1u << vm->n_vcpus) - 1) << 8 & 0xff00 : 0;
	uint32_t how = mask | IRQ_LEVEL_LOW;

	node(t, "timer");
	str(t, "compatible", "arm,armv8-timer");
	flag(t, "always-on");
	CELLS(t, "interrupts", IRQ_PPI, 13, how, IRQ_PPI, 14, how, IRQ_PPI, 11, how, IRQ_PPI, 10,
	      how);
	end(t);
	node(t, "uart-clock");
	str(t, "compatible", "fixed-clock");
	u32(t, "#clock-cells", 0);
	u32(t, "clock-frequency", UART_CLOCK_HZ);
	u32(t, "phandle", PHANDLE_CLOCK);
	end(t);
}

static void put_pci(struct tree *t, const struct vm *vm)
{
	uint32_t map[MM_INTX_LINES * 10];
	unsigned n = 0;

	/* Slots by their number modulo 4; unit addresses of the GIC have 2 cells. */
	for (unsigned i = 0; i < MM_INTX_LINES; i++) {
		const uint32_t row[] = { i << PCI_SLOT_SHIFT,
					 0,
					 0,
					 1,
					 PHANDLE_GIC,
					 0,
					 0,
					 IRQ_SPI,
					 pci_intx_line(i) - MM_ARM64_SPI_FIRST,
					 IRQ_LEVEL_HIGH };
		memcpy(map + n, row, sizeof(row));
		n += Q_ARRAY_LEN(row);
	}
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
	CELLS(t, "interrupt-map-mask", (MM_INTX_LINES - 1) << PCI_SLOT_SHIFT, 0, 0, 7);
	cells(t, "interrupt-map", map, n);
	if (vm->arch->has_its)
		CELLS(t, "msi-map", 0, PHANDLE_ITS, 0, 0x10000);
	end(t);
}

/* ---- vdevs with a place ---- */

static void put_pl011(struct tree *t, const struct cfg_vdev *c)
{
	static const char compatible[] = "arm,pl011\0arm,primecell", clocks[] = "uartclk\0apb_pclk";

	node_at(t, "uart", c->cfg.base);
	bytes(t, "compatible", compatible, sizeof(compatible));
	CELLS(t, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
	bytes(t, "clock-names", clocks, sizeof(clocks));
}

static void put_virtio(struct tree *t, const struct cfg_vdev *c)
{
	node_at(t, "virtio_mmio", c->cfg.base);
	str(t, "compatible", "virtio,mmio");
	flag(t, "dma-coherent");
}

static const struct {
	const char *prefix; /* of the vdev's type */
	void (*put)(struct tree *t, const struct cfg_vdev *c);
	unsigned how; /* its interrupt */
} kinds[] = {
	{ "pl011", put_pl011, IRQ_LEVEL_HIGH },
	{ "virtio-", put_virtio, IRQ_EDGE_RISING }, /* eventfds make edges */
};

static void put_vdev(struct tree *t, const struct vm_dev *d)
{
	const struct cfg_vdev *c = d->cfg;

	for (size_t i = 0; i < Q_ARRAY_LEN(kinds); i++) {
		if (strncmp(c->type->name, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
			continue;
		kinds[i].put(t, c);
		CELLS(t, "reg", U64_CELLS(c->cfg.base), U64_CELLS(c->cfg.len_bytes));
		if (d->n_lines)
			irq(t, d->lines[0].line, kinds[i].how);
		end(t);
		return;
	}
}

static void put_vdevs(struct tree *t, const struct vm *vm)
{
	node(t, "vdevs");
	str(t, "compatible", "simple-bus");
	u32(t, "#address-cells", 2);
	u32(t, "#size-cells", 2);
	flag(t, "ranges");
	for (size_t i = 0; i < vm->n_devs; i++)
		if (!vm->devs[i].cfg->on_pci && vm->devs[i].cfg->cfg.space == VD_MEM)
			put_vdev(t, &vm->devs[i]);
	end(t);
}

int fdt_build(struct vm *vm, void *buf, size_t *ret_bytes)
{
	struct tree t = { .buf = buf };

	note(&t, fdt_create(buf, FDT_BYTES));
	note(&t, fdt_finish_reservemap(buf));
	node(&t, "");
	str(&t, "compatible", "parley,qvm");
	str(&t, "model", "Parley-v8A");
	u32(&t, "#address-cells", 2);
	u32(&t, "#size-cells", 2);
	u32(&t, "interrupt-parent", PHANDLE_GIC);
	put_chosen(&t, vm);
	put_memory(&t, vm);
	int r = put_cpus(&t, vm);
	if (r < 0)
		return vm_fail(vm, "kvm", r, "KVM does not say which affinity a vCPU has");
	put_gic(&t, vm);
	put_timer(&t, vm);
	put_pci(&t, vm);
	put_vdevs(&t, vm);
	end(&t);
	note(&t, fdt_finish(buf));
	if (t.err)
		return vm_fail(vm, "load", EINVAL, "the device tree cannot be made: %s",
			       fdt_strerror(t.err));
	*ret_bytes = fdt_totalsize(buf);
	return 0;
}
