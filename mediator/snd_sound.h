/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device of the mediator as a whole: its engine on a real-time thread (snd_engine.h), its
 * guests' sessions on another (snd_session.h), and what the main thread asks of both.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "lib/qlog.h"
#include "mediator/disk.h"
#include "mediator/policy_audio.h"
#include "mediator/snd_engine.h"
#include "mediator/snd_seek.h"

struct snd_session;
struct snd_sound;

/* One [voice]: what a client of its socket is served as. Session's thread, but for stats. */
struct snd_voice {
	struct snd_sound *sound;
	unsigned place;			/* in the engine's shares */
	unsigned first_slot;
	char *name;			/* owned */
	struct qsnd_dev dev;
	enum sched_class class;
	bool exclusive;
	uint32_t fault_budget;
	uint64_t fault_window_ns;
	uint64_t window_ns, quarantine_until_ns;
	uint32_t window_faults;
	int listen_fd;			/* owned */
	struct loop_watch *listen_watch;
	bool accept_waits;
	struct snd_session *session;
	unsigned n_prepared;		/* streams */
	_Atomic uint64_t faults, refused, throttled;
	_Atomic bool connected, quarantined;
};

/* What of a policy can change while it runs, for one voice. */
struct snd_voice_change {
	struct mix_voice_cfg mix;
	bool exclusive;
	uint32_t fault_budget;
	uint64_t fault_window_ns;
};
struct snd_change {
	float lower_limit;
	uint32_t voices_max;
	struct snd_voice_change voice[SND_SHARES_MAX];
};

struct snd_sound {
	char *name;			/* owned */
	struct snd_dev_cfg cfg;
	struct snd_engine *engine;
	struct med_event_sink sink;
	struct loop loop;
	struct qbell bell;		/* session's thread */
	struct unmapper unmapper;
	struct snd_voice voices[SND_SHARES_MAX];
	unsigned n_voices;
	uint32_t voices_max;
	unsigned n_prepared;		/* of those that are counted */
	struct snd_seek out, in;	/* what it plays on, what it records from */
	struct snd_inject inject;	/* what fails of both on purpose */
	int wake_fd;			/* the engine's and the main thread's signal */
	struct loop_watch *wake_watch;
	struct snd_change *_Atomic change;	/* owned by who takes it */
	_Atomic bool stop, engine_stop, reset_worst;
	pthread_t thread, rt_thread;
	sem_t ready;			/* the session's thread has set itself up; how: set_up */
	int set_up;
	bool running, rt_running;
	_Atomic bool realtime;
};

/* Main thread. @inject: it may be made to fail. 0 or -errno with a sentence in @errs; -EINVAL: the
 * device's own fault. */
int snd_sound_new(const struct snd_policy *policy, size_t device, bool inject,
		  const struct med_event_sink *sink, struct cf_errors *errs,
		  struct snd_sound **ret);
/* Takes @take_listen_fd. Before snd_sound_start(). 0 or -errno. */
int snd_sound_add(struct snd_sound *s, const struct snd_policy *policy, size_t voice,
		  int take_listen_fd);
int snd_sound_start(struct snd_sound *s);
struct snd_sound *snd_sound_free(struct snd_sound *s);
/* From the next period on. 0 or -ENOMEM. */
int snd_sound_change(struct snd_sound *s, const struct snd_policy *policy);
void snd_sound_reset_worst(struct snd_sound *s);
/* As snd_inject_add() and snd_inject_clear(), and it is told. */
int snd_sound_inject(struct snd_sound *s, const struct inject_rule *rule);
unsigned snd_sound_inject_clear(struct snd_sound *s, uint32_t id);

/* ---- session's thread: a loop around a round, which a test calls by itself ---- */

/* The loop belongs to the thread that makes it. 0 or -errno; torn down after both. */
int snd_sound_set_up(struct snd_sound *s);
void snd_sound_tear_down(struct snd_sound *s);
/* Takes what the loop, the engine and the main thread have told, and serves each client within its
 * budget. True: there is more to do. */
bool snd_sound_round(struct snd_sound *s, uint64_t now_ns);

/* ---- session's thread, for snd_session.c ---- */

void snd_sound_tell(const struct snd_voice *v, const char *kind, const char *text);
/* Whether a further stream of @v may be prepared: there is a voice left for it, and nobody has the
 * device for himself. Class safety always may. */
bool snd_sound_admits(const struct snd_voice *v);
