/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way back in a share's list. Device's thread. Invariant: prev of every request but the
 * head's is the one before it; the head's means nothing.
 */
#include "mediator/order.h"

#define IOPRIO_CLASS_SHIFT 13
#define IOPRIO_LEVELS 8u

enum ioprio_class { IOPRIO_NONE, IOPRIO_RT, IOPRIO_BE, IOPRIO_IDLE };

uint8_t order_rank(uint16_t ioprio)
{
	unsigned level = ioprio % IOPRIO_LEVELS;

	switch (ioprio >> IOPRIO_CLASS_SHIFT) {
	case IOPRIO_RT:
		return (uint8_t)level;
	case IOPRIO_BE:
		return (uint8_t)(IOPRIO_LEVELS + level);
	case IOPRIO_IDLE:
		return 2 * IOPRIO_LEVELS;
	default:
		return IOPRIO_LEVELS + IOPRIO_LEVELS / 2;
	}
}

static bool moves_data(const struct med_req *r)
{
	return r->op == QBLK_READ || r->op == QBLK_WRITE;
}

static bool conflict(const struct med_req *a, const struct med_req *b)
{
	return (a->op == QBLK_WRITE || b->op == QBLK_WRITE) &&
	       qspan_overlap(a->sector, a->len_bytes / Q_SECTOR_BYTES, b->sector,
			     b->len_bytes / Q_SECTOR_BYTES);
}

static bool may_pass(const struct med_req *r, const struct med_req *o)
{
	return r->rank < o->rank && moves_data(r) && moves_data(o) && !o->given_ns &&
	       !o->in_depth && o->passed < ORDER_PASSED_MAX && !conflict(r, o);
}

static struct med_req *last_of(const struct med_share *sh)
{
	return sh->head ? Q_CONTAINER_OF(sh->tail, struct med_req, next) : NULL;
}

/* The one that @r has to stay behind; NULL: it goes first. */
static struct med_req *place(const struct med_share *sh, const struct med_req *r)
{
	struct med_req *o = last_of(sh);

	for (unsigned n = 0; o && n < ORDER_LOOK && may_pass(r, o); n++) {
		o->passed++;
		o = o == sh->head ? NULL : o->prev;
	}
	return o;
}

void order_insert(struct med_share *sh, struct med_req *r, bool by_rank)
{
	struct med_req *before = by_rank ? place(sh, r) : last_of(sh);
	struct med_req **at = before ? &before->next : &sh->head;

	r->passed = 0;
	r->prev = before;
	r->next = *at;
	*at = r;
	if (r->next)
		r->next->prev = r;
	else
		sh->tail = &r->next;
}

void order_relink(struct med_share *sh)
{
	for (struct med_req *r = sh->head; r && r->next; r = r->next)
		r->next->prev = r;
}
