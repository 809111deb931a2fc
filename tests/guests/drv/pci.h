/* SPDX-License-Identifier: Apache-2.0 */
/* PCI bus 0: who is there and where its memory BARs are. */
#pragma once
#include "tests/guests/rt/rt.h"

/* Gives every memory BAR on bus 0 an address; false if there is no PCI. */
bool pci_init(void);
/* The functions that pci_init() found, as bus/device/function numbers. */
unsigned pci_functions(const unsigned **ret_bdfs);
/* Address of memory BAR @n, NULL if it is none or was not placed. */
volatile uint8_t *pci_bar(unsigned bdf, unsigned n);
/* Memory decoding and bus mastering on. */
void pci_enable(unsigned bdf);
