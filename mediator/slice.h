/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices of requests: how long they are, and cutting them. The order in which they are given is
 * disk.c's and the scheduler's. Device's thread only.
 */
#pragma once

#include "mediator/disk.h"

/* Moves no data of the guest's: flush, discard, write zeroes. */
bool med_req_is_barrier(const struct med_req *r);
/* The back end of @d cannot take the request's parts as they lie in guest memory. */
bool med_req_is_unaligned(const struct med_disk *d, const struct med_req *r);

/* How long the next slice of @r would be. */
uint32_t med_slice_next_bytes(const struct med_disk *d, const struct med_req *r);
/* Cuts the next @len bytes of @r into @s. */
void med_slice_cut(struct med_slice *s, struct med_req *r, uint32_t len);
