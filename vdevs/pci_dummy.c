/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci-dummy: a PCI function that is only there: identity, class and revision, no BAR, no interrupt,
 * no capability. Drivers look for such a neighbour (a graphics driver for the bridge of its
 * chipset) and want nothing else of it. The identity is given by numbers, or read from a device of
 * the host; the host's device itself is not touched, and stays the host's.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/pcifn.h"
#include "vdevs/types.h"


struct pci_dummy {
	struct vdev v;
	struct pcifn fn;
};

static uint32_t dummy_cfg_read(struct vdev *v, unsigned off, unsigned size)
{
	return pcifn_cfg_read(&Q_CONTAINER_OF(v, struct pci_dummy, v)->fn, off, size);
}

static void dummy_cfg_write(struct vdev *v, unsigned off, unsigned size, uint32_t val)
{
	pcifn_cfg_write(&Q_CONTAINER_OF(v, struct pci_dummy, v)->fn, off, size, val);
}

static void dummy_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct pcifn *f = &Q_CONTAINER_OF(v, struct pci_dummy, v)->fn;

	snprintf(buf, buf_bytes, "id=%04x:%04x class=%06x", pcifn_cfg_read(f, PCI_VENDOR_ID, 2),
		 pcifn_cfg_read(f, PCI_DEVICE_ID, 2),
		 pcifn_cfg_read(f, PCI_CLASS_REVISION, 4) >> 8);
}

static void dummy_free(struct vdev *v)
{
	struct pci_dummy *d = Q_CONTAINER_OF(v, struct pci_dummy, v);

	pcifn_fini(&d->fn);
	free(d);
}

static const struct vdev_ops dummy_ops = {
	.cfg_read = dummy_cfg_read,
	.cfg_write = dummy_cfg_write,
	.status = dummy_status,
	.free = dummy_free,
};

static uint16_t word(const uint8_t *header, unsigned off)
{
	return (uint16_t)(header[off] | header[off + 1] << 8);
}

static int clone_id(const struct vd_arg *a, struct vd_host *host, struct cf_errors *errs,
		    struct pcifn_id *ret)
{
	uint8_t h[VD_PCI_HEADER_BYTES];
	int r = host->ops->pci_header(host, a, errs, h);

	if (r < 0)
		return r;
	if ((h[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_NORMAL) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "clone: that device of the host is a bridge to another bus, and "
			     "behind a clone there is none: name a device, or give vendor, device "
			     "and class");
		return -EINVAL;
	}
	*ret = (struct pcifn_id){
		.vendor = word(h, PCI_VENDOR_ID),
		.device = word(h, PCI_DEVICE_ID),
		.sub_vendor = word(h, PCI_SUBSYSTEM_VENDOR_ID),
		.sub_device = word(h, PCI_SUBSYSTEM_ID),
		.class_code = (uint32_t)word(h, PCI_CLASS_DEVICE) << 8 | h[PCI_CLASS_PROG],
		.revision = h[PCI_REVISION_ID],
	};
	return 0;
}

/* What is a number of at most @max, in the order of struct pcifn_id. */
static const struct { const char *name; uint64_t max; } ids[] = {
	{ "vendor", 0xfffe },	/* 0xffff: nobody is there */
	{ "device", 0xffff },
	{ "subvendor", 0xffff },
	{ "subdevice", 0xffff },
	{ "class", 0xffffff },
	{ "revision", 0xff },
};

/* A number takes the place of what the clone has. */
static void given_ids(const struct vd_config *cfg, struct pcifn_id *id)
{
	uint64_t v[] = { id->vendor, id->device, id->sub_vendor, id->sub_device, id->class_code,
			 id->revision };

	static_assert(Q_ARRAY_LEN(v) == Q_ARRAY_LEN(ids), "one for each");
	for (unsigned i = 0; i < Q_ARRAY_LEN(ids); i++) {
		const struct vd_arg *a = vd_arg_find(cfg, ids[i].name);
		if (a)
			v[i] = a->num;
	}
	*id = (struct pcifn_id){ (uint16_t)v[0], (uint16_t)v[1], (uint16_t)v[2], (uint16_t)v[3],
				 (uint32_t)v[4], (uint8_t)v[5] };
}

static void dummy_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->space != VD_PCI)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev pci-dummy is a PCI device and nothing else: expected loc "
			     "pci:bus:device, or no loc");
	if (!vd_arg_find(cfg, "clone") &&
	    (!vd_arg_find(cfg, "vendor") || !vd_arg_find(cfg, "device")))
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev pci-dummy needs clone pci:bus:device.function of the host, or "
			     "vendor and device");
	for (unsigned i = 0; i < Q_ARRAY_LEN(ids); i++) {
		const struct vd_arg *a = vd_arg_find(cfg, ids[i].name);
		if (a && a->num > ids[i].max)
			cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
				     "%s: at most 0x%llx", ids[i].name,
				     (unsigned long long)ids[i].max);
	}
}

static int dummy_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			struct vdev **ret)
{
	const struct vd_arg *clone = vd_arg_find(cfg, "clone");
	struct pcifn_id id = { 0 };
	int r = clone ? clone_id(clone, host, errs, &id) : 0;

	if (r < 0)
		return r;
	given_ids(cfg, &id);
	struct pci_dummy *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->v = (struct vdev){ .ops = &dummy_ops, .type = &vd_pci_dummy_type, .cfg = cfg,
			      .host = host };
	pcifn_init(&d->fn, &d->v, &id, NULL);
	*ret = &d->v;
	return 0;
}

static const struct vd_option dummy_options[] = {
	{ .name = "clone", .kind = VD_ARG_STRING },
	{ .name = "vendor", .kind = VD_ARG_NUMBER },
	{ .name = "device", .kind = VD_ARG_NUMBER },
	{ .name = "subvendor", .kind = VD_ARG_NUMBER },
	{ .name = "subdevice", .kind = VD_ARG_NUMBER },
	{ .name = "class", .kind = VD_ARG_NUMBER },
	{ .name = "revision", .kind = VD_ARG_NUMBER },
	{ NULL },
};

const struct vd_type vd_pci_dummy_type = {
	.name = "pci-dummy",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 4096,
	.max_irqs = 0,
	.options = dummy_options,
	.check = dummy_check,
	.create = dummy_create,
};
