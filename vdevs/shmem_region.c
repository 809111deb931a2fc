/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of vdev shmem: joined and left, placed in its window, shown to the guest as RAM,
 * and the interrupt that their status makes. vCPU threads and the I/O thread, under the vdev's
 * lock. Invariant: a connection's data are mapped exactly where the window is now, or nowhere.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "vdevs/shmem.h"

#define PAGE QSHM_PAGE_BYTES

/* ---- the interrupt ---- */

static bool intx_off(const struct shmem *s)
{
	return s->on_pci && (s->fn.cfg[PCI_COMMAND + 1] & PCI_COMMAND_INTX_DISABLE >> 8);
}

static bool is_pending(struct shmem *s)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++)
		if (s->regions[i].conn && qshm_changed(s->regions[i].conn))
			return true;
	return false;
}

void shmem_irq_update(struct shmem *s)
{
	bool pending = is_pending(s), level = pending && !intx_off(s);

	if (s->on_pci) {
		s->fn.cfg[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
		s->fn.cfg[PCI_STATUS] |= pending ? PCI_STATUS_INTERRUPT : 0;
	}
	if (level == s->level)
		return;
	s->level = level;
	s->v.host->ops->irq_set(s->v.host, 0, level);
}

static void region_event(struct vdev *v, void *arg)
{
	const struct shmem_region *r = arg;

	qfd_event_clear(qshm_event_fd(r->conn));
	shmem_irq_update(shmem_of(v));
}

/* ---- the window ---- */

/* Shows the data to the guest, where the window is now. 0 or -errno. */
static int region_show(struct shmem *s, struct shmem_region *r)
{
	struct vd_host *h = s->v.host;

	return h->ops->shm->ram_map(h, s->win_base + r->off + PAGE, qshm_data_fd(r->conn),
				    r->len_bytes - PAGE, &r->ram);
}

static void region_hide(struct shmem *s, struct shmem_region *r)
{
	if (r->ram)
		s->v.host->ops->shm->ram_unmap(s->v.host, r->ram);
	r->ram = NULL;
}

void shmem_window_moved(struct shmem *s, uint64_t addr, bool mapped)
{
	s->win_base = mapped ? addr : 0;
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		struct shmem_region *r = &s->regions[i];

		if (!r->conn)
			continue;
		region_hide(s, r);
		if (mapped && region_show(s, r) < 0)	/* onto its own RAM, for instance */
			vdev_fault(&s->v, VD_FAULT_BAD_ADDR);
	}
}

/* The connection that @len bytes at @off run into, or NULL. */
static const struct shmem_region *in_the_way(const struct shmem *s, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		const struct shmem_region *r = &s->regions[i];

		if (r->conn && qspan_overlap(off, len, r->off, r->len_bytes))
			return r;
	}
	return NULL;
}

/* The lowest free place of @len bytes. */
static bool place_find(const struct shmem *s, uint64_t len, uint64_t *ret_off)
{
	const struct shmem_region *r;
	uint64_t off = 0;

	while (qspan_inside(off, len, s->win_bytes)) {
		r = in_the_way(s, off, len);
		if (!r) {
			*ret_off = off;
			return true;
		}
		off = r->off + r->len_bytes;
	}
	return false;
}

struct shmem_region *shmem_region_at(struct shmem *s, uint64_t off)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++) {
		struct shmem_region *r = &s->regions[i];

		if (r->conn && off >= r->off && off - r->off < r->len_bytes)
			return r;
	}
	return NULL;
}

/* ---- connections ---- */

void shmem_region_drop(struct shmem *s, struct shmem_region *r)
{
	if (r->watch)
		s->v.host->ops->unwatch(s->v.host, r->watch);
	region_hide(s, r);
	qshm_leave(r->conn);
	if (s->last == r)
		s->last = NULL;
	*r = (struct shmem_region){ .conn = NULL };
}

static uint32_t gss_of(int r)
{
	switch (r) {
	case QSHM_OK:
		return GSS_OK;
	case QSHM_BAD_NAME:
		return GSS_ILLEGAL_NAME;
	case QSHM_BAD_SIZE:
	case -ENOMEM:
	case -ENOSPC:
		return GSS_NOMEM;
	case QSHM_FULL:
	case QSHM_LIMIT:
	case -EMFILE:
		return GSS_CLIENT_MAX;
	case QSHM_ABSENT:
		return GSS_DOES_NOT_EXIST;
	default:
		return GSS_UNKNOWN_FAILURE;
	}
}

/* Gives the joined @r its place. 0 or -errno. */
static int region_settle(struct shmem *s, struct shmem_region *r)
{
	struct vd_host *h = s->v.host;
	uint64_t off, len = ((uint64_t)qshm_pages(r->conn) + 1) * PAGE;

	if (!place_find(s, len, &off))
		return -ENOSPC;
	r->off = off;
	r->len_bytes = len;
	r->watch = h->ops->watch(h, qshm_event_fd(r->conn), region_event, r);
	return r->watch ? region_show(s, r) : -ENOMEM;
}

static int region_join(struct shmem *s, struct shmem_region *r, const char *name, uint32_t n_pages)
{
	struct qshm_conn *conn = NULL;
	uint64_t off;
	/* What does not fit is not made; it may be there with another size. */
	bool fits = place_find(s, ((uint64_t)n_pages + 1) * PAGE, &off);
	int res = qshm_join(s->hub, name, fits ? n_pages : 0, &conn);

	if (res == QSHM_ABSENT && !fits)
		return -ENOSPC;
	if (res != 0)
		return res;
	*r = (struct shmem_region){ .conn = conn };
	res = region_settle(s, r);
	if (res < 0)
		shmem_region_drop(s, r);
	return res;
}

static struct shmem_region *region_free(struct shmem *s)
{
	for (unsigned i = 0; i < SHMEM_REGIONS_MAX; i++)
		if (!s->regions[i].conn)
			return &s->regions[i];
	return NULL;
}

/* @n_pages 0: it must be there. */
uint32_t shmem_connect(struct shmem *s, uint32_t n_pages)
{
	char name[QSHM_NAME_BYTES + 1] = "";
	struct shmem_region *r = region_free(s);

	memcpy(name, s->name, sizeof(s->name));
	if (!qshm_name_ok(name))
		return GSS_ILLEGAL_NAME;
	if (!shmem_permits(s->v.cfg, name))
		return GSS_NO_PERMISSION;
	if (!r)
		return GSS_CLIENT_MAX;
	if (!s->win_base)	/* no place for it: the BAR is off */
		return GSS_NOMEM;
	int res = region_join(s, r, name, n_pages);
	if (res == 0)
		s->last = r;
	s->v.host->ops->log(s->v.host, QLOG_DEBUG, "ev=shmem_attach region=%s result=%d", name,
			    res);
	return gss_of(res);
}
