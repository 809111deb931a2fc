/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one decision of the mediator's scheduler costs (mediator/scheduler.h): a pick; and a pick
 * with all that the scheduler is told for it, the share's next head and the end of a slice. With 8,
 * 256 and 10,000 shares of which all have work, in three classes, some with limits. One JSON object
 * a line.
 *
 * Each is timed by itself; what reading the clock takes (its median) is taken off.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mediator/scheduler.h"

#define DECISIONS 400000u
#define WARM_UP	  20000u
#define IN_FLIGHT 24u

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * Q_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t quantile(const uint32_t *sorted, size_t n, unsigned permille)
{
	return sorted[(n - 1) * permille / 1000];
}

static uint32_t clock_cost(uint32_t *store)
{
	for (unsigned i = 0; i < DECISIONS; i++) {
		uint64_t t = clock_ns();

		store[i] = (uint32_t)(clock_ns() - t);
	}
	qsort(store, DECISIONS, sizeof(store[0]), by_value);
	return quantile(store, DECISIONS, 500);
}

static struct sched_share_cfg share_cfg(unsigned i)
{
	struct sched_share_cfg c = {
		.class = i % 64 == 0 ? SCHED_SAFETY : i % 3 ? SCHED_BEST_EFFORT : SCHED_NORMAL,
		.weight = 1 + i % 1000,
	};

	if (c.class == SCHED_SAFETY)
		c.depth = 1;
	else if (i % 8 == 1)
		c.limits = (struct limits_cfg){ .ops = { [LIMIT_BOTH] = 100 + i % 900 } };
	return c;
}

static int set_up(struct sched *s, unsigned n)
{
	const struct sched_cfg cfg = {
		.slots = 32, .reserve = 4, .slice_bytes = 64u << 10,
		.target_ns = 3600 * Q_NSEC_PER_SEC,
		.service_limit_ns = Q_NSEC_PER_MSEC, .flush_limit_ns = Q_NSEC_PER_MSEC,
	};

	sched_init(s, &cfg, 1);
	int r = sched_reserve(s, n);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		struct sched_share_cfg c = share_cfg(i);

		r = Q_MIN(sched_share_add(s, &c), 0);
		/* Of safety, one in so many has work: else no other class would have a turn. */
		if (c.class != SCHED_SAFETY || i == 0)
			sched_head(s, i, 1, 4096, SCHED_READ, i);
	}
	return r;
}

/* Of one decision. */
struct cost {
	uint32_t pick_ns, all_ns;
};

static struct cost decide(struct sched *s, struct sched_ticket *out, unsigned at, uint64_t now,
			  uint64_t seq)
{
	uint64_t start = clock_ns();

	if (out[at].at_ns)
		sched_done(s, &out[at], now);
	uint64_t asked = clock_ns();
	int id = sched_pick(s, now, &out[at]);
	uint64_t picked = clock_ns();
	if (id >= 0)
		sched_head(s, (unsigned)id, out[at].lower || seq % 16 == 0, 4096, SCHED_READ, seq);
	else
		out[at].at_ns = 0;
	uint64_t end = clock_ns();
	/* The safety share's next request comes some decisions later. */
	if (seq % 16 == 8)
		sched_head(s, 0, 1, 4096, SCHED_WRITE, seq);
	return (struct cost){ (uint32_t)(picked - asked), (uint32_t)(end - start) };
}

static uint32_t less(uint32_t ns, uint32_t clock)
{
	return ns > clock ? ns - clock : 0;
}

static void print_quantiles(const char *what, uint32_t *store)
{
	qsort(store, DECISIONS, sizeof(store[0]), by_value);
	printf(", \"%s_p50_ns\": %u, \"%s_p99_ns\": %u, \"%s_p999_ns\": %u, \"%s_max_ns\": %u",
	       what, quantile(store, DECISIONS, 500), what, quantile(store, DECISIONS, 990), what,
	       quantile(store, DECISIONS, 999), what, store[DECISIONS - 1]);
}

static int run(unsigned n, uint32_t clock, uint32_t *store)
{
	static struct sched s;
	struct sched_ticket out[IN_FLIGHT];
	int r = set_up(&s, n);

	if (r < 0)
		return r;
	memset(out, 0, sizeof(out));
	for (unsigned i = 0; i < WARM_UP + DECISIONS; i++) {
		struct cost c = decide(&s, out, i % IN_FLIGHT, 1 + i * 5000ull, n + i);

		if (i < WARM_UP)
			continue;
		store[i - WARM_UP] = less(c.pick_ns, clock);
		store[i - WARM_UP + DECISIONS] = less(c.all_ns, 3 * clock);
	}
	printf("{\"shares\": %u, \"decisions\": %u, \"clock_ns\": %u", n, DECISIONS, clock);
	print_quantiles("pick", store);
	print_quantiles("all", store + DECISIONS);
	puts("}");
	sched_fini(&s);
	return 0;
}

int main(void)
{
	static const unsigned n_shares[] = { 8, 256, 10000 };
	uint32_t *store = calloc(2 * DECISIONS, sizeof(store[0]));
	int r = store ? 0 : -1;
	uint32_t clock = r == 0 ? clock_cost(store) : 0;

	for (unsigned i = 0; r == 0 && i < Q_ARRAY_LEN(n_shares); i++)
		r = run(n_shares[i], clock, store);
	if (r < 0)
		fputs("decide: out of memory\n", stderr);
	free(store);
	return r < 0;
}
