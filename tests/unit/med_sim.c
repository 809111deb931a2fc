/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns virtual time. An event is the earliest of: a thinking request comes, a server ends a slice,
 * a limit lets a request go. After each, the scheduler is asked until it has nothing to give, as
 * mediator/disk.c does.
 */
#include "tests/unit/med_sim.h"

#include <string.h>

#include "tests/unit/fixture.h"

uint64_t sim_rand(struct sim *m, uint64_t lo, uint64_t hi)
{
	return lo + fixture_rand(&m->rng) % (hi - lo + 1);
}

void sim_init(struct sim *m, const struct sched_cfg *cfg, const struct sim_device *dev,
	      uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	ck_assert_uint_le(cfg->slots, SIM_SLOTS_MAX);
	m->rng = seed * 2 + 1;
	m->dev = *dev;
	m->now_ns = 1;
	sched_init(&m->s, cfg, m->now_ns);
}

static void think(struct sim *m, struct sim_req *r)
{
	const struct sim_load *l = &m->share[r->share].load;
	uint64_t at = m->now_ns + (l->think_ns ? sim_rand(m, 0, l->think_ns) : 0);

	r->waiting = !l->end_ns || at < l->end_ns;
	r->arrival_ns = r->waiting ? Q_MAX(at, l->begin_ns) : 0;
}

unsigned sim_add(struct sim *m, const struct sched_share_cfg *cfg, const struct sim_load *load)
{
	struct sim_share *sh = &m->share[m->n_shares];
	int id = sched_share_add(&m->s, cfg);

	ck_assert_int_eq(id, (int)m->n_shares);
	ck_assert_uint_le(load->qd, SIM_REQS_MAX);
	sh->cfg = *cfg;
	sh->load = *load;
	sh->tail = &sh->head;
	for (unsigned i = 0; i < load->qd; i++) {
		sh->req[i].share = (unsigned)id;
		think(m, &sh->req[i]);
	}
	return m->n_shares++;
}

static uint32_t next_bytes(const struct sim *m, const struct sim_req *r)
{
	return (uint32_t)Q_MIN(r->bytes_left, sched_slice_max(&m->s, r->share));
}

void sim_set(struct sim *m, unsigned share, const struct sched_share_cfg *cfg)
{
	m->share[share].cfg = *cfg;
	sched_share_set(&m->s, share, cfg);
	/* As disk.c: what waits when the rules change is promised nothing. */
	for (unsigned i = 0; i < m->n_shares; i++)
		for (struct sim_req *r = m->share[i].head; r; r = r->next)
			r->in_depth = false;
	sim_tell(m, share);
}

void sim_tell(struct sim *m, unsigned share)
{
	const struct sim_share *sh = &m->share[share];
	const struct sim_req *r = sh->head;

	sched_head(&m->s, share, sh->queued, r ? next_bytes(m, r) : 0, r ? r->kind : SCHED_READ,
		   r ? r->seq : 0);
}

static void arrive(struct sim *m, struct sim_req *r)
{
	struct sim_share *sh = &m->share[r->share];
	bool barrier = sim_rand(m, 1, 1000) <= sh->load.barrier_permille;

	r->waiting = false;
	r->seq = m->seq++;
	/* No draw for loads without writes: the others' numbers stay what they were. */
	bool write = sh->load.write_permille && sim_rand(m, 1, 1000) <= sh->load.write_permille;
	r->kind = barrier ? SCHED_BARRIER : write ? SCHED_WRITE : SCHED_READ;
	r->bytes_left =
		barrier ? 1 : sim_rand(m, sh->load.bytes_min / 512, sh->load.bytes_max / 512) * 512;
	r->given = r->exempt = false;
	r->bound_ns = 0;
	r->next = NULL;
	sh->outstanding++;
	r->in_depth = sh->outstanding <= sh->cfg.depth;
	*sh->tail = r;
	sh->tail = &r->next;
	sh->queued++;
	sim_tell(m, r->share);
}

/* ---- the rules that hold at all times ---- */

static bool is_lower(const struct sim *m, unsigned i)
{
	return m->share[i].cfg.class != SCHED_SAFETY;
}

/* Slices at the device that count against the cap, by our own books. */
static uint32_t at_device(const struct sim *m, bool barriers_only)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < SIM_SLOTS_MAX; i++) {
		const struct sim_slice *s = &m->slice[i];

		n += s->used && s->ticket.lower &&
		     (!barriers_only || s->ticket.kind == SCHED_BARRIER);
	}
	return n;
}

/* The buckets are the scheduler's own: that they deliver what they say is tested from outside. */
static bool limits_hold_back(const struct sim *m, unsigned i)
{
	const struct sched_share *sh = &m->s.share[i];
	enum limit_dir dir = sh->head_kind == SCHED_READ ? LIMIT_READ : LIMIT_WRITE;
	bool op = sh->op_seq != sh->head_arrival + 1;
	uint64_t at = limits_free_ns(&sh->limits, dir, op);

	if (sh->cfg.group)
		at = Q_MAX(at, limits_free_ns(&m->s.group[sh->cfg.group - 1], dir, op));
	return at > m->now_ns;
}

/* True when share @i could be given to the device now by the rules of scheduler.h. */
static bool may_give(const struct sim *m, unsigned i)
{
	const struct sched *s = &m->s;
	const struct sim_share *sh = &m->share[i];

	if (!sh->head || s->in_flight >= s->cfg.slots || limits_hold_back(m, i))
		return false;
	if (!s->priorities)
		return true;
	if (!is_lower(m, i))
		return s->n_safety < 2 || s->share[i].safety_in_flight < sh->cfg.depth ||
		       (s->lower_in_flight + s->orphans + s->over_in_flight < s->cap &&
			sh->head->kind != SCHED_BARRIER);
	if (s->lower_in_flight + s->orphans + (s->n_safety > 1 ? s->over_in_flight : 0) >= s->cap)
		return false;
	return sh->head->kind != SCHED_BARRIER || at_device(m, true) == 0;
}

static void check_idle(const struct sim *m)
{
	for (unsigned i = 0; i < m->n_shares; i++)
		SIM_CHECK(!may_give(m, i), "share %u has work, could be given, and is not", i);
}

/* The highest class that has something that may be given. */
static enum sched_class first_class(const struct sim *m)
{
	enum sched_class c = SCHED_CLASSES;

	for (unsigned i = 0; i < m->n_shares; i++)
		if (m->share[i].cfg.class < c && may_give(m, i))
			c = m->share[i].cfg.class;
	return c;
}

static void check_pick(const struct sim *m, unsigned picked, uint32_t lower_before)
{
	const struct sched *s = &m->s;

	SIM_CHECK(s->in_flight <= s->cfg.slots, "%u", s->in_flight);
	if (!s->priorities)
		return;
	SIM_CHECK(s->strays || at_device(m, true) <= 1, "two lower barriers at the device");
	if (is_lower(m, picked))
		SIM_CHECK(lower_before < s->cap, "%u lower slices, cap %u", lower_before, s->cap);
}

static void check_books(const struct sim *m)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < SIM_SLOTS_MAX; i++)
		n += m->slice[i].used;
	SIM_CHECK(m->s.in_flight == n, "%u of %u", m->s.in_flight, n);
	SIM_CHECK(m->s.lower_in_flight == at_device(m, false), "%u", m->s.lower_in_flight);
	SIM_CHECK(m->s.cap >= 1 && m->s.cap <= m->s.cfg.slots - m->s.cfg.reserve, "%u", m->s.cap);
}

/* ---- the device ---- */

static uint64_t service_of(struct sim *m, const struct sim_req *r, uint32_t bytes)
{
	uint64_t whole = r->kind == SCHED_BARRIER ? m->dev.flush_ns : m->dev.unit_ns;
	uint64_t t = whole;

	if (m->dev.by_bytes && r->kind != SCHED_BARRIER)
		t = whole * Q_MAX(bytes, 4096u) / m->s.cfg.slice_bytes;
	if (m->dev.vary)
		t = sim_rand(m, t / 10, t);
	return Q_MAX(t, 1);
}

/* Servers take the oldest slices that wait. */
static void start_servers(struct sim *m)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < SIM_SLOTS_MAX; i++)
		busy += m->slice[i].used && m->slice[i].ends_ns;
	for (; busy < m->dev.servers; busy++) {
		struct sim_slice *first = NULL;

		for (unsigned i = 0; i < SIM_SLOTS_MAX; i++) {
			struct sim_slice *s = &m->slice[i];

			if (s->used && !s->ends_ns && (!first || s->order < first->order))
				first = s;
		}
		if (!first)
			return;
		first->ends_ns = m->now_ns + first->service_ns;
	}
}

static struct sim_slice *free_slice(struct sim *m)
{
	for (unsigned i = 0; i < SIM_SLOTS_MAX; i++)
		if (!m->slice[i].used)
			return &m->slice[i];
	ck_abort_msg("more slices than slots");
	return NULL;
}

/* The promise holds while the device keeps to what it has shown. */
static bool device_as_shown(const struct sim *m)
{
	const struct sched *s = &m->s;

	return m->dev.unit_ns <= sched_unit_ns(s) &&
	       m->dev.flush_ns <= Q_MAX(s->flush.cur, s->flush.prev) &&
	       m->dev.flush_ns <= Q_MAX(s->sync.cur, s->sync.prev);
}

static bool give(struct sim *m)
{
	enum sched_class class = first_class(m);
	uint32_t lower_before = m->s.lower_in_flight;
	struct sched_ticket t;
	int id = sched_pick(&m->s, m->now_ns, &t);

	if (id < 0) {
		check_idle(m);
		return false;
	}
	struct sim_share *sh = &m->share[id];
	struct sim_req *r = sh->head;
	SIM_CHECK(r, "share %d has nothing", id);
	SIM_CHECK(!m->s.priorities || sh->cfg.class == class, "share %d before class %d", id,
		  (int)class);
	struct sim_slice *s = free_slice(m);
	uint32_t len = next_bytes(m, r);
	*s = (struct sim_slice){ .ticket = t, .req = r, .used = true, .len_bytes = len };
	s->order = m->order++;
	s->service_ns = service_of(m, r, len);
	r->bytes_left -= len;
	r->slices++;
	if (!r->given) {
		r->given = true;
		r->bound_ns = r->in_depth ? t.bound_ns : 0;
		r->exempt = !device_as_shown(m);
	}
	if (r->bytes_left == 0) {
		sh->head = r->next;
		if (!sh->head)
			sh->tail = &sh->head;
		sh->queued--;
	}
	sim_tell(m, (unsigned)id);
	check_pick(m, (unsigned)id, lower_before);
	return true;
}

static void end_request(struct sim *m, struct sim_req *r)
{
	struct sim_share *sh = &m->share[r->share];
	uint64_t latency = m->now_ns - r->arrival_ns;

	sh->outstanding--;
	sh->reqs_done++;
	sh->written_reqs += r->kind == SCHED_WRITE;
	if (r->bound_ns && !r->exempt) {
		sh->reqs_promised++;
		sh->worst_ns = Q_MAX(sh->worst_ns, latency);
		sh->violations += latency > r->bound_ns;
		SIM_CHECK(latency <= r->bound_ns,
			  "promised %llu ns, took %llu ns (unit %llu, cap %u, lower %u)",
			      (unsigned long long)r->bound_ns, (unsigned long long)latency,
			      (unsigned long long)sched_unit_ns(&m->s), m->s.cap,
			      m->s.lower_in_flight);
	}
	think(m, r);
}

static void end_slice(struct sim *m, struct sim_slice *s)
{
	struct sim_req *r = s->req;

	m->share[r->share].bytes_done += s->len_bytes;
	m->share[r->share].written_bytes += r->kind == SCHED_WRITE ? s->len_bytes : 0;
	m->slices_done++;
	s->used = false;
	sched_done(&m->s, &s->ticket, m->now_ns);
	check_books(m);
	r->slices--;
	if (r->slices == 0 && r->bytes_left == 0)
		end_request(m, r);
}

/* The earliest thing to happen: its time, with what it is; neither is a limit that ends. */
static uint64_t next_event(struct sim *m, struct sim_req **ret_req, struct sim_slice **ret_slice)
{
	uint64_t limit = sched_next_ns(&m->s, m->now_ns), at = limit ? limit : UINT64_MAX;

	for (unsigned i = 0; i < SIM_SLOTS_MAX; i++) {
		struct sim_slice *s = &m->slice[i];

		if (s->used && s->ends_ns && s->ends_ns < at) {
			at = s->ends_ns;
			*ret_slice = s;
		}
	}
	for (unsigned i = 0; i < m->n_shares; i++) {
		for (unsigned k = 0; k < m->share[i].load.qd; k++) {
			struct sim_req *r = &m->share[i].req[k];

			if (r->waiting && r->arrival_ns < at) {
				at = r->arrival_ns;
				*ret_req = r;
				*ret_slice = NULL;
			}
		}
	}
	return at;
}

void sim_run(struct sim *m, uint64_t until_ns)
{
	for (;;) {
		struct sim_req *r = NULL;
		struct sim_slice *s = NULL;
		uint64_t at = next_event(m, &r, &s);

		if (at > until_ns)
			break;
		m->busy_ns += m->s.in_flight ? at - m->now_ns : 0;
		m->now_ns = at;
		if (s)
			end_slice(m, s);
		else if (r)
			arrive(m, r);
		while (give(m))
			;
		start_servers(m);
	}
}
