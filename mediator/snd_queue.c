/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of a sound client (snd_queue.h). One thread at a time.
 *
 * Invariant: entries[head].out is true from the message's pop until the guest is shown that it is
 * done; a head that comes again meanwhile is the driver's fault, found before anything is done for
 * it. So done[] has room for every head.
 */
#include "mediator/snd_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"

int snd_queue_new(const struct qring_cfg *cfg, struct qmem *mem,
		  struct qvhu_inflight_queue *inflight, bool output, struct snd_queue **ret)
{
	struct snd_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->output = output;
	q->call_fd = -1;
	q->inflight = inflight;
	q->num = cfg->num;
	q->mem = qmem_ref(mem);
	if (qring_init(&q->ring, mem, cfg) < 0) {
		snd_queue_free(q);
		return -EINVAL;
	}
	q->entries = calloc(q->num, sizeof(q->entries[0]));
	q->iov = calloc((size_t)q->num * QSND_IOV_MAX, sizeof(q->iov[0]));
	q->done = calloc(q->num, sizeof(q->done[0]));
	q->replay = calloc(q->num, sizeof(q->replay[0]));
	if (!q->entries || !q->iov || !q->done || !q->replay) {
		snd_queue_free(q);
		return -ENOMEM;
	}
	if (inflight)
		q->n_replay = qvhu_inflight_recover(inflight, q->ring.used_idx, q->replay, q->num);
	q->n_replay = Q_MIN(q->n_replay, q->num);
	*ret = q;
	return 0;
}

struct snd_queue *snd_queue_free(struct snd_queue *q)
{
	if (!q)
		return NULL;
	qring_fini(&q->ring);
	qmem_unref(q->mem);
	qfd_close(&q->call_fd);
	free(q->entries);
	free(q->iov);
	free(q->done);
	free(q->replay);
	free(q);
	return NULL;
}

static enum qring_verdict next_chain(struct snd_queue *q, struct iovec *iov,
				     struct qring_chain *chain, bool *replayed)
{
	*replayed = q->replayed < q->n_replay;
	if (*replayed)
		return qring_fetch(&q->ring, q->replay[q->replayed++], iov, QSND_IOV_MAX, chain);
	return qring_pop(&q->ring, iov, QSND_IOV_MAX, chain);
}

enum snd_next snd_queue_next(struct snd_queue *q, const struct qsnd_dev *dev,
			     struct qsnd_msg **ret)
{
	struct iovec parts[QSND_IOV_MAX], *iov;
	struct qring_chain chain;
	bool replayed;
	enum qring_verdict v = next_chain(q, parts, &chain, &replayed);

	if (v == QRING_EMPTY)
		return SND_NEXT_NONE;
	if (v != QRING_OK || chain.head >= q->num || q->entries[chain.head].out)
		return SND_NEXT_FAULT;
	if (q->inflight && !replayed && !qvhu_inflight_take(q->inflight, chain.head))
		return SND_NEXT_FAULT;
	struct snd_entry *e = &q->entries[chain.head];
	iov = q->iov + (size_t)chain.head * QSND_IOV_MAX;
	memcpy(iov, parts, (chain.n_out + chain.n_in) * sizeof(iov[0]));
	enum qsnd_msg_verdict mv = qsnd_msg_parse(dev, q->output, &chain, iov, &e->msg);
	if (mv == QSND_MSG_BROKEN)
		return SND_NEXT_FAULT;
	e->out = true;
	*ret = &e->msg;
	return mv == QSND_MSG_OK ? SND_NEXT_MSG : SND_NEXT_REFUSE;
}

void snd_queue_done(struct snd_queue *q, struct qsnd_msg *m, uint32_t status,
		    uint32_t latency_bytes)
{
	uint16_t head = m->head;
	uint32_t written = qsnd_msg_done(m, status, latency_bytes);

	if (q->inflight)
		qvhu_inflight_batch(q->inflight, head);
	qring_push(&q->ring, head, written);
	q->done[q->n_done++] = head;
}

void snd_queue_publish(struct snd_queue *q, struct qbell *bell)
{
	if (q->n_done == 0)
		return;
	bool signal = qring_publish(&q->ring);
	for (unsigned i = 0; i < q->n_done; i++) {
		if (q->inflight)
			qvhu_inflight_done(q->inflight, q->done[i]);
		q->entries[q->done[i]].out = false;
	}
	if (q->inflight)
		qvhu_inflight_used(q->inflight, q->ring.used_idx);
	q->n_done = 0;
	if (signal && q->call_fd >= 0)
		qbell_ring(bell, q->call_fd);
}
