/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking half of a vhost-user device: see vhu_job.h. I/O thread, without the vdev's lock: it
 * touches the job and the connection, nothing of the device.
 */
#include <errno.h>

#include "vdevs/vhu_job.h"

#define WANTED (QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT)

static unsigned timeout_ms(const struct vhu_job *j)
{
	return j->timeout_ms ? j->timeout_ms : VHU_JOB_MS;
}

static void begin(struct vhu_job *j)
{
	j->deadline_ns = qnow_ns() + timeout_ms(j) * Q_NSEC_PER_MSEC;
}

/* A back end that answers each request just in time may not hold us forever. */
static int in_time(const struct vhu_job *j, int r)
{
	return r == QVHU_OK && qnow_ns() > j->deadline_ns ? QVHU_TIMEOUT : r;
}

void vhu_job_connect(void *job)
{
	struct vhu_job *j = job;
	int sock_fd = j->sock_fd;

	begin(j);
	j->sock_fd = -1;
	j->fe = NULL;
	j->r = qvhu_fe_new(sock_fd, WANTED, Q_MAX(timeout_ms(j) / 2, 1u), &j->fe);
	if (j->r == QVHU_OK && j->config_len)
		j->r = in_time(j, qvhu_fe_config_get(j->fe, 0, j->config, j->config_len));
	if (j->r == QVHU_OK)
		j->r = in_time(j, qvhu_fe_queue_num(j->fe, &j->n_queues_max));
	if (j->r != QVHU_OK)
		j->fe = qvhu_fe_free(j->fe);
}

static int give_inflight(struct vhu_job *j)
{
	int r = QVHU_OK;

	if (!(qvhu_fe_protocol_features(j->fe) & QVHU_PF_INFLIGHT))
		return QVHU_OK;
	if (j->inflight_fd < 0)
		r = qvhu_fe_inflight_get(j->fe, (uint16_t)j->n_queues,
					 (uint16_t)j->queue_size_max, &j->inflight,
					 &j->inflight_fd);
	return r == QVHU_OK ? qvhu_fe_inflight_set(j->fe, &j->inflight, j->inflight_fd) : r;
}

static int start_queue(struct vhu_job *j, unsigned i)
{
	struct vhu_queue *q = &j->q[i];
	struct qring ring;
	int r = qring_init(&ring, j->mem, &q->ring);

	if (r < 0)
		return r;
	q->ring.base = ring.used_idx;
	r = qvhu_fe_queue_err(j->fe, i, j->err_fd);
	if (r != QVHU_OK)
		return r;
	return qvhu_fe_queue_start(j->fe, i, j->mem, &q->ring, q->kick_fd, q->call_fd);
}

void vhu_job_start(void *job)
{
	struct vhu_job *j = job;

	begin(j);
	j->r = qvhu_fe_set_features(j->fe, j->features);
	if (j->r == QVHU_OK)
		j->r = in_time(j, give_inflight(j));
	if (j->r == QVHU_OK)
		j->r = in_time(j, qvhu_fe_set_mem(j->fe, j->mem));
	for (unsigned i = 0; i < j->n_queues && j->r == QVHU_OK; i++)
		if (j->q[i].on)
			j->r = in_time(j, start_queue(j, i));
}

void vhu_job_stop(void *job)
{
	struct vhu_job *j = job;
	uint16_t base;

	begin(j);
	j->r = QVHU_OK;
	for (unsigned i = 0; i < j->n_queues && j->r == QVHU_OK; i++)
		if (j->q[i].on)
			j->r = in_time(j, qvhu_fe_queue_stop(j->fe, i, &base));
}

void vhu_job_recall(void *job)
{
	struct vhu_job *j = job;

	begin(j);
	j->r = QVHU_OK;
	for (unsigned i = 0; i < j->n_queues && j->r == QVHU_OK; i++) {
		struct vhu_queue *q = &j->q[i];

		if (!q->on || !q->again)
			continue;
		j->r = qvhu_fe_queue_stop(j->fe, i, &q->ring.base);
		if (j->r == QVHU_OK)
			j->r = in_time(j, qvhu_fe_queue_start(j->fe, i, j->mem, &q->ring,
							      q->kick_fd, q->call_fd));
	}
}
