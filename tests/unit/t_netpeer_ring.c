/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/netpeer_ring.c and netpeer_msg.c: frames through memory that two share, a hostile other side,
 * two threads at once, and the message with which two qvm begin.
 */
#include <pthread.h>

#include "qvm/netpeer_msg.h"
#include "qvm/netpeer_ring.h"
#include "tests/unit/fixture.h"

static struct np_ctl ctl;
static uint8_t data[NP_RING_BYTES];
static struct np_ring w, r;

static void both_init(uint32_t at)
{
	memset(&ctl, 0, sizeof(ctl));
	np_ring_init(&w, &ctl, data);
	np_ring_init(&r, &ctl, data);
	/* As if so many bytes had gone through before. */
	w.pos = w.seen = r.pos = r.seen = at;
	atomic_store(&ctl.head, at);
	atomic_store(&ctl.tail, at);
}

static uint8_t byte_of(uint32_t seq, uint32_t i)
{
	return (uint8_t)(seq * 31 + i * 7 + (i >> 8));
}

static enum np_ring_verdict put(uint32_t seq, uint32_t len)
{
	static uint8_t buf[70000];
	struct iovec iov[3] = {
		{ buf, len / 3 }, { buf + len / 3, 1 }, { buf + len / 3 + 1, len - len / 3 - 1 },
	};

	for (uint32_t i = 0; i < len; i++)
		buf[i] = byte_of(seq, i);
	return np_ring_put(&w, iov, 3, len);
}

static void got(uint32_t seq, uint32_t len)
{
	static uint8_t buf[70000];
	uint32_t n = 0, i = 0;

	ck_assert_int_eq(np_ring_get(&r, buf, sizeof(buf), &n), NP_RING_OK);
	ck_assert_uint_eq(n, len);
	while (i < len && buf[i] == byte_of(seq, i))
		i++;
	ck_assert_uint_eq(i, len);
}

static const uint32_t starts[] = { 0, NP_RING_BYTES - 8, UINT32_MAX - 7, UINT32_MAX - 65535 };
START_TEST(frames)
{
	uint32_t len[] = { 3, 12, 26, 1526, 65612, 4, 5, 60000, 60000, 60000 };

	both_init(starts[_i] & ~7u);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < Q_ARRAY_LEN(len); i++) {
			ck_assert_int_eq(put(i, len[i]), NP_RING_OK);
			if (i % 2)
				continue;
			got(i ? i - 1 : i, len[i ? i - 1 : i]);
			if (i)
				got(i, len[i]);
		}
		got(9, len[9]);
	}
	uint32_t n;
	ck_assert_int_eq(np_ring_get(&r, len, sizeof(len), &n), NP_RING_EMPTY);
}
END_TEST

/* Full says so once, keeps what is in it, and goes on when there is room. */
START_TEST(full)
{
	unsigned n = 0;

	both_init(starts[_i] & ~7u);
	while (put(n, 1000) == NP_RING_OK)
		n++;
	ck_assert_uint_eq(n, NP_RING_BYTES / 1008);
	ck_assert_int_eq(put(n, 1000), NP_RING_FULL);
	ck_assert(!np_ring_wanted_room(&r));
	got(0, 1000);
	ck_assert(np_ring_wanted_room(&r));
	ck_assert(!np_ring_wanted_room(&r));	/* rung once */
	ck_assert_int_eq(put(n, 1000), NP_RING_OK);
	for (unsigned i = 1; i <= n; i++)
		got(i, 1000);
	ck_assert(!np_ring_wanted_room(&r));	/* nobody waits now */
}
END_TEST

START_TEST(bells)
{
	both_init(0);
	ck_assert(!np_ring_listen(&r));
	ck_assert(!np_ring_wanted_data(&w));	/* nothing was written */
	put(0, 100);
	ck_assert(np_ring_wanted_data(&w));
	put(1, 100);
	ck_assert(!np_ring_wanted_data(&w));	/* it is awake */
	ck_assert(np_ring_listen(&r));		/* and must not sleep */
	got(0, 100);
	got(1, 100);
	ck_assert(!np_ring_listen(&r));
	put(2, 100);
	put(3, 100);
	ck_assert_int_eq(np_ring_purge(&r), NP_RING_OK);
	ck_assert(!np_ring_listen(&r));
	put(4, 100);
	got(4, 100);
}
END_TEST

/* What a hostile writer may say: broken, and no byte outside is touched. */
static const struct {
	uint32_t head, len;
	enum np_ring_verdict want;
} writer_rows[] = {
	{ 0, 100, NP_RING_EMPTY },
	{ 112, 100, NP_RING_OK },
	{ 104, 100, NP_RING_OK },
	{ 96, 100, NP_RING_BROKEN },		/* the frame is longer than what is there */
	{ 8, 0, NP_RING_BROKEN },
	{ 8, 1, NP_RING_OK },
	{ 8, 5, NP_RING_BROKEN },
	{ 4, 1, NP_RING_BROKEN },		/* not aligned */
	{ 12, 1, NP_RING_BROKEN },
	{ NP_RING_BYTES, 1 << 17, NP_RING_BROKEN },	/* longer than we take */
	{ NP_RING_BYTES, UINT32_MAX, NP_RING_BROKEN },
	{ NP_RING_BYTES, UINT32_MAX - 3, NP_RING_BROKEN },
	{ NP_RING_BYTES + 8, 100, NP_RING_BROKEN },
	{ UINT32_MAX - 7, 100, NP_RING_BROKEN },	/* it runs backwards */
	{ 0x80000000u, 100, NP_RING_BROKEN },
};
START_TEST(hostile_writer)
{
	const typeof(writer_rows[0]) *row = &writer_rows[_i];
	static uint8_t buf[70000 + 16];
	uint32_t n = 77;

	both_init(0);
	memcpy(data, &row->len, 4);
	memset(buf, 0xa5, sizeof(buf));
	atomic_store(&ctl.head, row->head);
	ck_assert_int_eq(np_ring_get(&r, buf, 70000, &n), row->want);
	ck_assert_uint_eq(n, row->want == NP_RING_OK ? row->len : 77);
	ck_assert_uint_eq(buf[70000], 0xa5);
	ck_assert_uint_eq(atomic_load(&ctl.head), row->head);
}
END_TEST

/* And a hostile reader. */
static const struct {
	uint32_t tail;
	enum np_ring_verdict want;
} reader_rows[] = {
	{ 0, NP_RING_FULL }, { 1008, NP_RING_OK }, { 1, NP_RING_FULL },
	{ NP_RING_BYTES, NP_RING_BROKEN },	/* ahead of what was written */
	{ UINT32_MAX - 1000, NP_RING_BROKEN }, { 0x80000000u, NP_RING_BROKEN },
};
START_TEST(hostile_reader)
{
	both_init(0);
	while (put(0, 1000) == NP_RING_OK)
		continue;
	atomic_store(&ctl.tail, reader_rows[_i].tail);
	ck_assert_int_eq(put(0, 1000), reader_rows[_i].want);
}
END_TEST

/* ---- two threads ---- */

#define RACE_FRAMES 20000u

static uint32_t race_len(uint32_t seq)
{
	return 12 + seq * 7919 % 3000;
}

static void *race_writer(void *arg)
{
	for (uint32_t seq = 0; seq < RACE_FRAMES;) {
		if (put(seq, race_len(seq)) == NP_RING_OK)
			seq++;
		else
			sched_yield();
		np_ring_wanted_data(&w);
	}
	return NULL;
}

START_TEST(race)
{
	static uint8_t buf[70000];
	pthread_t t;
	uint32_t n;

	both_init(UINT32_MAX - 7);
	ck_assert_int_eq(pthread_create(&t, NULL, race_writer, NULL), 0);
	for (uint32_t seq = 0; seq < RACE_FRAMES;) {
		enum np_ring_verdict v = np_ring_get(&r, buf, sizeof(buf), &n);

		ck_assert_int_ne(v, NP_RING_BROKEN);
		if (v == NP_RING_EMPTY) {
			if (!np_ring_listen(&r))
				sched_yield();
			continue;
		}
		ck_assert_uint_eq(n, race_len(seq));
		ck_assert_uint_eq(buf[0], byte_of(seq, 0));
		ck_assert_uint_eq(buf[n - 1], byte_of(seq, n - 1));
		seq++;
		np_ring_wanted_room(&r);
	}
	pthread_join(t, NULL);
}
END_TEST

/* ---- the message ---- */

static const struct np_msg sound = {
	.type = NP_CALL, .from = "a/x", .to = "b/y", .features = 0x3bc3, .pairs = 2, .mtu = 1500,
	.ring_bytes = NP_RING_BYTES, .mac = { 2, 0, 0, 0, 0, 1 },
};

static const struct {
	const char *what;
	unsigned at;
	uint8_t val;
	enum np_msg_verdict want;
} msg_rows[] = {
	{ "sound", 0, 'p', NP_MSG_OK },
	{ "magic", 3, 'x', NP_MSG_STRANGE },
	{ "version", 8, 2, NP_MSG_VERSION },
	{ "type 0", 12, 0, NP_MSG_STRANGE },
	{ "type 6", 12, 6, NP_MSG_STRANGE },
	{ "type 0x101", 13, 1, NP_MSG_STRANGE },
	{ "why", 16, NP_WHYS, NP_MSG_STRANGE },
	{ "no pair", 20, 0, NP_MSG_STRANGE },
	{ "nine pairs", 20, 9, NP_MSG_STRANGE },
	{ "no name", 24, 0, NP_MSG_STRANGE },
	{ "a line break", 25, '\n', NP_MSG_STRANGE },
	{ "a quote", 25, '"', NP_MSG_STRANGE },
	{ "another name", 24, 'z', NP_MSG_OK },
};
START_TEST(messages)
{
	uint8_t buf[NP_MSG_BYTES];
	struct np_msg m = { 0 };
	uint32_t version = 0;

	np_msg_put(&sound, buf);
	buf[msg_rows[_i].at] = msg_rows[_i].val;
	enum np_msg_verdict v = np_msg_get(buf, sizeof(buf), &m, &version);
	ck_assert_msg(v == msg_rows[_i].want, "%s: %d", msg_rows[_i].what, v);
	ck_assert_uint_eq(version, v == NP_MSG_VERSION ? 2 : 0);
	if (v == NP_MSG_OK && _i == 0)
		ck_assert_int_eq(memcmp(&m, &sound, sizeof(m)), 0);
}
END_TEST

START_TEST(message_lengths)
{
	uint8_t buf[NP_MSG_BYTES + 1] = { 0 };
	struct np_msg m;
	uint32_t version;

	np_msg_put(&sound, buf);
	for (size_t len = 0; len <= sizeof(buf); len++)
		ck_assert_int_eq(np_msg_get(buf, len, &m, &version),
				 len == NP_MSG_BYTES ? NP_MSG_OK : NP_MSG_STRANGE);
	memset(buf + 24, 'a', NP_NAME_BYTES);	/* a name without an end */
	ck_assert_int_eq(np_msg_get(buf, NP_MSG_BYTES, &m, &version), NP_MSG_STRANGE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("netpeer_ring");
	TCase *tc = fixture_case(s, "ring");

	tcase_add_loop_test(tc, frames, 0, Q_ARRAY_LEN(starts));
	tcase_add_loop_test(tc, full, 0, Q_ARRAY_LEN(starts));
	tcase_add_test(tc, bells);
	tcase_add_loop_test(tc, hostile_writer, 0, Q_ARRAY_LEN(writer_rows));
	tcase_add_loop_test(tc, hostile_reader, 0, Q_ARRAY_LEN(reader_rows));
	tcase_add_test(tc, race);
	tcase_add_loop_test(tc, messages, 0, Q_ARRAY_LEN(msg_rows));
	tcase_add_test(tc, message_lengths);
	return fixture_main(s);
}
