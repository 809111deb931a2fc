/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_snd: a card with a device of its own, in virtual time, on both transports and both
 * kinds of ring: when messages are completed and with what; gaps; every odd order of requests; a
 * device that refuses, and one that goes away.
 */
#include <endian.h>
#include <errno.h>

#include "tests/unit/sndworld.h"

#define OK VIRTIO_SND_S_OK
#define BAD VIRTIO_SND_S_BAD_MSG
#define IO_ERR VIRTIO_SND_S_IO_ERR
#define PREPARE VIRTIO_SND_R_PCM_PREPARE
#define RELEASE VIRTIO_SND_R_PCM_RELEASE
#define START VIRTIO_SND_R_PCM_START
#define STOP VIRTIO_SND_R_PCM_STOP
#define XRUN VIRTIO_SND_EVT_PCM_XRUN
#define PERIOD VIRTIO_SND_EVT_PCM_PERIOD_ELAPSED
#define F_XRUNS (1u << VIRTIO_SND_PCM_F_EVT_XRUNS)
#define F_PERIODS (1u << VIRTIO_SND_PCM_F_EVT_SHMEM_PERIODS)
#define F_POLLING (1u << VIRTIO_SND_PCM_F_MSG_POLLING)
#define FRAMES 480u		/* 10 ms */
#define BYTES (FRAMES * 4)
#define OUT true
#define IN false

static const unsigned ways[] = {
	0, SW_MMIO, SW_PACKED, SW_MMIO | SW_PACKED | SW_INDIRECT, SW_INDIRECT | SW_EVENT_IDX,
	SW_PACKED | SW_INDIRECT | SW_EVENT_IDX,
};

static void open_fake(struct sw *w, unsigned flags)
{
	sw_init(w, flags | SW_FAKE);
	sw_open(w, flags | SW_FAKE);
}

/* ---- playing ---- */

/* Every message at its time, not a moment earlier, and what is heard is what was sent. */
START_TEST(play)
{
	static struct sw w;
	uint32_t status, latency, len;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, 0);
	for (unsigned i = 0; i < 4; i++)
		sw_msg(&w, OUT, i, 0, BYTES, (uint8_t)(50 * i), true);
	vdh_advance(&w.h, 100 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);	/* prepared is not running */
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	for (int i = 0; i < 4; i++) {
		vdh_advance(&w.h, 10 * SW_MS - 1000);
		ck_assert_int_eq(sw_done(&w, OUT, &status, &latency, &len), -1);
		vdh_advance(&w.h, 1000);
		ck_assert_int_eq(sw_done(&w, OUT, &status, &latency, &len), i);
		ck_assert_uint_eq(status, OK);
		ck_assert_uint_eq(len, 8);
		ck_assert_uint_eq(latency, 0);
	}
	ck_assert_uint_eq(w.fakes[0].heard_bytes, 4 * BYTES);
	for (unsigned i = 0; i < 4 * BYTES; i++)
		ck_assert_uint_eq(w.fakes[0].heard[i],
				  (uint8_t)(50 * (i / BYTES) + i % BYTES));
	ck_assert_uint_ge(vdh_msis(&w.h, 3) + vdh_edges(&w.h, 0), 1);
	ck_assert(sw_says(&w, "messages0=4 xruns0=0"));
	sw_fini(&w);
}
END_TEST

/* The device holds 2 ms: a message is over when it was heard, not when it was copied. */
START_TEST(play_into_delay)
{
	static struct sw w;
	uint32_t status, latency, len;

	open_fake(&w, 0);
	w.fakes[0].delay_frames = 96;
	sw_prepare(&w, 0, FRAMES, 0);
	sw_msg(&w, OUT, 0, 0, BYTES, 0, true);
	sw_msg(&w, OUT, 1, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	ck_assert_uint_eq(w.fakes[0].heard_bytes, 96 * 4);
	vdh_advance(&w.h, 9 * SW_MS);
	ck_assert_int_eq(sw_done(&w, OUT, &status, &latency, &len), -1);
	vdh_advance(&w.h, 1 * SW_MS);
	ck_assert_int_eq(sw_done(&w, OUT, &status, &latency, &len), 0);
	ck_assert_uint_eq(latency, 96 * 4);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_int_eq(sw_done(&w, OUT, &status, &latency, &len), 1);
	ck_assert_uint_eq(latency, 0);
	sw_fini(&w);
}
END_TEST

/* A driver that never kicks: the queue is looked at all the same. */
START_TEST(polling)
{
	static struct sw w;

	open_fake(&w, 0);
	sw_prepare(&w, 0, FRAMES, F_POLLING | F_XRUNS);
	sw_event_bufs(&w, 4);
	sw_msg(&w, OUT, 0, 0, BYTES, 0, false);
	sw_msg(&w, OUT, 1, 0, BYTES, 0, false);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	for (unsigned i = 0; i < 100; i++) {
		vdh_advance(&w.h, 10 * SW_MS);
		ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
		sw_msg(&w, OUT, i % SW_MSGS, 0, BYTES, 0, false);
	}
	ck_assert_uint_eq(w.fakes[0].gap_frames, 0);
	ck_assert(sw_says(&w, "xruns0=0"));
	sw_fini(&w);
}
END_TEST

/* Messages of odd lengths, of none, and one that is as long as ten periods. */
START_TEST(odd_lengths)
{
	static const uint32_t lens[] = { 4, 0, 7, 1, 4000, 0, 8000 };
	static struct sw w;
	uint32_t sum = 0;
	unsigned n = 0;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, 0);
	for (unsigned i = 0; i < Q_ARRAY_LEN(lens); i++) {
		sw_msg(&w, OUT, i, 0, lens[i], 0, true);
		sum += lens[i];
	}
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	n += sw_done_all(&w, OUT, OK);
	ck_assert_uint_le(n, 0);
	vdh_advance(&w.h, 200 * SW_MS);
	n += sw_done_all(&w, OUT, OK);
	ck_assert_uint_eq(n, Q_ARRAY_LEN(lens));
	ck_assert_uint_eq(w.fakes[0].heard_bytes, sum);
	sw_fini(&w);
}
END_TEST

/* ---- recording ---- */

START_TEST(record)
{
	uint32_t status, latency, len;
	static uint8_t got[BYTES];
	static struct sw w;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 1, FRAMES, 0);
	for (unsigned i = 0; i < 3; i++)
		sw_msg(&w, IN, i, 1, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	for (int i = 0; i < 2; i++) {
		vdh_advance(&w.h, 10 * SW_MS - 1000);
		ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), -1);
		vdh_advance(&w.h, 1000);
		ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), i);
		ck_assert_uint_eq(status, OK);
		ck_assert_uint_eq(len, BYTES + 8);
		sw_recorded(&w, (unsigned)i, got, BYTES);
		for (unsigned k = 0; k < BYTES; k++)
			ck_assert_uint_eq(got[k], (uint8_t)((unsigned)i * BYTES + k + 1));
	}
	/* The end of the stream: what was recorded comes with the length that it has. */
	vdh_advance(&w.h, 5 * SW_MS);
	ck_assert_uint_eq(sw_pcm(&w, STOP, 1), OK);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), -1);
	ck_assert_uint_eq(sw_pcm(&w, RELEASE, 1), OK);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), 2);
	ck_assert_uint_eq(status, OK);
	ck_assert_uint_eq(len, BYTES / 2 + 8);
	sw_fini(&w);
}
END_TEST

/* A card that nobody hears records silence. */
START_TEST(record_null)
{
	uint32_t status, latency, len;
	static uint8_t got[BYTES];
	static struct sw w;

	sw_init(&w, 0);
	sw_open(&w, 0);
	sw_prepare(&w, 1, FRAMES, 0);
	sw_msg(&w, IN, 0, 1, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), 0);
	sw_recorded(&w, 0, got, BYTES);
	for (unsigned k = 0; k < BYTES; k++)
		ck_assert_uint_eq(got[k], 0);
	sw_fini(&w);
}
END_TEST

/* ---- gaps ---- */

static void expect_event(struct sw *w, uint32_t code, uint32_t data)
{
	uint32_t got_code, got_data;

	ck_assert(sw_event(w, &got_code, &got_data));
	ck_assert_uint_eq(got_code, code);
	ck_assert_uint_eq(got_data, data);
}

static void expect_quiet(struct sw *w)
{
	uint32_t code, data;

	ck_assert(!sw_event(w, &code, &data));
}

/* Late by 3 ms: heard as a gap of that length, told when the data come. */
START_TEST(late)
{
	static struct sw w;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, F_XRUNS);
	sw_event_bufs(&w, 4);
	sw_msg(&w, OUT, 0, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 13 * SW_MS);
	expect_quiet(&w);
	sw_msg(&w, OUT, 1, 0, BYTES, 0, true);
	expect_event(&w, XRUN, 0);
	ck_assert_uint_eq(w.fakes[0].gap_frames, 3 * 48);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	vdh_advance(&w.h, 10 * SW_MS - 1000);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);
	vdh_advance(&w.h, 1000);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	expect_quiet(&w);
	ck_assert(sw_says(&w, "xruns0=1"));
	sw_fini(&w);
}
END_TEST

/* The end of a stream is no underrun; a stream that goes on without data is one, once. */
START_TEST(end_of_stream)
{
	static struct sw w;

	open_fake(&w, 0);
	sw_prepare(&w, 0, FRAMES, F_XRUNS);
	sw_event_bufs(&w, 4);
	sw_msg(&w, OUT, 0, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 12 * SW_MS);
	ck_assert_uint_eq(sw_pcm(&w, STOP, 0), OK);
	vdh_advance(&w.h, 1000 * SW_MS);
	expect_quiet(&w);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 100 * SW_MS);
	expect_event(&w, XRUN, 0);
	vdh_advance(&w.h, 1000 * SW_MS);
	expect_quiet(&w);
	ck_assert(sw_says(&w, "xruns0=1"));
	sw_fini(&w);
}
END_TEST

START_TEST(overrun)
{
	uint32_t status, latency, len;
	static uint8_t got[BYTES];
	static struct sw w;

	sw_init(&w, SW_FAKE);
	sw_open(&w, SW_FAKE);
	sw_prepare(&w, 1, FRAMES, F_XRUNS);
	sw_event_bufs(&w, 4);
	sw_msg(&w, IN, 0, 1, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	vdh_advance(&w.h, 15 * SW_MS);
	sw_msg(&w, IN, 1, 1, BYTES, 0, true);
	expect_event(&w, XRUN, 1);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), 0);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), 1);
	ck_assert_uint_eq(w.fakes[1].gap_frames, 5 * 48);
	sw_recorded(&w, 1, got, BYTES);
	ck_assert_uint_eq(got[0], (uint8_t)(BYTES + 1));
	sw_fini(&w);
}
END_TEST

START_TEST(period_events)
{
	static struct sw w;
	uint32_t code, data;
	unsigned n = 0;

	open_fake(&w, 0);
	sw_prepare(&w, 0, FRAMES, F_PERIODS);
	sw_event_bufs(&w, 16);
	for (unsigned i = 0; i < 8; i++)
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	for (unsigned i = 0; i < 8; i++) {
		vdh_advance(&w.h, 10 * SW_MS);
		while (sw_event(&w, &code, &data)) {
			ck_assert_uint_eq(code, PERIOD);
			n++;
		}
		ck_assert_uint_eq(n, i + 1);
	}
	sw_fini(&w);
}
END_TEST

/* Without buffers events wait, one of a kind; buffers that come later get them. */
START_TEST(events_wait)
{
	static struct sw w;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, F_PERIODS | F_XRUNS);
	for (unsigned i = 0; i < 8; i++)
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 200 * SW_MS);
	expect_quiet(&w);
	sw_event_bufs(&w, 1);
	expect_event(&w, XRUN, 0);
	expect_quiet(&w);
	sw_event_bufs(&w, 3);
	expect_event(&w, PERIOD, 0);
	expect_quiet(&w);
	sw_fini(&w);
}
END_TEST

/* ---- orders of requests ---- */

/* Releasing from each state: messages first, then the answer. */
START_TEST(release)
{
	static const uint32_t way[] = { PREPARE, START, STOP };
	static struct sw w;

	open_fake(&w, ways[(unsigned)_i % Q_ARRAY_LEN(ways)]);
	ck_assert_uint_eq(sw_pcm(&w, RELEASE, 0), OK);
	ck_assert_uint_eq(sw_params(&w, 0, FRAMES, 0), OK);
	for (unsigned k = 0; k < Q_ARRAY_LEN(way); k++) {
		sw_prepare(&w, 0, FRAMES, 0);
		for (unsigned i = 1; i <= k; i++)
			ck_assert_uint_eq(sw_pcm(&w, way[i], 0), OK);
		for (unsigned i = 0; i < 4; i++)	/* the last two are only in the queue */
			sw_msg(&w, OUT, i, 0, BYTES, 0, i < 2);
		ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);
		ck_assert_uint_eq(sw_pcm(&w, RELEASE, 0), OK);
		ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 4);
		vdh_advance(&w.h, 100 * SW_MS);
		ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);
		ck_assert(!w.fakes[0].begun);
	}
	/* Released: what comes now is refused at once. */
	sw_msg(&w, OUT, 9, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_done_all(&w, OUT, IO_ERR), 1);
	sw_fini(&w);
}
END_TEST

/* SET_PARAMS and PREPARE again and again (sox): nothing is begun twice without an end. */
START_TEST(again_and_again)
{
	static struct sw w;

	open_fake(&w, 0);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(sw_params(&w, 0, FRAMES * (i + 1) / 4, 0), OK);
		ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
		if (i % 3 == 0)
			ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
	}
	/* With messages waiting a PREPARE keeps them, a SET_PARAMS gives them back. */
	sw_msg(&w, OUT, 0, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);
	ck_assert_uint_eq(sw_params(&w, 0, FRAMES, 0), OK);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), BAD);
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
	sw_msg(&w, OUT, 1, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), BAD);
	ck_assert_uint_eq(sw_params(&w, 0, FRAMES, 0), BAD);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	sw_fini(&w);
}
END_TEST

/* STOP keeps what was not heard; START goes on with it. */
START_TEST(stop_and_go)
{
	static struct sw w;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, F_XRUNS);
	sw_event_bufs(&w, 4);
	for (unsigned i = 0; i < 3; i++)
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 15 * SW_MS);
	ck_assert_uint_eq(sw_pcm(&w, STOP, 0), OK);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	vdh_advance(&w.h, 5000 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 0);
	ck_assert_uint_eq(w.fakes[0].heard_bytes, 15 * 48 * 4);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 5 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	ck_assert_uint_eq(w.fakes[0].gap_frames, 0);
	expect_quiet(&w);
	sw_fini(&w);
}
END_TEST

/* A reset in the midst of it all: nothing comes back, and all begins anew. */
START_TEST(reset)
{
	static struct sw w;

	open_fake(&w, ways[_i]);
	sw_prepare(&w, 0, FRAMES, F_XRUNS);
	sw_prepare(&w, 1, FRAMES, 0);
	for (unsigned i = 0; i < 12; i++) {
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
		sw_msg(&w, IN, i, 1, BYTES, 0, true);
	}
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	vdh_advance(&w.h, 15 * SW_MS);
	vdd_set_status(&w.d, 0);
	vdh_advance(&w.h, 1000 * SW_MS);
	ck_assert_uint_eq(vdd_status(&w.d), 0);
	ck_assert(!w.fakes[0].begun && !w.fakes[1].begun);
	sw_live(&w, ways[_i]);
	ck_assert(sw_says(&w, "stream0=idle"));
	ck_assert_uint_eq(sw_pcm(&w, START, 0), BAD);
	sw_prepare(&w, 0, FRAMES, 0);
	for (unsigned k = 0; k < 10; k++) {	/* as many slots as ever */
		for (unsigned i = 0; i < 12; i++)
			sw_msg(&w, OUT, i, 0, BYTES, 0, true);
		if (!k)
			ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
		vdh_advance(&w.h, 120 * SW_MS);
		ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 12);
	}
	sw_fini(&w);
}
END_TEST

/* ---- the device's troubles ---- */

START_TEST(refused)
{
	static struct sw w;

	open_fake(&w, 0);
	ck_assert_uint_eq(sw_params(&w, 0, FRAMES, 0), OK);
	w.fakes[0].begin_err = -EBUSY;
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), IO_ERR);
	ck_assert(sw_says(&w, "stream0=set"));
	sw_msg(&w, OUT, 0, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_done_all(&w, OUT, IO_ERR), 1);
	w.fakes[0].begin_err = 0;
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
	sw_fini(&w);
}
END_TEST

/* What the device says of @jack when it is asked. */
static bool plugged(struct sw *w, uint32_t jack)
{
	const struct virtio_snd_query_info q = {
		.hdr.code = htole32(VIRTIO_SND_R_JACK_INFO), .start_id = htole32(jack),
		.count = htole32(1), .size = htole32(sizeof(struct virtio_snd_jack_info)),
	};
	struct virtio_snd_jack_info info;

	ck_assert_uint_eq(sw_ctl(w, &q, sizeof(q), 4 + sizeof(info)), OK);
	memcpy(&info, w->resp + 4, sizeof(info));
	return info.connected;
}

/* It goes away in each of its functions: the guest's clock goes on, and it comes back. */
START_TEST(gone)
{
	static struct sw w;

	open_fake(&w, 0);
	sw_event_bufs(&w, 8);
	sw_prepare(&w, 0, FRAMES, 0);
	for (unsigned i = 0; i < 8; i++)
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
	if (_i == 0)
		w.fakes[0].run_err = -ENODEV;
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 1);
	w.fakes[0].room_err = _i == 1 ? -ENODEV : 0;
	w.fakes[0].write_err = _i == 2 ? -EIO : 0;
	vdh_advance(&w.h, 60 * SW_MS);
	ck_assert_uint_ge(sw_done_all(&w, OUT, OK), 5);
	expect_event(&w, VIRTIO_SND_EVT_JACK_DISCONNECTED, 0);
	ck_assert(sw_says(&w, "lost0=1"));
	ck_assert_ptr_nonnull(strstr(w.h.logged, "ev=sound_lost"));
	ck_assert(!plugged(&w, 0) && plugged(&w, 1));
	ck_assert_uint_eq(sw_pcm(&w, STOP, 0), OK);
	ck_assert_uint_eq(sw_pcm(&w, RELEASE, 0), OK);
	sw_done_all(&w, OUT, OK);
	/* Looked for while it is not there yet, then found, and heard. */
	w.fakes[0].begin_err = -ENODEV;
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), IO_ERR);
	ck_assert(!plugged(&w, 0));
	w.fakes[0].run_err = w.fakes[0].room_err = w.fakes[0].write_err = w.fakes[0].begin_err = 0;
	ck_assert_uint_eq(sw_pcm(&w, PREPARE, 0), OK);
	expect_event(&w, VIRTIO_SND_EVT_JACK_CONNECTED, 0);
	ck_assert(plugged(&w, 0));
	const uint32_t before = w.fakes[0].heard_bytes;
	for (unsigned i = 0; i < 3; i++)
		sw_msg(&w, OUT, i, 0, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 0), OK);
	vdh_advance(&w.h, 30 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, OUT, OK), 3);
	ck_assert_uint_eq(w.fakes[0].heard_bytes - before, 3 * BYTES);
	expect_quiet(&w);
	sw_fini(&w);
}
END_TEST

/* The same of what records: silence at the same pace, and after the next PREPARE sound again. */
START_TEST(gone_while_recording)
{
	uint32_t status, latency, len;
	static uint8_t got[BYTES];
	static struct sw w;

	open_fake(&w, 0);
	sw_event_bufs(&w, 8);
	sw_prepare(&w, 1, FRAMES, 0);
	for (unsigned i = 0; i < 4; i++)
		sw_msg(&w, IN, i, 1, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_uint_eq(sw_done_all(&w, IN, OK), 1);
	w.fakes[1].room_err = -ENODEV;
	vdh_advance(&w.h, 40 * SW_MS);
	for (int i = 1; i < 4; i++)
		ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), i);
	ck_assert_uint_eq(status, OK);
	ck_assert_uint_eq(len, BYTES + 8);
	sw_recorded(&w, 3, got, BYTES);
	for (unsigned k = 0; k < BYTES; k++)
		ck_assert_uint_eq(got[k], 0);
	expect_event(&w, VIRTIO_SND_EVT_JACK_DISCONNECTED, 1);
	ck_assert(plugged(&w, 0) && !plugged(&w, 1));
	ck_assert_uint_eq(sw_pcm(&w, RELEASE, 1), OK);
	w.fakes[1].room_err = 0;
	w.fakes[1].next = 0;
	sw_prepare(&w, 1, FRAMES, 0);
	expect_event(&w, VIRTIO_SND_EVT_JACK_CONNECTED, 1);
	sw_msg(&w, IN, 0, 1, BYTES, 0, true);
	ck_assert_uint_eq(sw_pcm(&w, START, 1), OK);
	vdh_advance(&w.h, 10 * SW_MS);
	ck_assert_int_eq(sw_done(&w, IN, &status, &latency, &len), 0);
	sw_recorded(&w, 0, got, BYTES);
	for (unsigned k = 0; k < BYTES; k++)
		ck_assert_uint_eq(got[k], (uint8_t)(k + 1));
	sw_fini(&w);
}
END_TEST

/* ---- what the device says of itself ---- */

START_TEST(described)
{
	struct virtio_snd_query_info q = { .hdr.code = htole32(VIRTIO_SND_R_PCM_INFO),
					   .count = htole32(2),
					   .size = htole32(sizeof(struct virtio_snd_pcm_info)) };
	struct virtio_snd_pcm_info info;
	static struct sw w;

	open_fake(&w, ways[_i]);
	ck_assert_uint_eq(vdd_config(&w.d, 0, 4), 2);
	ck_assert_uint_eq(vdd_config(&w.d, 4, 4), 2);
	ck_assert_uint_eq(vdd_config(&w.d, 8, 4), 2);
	ck_assert_uint_eq(sw_ctl(&w, &q, sizeof(q), 4 + 2 * sizeof(info)), OK);
	ck_assert_uint_eq(w.resp_bytes, 4 + 2 * sizeof(info));
	memcpy(&info, w.resp + 4, sizeof(info));
	/* What the options allow and the device can do. */
	ck_assert_uint_eq(le64toh(info.rates), QSND_BIT(VIRTIO_SND_PCM_RATE_48000));
	ck_assert_uint_eq(info.channels_min, 2);
	ck_assert_uint_eq(info.channels_max, 2);
	ck_assert_uint_eq(info.direction, VIRTIO_SND_D_OUTPUT);
	memcpy(&info, w.resp + 4 + sizeof(info), sizeof(info));
	ck_assert_uint_eq(info.direction, VIRTIO_SND_D_INPUT);
	ck_assert_uint_eq(le32toh(info.hdr.hda_fn_nid), 0);	/* one PCM of two directions */
	ck_assert_uint_eq(sw_ctl(&w, &q, sizeof(q), 4), BAD);
	sw_fini(&w);
}
END_TEST

/* A jack a stream, line out and line in, and a map for each number of channels. */
START_TEST(jacks_and_maps)
{
	const struct virtio_snd_query_info of_jacks = {
		.hdr.code = htole32(VIRTIO_SND_R_JACK_INFO), .count = htole32(2),
		.size = htole32(sizeof(struct virtio_snd_jack_info)),
	};
	const struct virtio_snd_query_info of_maps = {
		.hdr.code = htole32(VIRTIO_SND_R_CHMAP_INFO), .count = htole32(2),
		.size = htole32(sizeof(struct virtio_snd_chmap_info)),
	};
	const struct virtio_snd_jack_remap remap = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_JACK_REMAP), .hdr.jack_id = htole32(1),
	};
	struct virtio_snd_jack_info jacks[2];
	struct virtio_snd_chmap_info maps[2];
	static struct sw w;

	open_fake(&w, ways[_i]);
	ck_assert_uint_eq(sw_ctl(&w, &of_jacks, sizeof(of_jacks), 4 + sizeof(jacks)), OK);
	ck_assert_uint_eq(w.resp_bytes, 4 + sizeof(jacks));
	memcpy(jacks, w.resp + 4, sizeof(jacks));
	ck_assert_uint_eq(sw_ctl(&w, &of_maps, sizeof(of_maps), 4 + sizeof(maps)), OK);
	ck_assert_uint_eq(w.resp_bytes, 4 + sizeof(maps));
	memcpy(maps, w.resp + 4, sizeof(maps));
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(le32toh(jacks[i].hdr.hda_fn_nid), 0);
		ck_assert_uint_eq(jacks[i].connected, 1);
		/* The default device of HDA's pin configuration: 0 is line out, 8 line in. */
		ck_assert_uint_eq(le32toh(jacks[i].hda_reg_defconf) >> 20 & 0xf, i ? 8 : 0);
		ck_assert_uint_eq(le32toh(maps[i].hdr.hda_fn_nid), 0);
		ck_assert_uint_eq(maps[i].direction,
				  i ? VIRTIO_SND_D_INPUT : VIRTIO_SND_D_OUTPUT);
		ck_assert_uint_eq(maps[i].channels, 2);
		ck_assert_uint_eq(maps[i].positions[0], VIRTIO_SND_CHMAP_FL);
		ck_assert_uint_eq(maps[i].positions[1], VIRTIO_SND_CHMAP_FR);
	}
	ck_assert_uint_eq(sw_ctl(&w, &remap, sizeof(remap), 4), VIRTIO_SND_S_NOT_SUPP);
	sw_fini(&w);
}
END_TEST

START_TEST(limits)
{
	static struct sw w;

	sw_init(&w, 0);
	vdh_arg(&w.h, "streams", "1:0", 0);
	vdh_arg(&w.h, "fragment", "1024:4096", 0);
	vdh_arg(&w.h, "buffer", "8K", 8192);
	sw_open(&w, 0);
	ck_assert_uint_eq(sw_params(&w, 0, 255, 0), VIRTIO_SND_S_NOT_SUPP);
	ck_assert_uint_eq(sw_params(&w, 0, 256, 0), OK);
	ck_assert_uint_eq(sw_params(&w, 0, 512, 0), OK);
	ck_assert_uint_eq(sw_params(&w, 0, 513, 0), VIRTIO_SND_S_NOT_SUPP);
	ck_assert_uint_eq(sw_params(&w, 1, 512, 0), BAD);
	sw_fini(&w);
}
END_TEST

/* Formats that the host has not: the VM does not start. */
START_TEST(nothing_in_common)
{
	static struct sw w;

	sw_init(&w, SW_FAKE);
	vdh_arg(&w.h, "rates", "8000", 0);
	ck_assert_int_eq(vdh_create(&w.h, "virtio-snd", VD_PCI, 0, 0), -EINVAL);
	sw_fini(&w);
}
END_TEST

int main(void)
{
	const int n_ways = Q_ARRAY_LEN(ways);
	Suite *s = suite_create("virtio_snd");
	TCase *tc = fixture_case(s, "streams");

	tcase_add_loop_test(tc, play, 0, n_ways);
	tcase_add_test(tc, play_into_delay);
	tcase_add_test(tc, polling);
	tcase_add_loop_test(tc, odd_lengths, 0, n_ways);
	tcase_add_loop_test(tc, record, 0, n_ways);
	tcase_add_test(tc, record_null);
	tcase_add_loop_test(tc, late, 0, n_ways);
	tcase_add_test(tc, end_of_stream);
	tcase_add_test(tc, overrun);
	tcase_add_test(tc, period_events);
	tcase_add_loop_test(tc, events_wait, 0, n_ways);
	tc = fixture_case(s, "requests");
	tcase_add_loop_test(tc, release, 0, n_ways);
	tcase_add_test(tc, again_and_again);
	tcase_add_loop_test(tc, stop_and_go, 0, n_ways);
	tcase_add_loop_test(tc, reset, 0, n_ways);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, gone, 0, 3);
	tcase_add_test(tc, gone_while_recording);
	tc = fixture_case(s, "device");
	tcase_add_loop_test(tc, described, 0, n_ways);
	tcase_add_loop_test(tc, jacks_and_maps, 0, n_ways);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, nothing_in_common);
	return fixture_main(s);
}
