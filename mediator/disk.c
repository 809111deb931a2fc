/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a shared disk's data path: requests into slices, slices to the back end in the scheduler's
 * order, their ends into the ends of requests. Device's thread only.
 *
 * Request (struct med_req):  WAITING  in its share's list; next_byte < len
 *                            PARTLY   head of the list, slices at the device, next_byte < len
 *                            GIVEN    out of the list, slices > 0
 *                            done     slices == 0 and (next_byte == len or err)
 * Invariants: only the head of a list is PARTLY; a slice in use has a ticket that the scheduler
 * counts; every request that med_disk_queue() took gets done() once, or was dropped by
 * med_share_take() before its first slice.
 */
#include "mediator/account.h"
#include "mediator/disk_priv.h"
#include "mediator/guard.h"
#include "mediator/order.h"
#include "mediator/queue.h"
#include "mediator/slice.h"

#define RELAXED memory_order_relaxed
#define GIVE_SLICES 32u
#define GIVE_BYTES (256u << 10)
#define PUBLISH_SLICES 8u
#define SHOWN_PARTS 4u

static enum sched_kind kind_of(const struct med_req *r)
{
	if (med_req_is_barrier(r))
		return SCHED_BARRIER;
	return r->op == QBLK_READ ? SCHED_READ : SCHED_WRITE;
}

void disk_tell_sched(struct med_share *sh)
{
	const struct med_req *r = sh->head;

	sched_head(&sh->disk->sched, sh->sched_id, outage_shown(sh),
		   r ? med_slice_next_bytes(sh->disk, r) : 0,
		   r ? kind_of(r) : SCHED_READ, r ? r->seq : 0);
	atomic_store_explicit(&sh->stats->queued, sh->queued, RELAXED);
}

static void unlink_head(struct med_share *sh)
{
	sh->head = sh->head->next;
	if (!sh->head)
		sh->tail = &sh->head;
	sh->queued--;
}

void disk_answer(struct med_req *r, uint64_t now)
{
	int err = r->err;

	account_done(r, err, now);
	guard_done(r, now);
	r->done(r, err);
}

static void finish_request(struct med_req *r, uint64_t now)
{
	const struct outage_wait *w = &r->share->wait;

	if ((r->err || w->state != OUTAGE_OFF || w->unsure) && outage_takes(r, now))
		return;
	r->share->outstanding--;
	disk_answer(r, now);
}

void disk_put_slice(struct med_disk *d, struct med_slice *s)
{
	s->req = NULL;
	s->next_free = d->free_slices;
	d->free_slices = s;
}

static void slice_ended(struct backend_io *io, int err)
{
	struct med_slice *s = Q_CONTAINER_OF(io, struct med_slice, io);
	struct med_req *r = s->req;
	struct med_share *sh = r->share;
	struct med_disk *d = sh->disk;
	uint64_t now = qnow_ns();

	d->now_ns = now;
	sched_done(&d->sched, &s->ticket, now);
	qhist_add(&d->stats->service, now - s->ticket.at_ns);
	disk_put_slice(d, s);
	r->slices--;
	if (err && !r->err) {
		r->err = err;
		r->err_injected = io->injected;
		/* The rest of a request that failed is not given any more. */
		if (sh->head == r) {
			unlink_head(sh);
			disk_tell_sched(sh);
		}
		r->next_byte = r->len_bytes;
	}
	if (r->slices == 0 && (r->next_byte == r->len_bytes))
		finish_request(r, now);
}

/* Gives one slice to the device; a lower-class one counts. False when none may be given now. */
static bool give_one(struct med_disk *d, uint64_t *bytes, unsigned *n)
{
	uint64_t now = d->now_ns;
	struct sched_ticket ticket;
	int id = sched_pick(&d->sched, now, &ticket);

	if (id < 0)
		return false;
	struct med_share *sh = &d->shares[id];
	struct med_req *r = sh->head;
	struct med_slice *s = d->free_slices;

	/* The scheduler counts slots, and there are as many slices. */
	qassert(r && s);
	d->free_slices = s->next_free;
	if (!r->given_ns) {
		r->given_ns = now;
		r->bound_ns = r->in_depth ? ticket.bound_ns : 0;
		account_given(r, ticket.lower);
	}
	med_slice_cut(s, r, med_slice_next_bytes(d, r));
	if (r->unaligned)
		budget_spend(&sh->cpu, s->io.len_bytes / 1024 * BUDGET_COPY_KIB_NS);
	if (sh->policy->class != SCHED_SAFETY) {
		*bytes += s->io.len_bytes;
		(*n)++;
	}
	s->ticket = ticket;
	r->slices++;
	if (r->next_byte == r->len_bytes)
		unlink_head(sh);
	disk_tell_sched(sh);
	s->io.ended = slice_ended;
	d->backend->ops->submit(d->backend, &s->io);
	/* It may have ended there, and looked. */
	if (d->now_ns == now)
		d->now_ns = qnow_ns();
	return true;
}

/*
 * Answers are shown a quarter of what is out at a time, so that a driver with a few requests that
 * polls works on an answer while we work on the next.
 */
static unsigned shown_together(const struct med_disk *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_shares && n < PUBLISH_SLICES * SHOWN_PARTS; i++)
		n += d->shares[i].outstanding;
	return Q_MAX(1u, Q_MIN(n / SHOWN_PARTS, PUBLISH_SLICES));
}

/* The answers to some of the slices that were given, @n of them by now. */
static void tell_answers(struct med_disk *d, unsigned n, unsigned together)
{
	if (n % PUBLISH_SLICES == 0)
		med_queues_publish(d);
	else if (n % together == 0)
		med_queues_show(d);
}

/*
 * A round gives so much of lower classes and then looks at the rings again: a device that answers
 * from memory works while it is given, and a safety request that comes meanwhile shall not wait for
 * all that others have queued. Its answers are told a few at a time, so that the driver wakes up
 * and makes new requests while we serve the rest of the old ones.
 */
enum disk_gave disk_give(struct med_disk *d)
{
	uint64_t bytes = 0;
	unsigned n = 0, n_given = 0, together = shown_together(d);

	/* Its file is about to be another. */
	if (d->outage.opening)
		return DISK_GAVE_NOTHING;
	while (n < GIVE_SLICES && bytes < GIVE_BYTES) {
		if (!give_one(d, &bytes, &n))
			return n_given > 0 ? DISK_GAVE_ALL : DISK_GAVE_NOTHING;
		n_given++;
		if (d->answered)
			tell_answers(d, n_given, together);
	}
	return DISK_GAVE_SOME;
}

void med_disk_queue(struct med_disk *d, struct med_req *r)
{
	struct med_share *sh = r->share;

	r->seq = d->seq++;
	r->given_ns = r->bound_ns = 0;
	r->next_byte = 0;
	r->iov_at = 0;
	r->iov_off = 0;
	r->slices = 0;
	r->err = 0;
	r->unaligned = med_req_is_unaligned(d, r);
	account_arrival(r);
	look_note(&d->look, sh->policy->class, false);
	sh->outstanding++;
	r->in_depth = sh->outstanding <= sh->policy->depth && sh->wait.state == OUTAGE_OFF;
	guard_arrival(r);
	order_insert(sh, r, d->sched.priorities && !sh->policy->wait_on_error);
	sh->queued++;
	if (sh->queued == 1 || sh->head == r || sh->wait.state != OUTAGE_OFF)
		disk_tell_sched(sh);
	else
		d->sched.share[sh->sched_id].queued = sh->queued;
}

struct med_req *med_share_take(struct med_share *sh,
			       bool (*match)(const struct med_req *r, void *arg), void *arg)
{
	struct med_req *taken = NULL, **at = &sh->head;

	while (*at) {
		struct med_req *r = *at;

		if (r->slices > 0 || !match(r, arg)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->next = taken;
		taken = r;
		sh->queued--;
		sh->outstanding--;
	}
	sh->tail = at;
	order_relink(sh);
	taken = outage_take(sh, match, arg, taken);
	for (struct med_req *r = taken; r; r = r->next)
		guard_drop(r);
	disk_tell_sched(sh);
	return taken;
}
