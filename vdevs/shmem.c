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

/* Results that the guest reads. */
enum {
	GSS_OK = 0,
	GSS_UNKNOWN_FAILURE,
	GSS_NOMEM,
	GSS_CLIENT_MAX,
	GSS_ILLEGAL_NAME,
	GSS_NO_PERMISSION,
	GSS_DOES_NOT_EXIST,
};

#define BAR_FACTORY 0u
#define BAR_WINDOW 2u
#define MMIO_WINDOW 1u		/* the window's number where there are no BARs */
#define SHMEM_REGIONS_MAX 16u

struct region {
	struct qshm_conn *conn;	/* NULL: this place is free */
	struct vd_watch *watch;
	struct vd_ram *ram;	/* the data pages, while the window is mapped */
	uint64_t off, len_bytes;	/* in the window, with the control page */
};

struct shmem {
	struct vdev v;
	struct pcifn fn;	/* on PCI only */
	bool on_pci;
	struct qshm *hub;
	uint64_t win_base;	/* 0: the guest has put it nowhere */
	uint64_t win_bytes;
	struct region regions[SHMEM_REGIONS_MAX];
	struct qshm_conn *kept[SHMEM_CREATES_MAX];
	/* the factory */
	struct region *last;	/* of the last create, while it is connected */
	uint32_t status, size;
	uint8_t name[QSHM_NAME_BYTES];
	bool level;
};

static struct shmem *shmem_of(struct vdev *v)
{
	return Q_CONTAINER_OF(v, struct shmem, v);
}

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

/* ---- the interrupt ---- */

static bool intx_off(const struct shmem *s)
{
	return s->on_pci && (s->fn.cfg[PCI_COMMAND + 1] & PCI_COMMAND_INTX_DISABLE >> 8);
}

static bool is_pending(struct shmem *s)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++)
		if (s->regions[i].conn && qshm_changed(s->regions[i].conn))
			return true;
	return false;
}

static void irq_update(struct shmem *s)
{
	bool pending = is_pending(s), level = pending && !intx_off(s);

	if (s->on_pci) {
		s->fn.cfg[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
		s->fn.cfg[PCI_STATUS] |= pending ? PCI_STATUS_INTERRUPT : 0;
	}
	if (level == s->level)
		return;
	s->level = level;
	s->v.host->ops->irq_set(s->v.host, 0, level);
}

static void region_event(struct vdev *v, void *arg)
{
	const struct region *r = arg;

	qfd_event_clear(qshm_event_fd(r->conn));
	irq_update(shmem_of(v));
}

/* ---- the window ---- */

/* Shows the data to the guest, where the window is now. 0 or -errno. */
static int region_show(struct shmem *s, struct region *r)
{
	struct vd_host *h = s->v.host;

	return h->ops->shm->ram_map(h, s->win_base + r->off + PAGE, qshm_data_fd(r->conn),
				    r->len_bytes - PAGE, &r->ram);
}

static void region_hide(struct shmem *s, struct region *r)
{
	if (r->ram)
		s->v.host->ops->shm->ram_unmap(s->v.host, r->ram);
	r->ram = NULL;
}

static void window_moved(struct shmem *s, uint64_t addr, bool mapped)
{
	s->win_base = mapped ? addr : 0;
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		struct region *r = &s->regions[i];

		if (!r->conn)
			continue;
		region_hide(s, r);
		if (mapped && region_show(s, r) < 0)	/* onto its own RAM, for instance */
			vdev_fault(&s->v, VD_FAULT_BAD_ADDR);
	}
}

static void bar_moved(struct vdev *v, unsigned bar, uint64_t addr, bool mapped)
{
	if (bar == BAR_WINDOW)
		window_moved(shmem_of(v), addr, mapped);
}

/* The connection that @len bytes at @off run into, or NULL. */
static const struct region *in_the_way(const struct shmem *s, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		const struct region *r = &s->regions[i];

		if (r->conn && qspan_overlap(off, len, r->off, r->len_bytes))
			return r;
	}
	return NULL;
}

/* The lowest free place of @len bytes. */
static bool place_find(const struct shmem *s, uint64_t len, uint64_t *ret_off)
{
	const struct region *r;
	uint64_t off = 0;

	while (qspan_inside(off, len, s->win_bytes)) {
		r = in_the_way(s, off, len);
		if (!r) {
			*ret_off = off;
			return true;
		}
		off = r->off + r->len_bytes;
	}
	return false;
}

static struct region *region_at(struct shmem *s, uint64_t off)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		struct region *r = &s->regions[i];

		if (r->conn && off >= r->off && off - r->off < r->len_bytes)
			return r;
	}
	return NULL;
}

/* ---- connections ---- */

static void region_drop(struct shmem *s, struct region *r)
{
	if (r->watch)
		s->v.host->ops->unwatch(s->v.host, r->watch);
	region_hide(s, r);
	qshm_leave(r->conn);
	if (s->last == r)
		s->last = NULL;
	*r = (struct region){ .conn = NULL };
}

static uint32_t gss_of(int r)
{
	switch (r) {
	case QSHM_OK:
		return GSS_OK;
	case QSHM_BAD_NAME:
		return GSS_ILLEGAL_NAME;
	case QSHM_BAD_SIZE:
	case -ENOMEM:
	case -ENOSPC:
		return GSS_NOMEM;
	case QSHM_FULL:
	case QSHM_LIMIT:
	case -EMFILE:
		return GSS_CLIENT_MAX;
	case QSHM_ABSENT:
		return GSS_DOES_NOT_EXIST;
	default:
		return GSS_UNKNOWN_FAILURE;
	}
}

/* Gives the joined @r its place. 0 or -errno. */
static int region_settle(struct shmem *s, struct region *r)
{
	struct vd_host *h = s->v.host;
	uint64_t off, len = ((uint64_t)qshm_pages(r->conn) + 1) * PAGE;

	if (!place_find(s, len, &off))
		return -ENOSPC;
	r->off = off;
	r->len_bytes = len;
	r->watch = h->ops->watch(h, qshm_event_fd(r->conn), region_event, r);
	return r->watch ? region_show(s, r) : -ENOMEM;
}

static int region_join(struct shmem *s, struct region *r, const char *name, uint32_t n_pages)
{
	struct qshm_conn *conn = NULL;
	uint64_t off;
	/* What does not fit is not made; it may be there with another size. */
	bool fits = place_find(s, ((uint64_t)n_pages + 1) * PAGE, &off);
	int res = qshm_join(s->hub, name, fits ? n_pages : 0, &conn);

	if (res == QSHM_ABSENT && !fits)
		return -ENOSPC;
	if (res != 0)
		return res;
	*r = (struct region){ .conn = conn };
	res = region_settle(s, r);
	if (res < 0)
		region_drop(s, r);
	return res;
}

static struct region *region_free(struct shmem *s)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++)
		if (!s->regions[i].conn)
			return &s->regions[i];
	return NULL;
}

/* @n_pages 0: it must be there. */
static uint32_t connect_region(struct shmem *s, uint32_t n_pages)
{
	char name[QSHM_NAME_BYTES + 1] = "";
	struct region *r = region_free(s);

	memcpy(name, s->name, sizeof(s->name));
	if (!qshm_name_ok(name))
		return GSS_ILLEGAL_NAME;
	if (!shmem_permits(s->v.cfg, name))
		return GSS_NO_PERMISSION;
	if (!r)
		return GSS_CLIENT_MAX;
	if (!s->win_base)	/* no place for it: the BAR is off */
		return GSS_NOMEM;
	int res = region_join(s, r, name, n_pages);
	if (res == 0)
		s->last = r;
	s->v.host->ops->log(s->v.host, QLOG_DEBUG, "ev=shmem_attach region=%s result=%d", name,
			    res);
	return gss_of(res);
}

static void factory_connect(struct shmem *s, uint32_t n_pages, bool find)
{
	s->last = NULL;
	s->size = 0;
	s->status = !n_pages && !find ? GSS_UNKNOWN_FAILURE : connect_region(s, find ? 0 : n_pages);
	if (s->last)
		s->size = qshm_pages(s->last->conn);
	irq_update(s);
}

/* ---- the factory page ---- */

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

static uint32_t status_read(struct shmem *s, struct region *r, uint64_t off, unsigned size)
{
	uint32_t clear = 0;

	for (unsigned i = 0; i < 2; i++)	/* the bytes that are read are cleared */
		if (qspan_overlap(off, size, CTL_STATUS + i, 1))
			clear |= 0xffu << (8 * i);
	uint32_t status = qshm_take(r->conn, clear);
	irq_update(s);
	return status;
}

static uint64_t control_read(struct shmem *s, struct region *r, uint64_t off, unsigned size)
{
	uint8_t image[CTL_BYTES] = { 0 };

	if (qspan_overlap(off, size, CTL_STATUS, 4))
		put_le(image + CTL_STATUS, 4, status_read(s, r, off, size));
	put_le(image + CTL_INDEX, 4, qshm_index(r->conn));
	return image_read(image, sizeof(image), off, size);
}

static void control_write(struct shmem *s, struct region *r, uint64_t off, unsigned size,
			  uint64_t val)
{
	uint32_t written;

	if (reg_written(CTL_NOTIFY, off, size, val, &written))
		qshm_ring(r->conn, written);
	if (reg_written(CTL_DETACH, off, size, val, &written))
		region_drop(s, r);
	irq_update(s);
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
	struct region *r;

	if (is_factory(s, win))
		return factory_read(s, off, size);
	r = region_at(s, off);
	if (r && off - r->off < PAGE)
		return control_read(s, r, off - r->off, size);
	vdev_fault(v, VD_FAULT_BAD_ADDR);
	return UINT64_MAX;
}

static void shmem_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct shmem *s = shmem_of(v);
	struct region *r;

	if (is_factory(s, win)) {
		factory_write(s, off, size, val);
		return;
	}
	r = region_at(s, off);
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
	irq_update(s);
}

/* ---- life ---- */

static void shmem_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct shmem *s = shmem_of(v);
	size_t n = 0;

	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		const struct region *r = &s->regions[i];
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
			region_drop(s, &s->regions[i]);
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
