/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file of any content: refused with errors, or a policy that keeps its own rules. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/policy.h"
#include "tests/fuzz/fuzz.h"

static void check_policy(struct med_policy *p, struct cf_errors *errs)
{
	struct med_extent_rules devices[MED_DEVICES_MAX];

	qassert(p->n_devices + p->sound.n_devices >= 1 && p->n_devices <= MED_DEVICES_MAX &&
		p->sound.n_devices <= SND_DEVICES_MAX);
	for (size_t i = 0; i < p->sound.n_voices; i++)
		qassert(p->sound.voices[i].device < p->sound.n_devices);
	for (size_t i = 0; i < p->n_devices; i++) {
		struct sched_cfg cfg = med_policy_sched(&p->devices[i]);
		static struct sched s;

		sched_init(&s, &cfg, 1);
		qassert(s.cap >= 1 && s.cap <= cfg.slots - cfg.reserve);
		devices[i] = (struct med_extent_rules){ 1 << 20, i % 2 ? 4096 : 0 };
	}
	for (size_t i = 0; i < p->n_shares; i++)
		qassert(p->shares[i].device < p->n_devices);
	if (med_policy_resolve(p, devices, errs) < 0)
		return;
	for (size_t i = 0; i < p->n_shares; i++)
		qassert(qspan_inside(p->shares[i].offset_bytes, p->shares[i].len_bytes, 1 << 20));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char path[64];
	int fd = qfd_memfd("policy", size);

	qassert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	const char *paths[] = { path };
	int r = med_policy_load(paths, 1, &errs, &p);
	qassert(r == 0 ? p != NULL && cf_errors_ok(&errs) : !cf_errors_ok(&errs) || errs.oom);
	if (r == 0)
		check_policy(p, &errs);
	med_policy_free(p);
	cf_errors_fini(&errs);
	qfd_close(&fd);
	return 0;
}
