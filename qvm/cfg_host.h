/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as a configuration may name it: regions of memory ($asinfo_start, $asinfo_length) and
 * groups of CPUs (cluster). Main thread.
 */
#pragma once

#include "lib/qdef.h"

#define CFG_HOST_CPUS 256u

struct cfg_region {
	uint64_t start, len_bytes;
};

enum cfg_region_is {
	CFG_REGION_OK,
	CFG_REGION_NONE,	/* none has that name */
	CFG_REGION_SEVERAL,	/* write NAME@ADDRESS */
	CFG_REGION_UNPLACED,	/* it has no address: the kernel places it */
	CFG_REGION_HIDDEN,	/* this process may not see the host's addresses */
};

/* The region of that name, or NAME@HEX: of the device tree's reserved-memory, else of /proc/iomem.
 * *ret is written on CFG_REGION_OK only. */
enum cfg_region_is cfg_host_region(const char *name, struct cfg_region *ret);

/*
 * The host's CPUs of a NUMA node ("node0"), a type ("cpu_atom", "armv8_cortex_a72": as
 * /sys/bus/event_source/devices lists them), a cluster or package ("cluster0", "package0"), or
 * "isolated". False when there is no such group or it is empty.
 */
bool cfg_host_cpus(const char *name, uint64_t ret_mask[CFG_HOST_CPUS / 64]);

/* Tests only: where /proc and /sys are looked for; borrowed. */
void cfg_host_root_set(const char *dir);
