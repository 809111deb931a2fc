/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who starts before whom: VMs of a higher class, and those that NAME.vm names with "after". Main
 * thread.
 */
#pragma once

#include "hostd/vms.h"

/*
 * Looks at "after" of every VM that is not alive. One that names itself, a VM of a lower class, or
 * one that waits for it in turn is refused (vm->conf_errors), and so is one that names a VM that is
 * not there.
 */
void hd_order_check(struct hd_vms *s);
/* A VM that is starting, and before which @vm does not; NULL when there is none. */
const struct hd_vm *hd_order_awaited(const struct hd_vms *s, const struct hd_vm *vm);

#define HD_ORDER_RANKS 3u
/* The higher, the more important: started first, stopped last. */
static inline unsigned hd_order_rank(Parley__Class c)
{
	return c == PARLEY__CLASS__CLASS_BEST_EFFORT ? 0 : c == PARLEY__CLASS__CLASS_NORMAL ? 1 : 2;
}
