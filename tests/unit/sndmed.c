/* SPDX-License-Identifier: Apache-2.0 */
/* A sound device and its guests in one thread: see sndmed.h. */
#include "tests/unit/sndmed.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_snd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROUNDS_MAX 256u
#define QUEUE_BYTES 0x4000u
#define REQ_AT 0x10000u
#define RESP_AT 0x11000u
#define RESP_BYTES 0x2000u
#define EVENT_AT 0x14000u
#define MSG_AT 0x15000u		/* 64 bytes a message: header, and 32 behind it the status */
#define DATA_AT 0x20000u
#define PROTOCOL (QVHU_PF_MQ | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT)
#define FEATURES                                                                                   \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | QVHU_F_PROTOCOL_FEATURES)

/* ---- the loudspeaker ---- */

static struct sm_speaker *speaker_of(struct snd_dev *d)
{
	return Q_CONTAINER_OF(d, struct sm_speaker, dev);
}

static int speaker_wait(struct snd_dev *d)
{
	return 0;
}

static int speaker_write(struct snd_dev *d, const float *frames)
{
	struct sm_speaker *s = speaker_of(d);

	if (s->err < 0)
		return s->err;
	for (unsigned k = 0; k < d->cfg.period_frames && s->n_heard < SM_HEARD_MAX; k++)
		s->heard[s->n_heard++] = frames[(size_t)k * d->cfg.channels];
	s->written += d->cfg.period_frames;
	if (!s->stands)
		s->consumed = s->written;
	return 0;
}

static uint32_t speaker_delay(struct snd_dev *d)
{
	return d->cfg.periods * d->cfg.period_frames;
}

static uint64_t speaker_consumed(struct snd_dev *d)
{
	return speaker_of(d)->consumed;
}

static void speaker_close(struct snd_dev *d)
{
	speaker_of(d)->closed = true;
}

static const struct snd_dev_ops speaker_ops = {
	.name = "speaker", .wait = speaker_wait, .write = speaker_write, .delay = speaker_delay,
	.consumed = speaker_consumed, .close = speaker_close,
};

/* ---- the device ---- */

static struct med_policy *load(const char *text)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char path[64];
	int fd = memfd_create("policy", MFD_CLOEXEC);

	qassert(fd >= 0 && qfd_write_all(fd, text, strlen(text)) == 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = med_policy_load((const char *const[]){ path }, 1, &errs, &p);
	if (r < 0)
		cf_errors_print(&errs, stderr);
	qassert(r == 0);
	cf_errors_fini(&errs);
	qfd_close(&fd);
	return p;
}

static void on_event(void *ctx, const char *kind, const char *object, const char *text)
{
	struct sm *w = ctx;
	struct sm_event *e = &w->events[w->n_events++ % Q_ARRAY_LEN(w->events)];

	(void)snprintf(e->kind, sizeof(e->kind), "%s", kind);
	(void)snprintf(e->object, sizeof(e->object), "%s", object);
}

bool sm_told(const struct sm *w, const char *kind, const char *object)
{
	for (unsigned i = 0; i < Q_MIN(w->n_events, Q_ARRAY_LEN(w->events)); i++)
		if (!strcmp(w->events[i].kind, kind) && !strcmp(w->events[i].object, object))
			return true;
	return false;
}

/* A socket of no folder: the kernel finds a name for it. */
static int listen_anywhere(void)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	qassert(fd >= 0 && bind(fd, (const void *)&any, sizeof(any.sun_family)) == 0);
	qassert(listen(fd, 4) == 0);
	return fd;
}

void sm_open(struct sm *w, const char *policy)
{
	const struct med_event_sink sink = { on_event, w };
	struct cf_errors errs = CF_ERRORS_NULL;

	*w = (struct sm){ .now_ns = Q_NSEC_PER_SEC };
	w->policy = load(policy);
	qassert(snd_sound_new(&w->policy->sound, 0, true, &sink, &errs, &w->sound) == 0);
	for (size_t i = 0; i < w->policy->sound.n_voices; i++) {
		qassert(i < SM_VOICES_MAX);
		w->listen[w->n_voices++] = listen_anywhere();
		qassert(!snd_sound_add(w->sound, &w->policy->sound, i, w->listen[i]));
	}
	qassert(unmapper_start(&w->sound->unmapper) == 0 && snd_sound_set_up(w->sound) == 0);
	struct snd_engine *e = w->sound->engine;
	e->dev->ops->close(e->dev);
	w->speaker.dev = (struct snd_dev){ .ops = &speaker_ops, .cfg = e->cfg };
	w->speaker.heard = calloc(SM_HEARD_MAX, sizeof(float));
	qassert(w->speaker.heard);
	e->dev = &w->speaker.dev;
}

void sm_close(struct sm *w)
{
	for (unsigned i = 0; i < w->n_voices; i++)
		if (w->sound->voices[i].session)
			snd_session_end(w->sound->voices[i].session, "the test ends");
	sm_periods(w, 4);
	for (unsigned i = 0; i < w->n_voices; i++)
		qassert(!w->sound->voices[i].session);
	snd_sound_tear_down(w->sound);
	snd_sound_free(w->sound);
	med_policy_free(w->policy);
	free(w->speaker.heard);
}

void sm_reload(struct sm *w, const char *policy)
{
	struct med_policy *next = load(policy);

	qassert(snd_sound_change(w->sound, &next->sound) == 0);
	med_policy_free(w->policy);
	w->policy = next;
}

void sm_rest(struct sm *w)
{
	for (unsigned n = 0; n < ROUNDS_MAX; n++) {
		bool more = snd_sound_round(w->sound, w->now_ns);

		(void)loop_submit(&w->sound->loop, false);
		more |= loop_dispatch(&w->sound->loop, ROUNDS_MAX) > 0;
		if (!more)
			return;
	}
}

void sm_periods(struct sm *w, unsigned n)
{
	while (n--) {
		sm_rest(w);
		w->now_ns += SM_PERIOD_NS;
		snd_engine_wait(w->sound->engine);
		snd_engine_period(w->sound->engine, w->now_ns);
	}
	sm_rest(w);
}

const struct snd_slot *sm_slot(const struct sm *w, const struct sm_client *c, unsigned stream)
{
	return &w->sound->engine->slots[w->sound->voices[c->voice].first_slot + stream];
}

/* ---- a front end ---- */

static void say(struct sm_client *c, uint32_t req, const void *payload, uint32_t len, int fd)
{
	const struct qvhu_hdr h = { req, QVHU_VERSION, len };

	/* Who was hung up on goes on talking. */
	(void)qvhu_send(c->sock, &h, payload, &fd, fd >= 0, 0);
}

static void say_u64(struct sm_client *c, uint32_t req, uint64_t v, int fd)
{
	say(c, req, &v, sizeof(v), fd);
}

static void say_state(struct sm_client *c, uint32_t req, uint32_t i, uint32_t num)
{
	const struct qvhu_vring_state s = { i, num };

	say(c, req, &s, sizeof(s), -1);
}

static void give_queue(struct sm_client *c, unsigned i)
{
	const struct qdriver *d = &c->q[i];
	const struct qvhu_vring_addr a = { .index = i, .desc = (uintptr_t)d->desc,
					   .avail = (uintptr_t)d->avail,
					   .used = (uintptr_t)d->used };

	say_state(c, QVHU_SET_VRING_NUM, i, SM_NUM);
	say_state(c, QVHU_SET_VRING_BASE, i, 0);
	say(c, QVHU_SET_VRING_ADDR, &a, sizeof(a), -1);
	say_u64(c, QVHU_SET_VRING_CALL, i, c->call[i]);
	say_u64(c, QVHU_SET_VRING_KICK, i, c->kick[i]);
	say_state(c, QVHU_SET_VRING_ENABLE, i, 1);
}

static void keep_inflight(struct sm *w, struct sm_client *c)
{
	struct qvhu_inflight in = { c->mmap_len, c->mmap_off, SM_QUEUES, SM_NUM };
	struct qvhu_msg m;

	if (c->inflight_fd < 0) {
		say(c, QVHU_GET_INFLIGHT_FD, &in, sizeof(in), -1);
		sm_rest(w);
		qassert(qvhu_recv(c->sock, &m, 0) == QVHU_OK && m.n_fds == 1);
		qassert(qvhu_get_inflight(&m, &in));
		c->mmap_len = in.mmap_len;
		c->mmap_off = in.mmap_off;
		c->inflight_fd = m.fds[0];
	}
	say(c, QVHU_SET_INFLIGHT_FD, &in, sizeof(in), c->inflight_fd);
}

static void client_init(struct sm_client *c)
{
	c->mem = qmem_new();
	qassert(c->mem && !qmem_add(c->mem, gpa(0), SM_MEM_BYTES, 0, "guest"));
	c->base = qmem_ptr(c->mem, gpa(0), SM_MEM_BYTES, true);
	c->inflight_fd = -1;
	for (unsigned i = 0; i < SM_QUEUES; i++) {
		c->kick[i] = qfd_eventfd();
		c->call[i] = qfd_eventfd();
		qassert(c->kick[i] >= 0 && c->call[i] >= 0);
		qassert(!qdriver_init(&c->q[i], c->mem, gpa((uint64_t)i * QUEUE_BYTES), SM_NUM,
				      QRING_EVENT_IDX, gpa(0), 0));
	}
}

static int connect_to(int listen_fd)
{
	struct sockaddr_un at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	qassert(fd >= 0 && getsockname(listen_fd, (void *)&at, &len) == 0);
	qassert(connect(fd, (const void *)&at, len) == 0 && qfd_nonblock(fd, true) == 0);
	return fd;
}

void sm_connect(struct sm *w, struct sm_client *c, unsigned voice, unsigned flags)
{
	if (!c->mem)
		client_init(c);
	c->voice = voice;
	c->sock = connect_to(w->listen[voice]);
	say_u64(c, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, -1);
	say_u64(c, QVHU_SET_FEATURES, FEATURES, -1);
	const struct qmem_region *r = &c->mem->r[0];
	const uint64_t table[] = { 1, r->gpa, r->len_bytes, (uintptr_t)r->host, r->fd_off };
	say(c, QVHU_SET_MEM_TABLE, table, sizeof(table), r->fd);
	if (flags & SM_INFLIGHT)
		keep_inflight(w, c);
	for (unsigned i = 0; i < SM_QUEUES; i++)
		give_queue(c, i);
	sm_rest(w);
}

void sm_hang_up(struct sm *w, struct sm_client *c)
{
	qfd_close(&c->sock);
	sm_periods(w, 3);
}

void sm_client_fini(struct sm_client *c)
{
	qfd_close(&c->sock);
	for (unsigned i = 0; i < SM_QUEUES; i++) {
		qdriver_fini(&c->q[i]);
		qfd_close(&c->kick[i]);
		qfd_close(&c->call[i]);
	}
	qfd_close(&c->inflight_fd);
	c->mem = qmem_unref(c->mem);
}

bool sm_dropped(struct sm *w, struct sm_client *c)
{
	char byte;

	sm_periods(w, 3);
	ssize_t n = recv(c->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* ---- its driver ---- */

void sm_ask(struct sm_client *c, const void *req, uint32_t len, uint32_t room)
{
	const struct qdriver_buf b[] = { { gpa(REQ_AT), len, false },
					 { gpa(RESP_AT), Q_MIN(room, RESP_BYTES), true } };

	memcpy(c->base + REQ_AT, req, len);
	memset(c->base + RESP_AT, 0, 4);
	if (qdriver_add(&c->q[SM_CTL], b, 2, c) == QDRIVER_OK)
		qdriver_publish(&c->q[SM_CTL]);
	qfd_event_signal(c->kick[SM_CTL]);
}

uint32_t sm_answer(struct sm_client *c)
{
	uint32_t written, status = 0;
	void *token;

	if (qdriver_poll(&c->q[SM_CTL], &token, &written) == QDRIVER_OK)
		memcpy(&status, c->base + RESP_AT, sizeof(status));
	return le32toh(status);
}

uint32_t sm_request(struct sm *w, struct sm_client *c, const void *req, uint32_t len)
{
	uint32_t status = 0;

	sm_ask(c, req, len, RESP_BYTES);
	sm_rest(w);
	status = sm_answer(c);
	for (unsigned n = 0; n < 2 && !status; n++) {
		sm_periods(w, 1);
		status = sm_answer(c);
	}
	return status;
}

uint32_t sm_pcm(struct sm *w, struct sm_client *c, uint32_t code, uint32_t stream)
{
	const struct virtio_snd_pcm_hdr h = { .hdr.code = htole32(code),
					      .stream_id = htole32(stream) };

	return sm_request(w, c, &h, sizeof(h));
}

uint32_t sm_params(struct sm *w, struct sm_client *c, uint32_t stream, uint8_t rate,
		   uint32_t period_bytes)
{
	const struct virtio_snd_pcm_set_params p = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS),
		.hdr.stream_id = htole32(stream), .buffer_bytes = htole32(4 * period_bytes),
		.period_bytes = htole32(period_bytes), .channels = 2,
		.format = VIRTIO_SND_PCM_FMT_S16, .rate = rate,
	};

	return sm_request(w, c, &p, sizeof(p));
}

void sm_start(struct sm *w, struct sm_client *c, uint32_t stream)
{
	qassert(sm_params(w, c, stream, VIRTIO_SND_PCM_RATE_48000, SM_PERIOD * 4) ==
		VIRTIO_SND_S_OK);
	qassert(sm_pcm(w, c, VIRTIO_SND_R_PCM_PREPARE, stream) == VIRTIO_SND_S_OK);
	qassert(sm_pcm(w, c, VIRTIO_SND_R_PCM_START, stream) == VIRTIO_SND_S_OK);
}

void sm_listen(struct sm_client *c)
{
	const struct qdriver_buf b = { gpa(EVENT_AT), sizeof(struct virtio_snd_event), true };

	qassert(qdriver_add(&c->q[SM_EVT], &b, 1, c) == QDRIVER_OK);
	qdriver_publish(&c->q[SM_EVT]);
	qfd_event_signal(c->kick[SM_EVT]);
}

bool sm_next_event(struct sm_client *c, uint32_t *ret_code, uint32_t *ret_data)
{
	struct virtio_snd_event ev;
	uint32_t written;
	void *token;

	if (qdriver_poll(&c->q[SM_EVT], &token, &written) != QDRIVER_OK)
		return false;
	qassert(written == sizeof(ev));
	memcpy(&ev, c->base + EVENT_AT, sizeof(ev));
	*ret_code = le32toh(ev.hdr.code);
	*ret_data = le32toh(ev.data);
	return true;
}

static uint64_t data_at(bool output, unsigned slot)
{
	return DATA_AT + (uint64_t)((output ? 0 : SM_SLOTS) + slot) * SM_SLOT_BYTES;
}

/* The message of @slot, @bytes of data with it. */
static void put(struct sm_client *c, bool output, unsigned slot, uint32_t stream, uint32_t bytes)
{
	uint64_t meta = MSG_AT + ((output ? 0 : SM_SLOTS) + slot) * 64u;
	const struct qdriver_buf b[] = { { gpa(meta), 4, false },
					 { gpa(data_at(output, slot)), bytes, !output },
					 { gpa(meta + 32), 8, true } };
	struct qdriver *d = &c->q[output ? SM_TX : SM_RX];
	uint32_t w_stream = htole32(stream);

	memcpy(c->base + meta, &w_stream, sizeof(w_stream));
	memset(c->base + meta + 32, 0, 8);
	if (qdriver_add(d, b, 3, &c->out[!output][slot]) == QDRIVER_OK) {
		c->out[!output][slot] = true;
		qdriver_publish(d);
	}
}

static int free_slot(const struct sm_client *c, bool output)
{
	for (unsigned i = 0; i < SM_SLOTS; i++)
		if (!c->out[!output][i])
			return (int)i;
	return -1;
}

bool sm_send(struct sm_client *c, uint32_t stream, const int16_t *left, uint32_t n)
{
	int slot = free_slot(c, true);

	if (slot < 0)
		return false;
	qassert(n * 4 <= SM_SLOT_BYTES);
	for (uint32_t k = 0; k < n; k++) {
		const uint16_t both[2] = { htole16((uint16_t)left[k]),
					   htole16((uint16_t)-left[k]) };

		memcpy(c->base + data_at(true, (unsigned)slot) + k * 4, both, sizeof(both));
	}
	put(c, true, (unsigned)slot, stream, n * 4);
	return true;
}

bool sm_send_level(struct sm_client *c, uint32_t stream, int16_t level, uint32_t n)
{
	int16_t left[SM_SLOT_BYTES / 4];

	for (uint32_t k = 0; k < n; k++)
		left[k] = level;
	return sm_send(c, stream, left, n);
}

bool sm_offer(struct sm_client *c, uint32_t stream, uint32_t bytes)
{
	int slot = free_slot(c, false);

	if (slot >= 0)
		put(c, false, (unsigned)slot, stream, bytes);
	return slot >= 0;
}

const void *sm_offered(const struct sm_client *c, unsigned slot)
{
	return c->base + data_at(false, slot);
}

unsigned sm_take(struct sm_client *c, bool output)
{
	struct qdriver *d = &c->q[output ? SM_TX : SM_RX];
	unsigned n = 0;
	uint32_t written, status;
	void *token;

	while (qdriver_poll(d, &token, &written) == QDRIVER_OK) {
		bool *out = token;
		unsigned slot = (unsigned)(out - c->out[!output]);

		*out = false;
		memcpy(&status, c->base + MSG_AT + ((output ? 0 : SM_SLOTS) + slot) * 64u + 32, 4);
		c->n_refused += le32toh(status) != VIRTIO_SND_S_OK;
		c->n_done++;
		n++;
	}
	return n;
}
