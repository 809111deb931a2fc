/* SPDX-License-Identifier: Apache-2.0 */
/* What both transports share: the list of devices and the order of the handshake. */
#include "tests/guests/drv/virtio.h"

#define RESET_TIMEOUT_NS	(5 * RT_NS_PER_S)

static struct vio_dev devs[VIO_MAX_DEVS];
static unsigned n_devs;

unsigned vio_scan(struct vio_dev **ret_devs)
{
	if (n_devs == 0) {
		n_devs = vio_pci_scan(devs, VIO_MAX_DEVS);
		n_devs += vio_mmio_scan(devs + n_devs, VIO_MAX_DEVS - n_devs);
	}
	*ret_devs = devs;
	return n_devs;
}

struct vio_dev *vio_find(uint32_t id, unsigned nth)
{
	struct vio_dev *all;
	unsigned n = vio_scan(&all), seen = 0;

	for (unsigned i = 0; i < n; i++)
		if (all[i].id == id && seen++ == nth)
			return &all[i];
	rt_fail("no virtio device id=%u index=%u (have %u of %u devices)", id, nth, seen, n);
}

void vio_reset(struct vio_dev *d)
{
	uint64_t until = arch_ticks() + rt_ticks(RESET_TIMEOUT_NS);

	d->ops->set_status(d, 0);
	while (d->ops->status(d) != 0)
		if (arch_ticks() > until)
			rt_fail("%s does not come out of reset: status=0x%x", d->name,
				d->ops->status(d));
	d->features = 0;
}

const char *vio_begin(struct vio_dev *d, uint64_t wanted)
{
	vio_reset(d);
	d->ops->set_status(d, VIO_S_ACKNOWLEDGE);
	d->ops->set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	uint64_t offered = d->ops->offered(d);
	if (d->legacy) {
		d->features = offered & wanted;
		d->ops->accept(d, d->features);
		return NULL;
	}
	if (!(offered & VIO_F_VERSION_1))
		return "VERSION_1 is not offered";
	d->features = offered & (wanted | VIO_F_VERSION_1 | VIO_F_ACCESS_PLATFORM);
	d->ops->accept(d, d->features);
	d->ops->set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	if (!(d->ops->status(d) & VIO_S_FEATURES_OK))
		return "FEATURES_OK was refused";
	return NULL;
}

void vio_run(struct vio_dev *d)
{
	/* A device may look at its rings as soon as it runs: they are filled by then. */
	arch_mb();
	d->ops->set_status(d, d->ops->status(d) | VIO_S_DRIVER_OK);
}

uint64_t vio_config_read64(struct vio_dev *d, unsigned off)
{
	return d->ops->config_read(d, off, 4) | (uint64_t)d->ops->config_read(d, off + 4, 4) << 32;
}
