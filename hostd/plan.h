/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM or the mediator takes of this host, read out of the plan that its own program printed
 * (`qvm --plan --json`, `mediator --plan`). Main thread. What the whole system makes of it is
 * hostd/whole.h.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"

#define HD_PLAN_CPUS 256u
#define HD_CLAIMS_MAX 4096u
#define HD_CPU_WHOLE 1000000u	/* a host CPU, in millionths */

enum hd_claim_kind {
	HD_CLAIM_DEVICE,	/* a file or device of the host */
	HD_CLAIM_SHARE,		/* of the mediator: "NAME"; of its own plan: "SYSTEM/NAME" */
	HD_CLAIM_PEER,		/* "SYSTEM/NAME": the other end of a network */
	HD_CLAIM_REFERRED,	/* "OWNER/NAME": a device of another VM's */
	HD_CLAIM_REGION,	/* shared memory that it makes */
	HD_CLAIM_ALLOWED,	/* shared memory that it may use: a pattern */
};

struct hd_pos {
	char *file;		/* owned; NULL: nobody knows */
	unsigned line, col;
};

struct hd_claim {
	enum hd_claim_kind kind;
	char *what;		/* owned */
	char *name;		/* of the vdev, device, … that claims it; owned */
	bool sound;		/* a voice, or a sound device */
	bool read_only;
	struct hd_pos pos;
	/* HD_CLAIM_DEVICE, once looked up. */
	bool exists;
	bool is_block;
	dev_t dev;		/* of a device: its own; of a file: that of its file system */
	ino_t ino;		/* of a file; 0 of a device */
	dev_t disk;		/* of a partition: the whole disk's; else dev */
};

/* A vCPU: what it needs of the host's CPUs. */
struct hd_plan_cpu {
	uint32_t reserved;	/* millionths of a CPU that are its own */
	uint64_t mask[HD_PLAN_CPUS / 64];	/* those that it may run on; all 0: any */
	struct hd_pos pos;
};

struct hd_plan {
	char *system;
	uint64_t mem_bytes;
	struct hd_pos mem_pos;
	struct hd_plan_cpu *cpus;
	size_t n_cpus;
	struct hd_claim *claims;
	size_t n_claims;
};

/* @text is JSON as qvm prints it; paths are relative to @folder. 0, -EINVAL or -ENOMEM. */
int hd_plan_of_vm(const char *text, const char *folder, struct hd_plan **ret);
/* @text is a policy as mediator prints it. */
int hd_plan_of_mediator(const char *text, const char *folder, struct hd_plan **ret);
struct hd_plan *hd_plan_free(struct hd_plan *p);
