/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a share's waiting requests: that of their arrival, but that one of a better I/O
 * priority (the hint in its virtio-blk header) goes before those that may let it pass. It decides
 * between requests of one share only; between shares, class and weight do. Device's thread.
 *
 * A request is never passed
 * - by one that is not better, or by a flush, discard or write-zeroes, which all stay in their
 * place;
 * - by one that touches the same sectors, if either writes;
 * - when it is a flush, discard or write-zeroes, or has begun, or is promised something;
 * - when it has let ORDER_PASSED_MAX others pass: nobody starves.
 * The guest's own queue is looked at ORDER_LOOK requests back, no further: a hint is not worth
 * more. With priorities off, and for a share that waits for a device that fails, it is order of
 * arrival.
 */
#pragma once

#include "mediator/share.h"

#define ORDER_LOOK 64u
#define ORDER_PASSED_MAX 64u

/*
 * How good a hint is, 0 the best: real-time 0-7, then best-effort 0-7 and, in their middle, none at
 * all, then idle. @ioprio: Linux' class << 13 | level.
 */
uint8_t order_rank(uint16_t ioprio);
/* Puts @r, which waits, into its share's list. @by_rank false: behind all others. */
void order_insert(struct med_share *sh, struct med_req *r, bool by_rank);
/* The list was changed otherwise than at its head. */
void order_relink(struct med_share *sh);
