/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns virtual time. An event is the earliest of: a request comes, the device ends a slice, a limit
 * lets a request go. After each, the scheduler is asked until it has nothing to give, as disk.c
 * does. One thread.
 *
 * Request:  waits to come (an event) → in its share's list → slices at the device → done, and by a
 *           closed load an event again.
 * Invariants: the heap's first is its earliest; busy <= parallel, and nothing waits in the device
 * while busy < parallel; what the scheduler counts as in flight are the slices in use.
 */
#include "mediator/simulate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/cut.h"

/* ---- events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static bool reserve_event(struct sim *m)
{
	if (m->n_events < m->events_room)
		return true;
	size_t room = m->events_room ? 2 * m->events_room : 64;
	struct sim_event *heap = reallocarray(m->heap, room, sizeof(heap[0]));

	if (!heap) {
		m->oom = true;
		return false;
	}
	m->heap = heap;
	m->events_room = room;
	return true;
}

static bool push_event(struct sim *m, uint64_t at_ns, int kind, void *what)
{
	struct sim_event e = { .at_ns = at_ns, .order = m->order++, .what = what };
	size_t i;

	if (!reserve_event(m))
		return false;
	e.kind = kind;
	for (i = m->n_events++; i > 0 && before(&e, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = e;
	return true;
}

static struct sim_event pop_event(struct sim *m)
{
	struct sim_event first = m->heap[0], last = m->heap[--m->n_events];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < m->n_events) {
		if (child + 1 < m->n_events && before(&m->heap[child + 1], &m->heap[child]))
			child++;
		if (before(&last, &m->heap[child]))
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = last;
	return first;
}

/* ---- clients ---- */

static bool active_at(const struct sim_load *l, uint64_t ns)
{
	return !l->end_ns || ns < l->end_ns;
}

static void put_away(struct sim_share *sh, struct sim_req *r)
{
	r->next = sh->free;
	sh->free = r;
}

/* A closed load: the request comes again after its pause. */
static void think(struct sim *m, struct sim_req *r)
{
	const struct sim_load *l = &m->share[r->share].load;
	uint64_t at = m->now_ns + (l->think_ns ? sim_random_in(&m->rng, 0, l->think_ns) : 0);

	at = Q_MAX(at, l->begin_ns);
	if (!active_at(l, at) || !push_event(m, at, SIM_COMES, r))
		put_away(&m->share[r->share], r);
}

/* An open load: when it comes next. */
static void next_arrival(struct sim *m, unsigned share, uint64_t from_ns)
{
	const struct sim_load *l = &m->share[share].load;
	uint64_t gap = l->poisson ? sim_random_exponential(&m->rng, l->gap_ns) : l->gap_ns;
	uint64_t at = Q_MAX(from_ns, l->begin_ns) + Q_MAX(gap, 1);

	if (active_at(l, at))
		push_event(m, at, SIM_ARRIVAL, (void *)(uintptr_t)share);
}

static enum sim_op draw_op(struct sim *m, const struct sim_load *l)
{
	uint64_t sum = 0;
	unsigned op;

	for (op = 0; op < SIM_OPS; op++)
		sum += l->mix[op];
	uint64_t at = sim_random_in(&m->rng, 1, sum);
	for (op = 0; at > l->mix[op]; op++)
		at -= l->mix[op];
	return (enum sim_op)op;
}

static uint64_t draw_bytes(struct sim *m, const struct sim_load *l, enum sim_op op)
{
	uint64_t sum = 0;
	unsigned i;

	/* A flush has no length, but is one thing to be done. */
	if (sim_is_barrier(op))
		return op == SIM_FLUSH ? 1 : l->discard_bytes;
	for (i = 0; i < l->n_sizes; i++)
		sum += l->size[i].weight;
	uint64_t at = sim_random_in(&m->rng, 1, sum);
	for (i = 0; at > l->size[i].weight; i++)
		at -= l->size[i].weight;
	return sim_random_in(&m->rng, l->size[i].min / 512, l->size[i].max / 512) * 512;
}

static enum sched_kind kind_of(const struct sim_req *r)
{
	if (sim_is_barrier(r->op))
		return SCHED_BARRIER;
	return r->op == SIM_READ ? SCHED_READ : SCHED_WRITE;
}

static uint32_t next_bytes(const struct sim *m, const struct sim_req *r)
{
	return cut_bytes(&m->sched, r->share, sim_is_barrier(r->op), r->bytes_left);
}

void sim_tell(struct sim *m, unsigned share)
{
	const struct sim_share *sh = &m->share[share];
	const struct sim_req *r = sh->head;

	sched_head(&m->sched, share, sh->queued, r ? next_bytes(m, r) : 0,
		   r ? kind_of(r) : SCHED_READ, r ? r->seq : 0);
}

static void come(struct sim *m, struct sim_req *r)
{
	struct sim_share *sh = &m->share[r->share];

	*r = (struct sim_req){ .share = r->share, .arrival_ns = m->now_ns, .seq = m->seq++ };
	r->op = draw_op(m, &sh->load);
	r->bytes = r->bytes_left = draw_bytes(m, &sh->load, r->op);
	sh->outstanding++;
	r->in_depth = sh->outstanding <= sh->cfg.depth;
	*sh->tail = r;
	sh->tail = &r->next;
	sh->queued++;
	sim_tell(m, r->share);
}

static void arrive(struct sim *m, unsigned share)
{
	struct sim_share *sh = &m->share[share];
	struct sim_req *r = sh->free;

	next_arrival(m, share, m->now_ns);
	if (sh->outstanding >= sh->load.depth) {
		/* The ring is full: it waits in the guest. */
		sh->held++;
		sh->late++;
		return;
	}
	if (r)
		sh->free = r->next;
	else
		r = malloc(sizeof(*r));
	if (!r) {
		m->oom = true;
		return;
	}
	r->share = share;
	come(m, r);
}

/* ---- the device ---- */

static void start_slice(struct sim *m, struct sim_slice *s)
{
	m->busy++;
	push_event(m, m->now_ns + sim_model_ns(&m->model, s->req->op, s->len_bytes, &m->rng),
		   SIM_ENDS, s);
}

static void give_to_device(struct sim *m, struct sim_slice *s)
{
	if (m->busy < m->model.parallel) {
		start_slice(m, s);
		return;
	}
	s->next = NULL;
	*m->waiting_tail = s;
	m->waiting_tail = &s->next;
}

static void start_waiting(struct sim *m)
{
	struct sim_slice *s = m->waiting;

	if (!s)
		return;
	m->waiting = s->next;
	if (!m->waiting)
		m->waiting_tail = &m->waiting;
	start_slice(m, s);
}

static void give_request(struct sim *m, struct sim_req *r, const struct sched_ticket *t)
{
	struct sim_share *sh = &m->share[r->share];

	if (!r->given) {
		r->given = true;
		r->bound_ns = r->in_depth ? t->bound_ns : 0;
	}
	r->slices++;
	if (r->bytes_left > 0)
		return;
	sh->head = r->next;
	if (!sh->head)
		sh->tail = &sh->head;
	sh->queued--;
}

/* Gives one slice to the device. False when the scheduler has none. */
static bool give(struct sim *m)
{
	struct sched_ticket t;

	if (m->watch.choosing)
		m->watch.choosing(m->watch.ctx, m);
	int id = sched_pick(&m->sched, m->now_ns, &t);
	if (id < 0) {
		if (m->watch.none)
			m->watch.none(m->watch.ctx, m);
		return false;
	}
	struct sim_slice *s = m->free_slices;
	struct sim_req *r = m->share[id].head;
	/* The scheduler counts slots, and there are as many slices. */
	qassert(r && s);
	m->free_slices = s->next;
	*s = (struct sim_slice){ .ticket = t, .req = r, .used = true };
	s->len_bytes = next_bytes(m, r);
	r->bytes_left -= s->len_bytes;
	give_request(m, r, &t);
	sim_tell(m, (unsigned)id);
	give_to_device(m, s);
	if (m->watch.given)
		m->watch.given(m->watch.ctx, m, s);
	return true;
}

static void count(struct sim_share *sh, const struct sim_req *r, uint64_t latency)
{
	sh->ops[r->op]++;
	sh->bytes[r->op] += r->bytes;
	if (sim_is_barrier(r->op))
		return;
	qhist_add(sh->latency, latency);
	if (!r->bound_ns || r->exempt)
		return;
	sh->promised++;
	sh->worst_promised_ns = Q_MAX(sh->worst_promised_ns, latency);
	sh->violations += latency > r->bound_ns;
}

static void end_request(struct sim *m, struct sim_req *r)
{
	struct sim_share *sh = &m->share[r->share];

	sh->outstanding--;
	count(sh, r, m->now_ns - r->arrival_ns);
	if (m->watch.req_done)
		m->watch.req_done(m->watch.ctx, m, r);
	if (!sh->load.open) {
		think(m, r);
	} else if (sh->held > 0) {
		sh->held--;
		come(m, r);
	} else {
		put_away(sh, r);
	}
}

static void end_slice(struct sim *m, struct sim_slice *s)
{
	struct sim_req *r = s->req;

	m->busy--;
	m->slices_done++;
	s->used = false;
	s->next = m->free_slices;
	m->free_slices = s;
	sched_done(&m->sched, &s->ticket, m->now_ns);
	if (m->watch.slice_done)
		m->watch.slice_done(m->watch.ctx, m);
	r->slices--;
	if (r->slices == 0 && r->bytes_left == 0)
		end_request(m, r);
	start_waiting(m);
}

/* ---- the whole ---- */

static void happen(struct sim *m, const struct sim_event *e)
{
	switch (e->kind) {
	case SIM_COMES:
		come(m, e->what);
		break;
	case SIM_ARRIVAL:
		arrive(m, (unsigned)(uintptr_t)e->what);
		break;
	case SIM_ENDS:
		end_slice(m, e->what);
		break;
	}
}

static void go_to(struct sim *m, uint64_t ns)
{
	m->active_ns += m->busy ? ns - m->now_ns : 0;
	m->work_ns += m->busy * (ns - m->now_ns);
	m->now_ns = ns;
}

int sim_run(struct sim *m, uint64_t until_ns)
{
	while (!m->oom) {
		uint64_t limit = sched_next_ns(&m->sched, m->now_ns);
		uint64_t at = m->n_events ? m->heap[0].at_ns : UINT64_MAX;
		bool is_event = !limit || at <= limit;

		at = is_event ? at : limit;
		if (at > until_ns)
			break;
		go_to(m, at);
		if (is_event) {
			struct sim_event e = pop_event(m);

			happen(m, &e);
		}
		while (give(m))
			;
	}
	if (!m->oom)
		go_to(m, until_ns);
	return m->oom ? -ENOMEM : 0;
}

void sim_reset(struct sim *m)
{
	for (unsigned i = 0; i < m->n_shares; i++) {
		struct sim_share *sh = &m->share[i];

		memset(sh->ops, 0, sizeof(sh->ops));
		memset(sh->bytes, 0, sizeof(sh->bytes));
		sh->late = sh->promised = sh->worst_promised_ns = sh->violations = 0;
		sh->throttled_before = m->sched.share[i].throttled;
		sh->limited_before = m->sched.share[i].limited;
		qhist_reset(sh->latency);
	}
	m->active_ns = m->work_ns = m->slices_done = 0;
	m->from_ns = m->now_ns;
}

int sim_init(struct sim *m, const struct sched_cfg *cfg, const struct sim_model *model,
	     uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->rng = sim_seed(seed);
	m->model = *model;
	/* 0 means "not" in a few places of the scheduler's books. */
	m->now_ns = m->from_ns = 1;
	m->waiting_tail = &m->waiting;
	sched_init(&m->sched, cfg, m->now_ns);
	m->slices = calloc(cfg->slots, sizeof(m->slices[0]));
	if (!m->slices)
		return -ENOMEM;
	for (uint32_t i = cfg->slots; i-- > 0;) {
		m->slices[i].next = m->free_slices;
		m->free_slices = &m->slices[i];
	}
	return 0;
}

int sim_reserve(struct sim *m, uint32_t n)
{
	int r = sched_reserve(&m->sched, n);

	if (r < 0)
		return r;
	/* Requests know where their list ends: shares stay where they are. */
	qassert(!m->share);
	m->share = calloc(n ? n : 1, sizeof(m->share[0]));
	return m->share ? 0 : -ENOMEM;
}

static int start_load(struct sim *m, unsigned share)
{
	const struct sim_load *l = &m->share[share].load;

	if (l->open)
		next_arrival(m, share, m->now_ns);
	for (uint32_t i = 0; !l->open && i < l->depth; i++) {
		struct sim_req *r = calloc(1, sizeof(*r));

		if (!r)
			return -ENOMEM;
		r->share = share;
		think(m, r);
	}
	return m->oom ? -ENOMEM : 0;
}

int sim_add(struct sim *m, const struct sched_share_cfg *cfg, const struct sim_load *load)
{
	struct qhist *latency = malloc(sizeof(*latency));
	int id = -ENOMEM;

	if (latency)
		id = sched_share_add(&m->sched, cfg);
	if (id < 0) {
		free(latency);
		return id;
	}
	struct sim_share *sh = &m->share[m->n_shares++];
	*sh = (struct sim_share){ .cfg = *cfg, .load = *load, .latency = latency };
	sh->tail = &sh->head;
	qhist_reset(latency);
	int r = start_load(m, (unsigned)id);
	return r < 0 ? r : id;
}

void sim_set(struct sim *m, unsigned share, const struct sched_share_cfg *cfg)
{
	m->share[share].cfg = *cfg;
	sched_share_set(&m->sched, share, cfg);
	/* As disk.c: what waits when the rules change is promised nothing. */
	for (unsigned i = 0; i < m->n_shares; i++)
		for (struct sim_req *r = m->share[i].head; r; r = r->next)
			r->in_depth = false;
	sim_tell(m, share);
}

uint64_t sim_share_ops(const struct sim_share *sh)
{
	uint64_t n = 0;

	for (unsigned op = 0; op < SIM_OPS; op++)
		n += sh->ops[op];
	return n;
}

uint64_t sim_share_bytes(const struct sim_share *sh)
{
	return sh->bytes[SIM_READ] + sh->bytes[SIM_WRITE];
}

static void free_list(struct sim_req *r)
{
	while (r) {
		struct sim_req *next = r->next;

		free(r);
		r = next;
	}
}

/* A request is in one place: an event, a list, or behind slices only. */
static void free_requests(struct sim *m)
{
	for (size_t i = 0; i < m->n_events; i++)
		if (m->heap[i].kind == SIM_COMES)
			free(m->heap[i].what);
	for (uint32_t i = 0; m->slices && i < m->sched.cfg.slots; i++) {
		struct sim_slice *s = &m->slices[i];

		/* What has more to give stands in its share's list still. */
		if (s->used && s->req->bytes_left == 0 && --s->req->slices == 0)
			free(s->req);
	}
	for (unsigned i = 0; i < m->n_shares; i++) {
		free_list(m->share[i].head);
		free_list(m->share[i].free);
		free(m->share[i].latency);
	}
}

void sim_fini(struct sim *m)
{
	free_requests(m);
	free(m->share);
	free(m->slices);
	free(m->heap);
	sched_fini(&m->sched);
	memset(m, 0, sizeof(*m));
}
