/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user back end: messages about one queue. Handlers as qvhu_be_msg.c has them, same
 * thread.
 *
 * A queue's size, addresses and base may be told again while it runs as long as nothing changes;
 * anything else is a fault, because the owner's ring was made from them. Its kick and err
 * descriptors change through a stop, its call descriptor on the fly.
 */
#include <sys/stat.h>

#include "lib/qfd.h"
#include "lib/qvhu_be_priv.h"

/* The queue that a message of struct qvhu_vring_state names; NULL when it is a fault, which is
 * noted. */
static struct be_queue *get_state(struct qvhu_be *be, struct qvhu_vring_state *s)
{
	if (!qvhu_get_vring_state(&be->msg, s)) {
		be_fault(be, "length");
		return NULL;
	}
	if (s->index >= be->ops->n_queues) {
		be_fault(be, "no such queue");
		return NULL;
	}
	return &be->q[s->index];
}

int be_set_vring_num(struct qvhu_be *be)
{
	struct qvhu_vring_state s;
	struct be_queue *q = get_state(be, &s);

	if (!q)
		return QVHU_FAULT;
	if (s.num == 0 || s.num > be->ops->queue_size_max || (s.num & (s.num - 1)))
		return be_fault(be, "size");
	if (q->state != BEQ_STOPPED)
		return s.num == q->num ? QVHU_OK : be_fault(be, "changed under a running queue");
	q->num = s.num;
	return be_queue_start(be, s.index, true);
}

int be_set_vring_base(struct qvhu_be *be)
{
	struct qvhu_vring_state s;
	struct be_queue *q = get_state(be, &s);

	if (!q)
		return QVHU_FAULT;
	if (s.num > UINT16_MAX)
		return be_fault(be, "index");
	if (q->state != BEQ_STOPPED)
		return be_fault(be, "changed under a running queue");
	q->base = (uint16_t)s.num;
	return QVHU_OK;
}

/* The stop has ended when we come here. A new kick starts the queue again. */
int be_get_vring_base(struct qvhu_be *be)
{
	struct qvhu_vring_state s;
	struct be_queue *q = get_state(be, &s);

	if (!q)
		return QVHU_FAULT;
	q->has_kick = false;
	qfd_close(&q->kick_fd);
	s.num = q->base;
	return be_reply(be, &s, sizeof(s), -1);
}

int be_set_vring_addr(struct qvhu_be *be)
{
	struct qvhu_vring_addr a;

	if (!qvhu_get_vring_addr(&be->msg, &a))
		return be_fault(be, "length");
	if (a.index >= be->ops->n_queues)
		return be_fault(be, "no such queue");
	if (a.flags)
		return be_fault(be, "flags");
	if (a.desc % 16 || a.avail % 2 || a.used % 4)
		return be_fault(be, "alignment");
	struct be_queue *q = &be->q[a.index];
	if (q->state != BEQ_STOPPED) {
		bool same = q->desc == a.desc && q->avail == a.avail && q->used == a.used;
		return same ? QVHU_OK : be_fault(be, "changed under a running queue");
	}
	q->desc = a.desc;
	q->avail = a.avail;
	q->used = a.used;
	q->has_addr = true;
	return be_queue_start(be, a.index, true);
}

int be_set_vring_enable(struct qvhu_be *be)
{
	struct qvhu_vring_state s;
	struct be_queue *q = get_state(be, &s);

	if (!q)
		return QVHU_FAULT;
	if (!(be->ops->features & QVHU_F_PROTOCOL_FEATURES))
		return be_fault(be, "feature not offered");
	if (s.num > 1)
		return be_fault(be, "neither 0 nor 1");
	q->enabled = s.num == 1;
	return be_queue_start(be, s.index, true);
}

/*
 * Takes the descriptor of a KICK, CALL or ERR message. Only an anonymous inode (an eventfd is
 * one) will do: writing to a file of some file system, a pipe or a terminal can block for as long
 * as its owner likes.
 */
static int get_event_fd(struct qvhu_be *be, unsigned *ret_index, int *ret_fd)
{
	uint64_t w;
	struct stat st;

	if (!qvhu_get_u64(&be->msg, &w))
		return be_fault(be, "length");
	if (w & ~(BE_VRING_INDEX_MASK | QVHU_NOFD))
		return be_fault(be, "upper bits");
	if ((w & BE_VRING_INDEX_MASK) >= be->ops->n_queues)
		return be_fault(be, "no such queue");
	if (be->msg.n_fds != (w & QVHU_NOFD ? 0 : 1))
		return be_fault(be, "descriptor and flag disagree");
	*ret_index = (unsigned)(w & BE_VRING_INDEX_MASK);
	*ret_fd = -1;
	if (w & QVHU_NOFD)
		return QVHU_OK;
	if (fstat(be->msg.fds[0], &st) < 0 || (st.st_mode & S_IFMT) != 0)
		return be_fault(be, "not an eventfd");
	/* The peer can undo this: the description is shared. It keeps an honest peer's blocking
	 * eventfd from blocking us. */
	int r = qfd_nonblock(be->msg.fds[0], true);
	if (r < 0)
		return be_fault(be, "not an eventfd");
	*ret_fd = be_take_fd(&be->msg, 0);
	return QVHU_OK;
}

int be_set_vring_kick(struct qvhu_be *be)
{
	unsigned i;
	int fd, r = get_event_fd(be, &i, &fd);

	if (r != QVHU_OK)
		return r;
	qfd_close(&be->q[i].kick_fd);
	be->q[i].kick_fd = fd;
	be->q[i].has_kick = true;
	return be_queue_start(be, i, true);
}

int be_set_vring_call(struct qvhu_be *be)
{
	unsigned i;
	int fd, r = get_event_fd(be, &i, &fd);

	if (r != QVHU_OK)
		return r;
	int old = be->q[i].call_fd;
	be->q[i].call_fd = fd;
	if (be->q[i].state == BEQ_RUNNING)
		be->ops->queue_call(be->ctx, i, fd);
	qfd_close(&old);
	return be_queue_start(be, i, true);
}

int be_set_vring_err(struct qvhu_be *be)
{
	unsigned i;
	int fd, r = get_event_fd(be, &i, &fd);

	if (r != QVHU_OK)
		return r;
	qfd_close(&be->q[i].err_fd);
	be->q[i].err_fd = fd;
	return be_queue_start(be, i, true);
}
