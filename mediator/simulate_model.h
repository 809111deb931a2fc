/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device as numbers: how many slices it works on at once, and how long it takes for each. What
 * stands behind a simulated disk, in virtual time (simulate.c) and in real time (backend_sim.c).
 * Integers only, nothing random but by its seed: every machine draws the same.
 */
#pragma once

#include "lib/qdef.h"

enum sim_op { SIM_READ, SIM_WRITE, SIM_FLUSH, SIM_DISCARD /* and write zeroes */, SIM_OPS };

enum sim_distribution {
	SIM_FIXED,
	SIM_UNIFORM,		/* from 100 - spread to 100 + spread percent */
	SIM_EXPONENTIAL,	/* with that mean: without an upper end */
	SIM_BIMODAL,		/* fixed, and now and then a stall on top */
	SIM_DISTRIBUTIONS
};
extern const char *const sim_distribution_words[SIM_DISTRIBUTIONS];

#define SIM_TIME_MAX_NS	    (600 * Q_NSEC_PER_SEC)
#define SIM_KIB_TIME_MAX_NS Q_NSEC_PER_SEC

struct sim_model {
	uint32_t parallel;		/* slices worked on at once, first come first served */
	uint64_t base_ns[SIM_OPS];	/* of a slice, ≤ SIM_TIME_MAX_NS */
	uint64_t kib_ns[SIM_OPS];	/* and of each KiB of it, ≤ SIM_KIB_TIME_MAX_NS */
	enum sim_distribution distribution;
	uint32_t spread_percent;	/* 0..100 */
	uint64_t stall_ns;
	uint32_t stall_ppm;		/* of a million slices */
};

/* A solid-state disk of the smaller kind. */
extern const struct sim_model sim_model_default;

/* @rng is any number but the next to be drawn from; never 0. */
uint64_t sim_random(uint64_t *rng);
/* A generator's start from any seed, 0 included. */
uint64_t sim_seed(uint64_t seed);
/* Uniform in [lo, hi]. */
uint64_t sim_random_in(uint64_t *rng, uint64_t lo, uint64_t hi);
/* Exponentially distributed with that mean. */
uint64_t sim_random_exponential(uint64_t *rng, uint64_t mean);

/* How long the device works on the next slice of that kind. At least 1. */
uint64_t sim_model_ns(const struct sim_model *m, enum sim_op op, uint64_t bytes, uint64_t *rng);
/* What of the model means nothing beside the rest of it: a sentence; NULL: nothing. */
const char *sim_model_fault(const struct sim_model *m);
