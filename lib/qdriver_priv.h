/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed half of the driver's side, for qdriver.c alone: put() after the caller has found that
 * there is room, the rest as their namesakes in qdriver.h.
 */
#pragma once

#include "lib/qdriver.h"

void qdriver_packed_init(struct qdriver *d);
/* Fills the places of one chain under @id; how many they are. */
unsigned qdriver_packed_put(struct qdriver *d, uint16_t id, const struct qdriver_buf *bufs,
			    unsigned n, bool indirect);
bool qdriver_packed_publish(struct qdriver *d);
/* What stands in the next used place; got() goes on behind the places of its chain. */
enum qdriver_verdict qdriver_packed_look(const struct qdriver *d, uint32_t *ret_id,
					 uint32_t *ret_written_bytes);
void qdriver_packed_got(struct qdriver *d, uint16_t n_desc);
bool qdriver_packed_arm(struct qdriver *d);
void qdriver_packed_disarm(struct qdriver *d);
