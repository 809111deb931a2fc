/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of vdevs: what exists is what stands in vdev_registry[], and nothing registers itself.
 * Also the small functions that every vdev shares. No state.
 */
#include <string.h>

#include "vdevs/types.h"

const struct vd_type *const vdev_registry[] = {
	&vd_acpipm_type,
	&vd_debug_exit_type,
	&vd_hpet_type,
	&vd_mc146818_type,
	&vd_pci_dummy_type,
	&vd_pckeyboard_type,
	&vd_pl011_type,
	&vd_progress_type,
	&vd_ser8250_type,
	&vd_shmem_type,
	&vd_virtio_blk_type,
	&vd_virtio_console_type,
	&vd_virtio_entropy_type,
	&vd_virtio_net_type,
	&vd_virtio_snd_type,
	&vd_wdt_sp805_type,
	&vd_wdt_ib700_type,
	NULL,
};

#define VDEV_PREFIX "vdev-"
#define VDEV_SUFFIX ".so"

const struct vd_type *vdev_type_find(const char *name)
{
	size_t len = strlen(name);

	/* "vdev-X" and "vdev-X.so" are what a configuration written for shared objects says. */
	if (!strncmp(name, VDEV_PREFIX, strlen(VDEV_PREFIX))) {
		name += strlen(VDEV_PREFIX);
		len -= strlen(VDEV_PREFIX);
		if (len > strlen(VDEV_SUFFIX) &&
		    !strcmp(name + len - strlen(VDEV_SUFFIX), VDEV_SUFFIX))
			len -= strlen(VDEV_SUFFIX);
	}
	for (unsigned i = 0; vdev_registry[i]; i++)
		if (strlen(vdev_registry[i]->name) == len &&
		    !memcmp(vdev_registry[i]->name, name, len))
			return vdev_registry[i];
	return NULL;
}

const struct vd_arg *vd_arg_find(const struct vd_config *cfg, const char *name)
{
	for (size_t i = cfg->n_args; i > 0; i--)
		if (!strcmp(cfg->args[i - 1].opt->name, name))
			return &cfg->args[i - 1];
	return NULL;
}

void vdev_fault(struct vdev *v, enum vd_fault f)
{
	v->faults[f]++;
	v->host->ops->fault(v->host, f);
}

static const char *const fault_str[] = {
	[VD_FAULT_NONE] = "none",
	[VD_FAULT_BAD_RING] = "bad_ring",
	[VD_FAULT_BAD_INDEX] = "bad_index",
	[VD_FAULT_BAD_CHAIN] = "bad_chain",
	[VD_FAULT_BAD_ADDR] = "bad_addr",
	[VD_FAULT_BAD_REQUEST] = "bad_request",
	[VD_FAULT_BAD_STATE] = "bad_state",
};
static_assert(Q_ARRAY_LEN(fault_str) == VD_FAULTS, "every fault has a word");

const char *vd_fault_str(enum vd_fault f)
{
	return (unsigned)f < VD_FAULTS ? fault_str[f] : "unknown";
}
