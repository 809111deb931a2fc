/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mode that the host is in (hostd/mode.h), found out from its VMs and its mediator, and what is
 * done about it. Main thread.
 */
#pragma once

#include "hostd/freeze.h"
#include "hostd/med.h"
#include "hostd/vms.h"

/* Looks again, and acts: VMs are held, or let go. Cheap when nothing has changed. */
void hd_modes_update(struct hd_env *env, struct hd_vms *vms, const struct hd_med *med,
		     const struct hd_freeze *freeze);
