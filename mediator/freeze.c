/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the policy; no state. */
#include "mediator/freeze.h"

#include <string.h>

/* "SYSTEM/NAME": whether its system is the @len bytes at @system. */
static bool is_of(const struct med_share_policy *s, const char *system, size_t len)
{
	return strncmp(s->name, system, len) == 0 && s->name[len] == '/';
}

static bool has_safety(const struct med_policy *p, const char *system, size_t len)
{
	for (size_t i = 0; i < p->n_shares; i++)
		if (p->shares[i].class == SCHED_SAFETY && is_of(&p->shares[i], system, len))
			return true;
	return false;
}

static bool is_there(char (*list)[FREEZE_NAME_BYTES], size_t n, const char *system, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(list[i]) == len && memcmp(list[i], system, len) == 0)
			return true;
	return false;
}

size_t freeze_systems(const struct med_policy *p, const bool *at_top,
		      char ret[FREEZE_MAX][FREEZE_NAME_BYTES])
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_shares && n < FREEZE_MAX; i++) {
		const struct med_share_policy *s = &p->shares[i];
		size_t len = strcspn(s->name, "/");

		if (!s->freeze || s->class == SCHED_SAFETY || !at_top[s->device] ||
		    len >= FREEZE_NAME_BYTES || has_safety(p, s->name, len) ||
		    is_there(ret, n, s->name, len))
			continue;
		memcpy(ret[n], s->name, len);
		ret[n++][len] = '\0';
	}
	return n;
}
