/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control channel and a peer that says anything. The input is the byte stream, cut into writes:
 * a byte says how long the next is, its top bit sends a descriptor along.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "proto/qp_chan.h"
#include "proto/qp_check.h"
#include "tests/fuzz/fuzz.h"

/* A message that was given out keeps the rules, and can be said again. */
static void check_message(struct qp_chan *c, const Parley__Envelope *e)
{
	qassert(e->body_case != PARLEY__ENVELOPE__BODY_HELLO);
	qassert(qp_check_message(&e->base) == NULL);
	size_t len = parley__envelope__get_packed_size(e);
	int r = qp_chan_send(c, e, NULL, 0);
	qassert(len > QP_FRAME_MAX ? r == -EMSGSIZE : r == QP_OK || r == QP_FULL || r == QP_CLOSED);
}

/* True while the channel may go on. */
static bool take_all(struct qp_chan *c, uint8_t *waste, size_t waste_bytes, int peer)
{
	for (;;) {
		Parley__Envelope *e = NULL;
		int fds[QP_FDS_MAX];
		unsigned n_fds = 0;
		int r = qp_chan_recv(c, &e, fds, &n_fds);

		qassert(n_fds <= QP_FDS_MAX);
		for (unsigned i = 0; i < n_fds; i++)
			qfd_close(&fds[i]);
		if (r == QP_AGAIN)
			return true;
		qassert(r == QP_OK || r == QP_FAULT || r == QP_CLOSED);
		qassert((r == QP_FAULT) == (qp_chan_fault(c)[0] != '\0'));
		if (r != QP_OK)
			return false;
		check_message(c, e);
		qp_msg_free(e);
		while (recv(peer, waste, waste_bytes, MSG_DONTWAIT) > 0)
			;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	uint8_t buf[128], waste[4096];
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return 0;
	struct qp_chan *c = qp_chan_new(s[0], "fuzz");
	qassert(c);
	/* Not an end of the pair: in flight it would keep its own peer open. */
	int passed = qfd_eventfd();
	bool on = true;
	while (on && in.left > 0) {
		uint8_t head = fuzz_u8(&in);
		size_t len = Q_MIN((size_t)(head & 0x7f) + 1, in.left);

		if (len == 0)
			break;
		fuzz_bytes(&in, buf, len);
		if (qfd_send(s[1], buf, len, &passed, head >> 7) < (ssize_t)len)
			break;
		on = take_all(c, waste, sizeof(waste), s[1]);
	}
	qfd_close(&s[1]);
	qfd_close(&passed);
	if (on)
		on = take_all(c, waste, sizeof(waste), -1);
	qassert(!on);
	qp_chan_free(c);
	return 0;
}
