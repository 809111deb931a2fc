/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree of a machine, written in one pass from plain data, so that trees are made and
 * tested without KVM and on any host. No state, any thread.
 */
#pragma once

#include "qvm/cfg.h"
#include "qvm/cfg_gic.h"

#define FDTGEN_BYTES	 0x40000u /* no tree that is made here is larger */
#define FDTGEN_PATH_MAX	 96u
#define FDTGEN_SEED_BYTES 32u

struct fdtgen {
	const struct vm_cfg *cfg;
	const uint64_t *mpidrs; /* affinity of each vCPU, cfg->n_cpus of them */
	unsigned gic_version;
	bool has_its;
	struct cfg_msi_frame frame;
	uint64_t initrd_gpa, initrd_bytes; /* 0 bytes: none */
	const uint8_t *seed;		   /* FDTGEN_SEED_BYTES of randomness, or NULL */
	bool symbols;			   /* with labels for overlays in /__symbols__ */
	uint32_t phandle_first;		   /* the tree's own are from here on; at least 1 */
	/*
	 * Another phandle for the node at @path (of vdev @name, or NULL); 0: its own. NULL: all
	 * have their own.
	 */
	uint32_t (*phandle)(void *arg, const char *name, const char *path);
	void *arg;
};

/* Writes the tree. 0, or an error of libfdt (negative). */
int fdtgen_build(const struct fdtgen *g, void *buf, size_t buf_bytes);
/* Affinity of vCPU @idx as KVM gives it: for a plan; a VM asks KVM. */
uint64_t fdtgen_mpidr(unsigned idx);
/*
 * Where the node of the vdev named @name stands: into @path of FDTGEN_PATH_MAX bytes. 0, -ENOENT
 * (no such vdev), -ENODEV (it is found by the guest and has no node).
 */
int fdtgen_path(const struct vm_cfg *cfg, const char *name, char *path);
/*
 * "virtio-blk0" as a label: letters, digits and underscores. Into @label of FDTGEN_PATH_MAX bytes.
 */
void fdtgen_label(const char *name, char *label);
