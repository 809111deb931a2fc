/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mediator as hostd sees it: started when there are policies, started again when it dies,
 * always with the same listening sockets, so that a client that comes meanwhile waits instead of
 * failing. Main thread.
 *
 * state     entered when        leaves on                                 deadline
 * OFF       no policies         start, when there are some                none
 * STARTING  forked              Ready -> RUNNING; exit -> WAITING, or     30 s, then SIGKILL
 *                               FAILED when its policy was refused
 * RUNNING   Ready               exit -> WAITING; stop -> STOPPING         none
 * WAITING   it died             the back-off is over -> STARTING          0; died young again:
 *                                                                         100 ms doubled, to 5 s
 * FAILED    10 young deaths in a the start of a VM -> STARTING             none
 *           minute, or refused
 * STOPPING  hostd ends          exit -> OFF                               5 s, then SIGKILL
 */
#pragma once

#include "hostd/child.h"
#include "hostd/env.h"
#include "lib/qstat.h"

enum hd_med_state {
	HD_MED_OFF,
	HD_MED_STARTING,
	HD_MED_RUNNING,
	HD_MED_WAITING,
	HD_MED_FAILED,
	HD_MED_STOPPING,
	HD_MED_STATES
};
const char *hd_med_state_str(enum hd_med_state s);
bool hd_med_state_may(enum hd_med_state from, enum hd_med_state to);

/* How long to wait before the next start after @n_deaths young ones within the last minute. */
uint64_t hd_med_backoff_ns(unsigned n_deaths);
#define HD_MED_DEATHS_MAX 10u

/* True when CONFIG/mediator.d has a policy. */
bool hd_med_has_policies(const struct hd_env *env);

struct hd_med;
typedef void (*hd_med_changed_fn)(void *ctx);

/* Starts it when CONFIG/mediator.d has a policy. NULL when out of memory. */
struct hd_med *hd_med_new(struct hd_env *env, hd_med_changed_fn changed, void *ctx);
struct hd_med *hd_med_free(struct hd_med *m);

/* These VMs are to be frozen and no others; none when it is gone. @ctx is that of @changed. */
typedef void (*hd_med_freeze_fn)(void *ctx, char *const *names, size_t n, const char *why);
void hd_med_on_freeze(struct hd_med *m, hd_med_freeze_fn fn);

/* True when nobody need wait for it: it runs, it has run, there is none, or it will not come. */
bool hd_med_settled(const struct hd_med *m);
/* A VM is about to start: a FAILED or missing one gets another chance. */
void hd_med_try(struct hd_med *m);
void hd_med_stop(struct hd_med *m, bool force);
enum hd_med_state hd_med_state(const struct hd_med *m);
/* For questions; NULL when it does not run, or runs without a channel. */
struct hd_child *hd_med_child(struct hd_med *m);
/* Its process, whether it can be asked or not; NULL: there is none. */
struct hd_child *hd_med_process(struct hd_med *m);
/* The state page of the last one that was ready, which can be read while that hangs; NULL: there is
 * none. Borrowed until the next one is ready. */
const struct qstat_view *hd_med_page(const struct hd_med *m);
/* @ret borrows the texts of @m. */
void hd_med_info(const struct hd_med *m, Parley__ProcInfo *ret);
