/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mediator's sound under a guest that sends what it likes: control requests sound and unsound,
 * messages of any shape on tx and rx, rings and in-flight region written over, connections that end
 * and come again, while periods go by and a guest of class safety plays beside it.
 *
 * What must hold: every period of the safety stream is played as it was sent and comes back; a
 * client that is gone leaves nothing in the engine; a sound ring is given back nothing that is not
 * out (qdriver checks). The device stays from one input to the next; each begins with a new client.
 *
 * Input: a byte of flags, then steps of an operation and its operands.
 */
#include <endian.h>
#include <linux/virtio_snd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/sndmed.h"

#define STEPS_MAX 120u
#define SAFE_LEVEL 8192
#define RING_BYTES 0x10000u	/* of all four */
#define POLICY                                                                                     \
	"[sound speaker]\nheadroom = 6\n"                                                          \
	"[voice cluster/v]\ndevice = speaker\nclass = safety\n"                                    \
	"[voice ivi/v]\ndevice = speaker\nstreams = 2\ncapture = 1\nfault-budget = 1000000\n"
enum { CLUSTER, IVI };

struct world {
	struct sm sm;
	struct sm_client safe, c;
	unsigned flags;
};

static void add(struct world *w, unsigned queue, const struct qdriver_buf *bufs, unsigned n)
{
	static bool token;

	if (qdriver_add(&w->c.q[queue], bufs, n, &token) == QDRIVER_OK)
		qdriver_publish(&w->c.q[queue]);
	qfd_event_signal(w->c.kick[queue]);
}

static void take_all(struct world *w)
{
	void *token;
	uint32_t len;

	for (unsigned i = 0; i < SM_QUEUES; i++)
		while (qdriver_poll(&w->c.q[i], &token, &len) == QDRIVER_OK)
			;
}

/* Half of the others' volume, and the safety stream as it was sent, in every frame. */
static void period(struct world *w)
{
	qassert(sm_send_level(&w->safe, 0, SAFE_LEVEL, SM_PERIOD));
	w->sm.speaker.n_heard = 0;
	sm_periods(&w->sm, 1);
	qassert(sm_take(&w->safe, true) == 1 && w->safe.n_refused == 0);
	for (unsigned k = 0; k < SM_PERIOD; k++) {
		float others = w->sm.speaker.heard[k] - (float)SAFE_LEVEL / 32768;

		/* The headroom is reached by a ramp of 5 ms when safety begins; here it never
		 * falls silent. */
		qassert(others < 0.502f && others > -0.502f);
	}
	if (w->c.mem)
		take_all(w);
}

/* ---- steps ---- */

static void any_chain(struct world *w, struct fuzz_in *in)
{
	unsigned queue = fuzz_u8(in) % SM_QUEUES, n = fuzz_u8(in) % 4 + 1;
	uint8_t how = fuzz_u8(in);
	struct qdriver_buf bufs[4];

	for (unsigned i = 0; i < n; i++)
		bufs[i] = (struct qdriver_buf){ gpa(0x10000 + (uint64_t)fuzz_u16(in) * 8),
						fuzz_u16(in) % 5000 + 1, how >> i & 1 };
	add(w, queue, bufs, n);
}

static void set_params(struct world *w, struct fuzz_in *in)
{
	static const uint8_t formats[] = { VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_FMT_S24,
					   VIRTIO_SND_PCM_FMT_S32, VIRTIO_SND_PCM_FMT_FLOAT };
	uint32_t stream = fuzz_u8(in) % 4, period_bytes = (fuzz_u8(in) + 1u) * 16;
	uint32_t periods = fuzz_u8(in) % 8;
	uint8_t odd = fuzz_u8(in);
	struct virtio_snd_pcm_set_params req = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS),
		.hdr.stream_id = htole32(stream), .buffer_bytes = htole32(period_bytes * periods),
		.period_bytes = htole32(period_bytes), .features = htole32(fuzz_u8(in) & 0x1c),
		.channels = fuzz_u8(in) % 4,
		.format = odd & 1 ? fuzz_u8(in) : formats[odd >> 1 & 3],
		.rate = odd & 8 ? fuzz_u8(in) % 16 : VIRTIO_SND_PCM_RATE_48000,
	};

	sm_ask(&w->c, &req, sizeof(req), 64);
}

static void pcm_request(struct world *w, struct fuzz_in *in)
{
	const struct virtio_snd_pcm_hdr req = {
		.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS + fuzz_u8(in) % 6),
		.stream_id = htole32(fuzz_u8(in) % 4),
	};

	sm_ask(&w->c, &req, sizeof(req), 64);
}

/* Any bytes as a request, and any room for its answer. */
static void odd_request(struct world *w, struct fuzz_in *in)
{
	static const uint32_t codes[] = { VIRTIO_SND_R_JACK_INFO, VIRTIO_SND_R_PCM_INFO,
					  VIRTIO_SND_R_CHMAP_INFO, VIRTIO_SND_R_JACK_REMAP };
	uint8_t req[64];
	uint8_t how = fuzz_u8(in);
	uint32_t len = fuzz_u8(in) % sizeof(req) + 1, room = fuzz_u16(in) % 4200 + 1;

	fuzz_bytes(in, req, len);
	if (how & 4 && len >= 4) {
		uint32_t code = htole32(codes[how & 3]);

		memcpy(req, &code, sizeof(code));
	}
	sm_ask(&w->c, req, len, room);
}

static void message(struct world *w, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t stream = htole32(how >> 4 & 3), len = fuzz_u16(in) % 4000;
	uint64_t at = 0x20000 + (uint64_t)fuzz_u8(in) * 2048;
	bool output = how & 1;
	const struct qdriver_buf b[] = { { gpa(at), 4, false }, { gpa(at + 16), len, !output },
					 { gpa(at + 4080), 8, true } };
	const struct qdriver_buf none[] = { b[0], b[2] };

	memcpy(w->c.base + at, &stream, sizeof(stream));
	memset(w->c.base + at + 16, fuzz_u8(in), len);
	add(w, output ? SM_TX : SM_RX, len ? b : none, len ? 3 : 2);
}

static void event_buffers(struct world *w)
{
	const struct qdriver_buf b = { gpa(0x14000), 8, true };

	for (unsigned i = 0; i < 3; i++)
		add(w, SM_EVT, &b, 1);
}

static void scribble(struct world *w, struct fuzz_in *in)
{
	uint8_t bytes[16];
	uint64_t at = fuzz_u16(in) % (RING_BYTES - sizeof(bytes));
	size_t len = fuzz_u8(in) % sizeof(bytes) + 1;

	fuzz_bytes(in, bytes, len);
	memcpy(w->c.base + at, bytes, len);
}

/* Into the in-flight region, the streams' state behind it first of all. */
static void scribble_inflight(struct world *w, struct fuzz_in *in)
{
	uint64_t at = fuzz_u16(in);
	uint8_t bytes[16];
	size_t len = fuzz_u8(in) % sizeof(bytes) + 1;

	fuzz_bytes(in, bytes, len);
	if (w->c.inflight_fd < 0 || w->c.mmap_len < 512)
		return;
	at = at & 1 ? w->c.mmap_len - 300 + at / 2 % 280 : at / 2 % (w->c.mmap_len - 16);
	qassert(pwrite(w->c.inflight_fd, bytes, len, (off_t)(w->c.mmap_off + at)) == (ssize_t)len);
}

static void come_again(struct world *w, struct fuzz_in *in)
{
	qfd_close(&w->c.sock);
	for (unsigned n = fuzz_u8(in) % 3 + 3; n > 0; n--)
		period(w);
	sm_connect(&w->sm, &w->c, IVI, w->flags);
}

static void step(struct world *w, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 16) {
	case 0:
		any_chain(w, in);
		break;
	case 1: case 2:
		set_params(w, in);
		break;
	case 3: case 4: case 5:
		pcm_request(w, in);
		break;
	case 6:
		odd_request(w, in);
		break;
	case 7: case 8: case 9:
		message(w, in);
		break;
	case 10:
		event_buffers(w);
		break;
	case 11:
		scribble(w, in);
		break;
	case 12:
		scribble_inflight(w, in);
		break;
	case 13:
		come_again(w, in);
		break;
	default:
		period(w);
		break;
	}
	sm_rest(&w->sm);
}

static struct world *world_new(void)
{
	static struct world w;

	sm_open(&w.sm, POLICY);
	sm_connect(&w.sm, &w.safe, CLUSTER, 0);
	sm_start(&w.sm, &w.safe, 0);
	period(&w);
	return &w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	static struct world *w;

	if (!w)
		w = world_new();
	w->flags = fuzz_u8(&in) & 1 ? SM_INFLIGHT : 0;
	w->c = (struct sm_client){ 0 };
	sm_connect(&w->sm, &w->c, IVI, w->flags);
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(w, &in);
	qfd_close(&w->c.sock);
	for (unsigned n = 0; n < 4; n++)
		period(w);
	const struct snd_voice *v = &w->sm.sound->voices[IVI];
	qassert(!v->session && v->n_prepared == 0 && w->sm.sound->n_prepared == 0);
	for (unsigned i = 0; i < v->dev.n_streams; i++) {
		const struct snd_slot *s = &w->sm.sound->engine->slots[v->first_slot + i];

		qassert(!s->takes && !s->running && !s->conv && qsnd_fifo_left(&s->fifo) == 0);
	}
	sm_client_fini(&w->c);
	return 0;
}
