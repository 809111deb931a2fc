/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `vdev gic` says, in numbers. Reads the configuration only; any thread.
 */
#pragma once

#include "qvm/cfg.h"

#define CFG_MSI_FRAME_BYTES 0x1000u
#define CFG_GICV2_CPUS_MAX  8u

/* A page whose doorbell turns messages of PCI devices into interrupts of the GIC (GICv2m). */
struct cfg_msi_frame {
	uint64_t base;		/* 0: there is none */
	unsigned first, count;	/* INTIDs first..first + count - 1 are its own */
};

/* 2 or 3; 0: not said, what the host has is taken. */
unsigned cfg_gic_version(const struct vm_cfg *cfg);
/* From `msi address,first,count`; all 0 when there is none, or none that is right. */
struct cfg_msi_frame cfg_gic_frame(const struct vm_cfg *cfg);
/* INTID @line belongs to the frame. */
bool cfg_frame_has(const struct cfg_msi_frame *f, unsigned line);
/* As cfg_gic_frame(), of the text of `msi`; NULL, or what is wrong with it. */
const char *cfg_msi_parse(const char *text, struct cfg_msi_frame *ret);
/* What needs the whole configuration: how many CPUs there are, and what stands at the frame. */
void cfg_check_gic(const struct vm_cfg *cfg, struct cf_errors *errs);
