/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulation's file of any content, beside a policy that is sound: refused with errors, or loads
 * that can be run, and end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/simulate_file.h"
#include "tests/fuzz/fuzz.h"

/* Where a file says "@policy", the sound one stands. */
static const char policy[] = "[device disk]\nnull = 1G\nslots = 8\n"
			     "[share a/data]\ndevice = disk\nclass = safety\nlength = 1M\n"
			     "[share b/data]\ndevice = disk\noffset = 1M\nlength = 1M\n"
			     "limit-ops = 100\n"
			     "[share c/data]\ndevice = disk\nclass = best-effort\noffset = 2M\n"
			     "read-only = yes\n";

static int file_of(const char *name, const void *data, size_t size)
{
	int fd = qfd_memfd(name, size);

	qassert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	return fd;
}

/* A millisecond of each: whatever was let through ends. */
static void run(const struct sim_file *f)
{
	const struct med_device_policy *p = &f->policy->devices[0];
	struct sched_cfg cfg = med_policy_sched(p);
	static struct sim m;

	qassert(sim_init(&m, &cfg, sim_file_model(f, 0), f->seed) == 0);
	qassert(sim_reserve(&m, 4) == 0);
	for (size_t i = 0; i < Q_MIN(f->n_loads, 4); i++) {
		const struct sim_load *l = &f->loads[i].load;
		struct sched_share_cfg c = { SCHED_NORMAL, 100, 0 };

		qassert(l->n_sizes >= 1 && l->n_sizes <= SIM_SIZES_MAX && l->depth >= 1);
		qassert(sim_add(&m, &c, l) == (int)i);
	}
	/* A rate of a hundred million is a lot of work even for that. */
	qassert(sim_run(&m, 20 * Q_NSEC_PER_USEC) == 0);
	sim_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct sim_file *f = NULL;
	char path[64], *text = malloc(size + 64);
	static const char word[] = "@policy";

	qassert(text);
	int policy_fd = file_of("policy", policy, sizeof(policy) - 1);
	const uint8_t *at = memmem(data, size, word, sizeof(word) - 1);
	size_t head = at ? (size_t)(at - data) : size, skip = at ? sizeof(word) - 1 : 0;
	memcpy(text, data, head);
	size_t len = head;
	if (at)
		len += (size_t)snprintf(text + len, 64, "/proc/self/fd/%d", policy_fd);
	memcpy(text + len, data + head + skip, size - head - skip);
	len += size - head - skip;
	int fd = file_of("simulate", text, len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	int r = sim_file_load(path, &errs, &f);
	qassert(r == 0 ? f != NULL && cf_errors_ok(&errs) : !cf_errors_ok(&errs) || errs.oom);
	if (r == 0)
		run(f);
	sim_file_free(f);
	cf_errors_fini(&errs);
	free(text);
	qfd_close(&fd);
	qfd_close(&policy_fd);
	return 0;
}
