/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a share's client may have of its device's thread for itself: taking requests from its rings,
 * checking them, copying what cannot be moved in place. So much a round, and what is overdrawn is
 * paid back by rounds in which nothing of it is taken: who makes each request as costly as he can
 * has fewer of them, and nobody else notices. With nobody else there, rounds without work are
 * short, and nothing is lost. Pure state, one thread.
 */
#pragma once

#include "lib/qdef.h"

#define BUDGET_ROUND_NS (50 * (int64_t)Q_NSEC_PER_USEC)
#define BUDGET_COPY_KIB_NS 100u	/* what is charged for a KiB that is copied */

struct budget {
	int64_t left_ns;	/* less than 0: owed */
	uint64_t spent_ns;	/* ever */
	uint64_t n_waits;	/* rounds in which it had work and nothing left */
};

/* A round in which there is work. True when some may be done. */
static inline bool budget_round(struct budget *b)
{
	b->left_ns = Q_MIN(b->left_ns + BUDGET_ROUND_NS, BUDGET_ROUND_NS);
	b->n_waits += b->left_ns <= 0;
	return b->left_ns > 0;
}

/* More may be done in this round. */
static inline bool budget_left(const struct budget *b)
{
	return b->left_ns > 0;
}

static inline void budget_spend(struct budget *b, uint64_t ns)
{
	/* A second is longer than anything is that one step does. */
	b->left_ns -= (int64_t)Q_MIN(ns, Q_NSEC_PER_SEC);
	b->spent_ns += ns;
}
