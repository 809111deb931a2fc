/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI function: see pcifn.h. Owns the configuration space and what is derived from it: which BARs
 * are mapped where, which vectors the host delivers. vCPU threads, under the vdev's lock.
 * Invariant: after each write, the host's windows and vectors are what the registers say.
 */
#include <linux/pci_regs.h>
#include <poll.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/pcifn.h"

#define CAP_FIRST 0x40u

static uint32_t get_le(const uint8_t *p, unsigned size)
{
	uint32_t val = 0;

	for (unsigned i = 0; i < size; i++)
		val |= (uint32_t)p[i] << (8 * i);
	return val;
}

static void put_le(uint8_t *p, unsigned size, uint32_t val)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(val >> (8 * i));
}

static uint16_t command(const struct pcifn *f)
{
	return (uint16_t)get_le(f->cfg + PCI_COMMAND, 2);
}

/* ---- BARs ---- */

static unsigned bar_reg(unsigned bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

/* One register of a BAR; false when it holds the pattern of sizing: all the ones that it can. */
static bool bar_half(const struct pcifn *f, unsigned reg, uint32_t *ret)
{
	uint32_t mask = get_le(f->wmask + reg, 4);

	*ret = get_le(f->cfg + reg, 4) & mask;
	return !mask || *ret != mask;
}

/* Where the registers put the BAR; false when nowhere. */
static bool bar_wanted(const struct pcifn *f, unsigned i, uint64_t *ret_addr)
{
	const struct pcifn_bar *b = &f->bar[i];
	uint16_t space = b->space == VD_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint32_t lo = 0, hi = 0;

	if (!(command(f) & space) || !bar_half(f, bar_reg(i), &lo))
		return false;
	if (b->is64 && !bar_half(f, bar_reg(i + 1), &hi))
		return false;
	*ret_addr = (uint64_t)hi << 32 | lo;
	return *ret_addr;
}

static void bar_update(struct pcifn *f, unsigned i)
{
	struct pcifn_bar *b = &f->bar[i];
	const struct vd_host_ops *ops = f->v->host->ops;
	uint64_t addr = 0;
	bool wanted = bar_wanted(f, i, &addr);

	if (b->mapped && wanted && addr == b->addr)
		return;
	if (b->mapped) {
		b->mapped = false;
		if (f->bar_moved)
			f->bar_moved(f->v, i, b->addr, false);
		ops->bar_map(f->v->host, i, b->space, b->addr, b->len_bytes, false);
	}
	if (!wanted)
		return;
	if (ops->bar_map(f->v->host, i, b->space, addr, b->len_bytes, true) < 0) {
		vdev_fault(f->v, VD_FAULT_BAD_ADDR);
		return;
	}
	b->mapped = true;
	b->addr = addr;
	if (f->bar_moved)
		f->bar_moved(f->v, i, addr, true);
}

static void bars_update(struct pcifn *f)
{
	for (unsigned i = 0; i < PCIFN_BARS; i++)
		if (f->bar[i].len_bytes)
			bar_update(f, i);
}

void pcifn_add_bar(struct pcifn *f, unsigned bar, enum vd_space space, uint64_t len_bytes,
		   bool is64)
{
	uint64_t mask = ~(len_bytes - 1);
	unsigned reg = bar_reg(bar);

	qassert(bar + is64 < PCIFN_BARS && len_bytes >= 16 && !(len_bytes & (len_bytes - 1)));
	qassert(is64 || len_bytes <= 1ull << 31);
	f->bar[bar] = (struct pcifn_bar){ .len_bytes = len_bytes, .space = space, .is64 = is64 };
	put_le(f->wmask + reg, 4, (uint32_t)mask);
	f->cfg[reg] = space == VD_IO ? PCI_BASE_ADDRESS_SPACE_IO :
		      is64	     ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;
	if (is64)
		put_le(f->wmask + reg + 4, 4, (uint32_t)(mask >> 32));
	/* The command register has the bits of the spaces that are there. */
	f->wmask[PCI_COMMAND] |= space == VD_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
}

/* ---- MSI-X ---- */

static bool vector_masked(const struct pcifn *f, const struct pcifn_vector *e)
{
	uint32_t flags = get_le(f->cfg + f->msix_cap + PCI_MSIX_FLAGS, 2);

	return !(flags & PCI_MSIX_FLAGS_ENABLE) || (flags & PCI_MSIX_FLAGS_MASKALL) ||
	       (e->ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void vector_update(struct pcifn *f, unsigned i)
{
	struct pcifn_vector *e = &f->vec[i];
	struct vd_host *h = f->v->host;
	bool masked = vector_masked(f, e);
	int r;

	if (masked) {
		if (e->live)
			h->ops->msi_set(h, i, true, 0, 0);
		e->live = false;
		return;
	}
	if (e->live && e->live_addr == e->addr && e->live_data == e->data)
		return;
	r = h->ops->msi_set(h, i, false, e->addr, e->data);
	if (r < 0)
		h->ops->log(h, QLOG_ERROR, "ev=msi_lost vector=%u errno=%d", i, -r);
	e->live = r == 0;
	e->live_addr = e->addr;
	e->live_data = e->data;
}

static void vectors_update(struct pcifn *f)
{
	for (unsigned i = 0; i < f->n_vectors; i++)
		vector_update(f, i);
}

void pcifn_add_msix(struct pcifn *f, unsigned n_vectors, unsigned bar, uint32_t table_off,
		    uint32_t pba_off)
{
	unsigned cap = pcifn_add_cap(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);

	qassert(n_vectors && n_vectors <= PCIFN_VECTORS_MAX && !f->n_vectors);
	put_le(f->cfg + cap + PCI_MSIX_FLAGS, 2, n_vectors - 1);
	put_le(f->wmask + cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put_le(f->cfg + cap + PCI_MSIX_TABLE, 4, table_off | bar);
	put_le(f->cfg + cap + PCI_MSIX_PBA, 4, pba_off | bar);
	f->msix_cap = cap;
	f->n_vectors = n_vectors;
	for (unsigned i = 0; i < n_vectors; i++)
		f->vec[i].ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static uint32_t vector_word(const struct pcifn_vector *e, unsigned off)
{
	switch (off) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)e->addr;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return (uint32_t)(e->addr >> 32);
	case PCI_MSIX_ENTRY_DATA:
		return e->data;
	default:
		return e->ctrl;
	}
}

uint64_t pcifn_table_read(const struct pcifn *f, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	if (size < 4 || !qspan_inside(off, size, PCIFN_TABLE_BYTES(f->n_vectors)) || off % 4)
		return 0;
	for (unsigned i = 0; i < size; i += 4)
		val |= (uint64_t)vector_word(&f->vec[(off + i) / 16], (off + i) % 16) << (8 * i);
	return val;
}

static void vector_set_word(struct pcifn_vector *e, unsigned off, uint32_t val)
{
	switch (off) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		e->addr = (e->addr & ~0xffffffffull) | (val & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		e->addr = (e->addr & 0xffffffffull) | (uint64_t)val << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		e->data = val;
		break;
	default:
		e->ctrl = val & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	}
}

void pcifn_table_write(struct pcifn *f, uint64_t off, unsigned size, uint64_t val)
{
	if (size < 4 || !qspan_inside(off, size, PCIFN_TABLE_BYTES(f->n_vectors)) || off % 4) {
		vdev_fault(f->v, VD_FAULT_BAD_REQUEST);
		return;
	}
	/* All words first: an 8-byte write is one change for the host. */
	for (unsigned i = 0; i < size; i += 4)
		vector_set_word(&f->vec[(off + i) / 16], (off + i) % 16,
				(uint32_t)(val >> (8 * i)));
	vector_update(f, (unsigned)(off / 16));
	if (off / 16 != (off + size - 1) / 16)
		vector_update(f, (unsigned)((off + size - 1) / 16));
}

/*
 * A signal that came while the vector was masked stands in its descriptor: that is the pending bit.
 */
static bool vector_pending(const struct pcifn *f, unsigned i)
{
	struct vd_host *h = f->v->host;
	struct pollfd p = { .fd = h->ops->msi_fd(h, i), .events = POLLIN };

	return !f->vec[i].live && p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

uint64_t pcifn_pba_read(const struct pcifn *f, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	if (size < 4 || off % 4)
		return 0;
	for (unsigned i = 0; i < size * 8 && off * 8 + i < f->n_vectors; i++)
		if (vector_pending(f, (unsigned)off * 8 + i))
			val |= 1ull << i;
	return val;
}

/* ---- INTx ---- */

bool pcifn_msix_enabled(const struct pcifn *f)
{
	return f->n_vectors &&
	       (get_le(f->cfg + f->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE);
}

void pcifn_add_intx(struct pcifn *f)
{
	f->cfg[PCI_INTERRUPT_PIN] = 1;
}

static void intx_update(struct pcifn *f)
{
	bool pending = f->intx_wanted && !pcifn_msix_enabled(f);
	bool high = pending && !(command(f) & PCI_COMMAND_INTX_DISABLE);

	f->cfg[PCI_STATUS] = (uint8_t)((f->cfg[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) |
				       (pending ? PCI_STATUS_INTERRUPT : 0));
	if (high != f->intx_high)
		f->v->host->ops->irq_set(f->v->host, 0, high);
	f->intx_high = high;
}

void pcifn_intx(struct pcifn *f, bool level)
{
	f->intx_wanted = level;
	intx_update(f);
}

/* ---- configuration space ---- */

unsigned pcifn_add_cap(struct pcifn *f, uint8_t id, unsigned len_bytes)
{
	unsigned cap = f->cap_end;

	qassert(cap + len_bytes <= PCIFN_CFG_BYTES);
	f->cfg[cap + PCI_CAP_LIST_ID] = id;
	f->cfg[f->cap_last ? f->cap_last + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = (uint8_t)cap;
	f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_last = cap;
	f->cap_end = Q_ALIGN_UP(cap + len_bytes, 4u);
	return cap;
}

uint32_t pcifn_cfg_read(const struct pcifn *f, unsigned off, unsigned size)
{
	return qspan_inside(off, size, PCIFN_CFG_BYTES) ? get_le(f->cfg + off, size) : 0;
}

static bool touches(unsigned off, unsigned size, unsigned reg, unsigned len)
{
	return qspan_overlap(off, size, reg, len);
}

void pcifn_cfg_write(struct pcifn *f, unsigned off, unsigned size, uint32_t val)
{
	if (!qspan_inside(off, size, PCIFN_CFG_BYTES))
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = f->wmask[off + i];
		uint8_t byte = (uint8_t)(val >> (8 * i));

		f->cfg[off + i] = (uint8_t)((f->cfg[off + i] & ~mask) | (byte & mask));
	}
	if (touches(off, size, PCI_COMMAND, 2) ||
	    touches(off, size, PCI_BASE_ADDRESS_0, 4 * PCIFN_BARS))
		bars_update(f);
	if (f->n_vectors && touches(off, size, f->msix_cap + PCI_MSIX_FLAGS, 2))
		vectors_update(f);
	intx_update(f);
}

void pcifn_init(struct pcifn *f, struct vdev *v, const struct pcifn_id *id,
		void (*bar_moved)(struct vdev *v, unsigned bar, uint64_t addr, bool mapped))
{
	memset(f, 0, sizeof(*f));
	f->v = v;
	f->bar_moved = bar_moved;
	f->cap_end = CAP_FIRST;
	put_le(f->cfg + PCI_VENDOR_ID, 2, id->vendor);
	put_le(f->cfg + PCI_DEVICE_ID, 2, id->device);
	put_le(f->cfg + PCI_SUBSYSTEM_VENDOR_ID, 2, id->sub_vendor);
	put_le(f->cfg + PCI_SUBSYSTEM_ID, 2, id->sub_device);
	put_le(f->cfg + PCI_REVISION_ID, 4, id->class_code << 8 | id->revision);
	/* Bus master and INTx disable are kept for the guest; DMA works either way. */
	put_le(f->wmask + PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	f->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	f->wmask[PCI_INTERRUPT_LINE] = 0xff;
}

void pcifn_fini(struct pcifn *f)
{
	if (!f->v)
		return;
	put_le(f->cfg + PCI_COMMAND, 2, 0);
	bars_update(f);
	pcifn_intx(f, false);
}
