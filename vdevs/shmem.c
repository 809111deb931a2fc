/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdev shmem: memory shared by name among the guests of a host, with doorbells, by the registers of
 * QNX's guest_shm.h.
 *
 * The factory page (BAR 0, or loc) makes connections: the guest writes a name, then a size in
 * pages, and reads at which guest-physical address the connection stands. There is a control page,
 * trapped, and behind it the data pages, which are RAM that KVM maps: no exits. Connections stand
 * in one window (BAR 2 of 64 bits, prefetchable; or a place that the checker chose), first fit, so
 * that nothing else can come to stand there, and a guest that creates without end runs into its
 * window's size and SHMEM_REGIONS_MAX.
 *
 * Who is connected and who rang is lib/qshm's to know; nothing of it is in memory that a guest can
 * write, and the data pages are never looked at. One interrupt, a level: up while a connection's
 * status changed and the guest has not read it since. vCPU threads and the I/O thread, under the
 * vdev's lock. Creating may wait for another process, a second at most.
 *
 * Accesses of 1, 2, 4 and 8 bytes at any offset: bytes that are no register read as 0 and take no
 * writes; what is written to a part of a register counts as that value with the other bytes 0, and
 * names are stored before anything that the same access starts.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "vdevs/pcifn.h"
#include "vdevs/shmem.h"
#include "vdevs/types.h"

#define SIGNATURE 0x4d534732474d5651ull	/* "QVMG2GSM" */
#define PAGE QSHM_PAGE_BYTES

#define REG_SIGNATURE 0x00u	/* the factory page */
#define REG_SHMEM 0x08u
#define REG_VECTOR 0x10u
#define REG_STATUS 0x14u
#define REG_SIZE 0x18u
#define REG_NAME 0x1cu
#define REG_FIND 0x3cu
#define FACTORY_BYTES 0x40u

#define CTL_STATUS 0x0u		/* a control page */
#define CTL_INDEX 0x4u
#define CTL_NOTIFY 0x8u
#define CTL_DETACH 0xcu
#define CTL_BYTES 0x10u

#define BAR_FACTORY 0u
#define BAR_WINDOW 2u
#define MMIO_WINDOW 1u		/* the window's number where there are no BARs */

/* ---- registers as bytes ---- */

static void put_le(uint8_t *p, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(val >> (8 * i));
}

/* @size bytes at @off of the @len bytes at @image; beyond them, 0. */
static uint64_t image_read(const uint8_t *image, unsigned len, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < size && qspan_inside(off, i + 1, len); i++)
		val |= (uint64_t)image[off + i] << (8 * i);
	return val;
}

/* What an access at @off writes to the 32-bit register @reg; false when it does not touch it. */
static bool reg_written(unsigned reg, uint64_t off, unsigned size, uint64_t val, uint32_t *ret)
{
	uint32_t bits = 0;

	if (!qspan_overlap(off, size, reg, 4))
		return false;
	for (unsigned i = 0; i < size; i++)
		if (qspan_overlap(off + i, 1, reg, 4))
			bits |= (uint32_t)(val >> (8 * i) & 0xff) << (8 * (off + i - reg));
	*ret = bits;
	return true;
}

/* ---- the factory page ---- */

static void factory_connect(struct shmem *s, uint32_t n_pages, bool find)
{
	s->last = NULL;
	s->size = 0;
	s->status = !n_pages && !find ? GSS_UNKNOWN_FAILURE : shmem_connect(s, find ? 0 : n_pages);
	if (s->last)
		s->size = qshm_pages(s->last->conn);
	shmem_irq_update(s);
}

static uint64_t factory_read(struct shmem *s, uint64_t off, unsigned size)
{
	uint8_t image[FACTORY_BYTES] = { 0 };
	int vector = s->v.host->ops->irq_number(s->v.host, 0);

	put_le(image + REG_SIGNATURE, 8, SIGNATURE);
	put_le(image + REG_SHMEM, 8, s->last && s->win_base ? s->win_base + s->last->off : 0);
	put_le(image + REG_VECTOR, 4, vector < 0 ? 0 : (uint64_t)vector);
	put_le(image + REG_STATUS, 4, s->status);
	put_le(image + REG_SIZE, 4, s->size);
	memcpy(image + REG_NAME, s->name, sizeof(s->name));
	return image_read(image, sizeof(image), off, size);
}

static void factory_write(struct shmem *s, uint64_t off, unsigned size, uint64_t val)
{
	uint32_t written;

	for (unsigned i = 0; i < size; i++)
		if (off + i >= REG_NAME && off + i < REG_NAME + sizeof(s->name))
			s->name[off + i - REG_NAME] = (uint8_t)(val >> (8 * i));
	if (reg_written(REG_SIZE, off, size, val, &written))
		factory_connect(s, written, false);
	if (reg_written(REG_FIND, off, size, val, &written))
		factory_connect(s, 0, true);
}

/* ---- control pages ---- */

static uint32_t status_read(struct shmem *s, struct shmem_region *r, uint64_t off, unsigned size)
{
	uint32_t clear = 0;

	for (unsigned i = 0; i < 2; i++)	/* the bytes that are read are cleared */
		if (qspan_overlap(off, size, CTL_STATUS + i, 1))
			clear |= 0xffu << (8 * i);
	uint32_t status = qshm_take(r->conn, clear);
	shmem_irq_update(s);
	return status;
}

static uint64_t control_read(struct shmem *s, struct shmem_region *r, uint64_t off, unsigned size)
{
	uint8_t image[CTL_BYTES] = { 0 };

	if (qspan_overlap(off, size, CTL_STATUS, 4))
		put_le(image + CTL_STATUS, 4, status_read(s, r, off, size));
	put_le(image + CTL_INDEX, 4, qshm_index(r->conn));
	return image_read(image, sizeof(image), off, size);
}

static void control_write(struct shmem *s, struct shmem_region *r, uint64_t off, unsigned size,
			  uint64_t val)
{
	uint32_t written;

	if (reg_written(CTL_NOTIFY, off, size, val, &written))
		qshm_ring(r->conn, written);
	if (reg_written(CTL_DETACH, off, size, val, &written))
		shmem_region_drop(s, r);
	shmem_irq_update(s);
}

/* ---- windows ---- */

static bool is_factory(const struct shmem *s, unsigned win)
{
	return win == BAR_FACTORY;
}

/* Data pages come here only while they could not be mapped. */
static uint64_t shmem_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct shmem *s = shmem_of(v);
	struct shmem_region *r;

	if (is_factory(s, win))
		return factory_read(s, off, size);
	r = shmem_region_at(s, off);
	if (r && off - r->off < PAGE)
		return control_read(s, r, off - r->off, size);
	vdev_fault(v, VD_FAULT_BAD_ADDR);
	return UINT64_MAX;
}

static void shmem_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct shmem *s = shmem_of(v);
	struct shmem_region *r;

	if (is_factory(s, win)) {
		factory_write(s, off, size, val);
		return;
	}
	r = shmem_region_at(s, off);
	if (r && off - r->off < PAGE)
		control_write(s, r, off - r->off, size, val);
	else
		vdev_fault(v, VD_FAULT_BAD_ADDR);
}

static uint32_t shmem_cfg_read(struct vdev *v, unsigned off, unsigned size)
{
	return pcifn_cfg_read(&shmem_of(v)->fn, off, size);
}

static void shmem_cfg_write(struct vdev *v, unsigned off, unsigned size, uint32_t val)
{
	struct shmem *s = shmem_of(v);

	pcifn_cfg_write(&s->fn, off, size, val);
	shmem_irq_update(s);
}

/* ---- life ---- */

static void shmem_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct shmem *s = shmem_of(v);
	size_t n = 0;

	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		const struct shmem_region *r = &s->regions[i];
		char name[64];

		if (!r->conn)
			continue;
		qlog_escape(name, sizeof(name), qshm_name(r->conn), strlen(qshm_name(r->conn)));
		int more = snprintf(buf + n, buf_bytes - n,
				    "region=%s index=%u pages=%u addr=%#" PRIx64 " status=%#x ",
				    name, qshm_index(r->conn), qshm_pages(r->conn),
				    s->win_base ? s->win_base + r->off : 0, qshm_status(r->conn));
		if (more < 0 || (size_t)more >= buf_bytes - n)
			break;
		n += (size_t)more;
	}
	if (n < buf_bytes)
		snprintf(buf + n, buf_bytes - n, "irq=%d", s->level);
}

static void shmem_free(struct vdev *v)
{
	struct shmem *s = shmem_of(v);

	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++)
		if (s->regions[i].conn)
			shmem_region_drop(s, &s->regions[i]);
	for (unsigned i = 0; i < SHMEM_CREATES_MAX; i++)
		qshm_leave(s->kept[i]);
	if (s->on_pci)
		pcifn_fini(&s->fn);
	else if (s->win_base)
		v->host->ops->bar_map(v->host, MMIO_WINDOW, VD_MEM, s->win_base, s->win_bytes,
				      false);
	free(s);
}

static const struct vdev_ops shmem_mmio_ops = {
	.read = shmem_read,
	.write = shmem_write,
	.status = shmem_status,
	.free = shmem_free,
};
static const struct vdev_ops shmem_pci_ops = {
	.read = shmem_read,
	.write = shmem_write,
	.cfg_read = shmem_cfg_read,
	.cfg_write = shmem_cfg_write,
	.status = shmem_status,
	.free = shmem_free,
};

static void bar_moved(struct vdev *v, unsigned bar, uint64_t addr, bool mapped)
{
	if (bar == BAR_WINDOW)
		shmem_window_moved(shmem_of(v), addr, mapped);
}

static void make_pci(struct shmem *s)
{
	const struct pcifn_id id = { .vendor = 0x1c05, .device = 0x0001, .sub_vendor = 0x1c05,
				     .sub_device = 0x0001, .class_code = 0x058000 };

	s->v.ops = &shmem_pci_ops;
	pcifn_init(&s->fn, &s->v, &id, bar_moved);
	pcifn_add_bar(&s->fn, BAR_FACTORY, VD_MEM, PAGE, false);
	pcifn_add_bar(&s->fn, BAR_WINDOW, VD_MEM, s->win_bytes, true);
	s->fn.cfg[PCI_BASE_ADDRESS_2] |= PCI_BASE_ADDRESS_MEM_PREFETCH;
	s->fn.cfg[PCI_INTERRUPT_PIN] = 1;
}

static int make_mmio(struct shmem *s, struct cf_errors *errs)
{
	const struct vd_config *cfg = s->v.cfg;
	struct vd_host *h = s->v.host;
	int r = h->ops->bar_map(h, MMIO_WINDOW, VD_MEM, cfg->more_base, s->win_bytes, true);

	if (r < 0) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev shmem: its window at 0x%" PRIx64 " cannot be had",
			     cfg->more_base);
		return r;
	}
	s->win_base = cfg->more_base;
	return 0;
}

static int keep_failed(const struct vd_arg *arg, const char *name, int res, struct cf_errors *errs)
{
	cf_error_add(errs, CF_ERROR, arg->file, arg->line, arg->col,
		     "create: region %s cannot be made: %s", name,
		     res < 0 ? strerrordesc_np(-res) :
		     res == QSHM_NO_ANSWER ? "another process that uses it does not answer" :
					     "too many keep it already");
	return res < 0 ? res : -EBUSY;
}

/* The regions of create, for as long as this VM lives. */
static int make_regions(struct shmem *s, struct cf_errors *errs)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->v.cfg->n_args && n < SHMEM_CREATES_MAX; i++) {
		const struct vd_arg *a = &s->v.cfg->args[i];
		char name[QSHM_NAME_BYTES + 1];
		uint32_t n_pages;

		if (strcmp(a->opt->name, "create") != 0)
			continue;
		if (!shmem_create_parse(a, errs, name, &n_pages))
			return -EINVAL;
		int res = qshm_keep(s->hub, name, n_pages, &s->kept[n]);
		if (res != 0)
			return keep_failed(a, name, res, errs);
		if (qshm_pages(s->kept[n]) != n_pages)
			s->v.host->ops->log(s->v.host, QLOG_WARN,
					    "ev=shmem_size region=%s pages=%u asked=%u why=\"it is "
					    "there already\"", name, qshm_pages(s->kept[n]),
					    n_pages);
		n++;
	}
	return 0;
}

static int shmem_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			struct vdev **ret)
{
	struct shmem *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->v = (struct vdev){ .ops = &shmem_mmio_ops, .type = &vd_shmem_type, .cfg = cfg,
			      .host = host };
	s->on_pci = cfg->space == VD_PCI;
	s->win_bytes = shmem_window_bytes(cfg);
	int r = host->ops->shm->hub(host, errs, &s->hub);
	if (r == 0)
		r = make_regions(s, errs);
	if (r == 0 && s->on_pci)
		make_pci(s);
	else if (r == 0)
		r = make_mmio(s, errs);
	if (r < 0) {
		shmem_free(&s->v);
		return r;
	}
	*ret = &s->v;
	return 0;
}

static void shmem_fdt(const struct vd_config *cfg, struct vd_fdt *ret)
{
	ret->node = "shmem";
	ret->compatible = "qvm,guest_shm\0";
}

const struct vd_type vd_shmem_type = {
	.name = "shmem",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = QSHM_PAGE_BYTES,
	.max_irqs = 1,
	.options = shmem_options,
	.check = shmem_check,
	.create = shmem_create,
	.fdt = shmem_fdt,
	.more_bytes = shmem_window_bytes,
};
