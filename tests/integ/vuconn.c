/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the descriptors, rings and in-flight region of one client. */
#include "tests/integ/vuconn.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "lib/qfd.h"

int vuconn_open(struct vuconn *c, struct qmem *take_mem, uint64_t queue_bytes)
{
	int r = 0;

	qassert(c->n_queues <= VUCONN_QUEUES_MAX);
	c->mem = take_mem;
	c->inflight_fd = -1;
	for (unsigned i = 0; i < VUCONN_QUEUES_MAX; i++)
		c->kick_fd[i] = c->call_fd[i] = -1;
	for (unsigned i = 0; r == 0 && i < c->n_queues; i++) {
		c->kick_fd[i] = qfd_eventfd();
		c->call_fd[i] = qfd_eventfd();
		r = c->kick_fd[i] < 0 || c->call_fd[i] < 0 ? -EMFILE :
		    qdriver_init(&c->q[i], c->mem, gpa(i * queue_bytes), c->ring, QRING_EVENT_IDX,
				 gpa(0), 0);
	}
	return r;
}

void vuconn_close(struct vuconn *c)
{
	c->fe = qvhu_fe_free(c->fe);
	for (unsigned i = 0; i < c->n_queues; i++) {
		qdriver_fini(&c->q[i]);
		qfd_close(&c->kick_fd[i]);
		qfd_close(&c->call_fd[i]);
	}
	c->mem = qmem_unref(c->mem);
	qfd_close(&c->inflight_fd);
}

/* The device as it is for every back end: then the region, if we have one, and the queues. */
static int set_up(struct vuconn *c)
{
	int r = c->meet ? c->meet(c->ctx, c->fe) : QVHU_OK;

	if (r == QVHU_OK)
		r = qvhu_fe_set_features(c->fe, qvhu_fe_features(c->fe) & c->features);
	if (r == QVHU_OK)
		r = qvhu_fe_set_mem(c->fe, c->mem);
	if (r == QVHU_OK && c->inflight_fd < 0)
		r = qvhu_fe_inflight_get(c->fe, c->n_queues, c->ring, &c->inflight,
					 &c->inflight_fd);
	if (r == QVHU_OK)
		r = qvhu_fe_inflight_set(c->fe, &c->inflight, c->inflight_fd);
	for (unsigned i = 0; r == QVHU_OK && i < c->n_queues; i++)
		r = qvhu_fe_queue_start(c->fe, i, c->mem, &c->q[i].cfg, c->kick_fd[i],
					c->call_fd[i]);
	return r;
}

static bool connect_once(struct vuconn *c)
{
	int fd = qfd_connect_unix(c->path);

	if (fd < 0 || qvhu_fe_new(fd, c->protocol, c->answer_ms, &c->fe) != QVHU_OK)
		return false;
	if (set_up(c) == QVHU_OK)
		return true;
	c->fe = qvhu_fe_free(c->fe);
	return false;
}

bool vuconn_connect(struct vuconn *c)
{
	const struct timespec pause = { .tv_nsec = (long)c->pause_ns };
	uint64_t until = qnow_ns() + c->give_up_ns;

	c->reconnects += c->fe != NULL;
	c->fe = qvhu_fe_free(c->fe);
	while (!connect_once(c)) {
		if (qnow_ns() > until)
			return false;
		nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < c->n_queues; i++)
		qfd_event_signal(c->kick_fd[i]);
	return true;
}

enum vuconn_wait vuconn_wait(struct vuconn *c, unsigned q, uint64_t limit_ns)
{
	struct pollfd p[] = {
		{ .fd = c->call_fd[q], .events = POLLIN },
		{ .fd = qvhu_fe_fd(c->fe), .events = POLLIN },
	};

	if (qdriver_arm(&c->q[q]))
		return VUCONN_USED;
	int n = poll(p, 2, (int)(limit_ns / Q_NSEC_PER_MSEC));
	bool interrupted = n < 0 && errno == EINTR;
	qfd_event_clear(c->call_fd[q]);
	if (interrupted)
		return VUCONN_INTERRUPTED;
	if (n <= 0)
		return VUCONN_SILENT;
	return p[1].revents ? VUCONN_GONE : VUCONN_USED;
}
