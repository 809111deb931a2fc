/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that takes the time of its model (simulate_model.h) for all it does: a thread in front
 * of another back end, which then does it. For tests, and to try a policy on a disk that is not
 * there.
 *
 * I/O:  submit() says when it will be over: it takes the first of the model's parallel servers that
 *       is free → heap, by that time → the thread, asleep until then → over, and the loop is told →
 *       the back end behind, on the device's thread.
 * When something is over follows from what was submitted and when, not from when the thread woke:
 * a thread that is late makes an I/O late, and no later one longer.
 *
 * Threads: the device's, and our own, which touches what stands under the lock and nothing else.
 * Invariant: a job is in the heap or in the over list from submit() until the back end behind has
 * it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "lib/qfd.h"
#include "lib/qsched.h"
#include "mediator/backend.h"

struct job {
	uint64_t over_ns;
	struct backend_io *io;
	struct job *next;
};

struct backend_sim {
	struct backend be;
	struct backend *behind;		/* owned */
	struct sim_model model;
	uint64_t rng;
	uint64_t *free_ns;		/* owned: of each server */
	struct loop_watch *watch;
	struct loop *loop;
	int over_fd;			/* owned */
	bool running;			/* the thread */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* Under the lock: */
	struct job **heap;		/* owned; the first to be over first */
	unsigned n;
	struct job *over, **over_tail;
	bool stop;

	unsigned n_jobs;
	struct job jobs[];		/* by the I/O's slot */
};

static struct backend_sim *sim_of(struct backend *b)
{
	return Q_CONTAINER_OF(b, struct backend_sim, be);
}

/* ---- under the lock ---- */

static void heap_put(struct backend_sim *s, struct job *j)
{
	unsigned i = s->n++;

	for (; i > 0 && j->over_ns < s->heap[(i - 1) / 2]->over_ns; i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = j;
}

static struct job *heap_take(struct backend_sim *s)
{
	struct job *first = s->heap[0], *last = s->heap[--s->n];
	unsigned i = 0, child;

	while ((child = 2 * i + 1) < s->n) {
		if (child + 1 < s->n && s->heap[child + 1]->over_ns < s->heap[child]->over_ns)
			child++;
		if (last->over_ns <= s->heap[child]->over_ns)
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return first;
}

/* Those whose time has come. True when there are some. */
static bool collect_over(struct backend_sim *s)
{
	uint64_t now = qnow_ns();
	bool any = false;

	while (s->n > 0 && s->heap[0]->over_ns <= now) {
		struct job *j = heap_take(s);

		j->next = NULL;
		*s->over_tail = j;
		s->over_tail = &j->next;
		any = true;
	}
	return any;
}

/* Until the first is over, or there is another first. */
static void wait_for_first(struct backend_sim *s)
{
	if (s->n == 0) {
		pthread_cond_wait(&s->cond, &s->lock);
		return;
	}
	struct timespec until = {
		.tv_sec = (time_t)(s->heap[0]->over_ns / Q_NSEC_PER_SEC),
		.tv_nsec = (long)(s->heap[0]->over_ns % Q_NSEC_PER_SEC),
	};
	pthread_cond_timedwait(&s->cond, &s->lock, &until);
}

/* ---- our own thread ---- */

static void *sim_thread(void *arg)
{
	static const struct sched_param low = { .sched_priority = 2 };
	struct backend_sim *s = arg;

	/* A disk does not wait for a processor. Without the right to that it may. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	(void)pthread_setschedparam(pthread_self(), SCHED_RR, &low);
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (!collect_over(s)) {
			wait_for_first(s);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		qfd_event_signal(s->over_fd);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- the device's thread ---- */

static enum sim_op op_of(enum qblk_op op)
{
	switch (op) {
	case QBLK_READ:
		return SIM_READ;
	case QBLK_WRITE:
		return SIM_WRITE;
	case QBLK_FLUSH:
		return SIM_FLUSH;
	default:
		return SIM_DISCARD;
	}
}

/* When @io will be over, which is given to a server now. */
static uint64_t serve(struct backend_sim *s, const struct backend_io *io)
{
	uint64_t *first = &s->free_ns[0], now = qnow_ns();
	uint64_t t = sim_model_ns(&s->model, op_of(io->op), io->len_bytes, &s->rng);

	/* What is to be on stable storage takes what bringing it there takes. */
	if (io->op == QBLK_WRITE && io->durable)
		t += sim_model_ns(&s->model, SIM_FLUSH, 1, &s->rng);
	for (uint32_t i = 1; i < s->model.parallel; i++)
		if (s->free_ns[i] < *first)
			first = &s->free_ns[i];
	*first = Q_MAX(*first, now) + t;
	return *first;
}

static void sim_submit(struct backend *b, struct backend_io *io)
{
	struct backend_sim *s = sim_of(b);
	struct job *j = &s->jobs[io->slot];

	qassert(io->slot < s->n_jobs);
	io->be = b;
	*j = (struct job){ .over_ns = serve(s, io), .io = io };
	pthread_mutex_lock(&s->lock);
	heap_put(s, j);
	bool first = s->heap[0] == j;
	pthread_mutex_unlock(&s->lock);
	if (first)
		pthread_cond_signal(&s->cond);
}

static void on_over(void *ctx)
{
	struct backend_sim *s = ctx;

	qfd_event_clear(s->over_fd);
	pthread_mutex_lock(&s->lock);
	struct job *j = s->over;
	s->over = NULL;
	s->over_tail = &s->over;
	pthread_mutex_unlock(&s->lock);
	while (j) {
		/* Its place may be taken by another before submit() returns. */
		struct job *next = j->next;

		s->behind->ops->submit(s->behind, j->io);
		j = next;
	}
}

static int sim_start(struct backend *b, struct loop *l)
{
	struct backend_sim *s = sim_of(b);
	int r = s->behind->ops->start(s->behind, l);

	if (r < 0)
		return r;
	s->over_fd = qfd_eventfd();
	if (s->over_fd < 0)
		return s->over_fd;
	s->watch = loop_watch(l, s->over_fd, on_over, s);
	if (!s->watch)
		return -ENOMEM;
	s->loop = l;
	r = -pthread_create(&s->thread, NULL, sim_thread, s);
	s->running = r == 0;
	if (s->running)
		pthread_setname_np(s->thread, "med-sim");
	return r;
}

static void sim_stop(struct backend *b)
{
	struct backend_sim *s = sim_of(b);

	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_mutex_unlock(&s->lock);
		pthread_cond_signal(&s->cond);
		pthread_join(s->thread, NULL);
		s->running = false;
	}
	if (s->watch)
		s->watch = loop_unwatch(s->loop, s->watch);
	s->behind->ops->stop(s->behind);
}

static void sim_reopen(struct backend *b, void (*done)(void *ctx, int result), void *ctx)
{
	struct backend *behind = sim_of(b)->behind;

	if (behind->ops->reopen)
		behind->ops->reopen(behind, done, ctx);
	else
		done(ctx, BACKEND_SAME);
}

static void sim_free(struct backend *b)
{
	struct backend_sim *s = sim_of(b);

	qfd_close(&s->over_fd);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->cond);
	backend_free(s->behind);
	free(s->free_ns);
	free(s->heap);
	free(s);
}

static void init_locks(struct backend_sim *s)
{
	pthread_condattr_t attr;

	qsched_mutex_init(&s->lock);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
}

int backend_sim_wrap(const struct sim_model *model, unsigned slots, struct backend *take_behind,
		     struct backend **ret)
{
	static const struct backend_ops ops = {
		.start = sim_start,
		.submit = sim_submit,
		.reopen = sim_reopen,
		.stop = sim_stop,
		.free = sim_free,
	};
	struct backend_sim *s = calloc(1, sizeof(*s) + slots * sizeof(s->jobs[0]));

	if (!s) {
		backend_free(take_behind);
		return -ENOMEM;
	}
	s->be = *take_behind;
	s->be.ops = &ops;
	s->behind = take_behind;
	s->model = *model;
	s->rng = sim_seed(0);
	s->over_fd = -1;
	s->over_tail = &s->over;
	s->n_jobs = slots;
	init_locks(s);
	s->heap = calloc(slots, sizeof(struct job *));
	s->free_ns = calloc(model->parallel, sizeof(s->free_ns[0]));
	if (!s->heap || !s->free_ns) {
		sim_free(&s->be);
		return -ENOMEM;
	}
	*ret = &s->be;
	return 0;
}
