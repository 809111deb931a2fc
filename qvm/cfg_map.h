/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's address spaces and interrupt lines as one sorted list each, and what stands behind a
 * vdev: what both forms of the plan show. Of a checked configuration. Main thread, reads only.
 */
#pragma once

#include "qvm/cfg.h"

/* By their enums. */
extern const char *const cfg_sched_words[], *const cfg_dest_words[], *const cfg_space_words[];

enum cfg_map_kind { CFG_MAP_RAM, CFG_MAP_ROM, CFG_MAP_VDEV, CFG_MAP_MACHINE, CFG_MAP_RESERVED };

struct cfg_map_entry {
	enum vd_space space;		/* VD_MEM before VD_IO */
	uint64_t base, len_bytes;
	enum cfg_map_kind kind;
	const char *what;		/* the vdev's name, or words */
	bool chosen;			/* by the checker */
};
struct cfg_map_irq {
	unsigned line, n_lines;
	const char *what;
	enum cfg_map_kind kind;		/* VDEV, MACHINE or RESERVED */
};
struct cfg_map {
	struct cfg_map_entry *v;
	size_t n;
	struct cfg_map_irq *irqs;	/* a line that is shared stands there for each */
	size_t n_irqs;
	const char *pic;		/* the name before the lines */
};
#define CFG_MAP_NULL ((struct cfg_map){ 0 })

/* 0 or -ENOMEM; fini is due in both cases. */
int cfg_map_make(const struct vm_cfg *cfg, struct cfg_map *ret);
void cfg_map_fini(struct cfg_map *m);

/* The plan as JSON (cfg_plan_json.c). 0 or -errno. */
int cfg_plan_json(const struct vm_cfg *cfg, const struct cfg_map *map, FILE *to);

/* How a vdev shares what is behind it. */
enum cfg_model {
	CFG_MODEL_NONE,		/* nothing of the host is behind it */
	CFG_MODEL_KERNEL,	/* KVM has it */
	CFG_MODEL_EXCLUSIVE,	/* this VM's own */
	CFG_MODEL_MEDIATED,	/* a share of a mediator */
	CFG_MODEL_REFERRED,	/* another guest's */
	CFG_MODEL_BACKEND,	/* whoever serves the socket */
	CFG_MODEL_PEER,		/* one other VM, or the host */
	CFG_MODEL_SHARED,	/* memory that VMs share */
	CFG_MODELS
};
const char *cfg_model_str(enum cfg_model model);
/* The model, and the words that name what it is (NULL: none). The last hostdev decides. */
enum cfg_model cfg_model_of(const struct cfg_vdev *v, const char **ret_what);
