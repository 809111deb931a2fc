/* SPDX-License-Identifier: Apache-2.0 */
/* See vdshm.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/unit/vdharness.h"

static struct vdh *vdh_of(struct vd_host *host)
{
	return Q_CONTAINER_OF(host, struct vdh, host);
}

static int shm_hub(struct vd_host *host, struct cf_errors *errs, struct qshm **ret)
{
	*ret = vdh_of(host)->shm;
	if (*ret)
		return 0;
	cf_error_add(errs, CF_ERROR, "t", 1, 1, "there is no run directory");
	return -ENOENT;
}

static bool is_taken(const struct vdh *h, uint64_t addr, uint64_t len_bytes)
{
	if (qspan_overlap(addr, len_bytes, VDH_RAM_GPA, VDH_RAM_BYTES))
		return true;
	for (unsigned i = 0; i < VDH_RAMS; i++)
		if (h->rams[i] && qspan_overlap(addr, len_bytes, h->rams[i]->addr,
						h->rams[i]->len_bytes))
			return true;
	return false;
}

static int shm_ram_map(struct vd_host *host, uint64_t addr, int fd, uint64_t len_bytes,
		       struct vd_ram **ret)
{
	struct vdh *h = vdh_of(host);
	struct vd_ram **at = NULL;

	qassert(addr % 4096 == 0 && len_bytes % 4096 == 0 && len_bytes > 0);
	for (unsigned i = 0; i < VDH_RAMS && !at; i++)
		if (!h->rams[i])
			at = &h->rams[i];
	if (!at || h->no_rams)
		return -ENOSPC;
	if (is_taken(h, addr, len_bytes))
		return -EEXIST;
	*at = malloc(sizeof(**at));
	char *host_at = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	qassert(*at && host_at != MAP_FAILED);
	**at = (struct vd_ram){ addr, len_bytes, host_at };
	*ret = *at;
	return 0;
}

static void shm_ram_unmap(struct vd_host *host, struct vd_ram *r)
{
	struct vdh *h = vdh_of(host);
	bool found = false;

	for (unsigned i = 0; i < VDH_RAMS; i++) {
		if (h->rams[i] != r)
			continue;
		h->rams[i] = NULL;
		found = true;
	}
	qassert(found);
	munmap(r->host, r->len_bytes);
	free(r);
}

const struct vd_shm_ops vdh_shm_ops = {
	.hub = shm_hub,
	.ram_map = shm_ram_map,
	.ram_unmap = shm_ram_unmap,
};

char *vdh_ram(struct vdh *h, uint64_t addr, uint64_t len_bytes)
{
	for (unsigned i = 0; i < VDH_RAMS; i++) {
		const struct vd_ram *r = h->rams[i];

		if (r && addr >= r->addr && qspan_inside(addr - r->addr, len_bytes, r->len_bytes))
			return r->host + (addr - r->addr);
	}
	return NULL;
}

unsigned vdh_rams(const struct vdh *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VDH_RAMS; i++)
		n += h->rams[i] != NULL;
	return n;
}
