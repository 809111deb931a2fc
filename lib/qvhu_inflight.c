/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight region (vhost-user specification, "Inflight I/O tracking", split virtqueues).
 *
 * Theory of operation. Each entry says whether its head is in flight and in which order it was
 * taken. Completing a batch cannot be one step: the heads of the batch are first chained from
 * last_batch_head, then the ring's used index publishes them, then their marks are cleared one by
 * one, then used_idx is set to the ring's. A crash leaves the two indexes equal (nothing of the
 * last batch was published, every mark is right) or different: then their difference is the
 * length of the published batch, its heads are the first of the chain, and the marks still set
 * are cleared by whoever comes next. Repairing is idempotent, so that a crash in it does no harm.
 *
 * Invariant: whatever instant the process is killed at, {taken} minus {published} is what
 * recovery lists. It rests on the order of our stores alone. All are release stores, which keeps
 * them in program order among themselves and behind the used ring's; they pair with the loads of
 * qvhu_inflight_recover() in the process after us, which the kernel starts later than our last.
 *
 * The region is also mapped by the front end and so hostile: sizes come from the private copy,
 * never from the region; indexes read from it are checked; counters are copied before they are
 * sorted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qvhu_inflight.h"

#define INFLIGHT_VERSION 1u
#define INFLIGHT_ALIGN 64u

struct wire_entry {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct wire_queue {
	uint64_t features;
	uint16_t version;	/* 0 = never used */
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct wire_entry entry[];
};

static_assert(sizeof(struct wire_entry) == 16, "layout of the specification");
static_assert(sizeof(struct wire_queue) == 16, "layout of the specification");

struct taken {
	uint64_t counter;
	uint16_t head;
};

struct qvhu_inflight_queue {
	struct wire_queue *w;
	uint16_t size;		/* entries in the region */
	uint32_t num;		/* entries of the ring, at most size */
	uint64_t counter;	/* of the next take */
	struct taken *scratch;	/* size entries, for sorting */
};

struct qvhu_inflight_region {
	void *map;
	size_t map_len, queues_len;	/* the rest is the device's own */
	unsigned n;
	struct qvhu_inflight_queue q[];
};

/* Release, for the order of stores that recovery relies on (see the top). */
#define W_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
/* Relaxed: nobody writes while we recover but a hostile front end, and each value is checked. */
#define W_GET(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

static uint64_t queue_bytes(uint16_t queue_size)
{
	uint64_t bytes = sizeof(struct wire_queue) + queue_size * sizeof(struct wire_entry);

	return Q_ALIGN_UP(bytes, (uint64_t)INFLIGHT_ALIGN);
}

int qvhu_inflight_create(uint16_t n_queues, uint16_t queue_size, uint32_t extra_bytes,
			 struct qvhu_inflight *ret, int *ret_fd)
{
	uint64_t len = n_queues * queue_bytes(queue_size) + extra_bytes;
	int fd = qfd_memfd("parley-inflight", len);

	if (fd < 0)
		return fd;
	*ret = (struct qvhu_inflight){ .mmap_len = len, .n_queues = n_queues,
				       .queue_size = queue_size };
	*ret_fd = fd;
	return 0;
}

/* Why this file cannot be used as @in says, or NULL. */
static const char *file_fault(const struct qvhu_inflight *in, int fd)
{
	struct stat st;

	if (qfd_check_no_shrink(fd) < 0)
		return "in-flight file can shrink";
	if (fstat(fd, &st) < 0 || st.st_size < 0)
		return "in-flight file";
	if (!qspan_inside(in->mmap_off, in->mmap_len, (uint64_t)st.st_size))
		return "in-flight file too short";
	if (in->mmap_off % (uint64_t)sysconf(_SC_PAGESIZE))
		return "in-flight offset";
	if (in->n_queues == 0 || in->queue_size == 0 ||
	    in->mmap_len / in->n_queues < queue_bytes(in->queue_size))
		return "in-flight length";
	return NULL;
}

static bool queue_init(struct qvhu_inflight_queue *q, void *map, uint16_t size)
{
	struct wire_queue *w = map;
	uint16_t version = W_GET(w->version), desc_num = W_GET(w->desc_num);

	*q = (struct qvhu_inflight_queue){ .w = w, .size = size, .num = size };
	if (W_GET(w->features) || version > INFLIGHT_VERSION)
		return false;
	return version == 0 || desc_num == size;
}

int qvhu_inflight_map(const struct qvhu_inflight *in, int take_fd, const char **ret_why,
		      struct qvhu_inflight_region **ret)
{
	QCLEAN(qfd_close) int fd = take_fd;
	const char *why = file_fault(in, fd);

	if (why) {
		*ret_why = why;
		return QVHU_FAULT;
	}
	struct qvhu_inflight_region *r = calloc(1, sizeof(*r) + in->n_queues * sizeof(r->q[0]));
	if (!r)
		return -ENOMEM;
	r->queues_len = in->n_queues * queue_bytes(in->queue_size);
	r->map_len = r->queues_len + Q_MIN(in->mmap_len - r->queues_len,
					   (uint64_t)QVHU_INFLIGHT_EXTRA_MAX);
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      (off_t)in->mmap_off);
	if (r->map == MAP_FAILED) {
		int err = errno;
		r->map = NULL;
		qvhu_inflight_unmap(r);
		*ret_why = "in-flight file cannot be mapped";
		return err == ENOMEM ? -err : QVHU_FAULT;
	}
	for (; r->n < in->n_queues; r->n++) {
		struct qvhu_inflight_queue *q = &r->q[r->n];
		char *at = (char *)r->map + r->n * queue_bytes(in->queue_size);

		if (!queue_init(q, at, in->queue_size)) {
			qvhu_inflight_unmap(r);
			*ret_why = "in-flight region is not ours";
			return QVHU_FAULT;
		}
	}
	*ret = r;
	return QVHU_OK;
}

struct qvhu_inflight_region *qvhu_inflight_unmap(struct qvhu_inflight_region *r)
{
	if (!r)
		return NULL;
	for (unsigned i = 0; i < r->n; i++)
		free(r->q[i].scratch);
	if (r->map)
		munmap(r->map, r->map_len);
	free(r);
	return NULL;
}

void *qvhu_inflight_extra(struct qvhu_inflight_region *r, uint32_t bytes)
{
	if (!r || !qspan_inside(r->queues_len, bytes, r->map_len))
		return NULL;
	return (char *)r->map + r->queues_len;
}

struct qvhu_inflight_queue *qvhu_inflight_of(struct qvhu_inflight_region *r, unsigned i)
{
	return r && i < r->n ? &r->q[i] : NULL;
}

bool qvhu_inflight_take(struct qvhu_inflight_queue *q, uint16_t head)
{
	if (head >= q->num)
		return false;
	struct wire_entry *e = &q->w->entry[head];
	if (W_GET(e->inflight))
		return false;
	W_SET(e->counter, q->counter++);
	W_SET(e->inflight, 1);
	return true;
}

void qvhu_inflight_batch(struct qvhu_inflight_queue *q, uint16_t head)
{
	if (head >= q->num)
		return;
	W_SET(q->w->entry[head].next, W_GET(q->w->last_batch_head));
	W_SET(q->w->last_batch_head, head);
}

void qvhu_inflight_done(struct qvhu_inflight_queue *q, uint16_t head)
{
	if (head < q->num)
		W_SET(q->w->entry[head].inflight, 0);
}

void qvhu_inflight_used(struct qvhu_inflight_queue *q, uint16_t used_idx)
{
	W_SET(q->w->used_idx, used_idx);
}

/* Clears the marks of a batch that was published and not finished. Bounded whatever the region
 * says. */
static void repair(struct qvhu_inflight_queue *q, uint16_t used_idx)
{
	struct wire_queue *w = q->w;
	unsigned n = (uint16_t)(used_idx - W_GET(w->used_idx));
	uint16_t head = W_GET(w->last_batch_head);

	n = Q_MIN(n, (unsigned)q->size);
	for (; n > 0 && head < q->size; n--) {
		W_SET(w->entry[head].inflight, 0);
		head = W_GET(w->entry[head].next);
	}
	W_SET(w->used_idx, used_idx);
}

/* Copies what is in flight into the scratch table; how many. */
static unsigned collect(struct qvhu_inflight_queue *q)
{
	unsigned n = 0;

	for (uint32_t head = 0; head < q->num; head++) {
		struct wire_entry *e = &q->w->entry[head];
		if (!W_GET(e->inflight))
			continue;
		q->scratch[n++] = (struct taken){ .counter = W_GET(e->counter),
						  .head = (uint16_t)head };
	}
	return n;
}

static int by_counter(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (x->head > y->head) - (x->head < y->head);
}

unsigned qvhu_inflight_recover(struct qvhu_inflight_queue *q, uint16_t used_idx, uint16_t *heads,
			       unsigned max)
{
	repair(q, used_idx);
	unsigned n = collect(q);
	qsort(q->scratch, n, sizeof(q->scratch[0]), by_counter);
	if (n > 0)
		q->counter = q->scratch[n - 1].counter + 1;
	for (unsigned i = 0; i < Q_MIN(n, max); i++)
		heads[i] = q->scratch[i].head;
	return n;
}

/* First use: the version comes last, so that a crash before it leaves the region unused. */
static void format(struct qvhu_inflight_queue *q, uint16_t used_idx)
{
	struct wire_queue *w = q->w;

	W_SET(w->features, 0);
	W_SET(w->desc_num, q->size);
	W_SET(w->used_idx, used_idx);
	W_SET(w->version, INFLIGHT_VERSION);
}

int qvhu_inflight_begin(struct qvhu_inflight_queue *q, uint32_t num, uint16_t used_idx,
			uint16_t base, uint16_t *ret_base)
{
	if (num > q->size)
		return QVHU_FAULT;
	if (!q->scratch)
		q->scratch = calloc(q->size, sizeof(q->scratch[0]));
	if (!q->scratch)
		return -ENOMEM;
	q->num = num;
	if (W_GET(q->w->version) == 0) {
		format(q, used_idx);
		*ret_base = base;
		return QVHU_OK;
	}
	*ret_base = (uint16_t)(used_idx + qvhu_inflight_recover(q, used_idx, NULL, 0));
	return QVHU_OK;
}
