/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the devices' threads go round, for the supervisor that asks now and then. Main thread. A
 * thread that sleeps is woken for it: a round more for each time that it is asked.
 */
#include "lib/qfd.h"
#include "mediator/disk.h"

uint64_t med_disk_stalled_ns(struct med_disk *d, uint64_t now_ns)
{
	uint64_t rounds = atomic_load_explicit(&d->stats->rounds, memory_order_relaxed);

	if (d->asked_ns && rounds == d->asked_rounds)
		return now_ns - d->asked_ns;
	d->asked_ns = now_ns;
	d->asked_rounds = rounds;
	qfd_event_signal(d->wake_fd);
	return 0;
}
