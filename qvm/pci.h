/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bus 0 of the guest's PCI: a host bridge in slot 0, one function a slot behind it, reached by the
 * ports 0xcf8/0xcfc (x86) and by the ECAM window. Slots are filled before the guest runs and do not
 * change; the latch of the address port is the guest's to serialise, as on hardware.
 */
#pragma once

#include <stdatomic.h>

#include "qvm/bus.h"
#include "qvm/memmap.h"

struct vm_dev;

struct pci {
	struct vm_dev *slots[MM_PCI_SLOTS]; /* borrowed */
	_Atomic uint32_t latch;		    /* of port 0xcf8 */
	struct bus_window under_latch;	    /* ops NULL: nothing */
	uint64_t mem_base, mem_end;	    /* for BARs */
	uint64_t io_base, io_end;
};

void pci_init(struct pci *p, uint64_t mem_base, uint64_t mem_len, uint64_t io_base,
	      uint64_t io_len);
/* 0, or -EEXIST when slot @dev is taken or does not exist. */
int pci_add(struct pci *p, unsigned dev, struct vm_dev *d);
/* The ways in. 0 or -errno of bus_add(). */
int pci_map_ports(struct pci *p, struct bus *io);
/*
 * Something at the ports 0xcf9..0xcfb, which are the latch's only for a dword: a PC has its reset
 * register there. 0, -EINVAL (it is not wholly there), -EEXIST. Before the guest runs; @w with no
 * ops takes it away.
 */
int pci_map_under_latch(struct pci *p, const struct bus_window *w);
int pci_map_ecam(struct pci *p, struct bus *mem, uint64_t base, uint64_t len_bytes);

/*
 * What firmware does: gives every BAR an address and every function its interrupt line, and
 * switches the windows on. 0, or -ENOSPC when the windows are full. Before the guest runs.
 */
int pci_assign(struct pci *p);
/*
 * Switches the windows off again, for guests that place them anew one after the other and switch
 * each on when its driver comes: what moves must not come to stand on what has not moved yet.
 */
void pci_windows_off(struct pci *p);

/*
 * Configuration space of bus 0; what is not there reads all ones. @off < 4096, @size 1, 2 or 4,
 * inside one dword. Any thread.
 */
uint32_t pci_cfg_read(struct pci *p, unsigned devfn, unsigned off, unsigned size);
void pci_cfg_write(struct pci *p, unsigned devfn, unsigned off, unsigned size, uint32_t val);

/* The interrupt line of slot @dev's INTA (arch/). */
unsigned pci_intx_line(unsigned dev);
