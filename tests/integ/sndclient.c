/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sndclient: a vhost-user sound client that outlives its back end. It plays a tone as a driver
 * would: parameters, PREPARE, a few messages ahead, START, one message for each that comes back,
 * STOP, RELEASE. When the back end is gone it comes to the next one with its memory and its
 * in-flight region, as qvm does, and nothing of its stream is said again.
 *
 * Prints what happened as JSON. Exit codes: 0 all well, 1 the device refused something, 2 usage, 3
 * no back end.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_snd.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "tests/integ/vuconn.h"

#define NUM 256u
#define N_QUEUES 4u
#define CTL 0u
#define TX 2u
#define AHEAD 64u		/* messages: a third of a second, for busy machines */
#define FRAMES 240u		/* a message */
#define BYTES (FRAMES * 4)
#define QUEUE_BYTES 0x4000u
#define META_AT (256u << 10)
#define DATA_AT (512u << 10)
#define MEM_BYTES (1u << 20)
#define GIVE_UP_NS (20 * Q_NSEC_PER_SEC)

struct message {
	unsigned slot;
	bool out;
};

struct world {
	struct vuconn conn;
	char *base;
	struct message msg[AHEAD];
	double hz, level;
	uint64_t sent, done, errors, longest_ns, last_ns;
};

/* The next token of queue @i, waiting for it and over the back end's death. NULL: nothing comes. */
static void *wait_used(struct world *w, unsigned i)
{
	uint64_t until = qnow_ns() + GIVE_UP_NS;
	uint32_t written;
	void *token;

	for (;;) {
		int v = qdriver_poll(&w->conn.q[i], &token, &written);

		if (v == QDRIVER_OK)
			return token;
		if (v != QDRIVER_EMPTY || qnow_ns() > until)
			return NULL;
		switch (vuconn_wait(&w->conn, i, GIVE_UP_NS)) {
		case VUCONN_USED:
			break;
		case VUCONN_GONE:
			if (!vuconn_connect(&w->conn))
				return NULL;
			break;
		default:
			return NULL;
		}
	}
}

/* ---- the stream ---- */

/* A control request: its status, UINT32_MAX when none comes. */
static uint32_t ask(struct world *w, const void *req, uint32_t len)
{
	struct virtio_snd_hdr *resp = (void *)(w->base + META_AT + 128);
	struct qdriver_buf bufs[] = { { gpa(META_AT), len, false },
				      { gpa(META_AT + 128), sizeof(*resp), true } };

	memcpy(w->base + META_AT, req, len);
	resp->code = UINT32_MAX;
	qassert(qdriver_add(&w->conn.q[CTL], bufs, 2, resp) == QDRIVER_OK);
	qdriver_publish(&w->conn.q[CTL]);
	qfd_event_signal(w->conn.kick_fd[CTL]);
	if (!wait_used(w, CTL))
		return UINT32_MAX;
	return le32toh(resp->code);
}

static bool ask_pcm(struct world *w, uint32_t code)
{
	struct virtio_snd_pcm_hdr h = { .hdr.code = htole32(code) };
	uint32_t status = ask(w, &h, sizeof(h));

	if (status == VIRTIO_SND_S_OK)
		return true;
	fprintf(stderr, "sndclient: request %#x: status %#x\n", code, status);
	w->errors++;
	return false;
}

static bool set_params(struct world *w)
{
	struct virtio_snd_pcm_set_params p = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS),
		.buffer_bytes = htole32(AHEAD * BYTES), .period_bytes = htole32(BYTES),
		.channels = 2, .format = VIRTIO_SND_PCM_FMT_S16, .rate = VIRTIO_SND_PCM_RATE_48000,
	};

	if (ask(w, &p, sizeof(p)) == VIRTIO_SND_S_OK)
		return true;
	w->errors++;
	return false;
}

static void fill(struct world *w, unsigned slot)
{
	int16_t *to = (int16_t *)(w->base + DATA_AT + slot * BYTES);

	for (unsigned k = 0; k < FRAMES; k++) {
		double t = (double)(w->sent * FRAMES + k) / 48000;
		int16_t v = (int16_t)lrint(w->level * 32767 * sin(2 * M_PI * w->hz * t));

		to[2 * k] = to[2 * k + 1] = (int16_t)htole16((uint16_t)v);
	}
}

static void send_one(struct world *w, struct message *m)
{
	uint64_t meta = META_AT + 1024 + m->slot * 64u;
	struct qdriver_buf bufs[] = { { gpa(meta), 4, false },
				      { gpa(DATA_AT + m->slot * BYTES), BYTES, false },
				      { gpa(meta + 32), 8, true } };

	fill(w, m->slot);
	memset(w->base + meta, 0, 64);
	m->out = true;
	w->sent++;
	qassert(qdriver_add(&w->conn.q[TX], bufs, 3, m) == QDRIVER_OK);
	qdriver_publish(&w->conn.q[TX]);
}

static bool take_one(struct world *w)
{
	struct message *m = wait_used(w, TX);
	struct virtio_snd_pcm_status st;
	uint64_t now = qnow_ns();

	if (!m)
		return false;
	memcpy(&st, w->base + META_AT + 1024 + m->slot * 64u + 32, sizeof(st));
	w->errors += le32toh(st.status) != VIRTIO_SND_S_OK;
	if (w->last_ns)
		w->longest_ns = Q_MAX(w->longest_ns, now - w->last_ns);
	w->last_ns = now;
	w->done++;
	m->out = false;
	return true;
}

static bool play(struct world *w, uint64_t n_messages)
{
	if (!set_params(w) || !ask_pcm(w, VIRTIO_SND_R_PCM_PREPARE))
		return false;
	for (unsigned i = 0; i < AHEAD && w->sent < n_messages; i++)
		send_one(w, &w->msg[i]);
	if (!ask_pcm(w, VIRTIO_SND_R_PCM_START))
		return false;
	printf("playing\n");
	(void)fflush(stdout);
	while (w->done < n_messages) {
		if (!take_one(w))
			return false;
		for (unsigned i = 0; i < AHEAD && w->sent < n_messages; i++)
			if (!w->msg[i].out)
				send_one(w, &w->msg[i]);
	}
	return ask_pcm(w, VIRTIO_SND_R_PCM_STOP) && ask_pcm(w, VIRTIO_SND_R_PCM_RELEASE);
}

static int start(struct world *w)
{
	struct qmem *mem = qmem_new();

	if (!mem || qmem_add(mem, gpa(0), MEM_BYTES, 0, "sndclient") < 0) {
		qmem_unref(mem);
		return -ENOMEM;
	}
	w->base = qmem_ptr(mem, gpa(0), MEM_BYTES, true);
	int r = vuconn_open(&w->conn, mem, QUEUE_BYTES);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < AHEAD; i++)
		w->msg[i].slot = i;
	return vuconn_connect(&w->conn) ? 0 : -ENOTCONN;
}

int main(int argc, char **argv)
{
	static struct world w = { .conn = {
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX,
		.protocol = QVHU_PF_CONFIG | QVHU_PF_REPLY_ACK | QVHU_PF_INFLIGHT | QVHU_PF_MQ,
		.n_queues = N_QUEUES, .ring = NUM, .answer_ms = 3000,
		.pause_ns = 2 * Q_NSEC_PER_MSEC, .give_up_ns = GIVE_UP_NS,
	} };

	if (argc != 5) {
		fputs("usage: sndclient SOCKET HZ LEVEL MILLISECONDS\n", stderr);
		return 2;
	}
	w.conn.path = argv[1];
	w.hz = strtod(argv[2], NULL);
	w.level = strtod(argv[3], NULL);
	if (start(&w) < 0) {
		fprintf(stderr, "sndclient: %s: no back end\n", w.conn.path);
		return 3;
	}
	bool ok = play(&w, strtoull(argv[4], NULL, 0) / 5);
	printf("{\"sent\": %llu, \"done\": %llu, \"errors\": %llu, \"reconnects\": %llu, "
	       "\"longest_us\": %llu}\n",
	       (unsigned long long)w.sent, (unsigned long long)w.done,
	       (unsigned long long)w.errors, (unsigned long long)w.conn.reconnects,
	       (unsigned long long)(w.longest_ns / 1000));
	vuconn_close(&w.conn);
	return w.errors ? 1 : ok ? 0 : 3;
}
