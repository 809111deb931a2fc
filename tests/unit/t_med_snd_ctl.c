/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue of a sound client at a real session: every request in every state, a flush
 * that has to wait for the engine, a guest that asks too much, and what the mediator after this one
 * finds in the in-flight region.
 */
#include <endian.h>
#include <linux/virtio_snd.h>

#include "mediator/snd_session_priv.h"
#include "tests/unit/fixture.h"
#include "tests/unit/sndmed.h"

#define POLICY                                                                                     \
	"[sound speaker]\n"                                                                        \
	"[voice cluster/v]\ndevice = speaker\nclass = safety\n"                                    \
	"[voice ivi/v]\ndevice = speaker\nstreams = 2\ncapture = 1\nfault-budget = 2\n"
enum { CLUSTER, IVI };
#define OK VIRTIO_SND_S_OK
#define BAD VIRTIO_SND_S_BAD_MSG

struct world {
	struct sm sm;
	struct sm_client c;
};

static void world_init(struct world *w, unsigned flags)
{
	w->c = (struct sm_client){ 0 };
	sm_open(&w->sm, POLICY);
	sm_connect(&w->sm, &w->c, IVI, flags);
}

static void world_fini(struct world *w)
{
	sm_client_fini(&w->c);
	sm_close(&w->sm);
}

static const struct snd_session *session(const struct world *w)
{
	return w->sm.sound->voices[IVI].session;
}

static uint32_t ask(struct world *w, char request, uint32_t stream)
{
	switch (request) {
	case 'a':
		return sm_params(&w->sm, &w->c, stream, VIRTIO_SND_PCM_RATE_48000, 960);
	case 'p':
		return sm_pcm(&w->sm, &w->c, VIRTIO_SND_R_PCM_PREPARE, stream);
	case 's':
		return sm_pcm(&w->sm, &w->c, VIRTIO_SND_R_PCM_START, stream);
	case 't':
		return sm_pcm(&w->sm, &w->c, VIRTIO_SND_R_PCM_STOP, stream);
	default:
		return sm_pcm(&w->sm, &w->c, VIRTIO_SND_R_PCM_RELEASE, stream);
	}
}

/* A road of requests (params, prepare, start, stoP, release), and the letters that are refused. */
static const struct { const char *road, *want; enum qsnd_state at; } road_rows[] = {
	{ "p", "-", QSND_IDLE }, { "s", "-", QSND_IDLE }, { "t", "-", QSND_IDLE },
	{ "r", "+", QSND_IDLE },
	{ "aa", "++", QSND_SET }, { "as", "+-", QSND_SET }, { "at", "+-", QSND_SET },
	{ "ar", "++", QSND_SET },
	{ "app", "+++", QSND_PREPARED }, { "apa", "+++", QSND_SET },
	{ "apt", "++-", QSND_PREPARED },
	{ "apr", "+++", QSND_SET }, { "apaps", "+++++", QSND_RUNNING },
	{ "apsa", "+++-", QSND_RUNNING }, { "apsp", "+++-", QSND_RUNNING },
	{ "apss", "+++-", QSND_RUNNING }, { "apsr", "++++", QSND_SET },
	{ "apst", "++++", QSND_STOPPED }, { "apsta", "++++-", QSND_STOPPED },
	{ "apstp", "++++-", QSND_STOPPED }, { "apstt", "++++-", QSND_STOPPED },
	{ "apsts", "+++++", QSND_RUNNING }, { "apstr", "+++++", QSND_SET },
	{ "apstraps", "++++++++", QSND_RUNNING },
};

START_TEST(road)
{
	struct world w;

	world_init(&w, 0);
	for (unsigned i = 0; road_rows[_i].road[i]; i++)
		ck_assert_msg(ask(&w, road_rows[_i].road[i], 1) ==
				      (road_rows[_i].want[i] == '+' ? OK : BAD),
			      "%s: letter %u", road_rows[_i].road, i);
	ck_assert_int_eq(session(&w)->pcm[1].state, road_rows[_i].at);
	sm_periods(&w.sm, 1);
	/* The engine has a converter exactly in the states that need one. */
	ck_assert_int_eq(session(&w)->prepared[1], road_rows[_i].at >= QSND_PREPARED);
	ck_assert_uint_eq(w.sm.sound->n_prepared, road_rows[_i].at >= QSND_PREPARED);
	ck_assert_int_eq(sm_slot(&w.sm, &w.c, 1)->running, road_rows[_i].at == QSND_RUNNING);
	world_fini(&w);
}
END_TEST

/* RELEASE is answered when every message has come back, and what is asked meanwhile waits. */
START_TEST(release_waits_for_its_flush)
{
	const struct virtio_snd_pcm_hdr release = {
		.hdr.code = htole32(VIRTIO_SND_R_PCM_RELEASE),
	};
	struct world w;

	world_init(&w, 0);
	sm_start(&w.sm, &w.c, 0);
	for (unsigned i = 0; i < 4; i++)
		sm_send_level(&w.c, 0, 1000, SM_PERIOD);
	sm_ask(&w.c, &release, sizeof(release), 64);
	sm_rest(&w.sm);
	ck_assert_uint_eq(sm_answer(&w.c), 0);
	ck_assert(session(&w)->pending.waits);
	ck_assert_uint_eq(sm_take(&w.c, true), 0);
	sm_periods(&w.sm, 1);
	ck_assert_uint_eq(sm_take(&w.c, true), 4);
	ck_assert_uint_eq(sm_answer(&w.c), OK);
	ck_assert_uint_eq(w.c.n_refused, 0);
	/* Messages of a stream that takes none are refused at once. */
	sm_send_level(&w.c, 0, 1000, SM_PERIOD);
	sm_periods(&w.sm, 1);
	ck_assert_uint_eq(sm_take(&w.c, true), 1);
	ck_assert_uint_eq(w.c.n_refused, 1);
	world_fini(&w);
}
END_TEST

/* ---- events ---- */

static const struct { uint32_t features; bool before, told; } event_rows[] = {
	{ 1u << VIRTIO_SND_PCM_F_EVT_XRUNS, true, true },
	{ 1u << VIRTIO_SND_PCM_F_EVT_XRUNS, false, true },	/* it waits for a buffer */
	{ 0, true, false },
};

/* Who is late is told of it, once a gap, where that was agreed upon. */
START_TEST(late_is_told)
{
	const struct virtio_snd_pcm_set_params set = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS), .hdr.stream_id = htole32(1),
		.buffer_bytes = htole32(4 * SM_PERIOD * 4), .period_bytes = htole32(SM_PERIOD * 4),
		.features = htole32(event_rows[_i].features), .channels = 2,
		.format = VIRTIO_SND_PCM_FMT_S16, .rate = VIRTIO_SND_PCM_RATE_48000,
	};
	uint32_t code = 0, data = 0;
	struct world w;

	world_init(&w, 0);
	if (event_rows[_i].before)
		sm_listen(&w.c);
	ck_assert_uint_eq(sm_request(&w.sm, &w.c, &set, sizeof(set)), OK);
	ck_assert_uint_eq(ask(&w, 'p', 1), OK);
	ck_assert_uint_eq(ask(&w, 's', 1), OK);
	ck_assert(sm_send_level(&w.c, 1, 1000, SM_PERIOD));
	sm_periods(&w.sm, 1);
	ck_assert(!sm_next_event(&w.c, &code, &data));
	sm_periods(&w.sm, 10);
	ck_assert_uint_eq(sm_slot(&w.sm, &w.c, 1)->stats.xruns, 1);
	if (!event_rows[_i].before) {
		sm_listen(&w.c);
		sm_rest(&w.sm);
	}
	ck_assert_int_eq(sm_next_event(&w.c, &code, &data), event_rows[_i].told);
	if (event_rows[_i].told) {
		ck_assert_uint_eq(code, VIRTIO_SND_EVT_PCM_XRUN);
		ck_assert_uint_eq(data, 1);
		sm_listen(&w.c);
	}
	sm_periods(&w.sm, 10);
	ck_assert(!sm_next_event(&w.c, &code, &data));
	world_fini(&w);
}
END_TEST

/* ---- a guest that asks too much ---- */

static unsigned answers(struct world *w)
{
	unsigned n = 0;

	while (sm_answer(&w->c))
		n++;
	return n;
}

/* Fills the queue with requests that cost something. */
static void flood(struct world *w)
{
	const struct virtio_snd_pcm_hdr start = { .hdr.code = htole32(VIRTIO_SND_R_PCM_START) };

	for (unsigned i = 0; i < SM_NUM / 2; i++)
		sm_ask(&w->c, &start, sizeof(start), 64);
}

/* It is served at a rate, then thrown out; the voice beside it never waits. */
START_TEST(flood_is_served_at_a_rate)
{
	struct sm_client cluster = { 0 };
	unsigned served = 0, periods = 0;
	struct world w;

	world_init(&w, 0);
	sm_connect(&w.sm, &cluster, CLUSTER, 0);
	sm_start(&w.sm, &cluster, 0);
	for (; w.sm.sound->voices[IVI].session && periods < 400; periods++) {
		sm_send_level(&cluster, 0, 3277, SM_PERIOD);
		for (unsigned again = 0; again < 8; again++) {
			flood(&w);
			sm_rest(&w.sm);
			served += answers(&w);
		}
		sm_periods(&w.sm, 1);
		ck_assert_uint_eq(sm_take(&cluster, true), 1);
	}
	/* 32 in 10 ms, 100 times: and no more than one window beside that. */
	ck_assert_uint_ge(periods, 190);
	ck_assert_uint_le(periods, 210);
	ck_assert_uint_le(served, 32 * (periods / 2 + 1));
	ck_assert_uint_gt(w.sm.sound->voices[IVI].throttled, 0);
	ck_assert_uint_eq(w.sm.sound->voices[IVI].faults, 1);
	ck_assert_uint_eq(sm_slot(&w.sm, &cluster, 0)->stats.gap_frames, 0);
	sm_client_fini(&cluster);
	world_fini(&w);
}
END_TEST

/* A pause of a window, and it is an ordinary guest again. */
START_TEST(busy_is_no_flood)
{
	struct world w;

	world_init(&w, 0);
	for (unsigned n = 0; n < 300; n++) {
		flood(&w);
		flood(&w);
		sm_rest(&w.sm);
		answers(&w);
		w.sm.now_ns += n % 50 == 49 ? 20 * SM_PERIOD_NS : SND_CTL_WINDOW_NS;
		sm_rest(&w.sm);
		answers(&w);
	}
	ck_assert_ptr_nonnull(session(&w));
	ck_assert_uint_eq(w.sm.sound->voices[IVI].faults, 0);
	ck_assert_uint_eq(ask(&w, 'a', 0), OK);
	world_fini(&w);
}
END_TEST

/* The budget of faults is 2: the second one is the last for a while. */
START_TEST(faults_end_in_quarantine)
{
	struct world w;

	world_init(&w, 0);
	for (unsigned n = 0; n < 2; n++) {
		uint16_t ahead = htole16((uint16_t)(w.c.q[SM_CTL].avail_idx + SM_NUM + 1));

		memcpy((char *)w.c.q[SM_CTL].avail + 2, &ahead, sizeof(ahead));
		qfd_event_signal(w.c.kick[SM_CTL]);
		ck_assert(sm_dropped(&w.sm, &w.c));
		sm_client_fini(&w.c);
		w.c = (struct sm_client){ 0 };
		sm_connect(&w.sm, &w.c, IVI, 0);
	}
	ck_assert(sm_told(&w.sm, "client_dropped", "ivi/v"));
	ck_assert(sm_told(&w.sm, "client_quarantined", "ivi/v"));
	ck_assert(sm_dropped(&w.sm, &w.c));
	ck_assert_ptr_null(session(&w));
	world_fini(&w);
}
END_TEST

/* ---- the mediator after this one ---- */

/* As a mediator that is new finds it: this one's session is gone, the region is not. */
static void come_again(struct world *w)
{
	sm_hang_up(&w->sm, &w->c);
	ck_assert_ptr_null(session(w));
	sm_connect(&w->sm, &w->c, IVI, SM_INFLIGHT);
	sm_periods(&w->sm, 2);
}

static const struct { const char *road; enum qsnd_state at; } restore_rows[] = {
	{ "", QSND_IDLE }, { "a", QSND_SET }, { "ap", QSND_PREPARED }, { "aps", QSND_RUNNING },
	{ "apst", QSND_STOPPED }, { "apstr", QSND_SET },
};

START_TEST(restored)
{
	struct world w;

	world_init(&w, SM_INFLIGHT);
	for (const char *r = restore_rows[_i].road; *r; r++)
		ck_assert_uint_eq(ask(&w, *r, 1), OK);
	/* The queue was used, or the driver is one that starts. */
	ck_assert_uint_eq(ask(&w, 'a', 0), OK);
	for (unsigned i = 0; i < 3; i++)
		sm_send_level(&w.c, 1, 3277, SM_PERIOD);
	bool takes = restore_rows[_i].at >= QSND_PREPARED;
	come_again(&w);
	ck_assert_int_eq(session(&w)->pcm[1].state, restore_rows[_i].at);
	ck_assert_int_eq(sm_slot(&w.sm, &w.c, 1)->takes, takes);
	ck_assert_int_eq(sm_slot(&w.sm, &w.c, 1)->running, restore_rows[_i].at == QSND_RUNNING);
	/* The messages, too, come again: they are played where they stood, or refused, once. */
	sm_periods(&w.sm, 4);
	unsigned back = sm_take(&w.c, true);
	ck_assert_uint_eq(back, takes && restore_rows[_i].at != QSND_RUNNING ? 0 : 3);
	ck_assert_uint_eq(w.c.n_refused, takes ? 0 : 3);
	world_fini(&w);
}
END_TEST

/* Whatever a front end writes there is a guest's request, no more: an offset and a byte. */
static const struct { unsigned at; uint8_t byte; enum qsnd_state want; } scribble_rows[] = {
	{ 0, 0, QSND_IDLE },		/* the magic */
	{ 4 + 16, QSND_STATES, QSND_IDLE }, { 4 + 16, 255, QSND_IDLE },
	{ 4 + 16 + 1, 0, QSND_IDLE }, { 4 + 16 + 1, 200, QSND_IDLE },	/* channels */
	{ 4 + 16 + 2, 99, QSND_IDLE },	/* format */
	{ 4 + 16 + 3, 99, QSND_IDLE },	/* rate */
	{ 4 + 16 + 4, 1, QSND_IDLE },	/* a buffer that its periods do not divide */
	{ 4 + 16 + 8, 1, QSND_IDLE },
	{ 4 + 16 + 15, 255, QSND_IDLE },	/* features */
	{ 4 + 32, QSND_RUNNING, QSND_RUNNING },	/* another stream's: nothing to stream 1 */
};

START_TEST(scribbled)
{
	struct world w;
	uint8_t *extra;

	world_init(&w, SM_INFLIGHT);
	ck_assert_uint_eq(ask(&w, 'a', 1), OK);
	ck_assert_uint_eq(ask(&w, 'p', 1), OK);
	ck_assert_uint_eq(ask(&w, 's', 1), OK);
	extra = qvhu_be_extra(session(&w)->be);
	ck_assert_ptr_nonnull(extra);
	extra[scribble_rows[_i].at] = scribble_rows[_i].byte;
	come_again(&w);
	ck_assert_int_eq(session(&w)->pcm[1].state, scribble_rows[_i].want);
	ck_assert_uint_eq(ask(&w, 'a', 0), OK);
	world_fini(&w);
}
END_TEST

/* A driver that starts anew finds its streams idle, whatever the one before it left. */
START_TEST(new_driver)
{
	struct world w;

	world_init(&w, SM_INFLIGHT);
	sm_start(&w.sm, &w.c, 0);
	sm_hang_up(&w.sm, &w.c);
	for (unsigned i = 0; i < SM_QUEUES; i++) {
		qdriver_fini(&w.c.q[i]);
		ck_assert(!qdriver_init(&w.c.q[i], w.c.mem, gpa(i * 0x4000ull), SM_NUM,
					QRING_EVENT_IDX, gpa(0), 0));
	}
	sm_connect(&w.sm, &w.c, IVI, SM_INFLIGHT);
	sm_periods(&w.sm, 2);
	ck_assert_int_eq(session(&w)->pcm[0].state, QSND_IDLE);
	ck_assert(!sm_slot(&w.sm, &w.c, 0)->takes);
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_ctl");
	TCase *tc = fixture_case(s, "snd_ctl");

	tcase_add_loop_test(tc, road, 0, Q_ARRAY_LEN(road_rows));
	tcase_add_test(tc, release_waits_for_its_flush);
	tcase_add_loop_test(tc, late_is_told, 0, Q_ARRAY_LEN(event_rows));
	tcase_add_test(tc, flood_is_served_at_a_rate);
	tcase_add_test(tc, busy_is_no_flood);
	tcase_add_test(tc, faults_end_in_quarantine);
	tcase_add_loop_test(tc, restored, 0, Q_ARRAY_LEN(restore_rows));
	tcase_add_loop_test(tc, scribbled, 0, Q_ARRAY_LEN(scribble_rows));
	tcase_add_test(tc, new_driver);
	return fixture_main(s);
}
