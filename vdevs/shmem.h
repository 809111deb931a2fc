/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of vdev shmem (shmem_cfg.c), as its device (shmem.c) and its check see it. No
 * state, any thread.
 */
#pragma once

#include "lib/qshm.h"
#include "vdevs/vdev.h"

#define SHMEM_CREATES_MAX 8u
#define SHMEM_WINDOW_MIN  (64ull << 10)
#define SHMEM_WINDOW_MAX  (256ull << 20)
#define SHMEM_WINDOW	  (64ull << 20) /* when nothing is said */

/* window, create, allow, deny; ends with name NULL. */
extern const struct vd_option shmem_options[];

/* What is wrong with them goes to @errs. */
void shmem_check(const struct vd_config *cfg, struct cf_errors *errs);

/* Bytes of guest-physical addresses for the regions: a power of 2. */
uint64_t shmem_window_bytes(const struct vd_config *cfg);
/* The guest may connect to region @name. */
bool shmem_permits(const struct vd_config *cfg, const char *name);
/* One argument of create: name and size. False, with a sentence in @errs, when it is wrong. */
bool shmem_create_parse(const struct vd_arg *arg, struct cf_errors *errs,
			char ret_name[QSHM_NAME_BYTES + 1], uint32_t *ret_pages);
