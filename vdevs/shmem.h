/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of vdev shmem share: its options (shmem_cfg.c: no state, any thread), its
 * connections (shmem_region.c) and its registers (shmem.c), both under the vdev's lock.
 */
#pragma once

#include "lib/qshm.h"
#include "vdevs/pcifn.h"
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

/* ---- the device ---- */

#define SHMEM_REGIONS_MAX 16u

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

struct shmem_region {
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
	struct shmem_region regions[SHMEM_REGIONS_MAX];
	struct qshm_conn *kept[SHMEM_CREATES_MAX];
	/* the factory */
	struct shmem_region *last;	/* of the last create, while it is connected */
	uint32_t status, size;
	uint8_t name[QSHM_NAME_BYTES];
	bool level;
};

static inline struct shmem *shmem_of(struct vdev *v)
{
	return Q_CONTAINER_OF(v, struct shmem, v);
}

/*
 * Connects to the region that the name register names. @n_pages: its size if it has to be made; 0:
 * it must be there. The result for the guest; s->last is the connection then, or unchanged.
 */
uint32_t shmem_connect(struct shmem *s, uint32_t n_pages);
/* Leaves; its place is free. */
void shmem_region_drop(struct shmem *s, struct shmem_region *r);
/* The connection that stands at @off of the window, or NULL. */
struct shmem_region *shmem_region_at(struct shmem *s, uint64_t off);
/* The window is at @addr now, or nowhere. */
void shmem_window_moved(struct shmem *s, uint64_t addr, bool mapped);
/* Drives the interrupt as the connections' status and the command register want it. */
void shmem_irq_update(struct shmem *s);
