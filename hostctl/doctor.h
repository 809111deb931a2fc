/* SPDX-License-Identifier: Apache-2.0 */
/* What of this board VMs can be had on. Main thread. */
#pragma once

#include "hostctl/conn.h"

/* HC_FAILED when something is there without which VMs do not run. */
enum hc_exit hc_doctor(struct hc *hc);
