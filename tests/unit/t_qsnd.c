/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qsnd.h: formats and rates, every control request good and bad with its answer, the state
 * machine walked through all its states, and events.
 */
#include "lib/qsnd.h"

#include <endian.h>
#include <errno.h>

#include "tests/unit/fixture.h"

#define OK VIRTIO_SND_S_OK
#define BAD VIRTIO_SND_S_BAD_MSG
#define NOT_SUPP VIRTIO_SND_S_NOT_SUPP

/* Stream 0 plays, with limits; stream 1 records. */
static struct qsnd_dev device(void)
{
	struct qsnd_dev d = { 0 };

	ck_assert_int_eq(qsnd_dev_add(&d, &(struct qsnd_stream_desc){
		.direction = VIRTIO_SND_D_OUTPUT, .channels_min = 1, .channels_max = 4, .nid = 0,
		.features = QSND_FEATURES,
		.formats = QSND_BIT(VIRTIO_SND_PCM_FMT_S16) | QSND_BIT(VIRTIO_SND_PCM_FMT_S24),
		.rates = QSND_BIT(VIRTIO_SND_PCM_RATE_44100) |
			 QSND_BIT(VIRTIO_SND_PCM_RATE_48000),
		.period_bytes_min = 64, .period_bytes_max = 8192, .buffer_bytes_max = 32768 }), 0);
	ck_assert_int_eq(qsnd_dev_add(&d, &(struct qsnd_stream_desc){
		.direction = VIRTIO_SND_D_INPUT, .channels_min = 2, .channels_max = 2, .nid = 0,
		.formats = QSND_FORMATS, .rates = QSND_RATES }), 1);
	return d;
}

/* ---- words ---- */

static const struct { const char *text; bool ok; uint64_t want; } format_rows[] = {
	{ "s16", true, QSND_BIT(VIRTIO_SND_PCM_FMT_S16) },
	{ "s16,f32", true, QSND_BIT(VIRTIO_SND_PCM_FMT_S16) | QSND_BIT(VIRTIO_SND_PCM_FMT_FLOAT) },
	{ "s24,s32,s24", true,
	  QSND_BIT(VIRTIO_SND_PCM_FMT_S24) | QSND_BIT(VIRTIO_SND_PCM_FMT_S32) },
	{ "all", true, QSND_FORMATS },
	{ "", false }, { "s16,", false }, { ",s16", false }, { "s8", false }, { "S16", false },
	{ "s16 f32", false }, { "s1", false }, { "s160", false }, { "all,s16", false },
};

START_TEST(format_row)
{
	uint64_t mask = 7;

	ck_assert_int_eq(qsnd_formats_parse(format_rows[_i].text, &mask), format_rows[_i].ok);
	ck_assert_uint_eq(mask, format_rows[_i].ok ? format_rows[_i].want : 7);
}
END_TEST

static const struct { const char *text; bool ok; uint64_t want; } rate_rows[] = {
	{ "48000", true, QSND_BIT(VIRTIO_SND_PCM_RATE_48000) },
	{ "5512,384000", true,
	  QSND_BIT(VIRTIO_SND_PCM_RATE_5512) | QSND_BIT(VIRTIO_SND_PCM_RATE_384000) },
	{ "all", true, 0x3fff },
	{ "", false }, { "0", false }, { "48001", false }, { "48000,", false }, { "48k", false },
	{ "4294967296", false }, { "4295015296", false }, { "+48000", false },
};

START_TEST(rate_row)
{
	uint64_t mask = 7;

	ck_assert_int_eq(qsnd_rates_parse(rate_rows[_i].text, &mask), rate_rows[_i].ok);
	ck_assert_uint_eq(mask, rate_rows[_i].ok ? rate_rows[_i].want : 7);
}
END_TEST

/* Every number a guest can name: served and named alike, or not at all. */
START_TEST(numbers)
{
	for (unsigned i = 0; i < 256; i++) {
		bool served = i < 64 && (QSND_FORMATS & QSND_BIT(i));
		uint64_t mask = 0;

		ck_assert_int_eq(qsnd_sample_bytes((uint8_t)i) != 0, served);
		ck_assert_int_eq(qsnd_format_str((uint8_t)i) != NULL, served);
		ck_assert_int_eq(qsnd_rate_hz((uint8_t)i) != 0, i < 14);
		if (served) {
			ck_assert(qsnd_formats_parse(qsnd_format_str((uint8_t)i), &mask));
			ck_assert_uint_eq(mask, QSND_BIT(i));
		}
	}
}
END_TEST

/* ---- the device ---- */

START_TEST(builder)
{
	struct qsnd_dev d = device();
	struct virtio_snd_config c;

	qsnd_dev_config(&d, &c);
	ck_assert_uint_eq(le32toh(c.streams), 2);
	ck_assert_uint_eq(le32toh(c.jacks), 2);
	ck_assert_uint_eq(le32toh(c.chmaps), 4);	/* out of 1, 2, 4; in of 2 */
	ck_assert_uint_eq(d.chmaps[0].positions[0], VIRTIO_SND_CHMAP_MONO);
	ck_assert_uint_eq(d.chmaps[2].positions[3], VIRTIO_SND_CHMAP_RR);
	ck_assert_uint_eq(d.chmaps[3].direction, VIRTIO_SND_D_INPUT);
	for (unsigned i = 2; i < QSND_ITEMS_MAX; i++)
		ck_assert_int_eq(qsnd_dev_add(&d, &d.streams[0]), (int)i);
	ck_assert_int_eq(qsnd_dev_add(&d, &d.streams[0]), -ENOSPC);
	ck_assert_uint_eq(d.n_chmaps, 4);	/* one nid: the maps are there already */
}
END_TEST

START_TEST(chmaps_end)
{
	struct qsnd_dev d = { 0 };

	for (unsigned i = 0; i < QSND_ITEMS_MAX; i++) {
		struct qsnd_stream_desc s = { .channels_min = 1, .channels_max = 8, .nid = i };

		ck_assert_int_eq(qsnd_dev_add(&d, &s), (int)i);
	}
	ck_assert_uint_eq(d.n_chmaps, QSND_ITEMS_MAX);
}
END_TEST

START_TEST(positions)
{
	for (unsigned n = 1; n <= QSND_CHANNELS_MAX; n++) {
		uint8_t pos[QSND_CHANNELS_MAX];
		uint64_t seen = 0;

		qsnd_positions(n, pos);
		for (unsigned i = 0; i < n; i++) {
			ck_assert_uint_gt(pos[i], VIRTIO_SND_CHMAP_NA);
			ck_assert_msg(!(seen & QSND_BIT(pos[i])), "twice of %u channels", n);
			seen |= QSND_BIT(pos[i]);
		}
		for (unsigned i = n; i < QSND_CHANNELS_MAX; i++)
			ck_assert_uint_eq(pos[i], VIRTIO_SND_CHMAP_NONE);
	}
}
END_TEST

/* ---- queries ---- */

#define JACK sizeof(struct virtio_snd_jack_info)
#define PCM sizeof(struct virtio_snd_pcm_info)
#define MAP sizeof(struct virtio_snd_chmap_info)

static const struct {
	const char *what;
	uint32_t code, start, count, size;
	uint64_t resp_bytes;
	uint32_t want;
} query_rows[] = {
	{ "jacks", VIRTIO_SND_R_JACK_INFO, 0, 2, JACK, 4 + 2 * JACK, OK },
	{ "streams", VIRTIO_SND_R_PCM_INFO, 0, 2, PCM, 4 + 2 * PCM, OK },
	{ "maps", VIRTIO_SND_R_CHMAP_INFO, 0, 4, MAP, 4 + 4 * MAP, OK },
	{ "the last one", VIRTIO_SND_R_CHMAP_INFO, 3, 1, MAP, 4 + MAP, OK },
	{ "none", VIRTIO_SND_R_PCM_INFO, 0, 0, PCM, 4, OK },
	{ "none behind the last", VIRTIO_SND_R_PCM_INFO, 2, 0, PCM, 4, OK },
	{ "an older driver's size", VIRTIO_SND_R_PCM_INFO, 0, 2, 8, 20, OK },
	{ "a newer driver's size", VIRTIO_SND_R_PCM_INFO, 0, 2, 64, 132, OK },
	{ "more room than needed", VIRTIO_SND_R_PCM_INFO, 0, 1, PCM, 4096, OK },
	{ "one too many", VIRTIO_SND_R_PCM_INFO, 0, 3, PCM, 4096, BAD },
	{ "one too far", VIRTIO_SND_R_PCM_INFO, 2, 1, PCM, 4096, BAD },
	{ "start wraps", VIRTIO_SND_R_PCM_INFO, UINT32_MAX, 2, PCM, 4096, BAD },
	{ "count wraps", VIRTIO_SND_R_PCM_INFO, 1, UINT32_MAX, PCM, 4096, BAD },
	{ "no size", VIRTIO_SND_R_PCM_INFO, 0, 1, 0, 4096, BAD },
	{ "too small for any item", VIRTIO_SND_R_PCM_INFO, 0, 1, 3, 4096, BAD },
	{ "a size that no item has", VIRTIO_SND_R_PCM_INFO, 0, 1, 257, 4096, BAD },
	{ "product wraps", VIRTIO_SND_R_PCM_INFO, 0, 2, 0x80000000u, 4096, BAD },
	{ "a byte short", VIRTIO_SND_R_PCM_INFO, 0, 2, PCM, 3 + 2 * PCM, BAD },
	{ "no room for a status", VIRTIO_SND_R_PCM_INFO, 0, 0, PCM, 3, BAD },
	{ "an unknown query", VIRTIO_SND_R_CHMAP_INFO + 1, 0, 0, PCM, 4, NOT_SUPP },
	{ "control elements", 0x300, 0, 0, PCM, 4, NOT_SUPP },
	{ "no code", 0, 0, 0, 0, 4, NOT_SUPP },
};

START_TEST(query_row)
{
	struct virtio_snd_query_info w = {
		.hdr.code = htole32(query_rows[_i].code), .start_id = htole32(query_rows[_i].start),
		.count = htole32(query_rows[_i].count), .size = htole32(query_rows[_i].size),
	};
	struct qsnd_dev d = device();
	static uint8_t buf[QSND_RESP_BYTES_MAX + 1];
	uint32_t status, code;
	struct qsnd_req req;
	size_t len;

	memset(buf, 0x77, sizeof(buf));
	status = qsnd_ctl_parse(&d, &w, sizeof(w), query_rows[_i].resp_bytes, &req);
	ck_assert_msg(status == query_rows[_i].want, "%s: %#x", query_rows[_i].what, status);
	len = qsnd_ctl_answer(&d, &req, status, buf);
	memcpy(&code, buf, sizeof(code));
	ck_assert_uint_eq(le32toh(code), status);
	ck_assert_uint_eq(len, status == OK ? 4 + query_rows[_i].count * query_rows[_i].size : 4);
	ck_assert_uint_eq(buf[len], 0x77);
	/* A byte less than the structure is no request, whatever it asks. */
	if (query_rows[_i].want == OK)
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, sizeof(w) - 1,
						 query_rows[_i].resp_bytes, &req), BAD);
}
END_TEST

START_TEST(query_content)
{
	struct virtio_snd_query_info w = { .hdr.code = htole32(VIRTIO_SND_R_PCM_INFO),
					   .count = htole32(2), .size = htole32(64) };
	struct qsnd_dev d = device();
	static uint8_t buf[QSND_RESP_BYTES_MAX];
	struct virtio_snd_pcm_info info;
	struct virtio_snd_jack_info jack;
	struct virtio_snd_chmap_info map;
	struct qsnd_req req;

	ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, sizeof(w), 4096, &req), OK);
	memset(buf, 0x77, sizeof(buf));
	qsnd_ctl_answer(&d, &req, OK, buf);
	memcpy(&info, buf + 4 + 64, sizeof(info));
	ck_assert_uint_eq(info.direction, VIRTIO_SND_D_INPUT);
	ck_assert_uint_eq(info.channels_min, 2);
	ck_assert_uint_eq(le64toh(info.rates), QSND_RATES);
	ck_assert_uint_eq(le64toh(info.formats), QSND_FORMATS);
	for (size_t i = sizeof(info); i < 64; i++)
		ck_assert_uint_eq(buf[4 + i], 0);

	w.hdr.code = htole32(VIRTIO_SND_R_JACK_INFO);
	d.jacks[1].connected = false;
	ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, sizeof(w), 4096, &req), OK);
	qsnd_ctl_answer(&d, &req, OK, buf);
	memcpy(&jack, buf + 4, sizeof(jack));
	ck_assert_uint_eq(jack.connected, 1);
	ck_assert_uint_eq(le32toh(jack.features), 0);
	memcpy(&jack, buf + 4 + 64, sizeof(jack));
	ck_assert_uint_eq(jack.connected, 0);

	w.hdr.code = htole32(VIRTIO_SND_R_CHMAP_INFO);
	w.start_id = htole32(1);
	ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, sizeof(w), 4096, &req), OK);
	qsnd_ctl_answer(&d, &req, OK, buf);
	memcpy(&map, buf + 4, sizeof(map));
	ck_assert_uint_eq(map.channels, 2);
	ck_assert_uint_eq(map.positions[1], VIRTIO_SND_CHMAP_FR);
}
END_TEST

/* ---- requests to streams and jacks ---- */

static const struct {
	const char *what;
	uint32_t stream, buffer, period, features;
	uint8_t channels, format, rate;
	uint32_t want;
} params_rows[] = {
	{ "as usual", 0, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000, OK },
	{ "all features", 0, 16384, 4096, QSND_FEATURES, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, OK },
	{ "one period", 0, 4096, 4096, 0, 4, VIRTIO_SND_PCM_FMT_S24, VIRTIO_SND_PCM_RATE_44100,
	  OK },
	{ "the smallest period", 0, 64, 64, 0, 1, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, OK },
	{ "no limits", 1, 0xfffffff8u, 0xfffffff8u, 0, 2, VIRTIO_SND_PCM_FMT_FLOAT,
	  VIRTIO_SND_PCM_RATE_384000, OK },
	{ "no such stream", 2, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, BAD },
	{ "shared memory", 0, 16384, 4096, 1, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "an unknown feature", 0, 16384, 4096, 1u << 31, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "a feature of other streams", 1, 16384, 4096, 1u << VIRTIO_SND_PCM_F_EVT_XRUNS, 2,
	  VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "no channels", 0, 16384, 4096, 0, 0, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000,
	  NOT_SUPP },
	{ "too many channels", 0, 16384, 4096, 0, 5, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "too few channels", 1, 16384, 4096, 0, 1, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "a format of other streams", 0, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S32,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "a format that nobody serves", 1, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_A_LAW,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "format 255", 1, 16384, 4096, 0, 2, 255, VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "a rate of other streams", 0, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_8000, NOT_SUPP },
	{ "rate 14", 1, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16, 14, NOT_SUPP },
	{ "rate 255", 1, 16384, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16, 255, NOT_SUPP },
	{ "no period", 0, 16384, 0, 0, 2, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000, BAD },
	{ "no buffer", 0, 0, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000, BAD },
	{ "nothing divides", 0, 10000, 4096, 0, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, BAD },
	{ "period larger than the buffer", 0, 4096, 8192, 0, 2, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, BAD },
	{ "half a frame", 0, 8196, 4098, 0, 2, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000,
	  BAD },
	{ "period too small", 0, 120, 60, 0, 1, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000,
	  NOT_SUPP },
	{ "period too large", 0, 8196, 8196, 0, 1, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
	{ "buffer too large", 0, 36864, 4096, 0, 1, VIRTIO_SND_PCM_FMT_S16,
	  VIRTIO_SND_PCM_RATE_48000, NOT_SUPP },
};

START_TEST(params_row)
{
	struct virtio_snd_pcm_set_params w = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS),
		.hdr.stream_id = htole32(params_rows[_i].stream),
		.buffer_bytes = htole32(params_rows[_i].buffer),
		.period_bytes = htole32(params_rows[_i].period),
		.features = htole32(params_rows[_i].features),
		.channels = params_rows[_i].channels, .format = params_rows[_i].format,
		.rate = params_rows[_i].rate,
	};
	struct qsnd_dev d = device();
	struct qsnd_req req;
	uint32_t status = qsnd_ctl_parse(&d, &w, sizeof(w), 4, &req);

	ck_assert_msg(status == params_rows[_i].want, "%s: %#x", params_rows[_i].what, status);
	for (size_t len = 0; len < sizeof(w); len++)
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, len, 4, &req), BAD);
	if (status != OK)
		return;
	ck_assert_uint_eq(qsnd_ctl_parse(&d, &w, sizeof(w), 4, &req), OK);
	ck_assert_uint_eq(req.id, params_rows[_i].stream);
	ck_assert_uint_eq(req.params.rate_hz, qsnd_rate_hz(params_rows[_i].rate));
	ck_assert_uint_eq(req.params.frame_bytes,
			  params_rows[_i].channels * qsnd_sample_bytes(params_rows[_i].format));
	ck_assert_uint_eq(req.params.period_bytes, params_rows[_i].period);
}
END_TEST

START_TEST(short_requests)
{
	struct virtio_snd_jack_remap remap = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_JACK_REMAP), .hdr.jack_id = htole32(1) };
	struct virtio_snd_pcm_hdr pcm = { .stream_id = htole32(1) };
	struct qsnd_dev d = device();
	struct qsnd_req req;

	ck_assert_uint_eq(qsnd_ctl_parse(&d, &remap, sizeof(remap), 4, &req), NOT_SUPP);
	ck_assert_uint_eq(qsnd_ctl_parse(&d, &remap, sizeof(remap) - 1, 4, &req), BAD);
	remap.hdr.jack_id = htole32(2);
	ck_assert_uint_eq(qsnd_ctl_parse(&d, &remap, sizeof(remap), 4, &req), BAD);
	for (uint32_t c = VIRTIO_SND_R_PCM_PREPARE; c <= VIRTIO_SND_R_PCM_STOP; c++) {
		pcm.hdr.code = htole32(c);
		pcm.stream_id = htole32(1);
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &pcm, sizeof(pcm), 4, &req), OK);
		ck_assert_uint_eq(req.code, c);
		ck_assert_uint_eq(req.id, 1);
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &pcm, sizeof(pcm) - 1, 4, &req), BAD);
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &pcm, sizeof(pcm), 3, &req), BAD);
		pcm.stream_id = htole32(2);
		ck_assert_uint_eq(qsnd_ctl_parse(&d, &pcm, sizeof(pcm), 4, &req), BAD);
	}
}
END_TEST

/* ---- the state machine ---- */

#define N_REQS 5u
#define REQ(i) (VIRTIO_SND_R_PCM_SET_PARAMS + (i))
#define SETP VIRTIO_SND_R_PCM_SET_PARAMS
#define PREP VIRTIO_SND_R_PCM_PREPARE
#define REL VIRTIO_SND_R_PCM_RELEASE
#define START VIRTIO_SND_R_PCM_START
#define STOP VIRTIO_SND_R_PCM_STOP

static uint32_t ask(struct qsnd_pcm *p, uint32_t code, bool *flush)
{
	struct qsnd_req req = { .code = code, .params.period_bytes = 7 };

	return qsnd_pcm_request(p, &req, flush);
}

/* What leads from start into each state. */
static void lead_to(struct qsnd_pcm *p, enum qsnd_state s)
{
	static const uint32_t way[] = { SETP, PREP, START, STOP };
	bool flush;

	qsnd_pcm_reset(p);
	for (unsigned i = 0; i < (unsigned)s; i++)
		ck_assert_uint_eq(ask(p, way[i], &flush), OK);
	ck_assert_int_eq(p->state, s);
}

static const struct move { enum qsnd_state from; uint32_t code; int to; bool flush; } moves[] = {
	{ QSND_IDLE, SETP, QSND_SET }, { QSND_IDLE, REL, QSND_IDLE },
	{ QSND_SET, SETP, QSND_SET }, { QSND_SET, PREP, QSND_PREPARED },
	{ QSND_SET, REL, QSND_SET },
	{ QSND_PREPARED, SETP, QSND_SET, true }, { QSND_PREPARED, PREP, QSND_PREPARED },
	{ QSND_PREPARED, START, QSND_RUNNING }, { QSND_PREPARED, REL, QSND_SET, true },
	{ QSND_RUNNING, STOP, QSND_STOPPED }, { QSND_RUNNING, REL, QSND_SET, true },
	{ QSND_STOPPED, START, QSND_RUNNING }, { QSND_STOPPED, REL, QSND_SET, true },
};

/* The move of @r in @s, NULL: there is none. */
static const struct move *move_of(unsigned s, unsigned r)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(moves); i++)
		if (moves[i].from == s && moves[i].code == REQ(r))
			return &moves[i];
	return NULL;
}

START_TEST(every_move)
{
	unsigned s = (unsigned)_i / N_REQS, r = (unsigned)_i % N_REQS;
	const struct move *m = move_of(s, r);
	struct qsnd_pcm p = { 0 };
	bool flush = false;

	lead_to(&p, (enum qsnd_state)s);
	ck_assert_uint_eq(ask(&p, REQ(r), &flush), m ? OK : BAD);
	ck_assert_int_eq((int)p.state, m ? m->to : (int)s);
	ck_assert_int_eq(flush, m && m->flush);
	ck_assert_str_ne(qsnd_state_str((enum qsnd_state)s), "unknown");
	ck_assert_str_eq(qsnd_state_str(QSND_STATES), "unknown");
}
END_TEST

/* A refused SET_PARAMS must not change what the running stream counts with. */
START_TEST(params_stay)
{
	struct qsnd_pcm p = { 0 };
	bool flush;

	lead_to(&p, QSND_RUNNING);
	p.params.period_bytes = 5;
	ck_assert_uint_eq(ask(&p, SETP, &flush), BAD);
	ck_assert_uint_eq(p.params.period_bytes, 5);
	qsnd_pcm_fail(&p);
	ck_assert_int_eq(p.state, QSND_SET);
	ck_assert(!qsnd_pcm_takes(&p));
}
END_TEST

/* ---- events ---- */

static void expect(struct qsnd_events *e, const struct qsnd_dev *d, uint32_t code, uint32_t data)
{
	struct virtio_snd_event ev;

	ck_assert(qsnd_events_next(e, d, &ev));
	ck_assert_uint_eq(le32toh(ev.hdr.code), code);
	ck_assert_uint_eq(le32toh(ev.data), data);
}

START_TEST(events)
{
	struct qsnd_pcm quiet = { 0 };
	struct qsnd_pcm p = { .params.features = QSND_FEATURES };
	struct qsnd_dev d = device();
	struct qsnd_events e = { 0 };
	struct virtio_snd_event ev;

	qsnd_events_xrun(&e, &quiet, 0);
	qsnd_events_period(&e, &quiet, 0);
	ck_assert(!qsnd_events_next(&e, &d, &ev));
	for (unsigned i = 0; i < 1000; i++) {
		qsnd_events_period(&e, &p, 0);
		qsnd_events_xrun(&e, &p, 1);
	}
	qsnd_events_xrun(&e, &p, 0);
	qsnd_events_jack(&e, &d, 1, true);	/* no change */
	qsnd_events_jack(&e, &d, 0, false);
	expect(&e, &d, VIRTIO_SND_EVT_JACK_DISCONNECTED, 0);
	expect(&e, &d, VIRTIO_SND_EVT_PCM_XRUN, 0);
	expect(&e, &d, VIRTIO_SND_EVT_PCM_XRUN, 1);
	expect(&e, &d, VIRTIO_SND_EVT_PCM_PERIOD_ELAPSED, 0);
	ck_assert(!qsnd_events_next(&e, &d, &ev));
	qsnd_events_jack(&e, &d, 0, true);
	expect(&e, &d, VIRTIO_SND_EVT_JACK_CONNECTED, 0);
	/* Out and in again before anybody looked: nothing has changed. */
	qsnd_events_jack(&e, &d, 0, false);
	qsnd_events_jack(&e, &d, 0, true);
	ck_assert(!qsnd_events_next(&e, &d, &ev));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qsnd");
	TCase *tc = fixture_case(s, "device");

	tcase_add_loop_test(tc, format_row, 0, Q_ARRAY_LEN(format_rows));
	tcase_add_loop_test(tc, rate_row, 0, Q_ARRAY_LEN(rate_rows));
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, builder);
	tcase_add_test(tc, chmaps_end);
	tcase_add_test(tc, positions);
	tc = fixture_case(s, "control");
	tcase_add_loop_test(tc, query_row, 0, Q_ARRAY_LEN(query_rows));
	tcase_add_test(tc, query_content);
	tcase_add_loop_test(tc, params_row, 0, Q_ARRAY_LEN(params_rows));
	tcase_add_test(tc, short_requests);
	tc = fixture_case(s, "streams");
	tcase_add_loop_test(tc, every_move, 0, QSND_STATES * N_REQS);
	tcase_add_test(tc, params_stay);
	tcase_add_test(tc, events);
	return fixture_main(s);
}
