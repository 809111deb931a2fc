/* SPDX-License-Identifier: Apache-2.0 */
/* The live view of a host. Main thread. */
#pragma once

#include "hostctl/verbs.h"

/* Until 'q' is pressed; once where there is no terminal, or it was asked so. */
enum hc_exit hc_top(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns);
