/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy means for the devices that were opened and for their schedulers: sizes, whole
 * sectors, places of groups, rules. No state.
 */
#include <errno.h>

#include "mediator/policy.h"

/* Direct I/O goes to the device as it is: what begins or ends within a sector would fail. */
static void check_sectors(const struct med_policy *p, const struct med_share_policy *s,
			  uint32_t sector, struct cf_errors *errs)
{
	const struct { const char *key; uint64_t v; } keys[] = {
		{ "offset", s->offset_bytes }, { "length", s->len_bytes },
	};

	for (size_t i = 0; i < Q_ARRAY_LEN(keys); i++)
		if (keys[i].v % sector)
			cf_error_add(errs, CF_ERROR, s->file, s->line, 0,
				     "share '%s': %s %llu = %llu * %u + %llu, but device '%s' has "
				     "direct = yes and sectors of %u bytes: expected a multiple "
				     "of %u",
				     s->name, keys[i].key, (unsigned long long)keys[i].v,
				     (unsigned long long)(keys[i].v / sector), sector,
				     (unsigned long long)(keys[i].v % sector),
				     p->devices[s->device].name, sector, sector);
}

int med_policy_resolve(struct med_policy *p, const struct med_extent_rules *devices,
		       struct cf_errors *errs)
{
	for (size_t i = 0; i < p->n_shares; i++) {
		struct med_share_policy *s = &p->shares[i];
		uint64_t size = devices[s->device].len_bytes;
		uint32_t sector = Q_MAX(devices[s->device].sector_bytes, Q_SECTOR_BYTES);

		if (!s->len_bytes && s->offset_bytes < size) {
			s->len_bytes = size - s->offset_bytes;
			s->len_bytes -= s->len_bytes % sector;
		}
		check_sectors(p, s, sector, errs);
		if (!s->len_bytes || !qspan_inside(s->offset_bytes, s->len_bytes, size))
			cf_error_add(
				errs, CF_ERROR, s->file, s->line, 0,
				"share '%s': offset %llu + length %llu is beyond the end of device "
				"'%s' (%llu bytes)",
				s->name, (unsigned long long)s->offset_bytes,
				(unsigned long long)s->len_bytes, p->devices[s->device].name,
				(unsigned long long)size);
	}
	return cf_errors_ok(errs) ? 0 : -EINVAL;
}

int med_policy_align(const struct med_policy *now, struct med_policy *next)
{
	next->n_places = now->n_places;
	for (size_t i = 0; i < next->n_groups; i++) {
		int k = med_policy_group(now, next->groups[i].name);

		next->groups[i].place = k >= 0 ? now->groups[k].place : next->n_places++;
	}
	for (size_t i = 0; i < next->n_shares; i++) {
		struct med_share_policy *s = &next->shares[i];

		if (s->group_name)
			s->group = 1 + next->groups[med_policy_group(next, s->group_name)].place;
	}
	return next->n_places > SCHED_GROUPS_MAX ? -ENOSPC : 0;
}

struct sched_share_cfg med_policy_sched_share(const struct med_share_policy *s)
{
	return (struct sched_share_cfg){
		.class = s->class,
		.weight = s->weight,
		.depth = s->depth,
		.group = s->group,
		.slice_bytes = s->slice_bytes,
		.limits = s->limits,
	};
}

struct sched_cfg med_policy_sched(const struct med_device_policy *d)
{
	return (struct sched_cfg){
		.slots = d->slots,
		.reserve = d->reserve,
		.slice_bytes = d->slice_bytes,
		.target_ns = d->tightest_ns ? d->tightest_ns : d->target_ns,
		.service_limit_ns = d->service_limit_ns,
		.flush_limit_ns = d->flush_limit_ns,
	};
}
