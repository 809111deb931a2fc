/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another VM's qvm may say: the message that opens a session, and the shared memory of one,
 * which it rewrites while we read and write. Whatever comes out has a length that was asked for.
 *
 * Input: a first byte that chooses; a message; or steps of writes into the shared memory and of
 * reads and writes of ours.
 */
#include "qvm/netpeer_msg.h"
#include "qvm/netpeer_ring.h"
#include "tests/fuzz/fuzz.h"

#define STEPS_MAX 400u

static struct np_ctl ctl[2];
static uint8_t data[2][NP_RING_BYTES];

static void message(struct fuzz_in *in)
{
	uint8_t buf[NP_MSG_BYTES + 8], again[NP_MSG_BYTES];
	size_t len = fuzz_u16(in) % (sizeof(buf) + 1);
	uint32_t version = 0;
	struct np_msg m, n;

	fuzz_bytes(in, buf, sizeof(buf));
	if (np_msg_get(buf, len, &m, &version) != NP_MSG_OK)
		return;
	np_msg_put(&m, again);	/* what was taken is sound */
	qassert(np_msg_get(again, sizeof(again), &n, &version) == NP_MSG_OK);
	qassert(!memcmp(&m, &n, sizeof(m)));
}

/* An index that is likely to be near what is right. */
static uint32_t index_near(struct fuzz_in *in, uint32_t pos)
{
	return fuzz_u8(in) % 4 ? pos + fuzz_u16(in) : fuzz_u32(in);
}

static void enemy(struct fuzz_in *in, const struct np_ring *r, const struct np_ring *w)
{
	uint32_t len = fuzz_u8(in) % 4 ? fuzz_u8(in) : fuzz_u32(in);

	switch (fuzz_u8(in) % 4) {
	case 0:
		atomic_store(&ctl[0].head, index_near(in, r->pos));
		break;
	case 1:
		atomic_store(&ctl[1].tail, index_near(in, w->pos - NP_RING_BYTES / 2));
		break;
	case 2:
		memcpy(data[0] + (r->pos & (NP_RING_BYTES - 1) & ~7u), &len, sizeof(len));
		break;
	default:
		atomic_store(&ctl[fuzz_u8(in) & 1].want_data, fuzz_u8(in));
		atomic_store(&ctl[fuzz_u8(in) & 1].want_room, fuzz_u8(in));
		break;
	}
}

/* False: broken, which ends the session. */
static bool ours(struct fuzz_in *in, struct np_ring *r, struct np_ring *w)
{
	static uint8_t buf[VD_NET_BUF_BYTES], out[VD_NET_BUF_BYTES];
	const uint32_t max = VD_NET_BUF_BYTES, len = 1 + fuzz_u16(in) % max;
	const struct iovec iov[2] = { { out, len / 2 }, { out, len - len / 2 } };
	uint32_t n = 0;

	switch (fuzz_u8(in) % 4) {
	case 0:
		if (np_ring_put(w, iov, 2, len) == NP_RING_BROKEN)
			return false;
		np_ring_wanted_data(w);
		return true;
	case 1:
		np_ring_listen(r);
		return true;
	case 2:
		return fuzz_u8(in) % 8 || np_ring_purge(r) != NP_RING_BROKEN;
	default:
		break;
	}
	enum np_ring_verdict v = np_ring_get(r, buf, max, &n);
	qassert(v != NP_RING_OK || (n > 0 && n <= max));
	np_ring_wanted_room(r);
	return v != NP_RING_BROKEN;
}

static void rings(struct fuzz_in *in)
{
	struct np_ring r, w;

	memset(ctl, 0, sizeof(ctl));
	np_ring_init(&r, &ctl[0], data[0]);
	np_ring_init(&w, &ctl[1], data[1]);
	for (unsigned i = 0; i < STEPS_MAX && in->left > 0; i++) {
		enemy(in, &r, &w);
		if (!ours(in, &r, &w))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_in in = { bytes, size };

	if (fuzz_u8(&in) & 1)
		message(&in);
	else
		rings(&in);
	return 0;
}
