/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a shared disk from its opening to its end, and the orders that its thread gets meanwhile.
 * Main thread, but for what the device's thread asks of a policy.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/disk_priv.h"

struct sched_share_cfg disk_sched_cfg(const struct med_share_policy *p)
{
	return med_policy_sched_share(p);
}

void disk_set_groups(struct med_disk *d, const struct med_policy *p)
{
	static const struct limits_cfg none;

	while (d->sched.n_groups < p->n_places)
		sched_group_add(&d->sched, &none);
	for (unsigned i = 0; i < p->n_places; i++)
		sched_group_set(&d->sched, i, &none);
	for (size_t i = 0; i < p->n_groups; i++)
		sched_group_set(&d->sched, p->groups[i].place, &p->groups[i].limits);
}

/* Not const only because counters may be written to it, that nobody reads. */
static struct qstat_share nowhere;

static const struct med_share_policy none = {
	.name = (char *)"",
	.class = SCHED_BEST_EFFORT,
	.weight = 1,
	.fault_budget = 1,
	.fault_window_ns = 1,
};

void disk_share_none(struct med_share *sh)
{
	sh->stats = &nowhere;
	sh->listen_fd = -1;
	sh->tail = &sh->head;
	sh->policy = &none;
}

bool med_share_is_none(const struct med_share *sh)
{
	return sh->policy == &none;
}

/* Room for as many shares as there may be; what none of them needs yet is not touched. */
static int reserve(struct med_disk *d)
{
	d->shares = calloc(MED_SHARES_MAX, sizeof(d->shares[0]));
	return d->shares ? sched_reserve(&d->sched, MED_SHARES_MAX) : -ENOMEM;
}

int med_disk_init(struct med_disk *d, const struct med_policy *all, size_t device,
		  struct qstat_device *stats, const struct med_event_sink *sink,
		  enum backend_lock lock, struct cf_errors *errs)
{
	const struct med_device_policy *policy = &all->devices[device];

	memset(d, 0, sizeof(*d));
	d->policy = policy;
	d->sink = *sink;
	d->stats = stats;
	d->wake_fd = -1;
	d->bell = QBELL_NULL;
	d->sockets = SOCKETS_NULL;
	look_init(&d->look);
	d->unmapper = UNMAPPER_NULL;
	atomic_store(&d->want_priorities, true);

	struct sched_cfg cfg = med_policy_sched(policy);
	sched_init(&d->sched, &cfg, qnow_ns());
	disk_set_groups(d, all);
	d->slices = calloc(policy->slots, sizeof(d->slices[0]));
	d->wake_fd = qfd_eventfd();
	int r = !d->slices ? -ENOMEM : Q_MIN(d->wake_fd, 0);
	if (r == 0)
		r = reserve(d);
	if (r < 0)
		cf_error_add(errs, CF_ERROR, policy->file, policy->line, 0, "device '%s': %s",
			     policy->name, strerror(-r));
	else
		r = backend_open(policy, lock, errs, &d->backend);
	if (r < 0) {
		med_disk_fini(d);
		return r;
	}
	for (uint32_t i = 0; i < policy->slots; i++) {
		d->slices[i].io.slot = i;
		disk_put_slice(d, &d->slices[i]);
	}
	return 0;
}

int med_disk_add_share(struct med_disk *d, const struct med_share_policy *policy,
		       struct qstat_share *stats, int take_listen_fd)
{
	struct sched_share_cfg cfg = disk_sched_cfg(policy);
	int id = sched_share_add(&d->sched, &cfg);

	if (id < 0) {
		qfd_close(&take_listen_fd);
		return id;
	}
	struct med_share *sh = &d->shares[id];
	disk_share_none(sh);
	sh->stats = stats;
	sh->disk = d;
	sh->sched_id = (unsigned)id;
	sh->listen_fd = take_listen_fd;
	sh->policy = policy;
	d->n_shares = Q_MAX(d->n_shares, (unsigned)id + 1);
	int r = qfd_nonblock(take_listen_fd, true);
	return r < 0 ? r : id;
}

/* On the starter's stack, until ready is posted. */
struct start {
	struct med_disk *disk;
	sem_t ready;
	int err;
};

static void *disk_thread_entry(void *arg)
{
	struct start *st = arg;
	struct med_disk *d = st->disk;
	int r = disk_set_up(d);

	d->tid = gettid();
	st->err = r;
	sem_post(&st->ready);
	if (r == 0)
		disk_run(d);
	return NULL;
}

int med_disk_start(struct med_disk *d)
{
	struct start st = { .disk = d };
	int r = unmapper_start(&d->unmapper);

	if (r < 0)
		return r;
	sem_init(&st.ready, 0, 0);
	r = -pthread_create(&d->thread, NULL, disk_thread_entry, &st);
	if (r == 0) {
		while (sem_wait(&st.ready) < 0)
			;	/* EINTR only */
		r = st.err;
		if (r < 0)
			pthread_join(d->thread, NULL);
	}
	sem_destroy(&st.ready);
	if (r < 0)
		return r;
	d->running = true;
	pthread_setname_np(d->thread, "med-disk");
	return 0;
}

static void wake(struct med_disk *d)
{
	qfd_event_signal(d->wake_fd);
}

void med_disk_set_priorities(struct med_disk *d, bool on)
{
	atomic_store_explicit(&d->want_priorities, on, memory_order_release);
	wake(d);
}

void med_disk_reset_worst(struct med_disk *d)
{
	atomic_store_explicit(&d->want_reset, true, memory_order_release);
	wake(d);
}

void med_disk_unquarantine(struct med_disk *d, struct med_share *sh)
{
	atomic_store_explicit(&sh->pardoned, true, memory_order_release);
	wake(d);
}

void med_disk_change(struct med_disk *d, struct med_change *c)
{
	qassert(med_disk_changed(d));
	atomic_store_explicit(&d->change, c, memory_order_release);
	wake(d);
}

bool med_disk_changed(const struct med_disk *d)
{
	return !atomic_load_explicit(&d->change, memory_order_acquire);
}

void med_disk_fini(struct med_disk *d)
{
	if (!d->policy)
		return;
	if (d->running) {
		/* Pairs with the acquire load in disk_run(). */
		atomic_store_explicit(&d->want_stop, true, memory_order_release);
		wake(d);
		pthread_join(d->thread, NULL);
		d->running = false;
	}
	unmapper_stop(&d->unmapper);
	for (unsigned i = 0; i < d->n_shares; i++)
		qfd_close(&d->shares[i].listen_fd);
	sched_fini(&d->sched);
	free(d->shares);
	free(d->slices);
	d->shares = NULL;
	d->slices = NULL;
	d->n_shares = 0;
	qfd_close(&d->wake_fd);
	d->backend = backend_free(d->backend);
	d->policy = NULL;
}
