/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cpu context: sched, runmask and cluster. Also what sched says of a vdev. Main thread, while
 * the tokens are walked.
 */
#include "qvm/cfg_host.h"
#include "qvm/cfg_int.h"

/* ---- cpu ---- */

void cfg_opt_cpu(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct vm_cfg *cfg = p->cfg;
	p->ctx = CTX_CPU;
	if (cfg->n_cpus == p->arch->cpus_max)
		cfg_err(p->errs, &opt->pos, "cpu: a VM has at most %u", p->arch->cpus_max);
	if (!cfg_room(p, &opt->pos, &cfg->cpus, cfg->n_cpus, sizeof(*cfg->cpus)))
		return;
	cfg->cpus[cfg->n_cpus++] = (struct cfg_cpu){ .pos = opt->pos };
}

static struct cfg_cpu *cpu_now(struct cfg_parser *p)
{
	return &p->cfg->cpus[p->cfg->n_cpus - 1];
}

static bool prio_parse(struct cfg_parser *p, const struct cfg_tok *tok, const char *text,
		       size_t len, unsigned *ret)
{
	uint64_t prio;
	if (!cfg_number(p, tok, text, len, CFG_NUMBER, "the priority", &prio))
		return false;
	if (prio < 1 || prio > 99) {
		cfg_err(p->errs, &tok->pos, "sched %s: Linux has the priorities 1 to 99",
			CFG_SHOW(tok->text));
		return false;
	}
	*ret = (unsigned)prio;
	return true;
}

/* "8", "8r", "8f", "8o". */
static bool sched_plain(struct cfg_parser *p, const struct cfg_tok *arg,
			enum cfg_sched_policy *ret_policy, unsigned *ret_prio)
{
	struct cfg_cpu next = { .policy = CFG_SCHED_RR };
	size_t len = strlen(arg->text);
	char letter = len ? arg->text[len - 1] : '\0';
	if (letter == 'r' || letter == 'f' || letter == 'o')
		len--;
	if (letter == 'f')
		next.policy = CFG_SCHED_FIFO;
	if (letter == 'o')
		next.policy = CFG_SCHED_OTHER;
	if (!prio_parse(p, arg, arg->text, len, &next.prio))
		return false;
	*ret_policy = next.policy;
	*ret_prio = next.prio;
	return true;
}

/* SCHED_DEADLINE takes no runtime below 1024 ns and, unless told otherwise, no period outside
 * 100 µs to 4 s. */
#define BUDGET_MIN_NS 1024u
#define PERIOD_MIN_NS (100 * Q_NSEC_PER_USEC)
#define PERIOD_MAX_NS (1ull << 22) * Q_NSEC_PER_USEC

static bool sporadic_ok(struct cfg_parser *p, const struct cfg_tok *arg, const struct cfg_cpu *c)
{
	if (c->low_prio >= c->prio) {
		cfg_err(p->errs, &arg->pos, "sched %s: the low priority must be below the high one",
			CFG_SHOW(arg->text));
		return false;
	}
	if (c->repl_period_ns < PERIOD_MIN_NS || c->repl_period_ns > PERIOD_MAX_NS) {
		cfg_err(p->errs, &arg->pos, "sched %s: the period is in nanoseconds, from 100000 "
			"(100 µs) to 4194304000", CFG_SHOW(arg->text));
		return false;
	}
	if (c->budget_ns < BUDGET_MIN_NS || c->budget_ns > c->repl_period_ns) {
		cfg_err(p->errs, &arg->pos, "sched %s: the budget is in nanoseconds, from 1024 to "
			"the period", CFG_SHOW(arg->text));
		return false;
	}
	return true;
}

/* "high,low,max_repl,repl_period_ns,budget_ns" with "s" at its end or as the next word. */
static void sched_sporadic(struct cfg_parser *p, const struct cfg_tok *arg)
{
	struct cfg_cpu next = { .policy = CFG_SCHED_SPORADIC };
	uint64_t v[5];
	const char *at = arg->text;
	size_t left = strlen(at);
	const struct cfg_tok *after = p->at < p->n_toks ? &p->toks[p->at] : NULL;
	if (at[left - 1] == 's')
		left--;
	else if (after && after->src == arg->src && !strcmp(after->text, "s"))
		p->at++;
	for (unsigned i = 0; i < 5; i++) {
		const char *comma = memchr(at, ',', left);
		size_t len = comma ? (size_t)(comma - at) : left;
		if (!comma != (i == 4)) {
			cfg_err(p->errs, &arg->pos, "sched %s: expected a priority with r, f or o, "
				"or high,low,replenishments,period_ns,budget_ns s",
				CFG_SHOW(arg->text));
			return;
		}
		if (!cfg_number(p, arg, at, len, CFG_NUMBER, "sched", &v[i]))
			return;
		at += len + (comma ? 1 : 0);
		left -= len + (comma ? 1 : 0);
	}
	if (v[0] < 1 || v[0] > 99 || v[1] < 1 || v[1] > 99 || v[2] < 1 || v[2] > 1000) {
		cfg_err(p->errs, &arg->pos, "sched %s: priorities are 1 to 99, replenishments 1 to "
			"1000", CFG_SHOW(arg->text));
		return;
	}
	next.prio = (unsigned)v[0];
	next.low_prio = (unsigned)v[1];
	next.max_repl = (unsigned)v[2];
	next.repl_period_ns = v[3];
	next.budget_ns = v[4];
	if (!sporadic_ok(p, arg, &next))
		return;
	struct cfg_cpu *cpu = cpu_now(p);
	memcpy(next.runmask, cpu->runmask, sizeof(next.runmask));
	next.cluster = cpu->cluster;
	next.pos = cpu->pos;
	*cpu = next;
}

void cfg_opt_sched(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_cpu *cpu = cpu_now(p);
	if (strchr(arg->text, ','))
		sched_sporadic(p, arg);
	else
		sched_plain(p, arg, &cpu->policy, &cpu->prio);
}

void cfg_opt_vdev_sched(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_vdev *v = &p->cfg->vdevs[p->cfg->n_vdevs - 1];
	if (p->ctx_refused)
		return;
	if (strchr(arg->text, ','))
		cfg_err(p->errs, &arg->pos, "sched %s: a vdev takes a priority with r, f or o; "
			"sporadic scheduling is for a cpu", CFG_SHOW(arg->text));
	else
		sched_plain(p, arg, &v->sched_policy, &v->sched_prio);
}

void cfg_opt_runmask(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	uint64_t mask[4] = { 0 }, n;
	const char *at = arg->text;
	for (;;) {
		size_t len = strcspn(at, ",");
		if (!cfg_number(p, arg, at, len, CFG_NUMBER, "runmask", &n))
			return;
		if (n >= 256) {
			cfg_err(p->errs, &arg->pos, "runmask %s: host CPUs are numbered 0 to 255; "
				"it is a list of numbers, not a bit mask", CFG_SHOW(arg->text));
			return;
		}
		mask[n / 64] |= 1ull << n % 64;
		if (!at[len])
			break;
		at += len + 1;
	}
	memcpy(cpu_now(p)->runmask, mask, sizeof(mask));
	cpu_now(p)->cluster = NULL;
}

void cfg_opt_cluster(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	uint64_t mask[CFG_HOST_CPUS / 64];
	struct cfg_cpu *cpu = cpu_now(p);
	static_assert(sizeof(mask) == sizeof(cpu->runmask), "as many CPUs as runmask has");
	if (!cfg_host_cpus(arg->text, mask)) {
		cfg_err(p->errs, &arg->pos, "cluster %s: this host has no such group of CPUs: "
			"expected node0, cluster0, package0, isolated, a CPU type of "
			"/sys/bus/event_source/devices, or runmask with numbers",
			CFG_SHOW(arg->text));
		return;
	}
	memcpy(cpu->runmask, mask, sizeof(mask));
	cpu->cluster = arg->text;
}
