/* SPDX-License-Identifier: Apache-2.0 */
/* The packed half of vq.h, as its namesakes there; vq.c calls it. */
#pragma once
#include "tests/guests/drv/vq.h"

void vqp_init(struct vq *q);
bool vqp_add(struct vq *q, const struct vq_seg *seg, unsigned n_out, unsigned n_in, void *cookie);
void vqp_kick(struct vq *q);
void *vqp_poll(struct vq *q, uint32_t *ret_len);
bool vqp_arm(struct vq *q);
void vqp_disarm(struct vq *q);
