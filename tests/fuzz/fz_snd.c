/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-snd under a driver that sends what it likes: control requests sound and unsound, messages
 * of any shape on any queue, resets in between, memory of the rings written over, while time goes
 * by.
 *
 * What must hold: the device comes to rest; it gives back no chain that is not out and no more
 * bytes than fit it, as long as the ring is sound; after a RELEASE of every stream nothing of the
 * data queues is out. vdharness checks that nothing is left behind.
 *
 * Input: transport and ring, then steps of an operation and its operands.
 */
#include <endian.h>

#include "lib/qsnd.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vddriver.h"

#define STEPS_MAX 300u
#define REST_MAX 5000u		/* rounds of the I/O thread until nothing is due */
#define N_QUEUES 4u
#define N_STREAMS 3u
#define RING_NUM 16u
#define RING_BYTES 0x4000u	/* ring, then indirect tables */
#define INDIRECT_MAX 4u
#define DATA (VDH_RAM_GPA + 0x100000)

struct world {
	struct vdh h;
	struct vdd d;
	struct qdriver q[N_QUEUES];
	bool scribbled, broken;	/* broken: a chain went out that no driver would send */
	unsigned out[N_QUEUES];
};

static void rest(struct world *w)
{
	unsigned n = 0;

	while (vdh_step(&w->h, 0))
		qassert(++n < REST_MAX);
}

static void live(struct world *w, uint8_t how)
{
	uint64_t features = VDD_VERSION_1 | (how & 1 ? VDD_PACKED : 0) |
			    (how & 2 ? VDD_INDIRECT : 0) | (how & 4 ? VDD_EVENT_IDX : 0);
	unsigned ring = (how & 1 ? QRING_PACKED : 0) | (how & 2 ? QRING_INDIRECT : 0) |
			(how & 4 ? QRING_EVENT_IDX : 0);

	vdd_negotiate(&w->d, features);
	for (unsigned i = 0; i < N_QUEUES; i++) {
		uint64_t at = VDH_RAM_GPA + i * RING_BYTES;

		qdriver_fini(&w->q[i]);
		qassert(!qdriver_init(&w->q[i], w->h.mem, gpa(at), RING_NUM, ring,
				      gpa(at + 0x3000), INDIRECT_MAX));
		vdd_queue_set(&w->d, i, &w->q[i].cfg);
		vdd_queue_enable(&w->d, i);
		w->out[i] = 0;
	}
	vdd_set_status(&w->d, VDD_STATUS_LIVE);
	w->scribbled = w->broken = false;
}

static void take_all(struct world *w)
{
	for (unsigned i = 0; i < N_QUEUES; i++) {
		enum qdriver_verdict v;
		uint32_t len;
		void *token;

		while ((v = qdriver_poll(&w->q[i], &token, &len)) == QDRIVER_OK)
			w->out[i]--;
		qassert(v == QDRIVER_EMPTY || w->scribbled);
	}
}

static void add(struct world *w, unsigned q, const struct qdriver_buf *bufs, unsigned n, bool kick)
{
	if (qdriver_add(&w->q[q], bufs, n, w) == QDRIVER_OK) {
		w->out[q]++;
		qdriver_publish(&w->q[q]);
	}
	if (kick)
		vdd_notify(&w->d, q);
}

/* Any chain on any queue. */
static void add_chain(struct world *w, struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % N_QUEUES, n = fuzz_u8(in) % 4 + 1;
	uint8_t how = fuzz_u8(in);
	struct qdriver_buf bufs[4];

	for (unsigned i = 0; i < n; i++)
		bufs[i] = (struct qdriver_buf){ gpa(DATA + (uint64_t)fuzz_u8(in) * 4096),
						fuzz_u16(in) % 5000 + 1, how >> i & 1 };
	w->broken = true;
	add(w, q, bufs, n, true);
}

/* ---- control ---- */

static void request(struct world *w, const void *req, uint32_t len, uint32_t room)
{
	const struct qdriver_buf b[2] = { { gpa(DATA), len, false },
					  { gpa(DATA + 0x1000), room, true } };

	qmem_write(w->h.mem, gpa(DATA), req, len);
	w->broken |= room < 4;
	add(w, VIRTIO_SND_VQ_CONTROL, b, 2, true);
	rest(w);
	take_all(w);
}

static void set_params(struct world *w, struct fuzz_in *in, uint32_t stream)
{
	static const uint8_t formats[] = { VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_FMT_S24,
					   VIRTIO_SND_PCM_FMT_S32, VIRTIO_SND_PCM_FMT_FLOAT };
	uint32_t period = (fuzz_u8(in) + 1u) * 16, periods = fuzz_u8(in) % 8;
	uint8_t odd = fuzz_u8(in);
	struct virtio_snd_pcm_set_params req = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS), .hdr.stream_id = stream,
		.buffer_bytes = htole32(period * periods), .period_bytes = htole32(period),
		.features = htole32(fuzz_u8(in) & QSND_FEATURES), .channels = fuzz_u8(in) % 4,
		.format = odd & 1 ? fuzz_u8(in) : formats[odd >> 1 & 3],
		.rate = odd & 8 ? fuzz_u8(in) : VIRTIO_SND_PCM_RATE_48000,
	};

	request(w, &req, sizeof(req), 4);
}

static void add_request(struct world *w, struct fuzz_in *in)
{
	uint32_t stream = htole32(fuzz_u8(in) % (N_STREAMS + 1)), code = fuzz_u8(in) % 8;
	struct virtio_snd_pcm_hdr req = { .stream_id = stream };

	if (code == 0) {
		set_params(w, in, stream);
		return;
	}
	req.hdr.code = htole32(VIRTIO_SND_R_PCM_INFO + code);
	request(w, &req, sizeof(req), 4);
}

static void add_query(struct world *w, struct fuzz_in *in)
{
	static const uint32_t codes[] = { VIRTIO_SND_R_JACK_INFO, VIRTIO_SND_R_PCM_INFO,
					  VIRTIO_SND_R_CHMAP_INFO, VIRTIO_SND_R_JACK_REMAP };
	struct virtio_snd_query_info req = {
		.hdr.code = htole32(codes[fuzz_u8(in) % 4]), .start_id = htole32(fuzz_u8(in) % 8),
		.count = htole32(fuzz_u8(in)), .size = htole32(fuzz_u16(in) % 300),
	};

	request(w, &req, fuzz_u8(in) % sizeof(req) + 1, fuzz_u16(in) % 4096 + 1);
}

/* ---- messages ---- */

static void add_message(struct world *w, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	bool output = how & 1;
	uint32_t stream = htole32(how >> 4 & 3), len = fuzz_u16(in) % 4000;
	uint64_t at = DATA + 0x2000 + (uint64_t)fuzz_u8(in) * 4096;
	const struct qdriver_buf b[3] = {
		{ gpa(at), 4, false }, { gpa(at + 16), len, !output }, { gpa(at + 4080), 8, true }
	};
	const struct qdriver_buf none[2] = { b[0], b[2] };

	qmem_write(w->h.mem, gpa(at), &stream, sizeof(stream));
	add(w, output ? VIRTIO_SND_VQ_TX : VIRTIO_SND_VQ_RX, len ? b : none, len ? 3 : 2,
	    how & 2);
}

static void add_event_buffer(struct world *w, struct fuzz_in *in)
{
	const struct qdriver_buf b = { gpa(DATA + 0x1800 + fuzz_u8(in) * 8u), 8, true };

	add(w, VIRTIO_SND_VQ_EVENT, &b, 1, true);
}

/* Messages may wait for the clock, but not longer than a RELEASE. */
static void release_all(struct world *w)
{
	for (uint32_t i = 0; i < N_STREAMS; i++) {
		struct virtio_snd_pcm_hdr req = { .hdr.code = htole32(VIRTIO_SND_R_PCM_RELEASE),
						  .stream_id = htole32(i) };

		request(w, &req, sizeof(req), 4);
	}
	qassert(w->scribbled || w->broken || w->out[VIRTIO_SND_VQ_CONTROL] ||
		(!w->out[VIRTIO_SND_VQ_TX] && !w->out[VIRTIO_SND_VQ_RX]));
}

static void scribble(struct world *w, struct fuzz_in *in)
{
	uint8_t bytes[16];
	uint64_t at = VDH_RAM_GPA + fuzz_u16(in) % (N_QUEUES * RING_BYTES);

	fuzz_bytes(in, bytes, sizeof(bytes));
	qmem_write(w->h.mem, gpa(at), bytes, sizeof(bytes));
	w->scribbled = true;
}

static void step(struct world *w, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 16) {
	case 0:
		add_chain(w, in);
		break;
	case 1: case 2: case 3: case 4:
		add_request(w, in);
		break;
	case 5:
		add_query(w, in);
		break;
	case 6: case 7: case 8: case 9:
		add_message(w, in);
		break;
	case 10:
		add_event_buffer(w, in);
		break;
	case 11: case 12:
		vdh_advance(&w->h, fuzz_u16(in) * 2000ull);
		break;
	case 13:
		live(w, fuzz_u8(in));
		break;
	case 14:
		scribble(w, in);
		break;
	default:
		release_all(w);
		break;
	}
	rest(w);
	take_all(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	static struct world w;
	uint8_t how = fuzz_u8(&in);
	char status[512];

	memset(&w, 0, sizeof(w));
	vdh_init(&w.h);
	vdh_arg(&w.h, "hostdev", "null", 0);
	vdh_arg(&w.h, "streams", "2:1", 0);
	if (how & 8)
		qassert(!vdh_create(&w.h, "virtio-snd", VD_MEM, VDD_MMIO, 1));
	else
		qassert(!vdh_create(&w.h, "virtio-snd", VD_PCI, 0, 0));
	vdd_init(&w.d, &w.h);
	vdh_advance(&w.h, 1);
	live(&w, how);
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&w, &in);
	release_all(&w);
	w.h.v->ops->status(w.h.v, status, sizeof(status));
	vdh_fini(&w.h);
	for (unsigned i = 0; i < N_QUEUES; i++)
		qdriver_fini(&w.q[i]);
	return 0;
}
