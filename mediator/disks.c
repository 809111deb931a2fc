/* SPDX-License-Identifier: Apache-2.0 */
/* Looks disks and shares up by name. No state. */
#include "mediator/disks.h"

#include <string.h>

struct med_disk *med_disks_next(struct med_disk *disks, const struct med_disk *d)
{
	struct med_disk *at = d ? disks + (d - disks) + 1 : disks;

	while (at < disks + MED_DISKS_MAX && !at->policy)
		at++;
	return at < disks + MED_DISKS_MAX ? at : NULL;
}

struct med_disk *med_disks_find(struct med_disk *disks, const char *device)
{
	struct med_disk *d = NULL;

	while ((d = med_disks_next(disks, d)))
		if (strcmp(d->policy->name, device) == 0)
			return d;
	return NULL;
}

struct med_disk *med_disks_only(struct med_disk *disks)
{
	struct med_disk *d = med_disks_next(disks, NULL);

	return d && !med_disks_next(disks, d) ? d : NULL;
}

struct med_share *med_disks_share(struct med_disk *disks, const char *share)
{
	struct med_disk *d = NULL;

	while ((d = med_disks_next(disks, d)))
		for (unsigned i = 0; i < d->n_shares; i++)
			if (!med_share_is_none(&d->shares[i]) &&
			    strcmp(d->shares[i].policy->name, share) == 0)
				return &d->shares[i];
	return NULL;
}
