/* SPDX-License-Identifier: Apache-2.0 */
/* The tx and rx rings of a sound client, by themselves: what comes out of them, what a driver may
 * not do, what the guest is shown. No engine, no session. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_snd.h>

#include "lib/qdriver.h"
#include "lib/qfd.h"
#include "mediator/snd_queue.h"
#include "tests/unit/fixture.h"

#define NUM 8u
#define MEM_BYTES 0x20000u
#define HDR 0x10000u
#define STATUS 0x11000u
#define DATA 0x12000u

struct world {
	struct qmem *mem;
	char *base;
	struct qdriver d;
	struct qsnd_dev dev;
	struct snd_queue *q;
	struct qbell bell;
	int call;
};

static void world_init(struct world *w, bool output)
{
	static const struct qsnd_stream_desc out = {
		.direction = VIRTIO_SND_D_OUTPUT, .channels_min = 1, .channels_max = 2,
		.formats = QSND_FORMATS, .rates = QSND_RATES,
	};
	struct qsnd_stream_desc in = out;

	*w = (struct world){ .bell = QBELL_NULL };
	in.direction = VIRTIO_SND_D_INPUT;
	qsnd_dev_add(&w->dev, &out);
	qsnd_dev_add(&w->dev, &in);
	w->mem = qmem_new();
	ck_assert(w->mem && !qmem_add(w->mem, gpa(0), MEM_BYTES, 0, "guest"));
	w->base = qmem_ptr(w->mem, gpa(0), MEM_BYTES, true);
	ck_assert(!qdriver_init(&w->d, w->mem, gpa(0), NUM, 0, gpa(0), 0));
	ck_assert_int_eq(snd_queue_new(&w->d.cfg, w->mem, NULL, output, &w->q), 0);
	ck_assert_int_eq(qbell_init(&w->bell), 0);
	w->call = w->q->call_fd = qfd_eventfd();
}

static void world_fini(struct world *w)
{
	w->q = snd_queue_free(w->q);
	qdriver_fini(&w->d);
	qbell_fini(&w->bell);
	w->mem = qmem_unref(w->mem);
}

/* A message of @len bytes (0: without data) in place @i, for @stream. */
static void put(struct world *w, unsigned i, uint32_t stream, uint32_t len, bool output)
{
	const struct qdriver_buf b[] = { { gpa(HDR + i * 16), 4, false },
					 { gpa(DATA + i * 0x1000u), len, !output },
					 { gpa(STATUS + i * 16), 8, true } };
	const struct qdriver_buf none[] = { b[0], b[2] };

	stream = htole32(stream);
	memcpy(w->base + HDR + i * 16, &stream, sizeof(stream));
	ck_assert_int_eq(qdriver_add(&w->d, len ? b : none, len ? 3 : 2, w->base + i), QDRIVER_OK);
	qdriver_publish(&w->d);
}

static uint32_t status_of(const struct world *w, unsigned i)
{
	uint32_t s;

	memcpy(&s, w->base + STATUS + i * 16, sizeof(s));
	return le32toh(s);
}

static uint64_t rung(struct world *w)
{
	uint64_t n = 0;

	qbell_flush(&w->bell);
	return read(w->call, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

START_TEST(in_the_guests_order)
{
	struct qsnd_msg *m[2];
	struct world w;
	uint32_t len;
	void *token;

	world_init(&w, true);
	ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m[0]), SND_NEXT_NONE);
	put(&w, 0, 0, 100, true);
	put(&w, 1, 0, 60, true);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m[i]), SND_NEXT_MSG);
		ck_assert_uint_eq(m[i]->data_bytes, i ? 60 : 100);
	}
	ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m[0]), SND_NEXT_NONE);
	/* Nothing is shown before it is published, and then one signal is for all. */
	snd_queue_done(w.q, m[1], VIRTIO_SND_S_OK, 7);
	ck_assert_int_eq(qdriver_poll(&w.d, &token, &len), QDRIVER_EMPTY);
	snd_queue_publish(w.q, &w.bell);
	snd_queue_publish(w.q, &w.bell);
	ck_assert_uint_eq(rung(&w), 1);
	ck_assert_int_eq(qdriver_poll(&w.d, &token, &len), QDRIVER_OK);
	ck_assert(token == w.base + 1 && len == 8);
	ck_assert_uint_eq(status_of(&w, 1), VIRTIO_SND_S_OK);
	world_fini(&w);
}
END_TEST

static const struct {
	uint32_t stream, len;
	bool output;
	enum snd_next want;
} message_rows[] = {
	{ 0, 64, true, SND_NEXT_MSG },
	{ 1, 64, false, SND_NEXT_MSG },
	{ 0, 0, true, SND_NEXT_MSG },
	{ 1, 64, true, SND_NEXT_REFUSE },	/* a stream of the other direction */
	{ 0, 64, false, SND_NEXT_REFUSE },
	{ 2, 64, true, SND_NEXT_REFUSE },	/* none at all */
	{ UINT32_MAX, 64, false, SND_NEXT_REFUSE },
};

START_TEST(message)
{
	struct qsnd_msg *m;
	struct world w;
	uint32_t len;
	void *token;

	world_init(&w, message_rows[_i].output);
	put(&w, 0, message_rows[_i].stream, message_rows[_i].len, message_rows[_i].output);
	ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m), message_rows[_i].want);
	snd_queue_done(w.q, m, VIRTIO_SND_S_IO_ERR, 0);
	snd_queue_publish(w.q, &w.bell);
	ck_assert_int_eq(qdriver_poll(&w.d, &token, &len), QDRIVER_OK);
	ck_assert_uint_eq(status_of(&w, 0), VIRTIO_SND_S_IO_ERR);
	world_fini(&w);
}
END_TEST

/* ---- what a driver may not do ---- */

static void write_ring(struct world *w, const void *part, size_t off, uint16_t v)
{
	v = htole16(v);
	memcpy((char *)(uintptr_t)part + off, &v, sizeof(v));
}

static void runs_ahead(struct world *w)
{
	write_ring(w, w->d.avail, 2, NUM + 1);
}

static void no_such_head(struct world *w)
{
	put(w, 0, 0, 64, true);
	write_ring(w, w->d.avail, 4, NUM);
}

/* The head of a message that has not come back. */
static void same_again(struct world *w)
{
	struct qsnd_msg *m;

	put(w, 0, 0, 64, true);
	ck_assert_int_eq(snd_queue_next(w->q, &w->dev, &m), SND_NEXT_MSG);
	write_ring(w, w->d.avail, 6, m->head);
	write_ring(w, w->d.avail, 2, 2);
}

static void in_a_circle(struct world *w)
{
	put(w, 0, 0, 64, true);
	for (unsigned i = 0; i < 3; i++) {
		write_ring(w, w->d.desc, i * 16 + 12, 1);
		write_ring(w, w->d.desc, i * 16 + 14, 0);
	}
}

static void nowhere(struct world *w)
{
	put(w, 0, 0, 64, true);
	write_ring(w, w->d.desc, 16 + 6, 0x7fff);
}

static void no_header(struct world *w)
{
	const struct qdriver_buf b = { gpa(STATUS), 8, true };

	ck_assert_int_eq(qdriver_add(&w->d, &b, 1, w), QDRIVER_OK);
	qdriver_publish(&w->d);
}

static void no_status(struct world *w)
{
	const struct qdriver_buf b = { gpa(HDR), 40, false };

	ck_assert_int_eq(qdriver_add(&w->d, &b, 1, w), QDRIVER_OK);
	qdriver_publish(&w->d);
}

static void short_status(struct world *w)
{
	const struct qdriver_buf b[] = { { gpa(HDR), 4, false }, { gpa(STATUS), 7, true } };

	ck_assert_int_eq(qdriver_add(&w->d, b, 2, w), QDRIVER_OK);
	qdriver_publish(&w->d);
}

static void (*const fault_rows[])(struct world *w) = {
	runs_ahead, no_such_head, same_again, in_a_circle, nowhere, no_header, no_status,
	short_status,
};

START_TEST(fault)
{
	struct qsnd_msg *m;
	struct world w;

	world_init(&w, true);
	fault_rows[_i](&w);
	ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m), SND_NEXT_FAULT);
	world_fini(&w);
}
END_TEST

START_TEST(ring_outside_memory)
{
	struct snd_queue *q;
	struct world w;

	world_init(&w, true);
	struct qring_cfg cfg = w.d.cfg;
	cfg.used = gpa(MEM_BYTES - 8);
	ck_assert_int_eq(snd_queue_new(&cfg, w.mem, NULL, true, &q), -EINVAL);
	world_fini(&w);
}
END_TEST

/* As often around as the ring's numbers go, every message comes back once. */
START_TEST(around_and_around)
{
	struct qsnd_msg *m;
	struct world w;
	uint32_t len;
	void *token;

	world_init(&w, true);
	for (unsigned n = 0; n < 70000; n++) {
		put(&w, n % 2, 0, 64, true);
		ck_assert_int_eq(snd_queue_next(w.q, &w.dev, &m), SND_NEXT_MSG);
		snd_queue_done(w.q, m, VIRTIO_SND_S_OK, 0);
		snd_queue_publish(w.q, &w.bell);
		ck_assert_int_eq(qdriver_poll(&w.d, &token, &len), QDRIVER_OK);
		ck_assert(token == w.base + n % 2);
	}
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_queue");
	TCase *tc = fixture_case(s, "snd_queue");

	tcase_add_test(tc, in_the_guests_order);
	tcase_add_loop_test(tc, message, 0, Q_ARRAY_LEN(message_rows));
	tcase_add_loop_test(tc, fault, 0, Q_ARRAY_LEN(fault_rows));
	tcase_add_test(tc, ring_outside_memory);
	tcase_add_test(tc, around_and_around);
	return fixture_main(s);
}
