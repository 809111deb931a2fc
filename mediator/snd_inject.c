/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the failures of a sound on purpose (snd_inject.h), and the device that shows them.
 *
 * A rule's id is stored last when it begins, and taken away by the session's thread alone, which
 * tells its end: who clears one only says that its time is over. Invariant: a device that stalls
 * keeps the time of a clock, and what it is given meanwhile is nowhere.
 */
#include "mediator/snd_inject.h"

#include <errno.h>
#include <stdlib.h>

static const enum inject_kind kinds[] = {
	[SND_INJECT_GONE] = INJECT_GONE,
	[SND_INJECT_STALL] = INJECT_STALL,
};
static_assert(Q_ARRAY_LEN(kinds) == SND_INJECT_KINDS, "every kind has a row");

/* ---- rules ---- */

int snd_inject_add(struct snd_inject *in, const struct inject_rule *rule)
{
	for (unsigned k = 0; k < SND_INJECT_KINDS; k++) {
		if (kinds[k] != rule->kind)
			continue;
		if (atomic_load(&in->rule[k].id))
			return -EBUSY;
		in->asked[k] = *rule;
		in->asked[k].until_ns = qnow_ns() + rule->for_ns;
		atomic_store(&in->rule[k].until_ns, in->asked[k].until_ns);
		atomic_store(&in->rule[k].id, rule->id);
		return 0;
	}
	return -EINVAL;
}

unsigned snd_inject_clear(struct snd_inject *in, uint32_t id)
{
	unsigned n = 0;

	for (unsigned k = 0; k < SND_INJECT_KINDS; k++) {
		uint32_t is = atomic_load(&in->rule[k].id);

		if (!is || (id && is != id))
			continue;
		atomic_store(&in->rule[k].until_ns, 0);
		n++;
	}
	return n;
}

unsigned snd_inject_list(const struct snd_inject *in, struct inject_rule *ret)
{
	unsigned n = 0;

	for (unsigned k = 0; k < SND_INJECT_KINDS; k++) {
		ret[n] = in->asked[k];
		/* Cleared ones may still have to be told. */
		n += atomic_load(&in->rule[k].id) && atomic_load(&in->rule[k].until_ns);
	}
	return n;
}

bool snd_inject_over(struct snd_inject *in, uint64_t now_ns, enum inject_kind *ret_kind,
		     uint32_t *ret_id)
{
	for (unsigned k = 0; k < SND_INJECT_KINDS; k++) {
		*ret_kind = kinds[k];
		*ret_id = atomic_load(&in->rule[k].id);
		if (!*ret_id || now_ns < atomic_load(&in->rule[k].until_ns))
			continue;
		atomic_store(&in->rule[k].id, 0);
		return true;
	}
	return false;
}

uint64_t snd_inject_deadline_ns(const struct snd_inject *in)
{
	uint64_t at = 0;

	for (unsigned k = 0; k < SND_INJECT_KINDS; k++) {
		uint64_t until = Q_MAX(atomic_load(&in->rule[k].until_ns), 1);

		if (atomic_load(&in->rule[k].id) && (!at || until < at))
			at = until;
	}
	return at;
}

bool snd_inject_holds(const struct snd_inject *in, enum snd_inject_kind kind)
{
	/* Until its end was told, it holds: then what is told is what is. */
	return atomic_load_explicit(&in->rule[kind].id, memory_order_relaxed) != 0;
}

/* ---- the device ---- */

struct inject_dev {
	struct snd_dev dev;
	struct snd_dev *inner, *clock;	/* owned */
	const struct snd_inject *in;
	uint64_t frozen;		/* what had been consumed when it stalled */
	bool stalls;
};

static struct inject_dev *of(struct snd_dev *d)
{
	return Q_CONTAINER_OF(d, struct inject_dev, dev);
}

static int inject_wait(struct snd_dev *d)
{
	struct inject_dev *i = of(d);
	bool stalls = snd_inject_holds(i->in, SND_INJECT_STALL);

	if (snd_inject_holds(i->in, SND_INJECT_GONE))
		return -ENODEV;
	if (stalls && !i->stalls)
		i->frozen = i->inner->ops->consumed(i->inner);
	i->stalls = stalls;
	return stalls ? i->clock->ops->wait(i->clock) : i->inner->ops->wait(i->inner);
}

static int inject_write(struct snd_dev *d, const float *frames)
{
	return of(d)->stalls ? 0 : of(d)->inner->ops->write(of(d)->inner, frames);
}

static int inject_read(struct snd_dev *d, float *frames)
{
	if (snd_inject_holds(of(d)->in, SND_INJECT_GONE))
		return -ENODEV;
	return of(d)->inner->ops->read(of(d)->inner, frames);
}

static uint32_t inject_delay(struct snd_dev *d)
{
	return of(d)->stalls ? 0 : of(d)->inner->ops->delay(of(d)->inner);
}

static uint64_t inject_consumed(struct snd_dev *d)
{
	return of(d)->stalls ? of(d)->frozen : of(d)->inner->ops->consumed(of(d)->inner);
}

static void inject_close(struct snd_dev *d)
{
	struct inject_dev *i = of(d);

	i->inner->ops->close(i->inner);
	i->clock->ops->close(i->clock);
	free(i);
}

static const struct snd_dev_ops inject_ops = {
	.name = "inject", .wait = inject_wait, .write = inject_write, .read = inject_read,
	.delay = inject_delay, .consumed = inject_consumed, .close = inject_close,
};

int snd_inject_wrap(const struct snd_inject *in, struct snd_dev **dev)
{
	struct inject_dev *i = calloc(1, sizeof(*i));

	if (!i)
		return -ENOMEM;
	i->dev = (struct snd_dev){ .ops = &inject_ops, .cfg = (*dev)->cfg };
	i->in = in;
	i->inner = *dev;
	i->clock = snd_null_new(&i->dev.cfg);
	if (!i->clock) {
		free(i);
		return -ENOMEM;
	}
	*dev = &i->dev;
	return 0;
}
