/* SPDX-License-Identifier: Apache-2.0 */
/* Service times by the rules of simulate_model.h. No state of its own; any thread. */
#include "mediator/simulate_model.h"

#define MILLION 1000000u

const struct sim_model sim_model_default = {
	.parallel = 4,
	.base_ns = {
		[SIM_READ] = 80 * Q_NSEC_PER_USEC,
		[SIM_WRITE] = 30 * Q_NSEC_PER_USEC,
		[SIM_FLUSH] = 1 * Q_NSEC_PER_MSEC,
		[SIM_DISCARD] = 200 * Q_NSEC_PER_USEC,
	},
	.kib_ns = { [SIM_READ] = 500, [SIM_WRITE] = 1000 },
};

const char *const sim_distribution_words[SIM_DISTRIBUTIONS] = {
	[SIM_FIXED] = "fixed",
	[SIM_UNIFORM] = "uniform",
	[SIM_EXPONENTIAL] = "exponential",
	[SIM_BIMODAL] = "bimodal",
};

const char *sim_model_fault(const struct sim_model *m)
{
	if ((m->distribution == SIM_UNIFORM) != (m->spread_percent > 0))
		return "spread: expected more than 0 with distribution = uniform, and none without";
	if ((m->distribution == SIM_BIMODAL) != (m->stall_ns > 0 && m->stall_ppm > 0) ||
	    !m->stall_ns != !m->stall_ppm)
		return "stall, stall-ppm: expected more than 0 with distribution = bimodal, and "
		       "none without";
	return NULL;
}

uint64_t sim_seed(uint64_t seed)
{
	/* splitmix64: neighbouring seeds have nothing in common. */
	seed += 0x9e3779b97f4a7c15ull;
	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9ull;
	seed = (seed ^ seed >> 27) * 0x94d049bb133111ebull;
	seed ^= seed >> 31;
	return seed ? seed : 1;
}

uint64_t sim_random(uint64_t *rng)
{
	/* xorshift64*: seeded, so that a run can be repeated. */
	*rng ^= *rng >> 12;
	*rng ^= *rng << 25;
	*rng ^= *rng >> 27;
	return *rng * 0x2545f4914f6cdd1dull;
}

uint64_t sim_random_in(uint64_t *rng, uint64_t lo, uint64_t hi)
{
	uint64_t n = hi - lo + 1;

	/* The high bits are the good ones. All of them when the range is everything. */
	return n ? lo + (uint64_t)((unsigned __int128)sim_random(rng) * n >> 64) : sim_random(rng);
}

/*
 * Von Neumann's way, which only compares: a descending run of draws whose length is odd is accepted
 * with probability exp(-its first). In parts of 2^-32.
 */
static uint64_t exponential_32(uint64_t *rng)
{
	for (uint64_t whole = 0;; whole++) {
		uint64_t first = sim_random(rng) >> 32, last = first, next;
		unsigned n = 1;

		while ((next = sim_random(rng) >> 32) < last) {
			last = next;
			n++;
		}
		if (n % 2)
			return whole << 32 | first;
	}
}

uint64_t sim_random_exponential(uint64_t *rng, uint64_t mean)
{
	return (uint64_t)((unsigned __int128)mean * exponential_32(rng) >> 32);
}

static uint64_t mean_ns(const struct sim_model *m, enum sim_op op, uint64_t bytes)
{
	return m->base_ns[op] + m->kib_ns[op] * ((bytes + 1023) / 1024);
}

uint64_t sim_model_ns(const struct sim_model *m, enum sim_op op, uint64_t bytes, uint64_t *rng)
{
	uint64_t t = mean_ns(m, op, bytes), part;

	switch (m->distribution) {
	case SIM_UNIFORM:
		part = t / 100 * m->spread_percent;
		t = sim_random_in(rng, t - part, t + part);
		break;
	case SIM_EXPONENTIAL:
		t = sim_random_exponential(rng, t);
		break;
	case SIM_BIMODAL:
		if (sim_random_in(rng, 1, MILLION) <= m->stall_ppm)
			t += m->stall_ns;
		break;
	case SIM_FIXED:
	case SIM_DISTRIBUTIONS:
		break;
	}
	return Q_MAX(t, 1);
}
