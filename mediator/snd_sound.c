/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a sound device as a whole (snd_sound.h): its real-time thread, which is a loop around
 * snd_engine_period(); its session's thread, which accepts and serves clients, carries the engine's
 * replies to them, and looks for a device that has vanished; and the way of a new policy to both.
 *
 * Invariant: out (in) is looked for exactly while the engine has no dev of ours (no mic): from its
 * reply to our next command.
 */
#include "mediator/snd_sound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/snd_session.h"

#define LOOP_ENTRIES 256u
#define DISPATCH 64u
#define ACCEPT_BUDGET 4u
#define RT_PRIORITY 40		/* above guests' own; below the kernel's threads */
#define SESSION_PRIORITY 20
#define RELAXED memory_order_relaxed

void snd_sound_tell(const struct snd_voice *v, const char *kind, const char *text)
{
	const struct med_event_sink *sink = &v->sound->sink;

	sink->event(sink->ctx, kind, v->name, text);
}

static void tell_device(const struct snd_sound *s, const char *kind, const char *text)
{
	s->sink.event(s->sink.ctx, kind, s->name, text);
}

bool snd_sound_admits(const struct snd_voice *v)
{
	const struct snd_sound *s = v->sound;

	if (v->class == SCHED_SAFETY)
		return true;
	if (s->n_prepared >= s->voices_max)
		return false;
	for (unsigned i = 0; i < s->n_voices; i++) {
		const struct snd_voice *o = &s->voices[i];

		if (o != v && o->n_prepared > 0 && o->class != SCHED_SAFETY &&
		    (o->exclusive || v->exclusive))
			return false;
	}
	return true;
}

/* ---- the device ---- */

static void seek(struct snd_sound *s, struct snd_seek *k, uint64_t now)
{
	struct snd_cmd c = { .kind = k->capture ? SND_CMD_CAPTURE : SND_CMD_DEVICE,
			     .dev = snd_seek_look(k, now) };

	if (!c.dev)
		return;
	if (!snd_engine_tell(s->engine, &c)) {
		c.dev->ops->close(c.dev);
		return;
	}
	snd_seek_found(k, now);
	tell_device(s, k->capture ? "capture_back" : "sound_back", "");
}

static void device_gone(struct snd_sound *s, struct snd_seek *k, const struct snd_reply *r,
			uint64_t now)
{
	r->dev->ops->close(r->dev);
	if (r->err == 0)
		return;
	snd_seek_gone(k, now);
	tell_device(s, k->capture ? "capture_lost" : "sound_lost", strerror(-r->err));
}

static void tell_injection(const struct snd_sound *s, const char *event, enum inject_kind kind,
			   uint32_t id)
{
	char text[64];

	snprintf(text, sizeof(text), "%s, number %u", inject_kind_str(kind), id);
	tell_device(s, event, text);
}

static void end_injections(struct snd_sound *s, uint64_t now)
{
	enum inject_kind kind;
	uint32_t id;

	while (snd_inject_over(&s->inject, now, &kind, &id))
		tell_injection(s, "inject_ended", kind, id);
}

/* ---- the session's thread ---- */

static struct snd_voice *voice_of(struct snd_sound *s, const struct snd_reply *r)
{
	unsigned place = r->queue ? r->queue->share : s->engine->slots[r->slot].share;

	return &s->voices[place];
}

static void take_replies(struct snd_sound *s, uint64_t now)
{
	struct snd_reply r;

	while (snd_engine_reply(s->engine, &r)) {
		if (r.kind == SND_REPLY_DEVICE)
			device_gone(s, &s->out, &r, now);
		else if (r.kind == SND_REPLY_CAPTURE)
			device_gone(s, &s->in, &r, now);
		else if (r.kind == SND_REPLY_ALARM)
			tell_device(s, "safety_not_heard", "what is mixed does not get out");
		else if (r.kind == SND_REPLY_HEARD)
			tell_device(s, "safety_heard_again", "");
		else if (voice_of(s, &r)->session)
			snd_session_reply(voice_of(s, &r)->session, &r);
	}
}

static void end_quarantine(struct snd_voice *v, uint64_t now)
{
	if (!atomic_load(&v->quarantined) || now < v->quarantine_until_ns)
		return;
	atomic_store(&v->quarantined, false);
	v->window_faults = 0;
	snd_sound_tell(v, "quarantine_ended", "");
}

/* One client at a time: who comes meanwhile waits in the backlog. */
static void accept_some(struct snd_voice *v)
{
	for (unsigned n = 0; n < ACCEPT_BUDGET && v->accept_waits && !v->session; n++) {
		int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			v->accept_waits = errno == EINTR || errno == ECONNABORTED;
			return;
		}
		if (atomic_load(&v->quarantined))
			qfd_close(&fd);
		else
			v->session = snd_session_new(v, fd);
	}
}

static bool serve_voice(struct snd_voice *v, uint64_t now)
{
	bool more = false;

	end_quarantine(v, now);
	accept_some(v);
	if (v->session)
		more = snd_session_serve(v->session, now);
	if (v->session && snd_session_reap(v->session)) {
		v->session = NULL;
		more = true;
	}
	return more || (v->accept_waits && !v->session);
}

static void tell_voice(struct snd_sound *s, unsigned i, const struct mix_voice_cfg *mix)
{
	for (unsigned k = 0; k < s->voices[i].dev.n_streams; k++) {
		struct snd_cmd c = { .kind = SND_CMD_VOICE, .voice = *mix,
				     .slot = s->voices[i].first_slot + k };

		(void)snd_engine_tell(s->engine, &c);
	}
}

/* True: some of it is still to be done. */
static bool take_change(struct snd_sound *s)
{
	struct snd_change *c;

	if (spsc_room(&s->engine->cmds) < MIX_VOICES_MAX + 1)
		return atomic_load(&s->change) != NULL;
	c = atomic_exchange(&s->change, NULL);
	if (!c)
		return false;
	struct snd_cmd limit = { .kind = SND_CMD_LIMIT, .limit = c->lower_limit };
	(void)snd_engine_tell(s->engine, &limit);
	s->voices_max = c->voices_max;
	for (unsigned i = 0; i < s->n_voices; i++) {
		struct snd_voice *v = &s->voices[i];

		/* Who is counted is counted by his class. */
		s->n_prepared -= v->class != SCHED_SAFETY ? v->n_prepared : 0;
		v->class = c->voice[i].mix.class;
		s->n_prepared += v->class != SCHED_SAFETY ? v->n_prepared : 0;
		v->exclusive = c->voice[i].exclusive;
		v->fault_budget = c->voice[i].fault_budget;
		v->fault_window_ns = c->voice[i].fault_window_ns;
		tell_voice(s, i, &c->voice[i].mix);
	}
	free(c);
	return false;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static uint64_t deadline(const struct snd_sound *s)
{
	uint64_t at = earlier(snd_seek_deadline_ns(&s->out), snd_seek_deadline_ns(&s->in));

	at = earlier(at, snd_inject_deadline_ns(&s->inject));

	for (unsigned i = 0; i < s->n_voices; i++) {
		const struct snd_voice *v = &s->voices[i];

		if (v->session)
			at = earlier(at, snd_session_deadline_ns(v->session));
		if (atomic_load(&v->quarantined))
			at = earlier(at, v->quarantine_until_ns);
	}
	return at;
}

bool snd_sound_round(struct snd_sound *s, uint64_t now)
{
	bool more = take_change(s);

	if (atomic_exchange(&s->reset_worst, false))
		(void)snd_engine_tell(s->engine, &(struct snd_cmd){ .kind = SND_CMD_RESET_WORST });
	take_replies(s, now);
	end_injections(s, now);
	seek(s, &s->out, now);
	seek(s, &s->in, now);
	/* Class safety first: nobody else's requests stand before its own. */
	for (unsigned turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < s->n_voices; i++)
			if ((s->voices[i].class == SCHED_SAFETY) == (turn == 0))
				more |= serve_voice(&s->voices[i], now);
	qbell_flush(&s->bell);
	return more;
}

static bool arm(struct snd_sound *s)
{
	bool more = false;

	for (unsigned i = 0; i < s->n_voices; i++)
		if (s->voices[i].session)
			more |= snd_session_arm(s->voices[i].session);
	return more;
}

static bool any_session(const struct snd_sound *s)
{
	for (unsigned i = 0; i < s->n_voices; i++)
		if (s->voices[i].session)
			return true;
	return false;
}

static void on_wake(void *ctx)
{
}

static void on_listen(void *ctx)
{
	struct snd_voice *v = ctx;

	v->accept_waits = true;
}

int snd_sound_set_up(struct snd_sound *s)
{
	int r = loop_init(&s->loop, LOOP_ENTRIES);

	if (r < 0)
		return r;
	s->wake_watch = loop_watch(&s->loop, s->wake_fd, on_wake, s);
	r = s->wake_watch ? 0 : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < s->n_voices; i++) {
		struct snd_voice *v = &s->voices[i];

		v->listen_watch = loop_watch(&s->loop, v->listen_fd, on_listen, v);
		r = v->listen_watch ? 0 : -ENOMEM;
	}
	return r;
}

void snd_sound_tear_down(struct snd_sound *s)
{
	for (unsigned i = 0; i < s->n_voices; i++)
		s->voices[i].listen_watch = loop_unwatch(&s->loop, s->voices[i].listen_watch);
	s->wake_watch = loop_unwatch(&s->loop, s->wake_watch);
	loop_fini(&s->loop);
}

static void *session_thread(void *arg)
{
	struct snd_sound *s = arg;
	bool stopping = false;

	prctl(PR_SET_NAME, "snd-session");
	s->set_up = snd_sound_set_up(s);
	sem_post(&s->ready);
	if (s->set_up < 0) {
		snd_sound_tear_down(s);
		return NULL;
	}
	while (!stopping || any_session(s)) {
		stopping = atomic_load(&s->stop);
		for (unsigned i = 0; i < s->n_voices && stopping; i++) {
			s->voices[i].accept_waits = false;
			if (s->voices[i].session)
				snd_session_end(s->voices[i].session, "the mediator stops");
		}
		if (snd_sound_round(s, qnow_ns()) || arm(s) || (stopping && !any_session(s)))
			(void)loop_submit(&s->loop, false);
		else
			(void)loop_submit_until(&s->loop, deadline(s));
		(void)loop_dispatch(&s->loop, DISPATCH);
	}
	snd_sound_tear_down(s);
	return NULL;
}

/* ---- the real-time thread ---- */

static void *rt_thread(void *arg)
{
	struct snd_sound *s = arg;
	struct snd_engine_stats *st = &s->engine->stats;

	prctl(PR_SET_NAME, "snd-rt");
	prctl(PR_SET_TIMERSLACK, 1L);
	while (!atomic_load_explicit(&s->engine_stop, RELAXED)) {
		snd_engine_wait(s->engine);
		uint64_t now = qnow_ns();

		snd_engine_period(s->engine, now);
		uint64_t busy = qnow_ns() - now;
		if (busy > atomic_load_explicit(&st->busy_max_ns, RELAXED))
			atomic_store_explicit(&st->busy_max_ns, busy, RELAXED);
		atomic_fetch_add_explicit(&st->busy_ns, busy, RELAXED);
	}
	return NULL;
}

/* ---- life ---- */

static int open_one(const struct snd_seek *k, const struct snd_device_policy *d,
		    struct cf_errors *errs, struct snd_dev **ret)
{
	char why[128] = "out of memory";
	int r = snd_seek_open(k, ret, why, sizeof(why));

	if (r < 0)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0, "sound '%s': %s", d->name, why);
	return r;
}

static int open_devices(struct snd_sound *s, const struct snd_device_policy *d,
			struct cf_errors *errs)
{
	struct snd_cmd capture = { .kind = SND_CMD_CAPTURE };
	struct snd_dev *dev;
	int r = open_one(&s->out, d, errs, &dev);

	r = r < 0 ? r : snd_engine_new(&s->cfg, dev, snd_policy_limit(d), s->wake_fd, &s->engine);
	r = r < 0 ? r : open_one(&s->in, d, errs, &capture.dev);
	if (r == 0 && capture.dev)
		(void)snd_engine_tell(s->engine, &capture);	/* its queue is empty */
	return r;
}

static int sound_init(struct snd_sound *s, const struct snd_device_policy *d, bool inject,
		      struct cf_errors *errs)
{
	s->cfg = (struct snd_dev_cfg){ .rate_hz = d->rate_hz, .channels = d->channels,
				       .period_frames = snd_policy_period_frames(d),
				       .periods = d->periods };
	s->name = strdup(d->name);
	if (!s->name || snd_seek_init(&s->out, &s->cfg, d->alsa, d->wav, false) < 0 ||
	    snd_seek_init(&s->in, &s->cfg, d->alsa_capture, d->wav_capture, true) < 0)
		return -ENOMEM;
	s->inject.on = inject;
	s->out.inject = s->in.inject = inject ? &s->inject : NULL;
	s->voices_max = d->voices;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = s->wake_fd < 0 ? -errno : qbell_init(&s->bell);
	if (r < 0)
		return r;
	return open_devices(s, d, errs);
}

int snd_sound_new(const struct snd_policy *policy, size_t device, bool inject,
		  const struct med_event_sink *sink, struct cf_errors *errs,
		  struct snd_sound **ret)
{
	struct snd_sound *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	sem_init(&s->ready, 0, 0);
	s->sink = *sink;
	s->wake_fd = -1;
	s->bell = QBELL_NULL;
	s->unmapper = UNMAPPER_NULL;
	int r = sound_init(s, &policy->devices[device], inject, errs);
	if (r < 0) {
		snd_sound_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int snd_sound_add(struct snd_sound *s, const struct snd_policy *policy, size_t voice,
		  int take_listen_fd)
{
	QCLEAN(qfd_close) int fd = take_listen_fd;
	const struct snd_voice_policy *p = &policy->voices[voice];
	struct mix_voice_cfg mix = snd_policy_mix(&policy->devices[p->device], p);

	if (s->n_voices == SND_SHARES_MAX)
		return -ENOSPC;
	struct snd_voice *v = &s->voices[s->n_voices];
	*v = (struct snd_voice){ .sound = s, .class = p->class, .exclusive = p->exclusive,
				 .fault_budget = p->fault_budget,
				 .fault_window_ns = p->fault_window_ns,
				 .first_slot = s->engine->n_slots, .listen_fd = -1 };
	snd_policy_dev(p, &v->dev);
	int place = snd_engine_add_share(s->engine, &v->dev, &mix);
	if (place < 0)
		return place;
	v->name = strdup(p->name);
	if (!v->name)
		return -ENOMEM;
	v->place = (unsigned)place;
	s->n_voices++;
	int r = qfd_nonblock(fd, true);
	v->listen_fd = r < 0 ? -1 : fd;
	fd = r < 0 ? fd : -1;
	v->accept_waits = true;
	return Q_MIN(r, 0);
}

/* What the real-time thread touches stays in memory. What has no limit for that goes on without. */
static void lock_memory(const struct snd_sound *s)
{
	const void *mix;
	size_t bytes;

	mix_memory(s->engine->mix, &mix, &bytes);
	if (mlock(s->engine, sizeof(*s->engine)) < 0 || mlock(mix, bytes) < 0)
		qlog_warn("ev=memory_not_locked sound=%s why=\"the limit on locked memory\"",
			  s->name);
}

static void make_realtime(struct snd_sound *s)
{
	struct sched_param first = { .sched_priority = RT_PRIORITY };
	struct sched_param second = { .sched_priority = SESSION_PRIORITY };
	int r = pthread_setschedparam(s->rt_thread, SCHED_FIFO, &first);

	if (r == 0)
		r = pthread_setschedparam(s->thread, SCHED_FIFO, &second);
	atomic_store(&s->realtime, r == 0);
	if (r != 0)
		qlog_errno(QLOG_WARN, -r, "ev=no_realtime sound=%s why=\"sound waits for the "
			   "guests' own threads; run with CAP_SYS_NICE or a limit on rtprio\"",
			   s->name);
}

int snd_sound_start(struct snd_sound *s)
{
	int r = unmapper_start(&s->unmapper);

	lock_memory(s);
	r = r < 0 ? r : -pthread_create(&s->rt_thread, NULL, rt_thread, s);
	s->rt_running = r == 0;
	r = r < 0 ? r : -pthread_create(&s->thread, NULL, session_thread, s);
	s->running = r == 0;
	while (s->running && sem_wait(&s->ready) < 0)
		;
	r = s->running ? s->set_up : r;
	if (r == 0)
		make_realtime(s);
	return r;
}

static void wake(struct snd_sound *s)
{
	static const uint64_t one = 1;

	/* It cannot be full: nobody else writes as much, and what is there wakes as well. */
	(void)!write(s->wake_fd, &one, sizeof(one));
}

struct snd_sound *snd_sound_free(struct snd_sound *s)
{
	if (!s)
		return NULL;
	atomic_store(&s->stop, true);
	if (s->running) {
		wake(s);
		pthread_join(s->thread, NULL);
	}
	atomic_store(&s->engine_stop, true);
	if (s->rt_running)
		pthread_join(s->rt_thread, NULL);
	for (unsigned i = 0; i < s->n_voices; i++) {
		qfd_close(&s->voices[i].listen_fd);
		free(s->voices[i].name);
	}
	snd_engine_free(s->engine);
	sem_destroy(&s->ready);
	qbell_fini(&s->bell);
	unmapper_stop(&s->unmapper);
	qfd_close(&s->wake_fd);
	free(atomic_load(&s->change));
	free(s->name);
	snd_seek_fini(&s->out);
	snd_seek_fini(&s->in);
	free(s);
	return NULL;
}

int snd_sound_change(struct snd_sound *s, const struct snd_policy *policy)
{
	const struct snd_device_policy *d = &policy->devices[snd_policy_device(policy, s->name)];
	struct snd_change *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->lower_limit = snd_policy_limit(d);
	c->voices_max = d->voices;
	for (unsigned i = 0; i < s->n_voices; i++) {
		int at = snd_policy_voice(policy, s->voices[i].name);
		const struct snd_voice_policy *v = &policy->voices[at];

		c->voice[i] = (struct snd_voice_change){ snd_policy_mix(d, v), v->exclusive,
							 v->fault_budget, v->fault_window_ns };
	}
	free(atomic_exchange(&s->change, c));
	wake(s);
	return 0;
}

void snd_sound_reset_worst(struct snd_sound *s)
{
	atomic_store(&s->reset_worst, true);
	wake(s);
}

int snd_sound_inject(struct snd_sound *s, const struct inject_rule *rule)
{
	int r = snd_inject_add(&s->inject, rule);

	if (r < 0)
		return r;
	tell_injection(s, "inject_begun", rule->kind, rule->id);
	wake(s);	/* to know when it ends */
	return 0;
}

unsigned snd_sound_inject_clear(struct snd_sound *s, uint32_t id)
{
	unsigned n = snd_inject_clear(&s->inject, id);

	wake(s);
	return n;
}
