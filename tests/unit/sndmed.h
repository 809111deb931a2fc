/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device of the mediator whose threads and clocks the test is: rounds of the sessions and
 * periods of the engine happen when the test says so. Its loudspeaker keeps what it hears. Guests
 * are vhost-user clients, each a front end and a driver in this thread: no byte takes another way
 * than a guest's would.
 *
 * One thread, beside the one that takes down the memory of clients that are gone. A period is 240
 * frames at 48 kHz, stereo.
 */
#pragma once

#include "lib/qdriver.h"
#include "lib/qfd.h"
#include "lib/qvhu.h"
#include "mediator/policy.h"
#include "mediator/snd_session.h"

#define SM_PERIOD 240u
#define SM_PERIOD_NS (5 * Q_NSEC_PER_MSEC)
#define SM_VOICES_MAX 16u
#define SM_HEARD_MAX (1u << 20)	/* samples that are kept */
#define SM_NUM 32u		/* entries of a ring */
#define SM_SLOTS 16u		/* messages of each data queue */
#define SM_SLOT_BYTES 0x4000u
#define SM_MEM_BYTES (1u << 20)
#define SM_INFLIGHT 1u		/* flags of sm_connect() */

enum { SM_CTL, SM_EVT, SM_TX, SM_RX, SM_QUEUES };

struct sm_client {
	unsigned voice;
	int sock;
	struct qmem *mem;
	char *base;			/* of its memory, which begins at guest address 0 */
	struct qdriver q[SM_QUEUES];
	int kick[SM_QUEUES], call[SM_QUEUES];
	bool out[2][SM_SLOTS];		/* tx, rx */
	int inflight_fd;
	uint64_t mmap_len, mmap_off;
	uint64_t n_done, n_refused;	/* messages that came back */
};

/* The loudspeaker, and what goes wrong with it. */
struct sm_speaker {
	struct snd_dev dev;
	float *heard;			/* left channel */
	size_t n_heard, written;	/* frames; what does not fit is counted only */
	uint64_t consumed;
	bool stands;			/* takes all, and plays nothing */
	int err;			/* of the next write */
	bool closed;
};

struct sm_event {
	char kind[32], object[64];
};

struct sm {
	struct med_policy *policy;
	struct snd_sound *sound;
	struct sm_speaker speaker;
	int listen[SM_VOICES_MAX];	/* borrowed */
	unsigned n_voices;
	uint64_t now_ns;
	struct sm_event events[64];	/* the last ones */
	unsigned n_events;
};

/* A sound device by the text of a policy, its [sound NAME] section first. */
void sm_open(struct sm *w, const char *policy);
void sm_close(struct sm *w);
/* Another policy, as a reload has it; it is in force after the next round. */
void sm_reload(struct sm *w, const char *policy);
/* The sessions' thread: rounds until there is nothing more to do. */
void sm_rest(struct sm *w);
/* A round of the sessions and a period of the engine, @n times. */
void sm_periods(struct sm *w, unsigned n);
bool sm_told(const struct sm *w, const char *kind, const char *object);
const struct snd_slot *sm_slot(const struct sm *w, const struct sm_client *c, unsigned stream);

/* @voice: its place in the policy. With SM_INFLIGHT in @flags the back end's region is kept, and
 * given to the next back end when @c was connected before. */
void sm_connect(struct sm *w, struct sm_client *c, unsigned voice, unsigned flags);
/* The connection only; what is out stays out, and the memory and the region stay. */
void sm_hang_up(struct sm *w, struct sm_client *c);
void sm_client_fini(struct sm_client *c);
/* The mediator hung up. */
bool sm_dropped(struct sm *w, struct sm_client *c);

/* A request, added and kicked; its status once it is answered, 0 before. */
void sm_ask(struct sm_client *c, const void *req, uint32_t len, uint32_t room);
uint32_t sm_answer(struct sm_client *c);
/* The same, with all the rounds and at most two periods that it takes. */
uint32_t sm_request(struct sm *w, struct sm_client *c, const void *req, uint32_t len);
uint32_t sm_pcm(struct sm *w, struct sm_client *c, uint32_t code, uint32_t stream);
/* Parameters of stereo S16: SET_PARAMS, whose status it is. */
uint32_t sm_params(struct sm *w, struct sm_client *c, uint32_t stream, uint8_t rate,
		   uint32_t period_bytes);
/* Parameters at 48 kHz, PREPARE and START; each must be OK. */
void sm_start(struct sm *w, struct sm_client *c, uint32_t stream);

/* A buffer for an event, added and kicked; and the next event, false when there is none. */
void sm_listen(struct sm_client *c);
bool sm_next_event(struct sm_client *c, uint32_t *ret_code, uint32_t *ret_data);

/* A message of @n stereo frames of S16, @left in the left channel and its negative in the right;
 * false: all slots are out. */
bool sm_send(struct sm_client *c, uint32_t stream, const int16_t *left, uint32_t n);
/* The same @n times with one value. */
bool sm_send_level(struct sm_client *c, uint32_t stream, int16_t level, uint32_t n);
/* An empty message to fill. */
bool sm_offer(struct sm_client *c, uint32_t stream, uint32_t bytes);
/* What is in the message of slot @slot; the first free one is taken for each. */
const void *sm_offered(const struct sm_client *c, unsigned slot);
/* Takes what came back; how many. */
unsigned sm_take(struct sm_client *c, bool output);
