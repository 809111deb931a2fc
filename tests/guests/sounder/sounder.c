/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sounder: plays a script of sounds on one stream of virtio-snd, and records another one and
 * says how loud it was. The device's completions are its only clock: it keeps `periods` messages
 * out, and tells how long the whole took by the processor's time.
 *
 * One thread: everything happens in the turns of run().
 */
#include "tests/guests/drv/snd.h"
#include "tests/guests/sounder/wave.h"

#define MSGS_MAX	64u
#define STALL_NS	(20 * RT_NS_PER_S)

enum { FMT_S16 = 5, FMT_S24 = 15, FMT_S32 = 17, FMT_F32 = 19 };

struct pcm {
	bool output, on;
	uint32_t stream, period_frames, periods, channels, rate_hz, sample_bytes, frame_bytes;
	uint8_t format, rate;
	struct snd_msg *msg[MSGS_MAX];
	unsigned n_free, n_out;
	uint64_t frames, to_put, to_get;	/* of this run: all, to be sent, to come back */
	uint64_t n_messages, n_errors, latency_max, started, took;
	/* recorded */
	uint64_t peak[8], squares[8];
	struct snd_msg *free[MSGS_MAX];
};

static struct snd snd;
static struct pcm out, in;
static struct wave wave;
static uint32_t features, late_ms;
static uint64_t late_at;

static const uint32_t rates[] = { 5512, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 64000,
				  88200, 96000, 176400, 192000, 384000 };

/* ---- samples ---- */

/* A whole number as a float of 32 bits, @v / 32768. */
static uint32_t float_of(int32_t v)
{
	uint32_t mag = (uint32_t)(v < 0 ? -v : v), sign = v < 0 ? 0x80000000u : 0;
	unsigned top = 0;

	if (!mag)
		return 0;
	while (mag >> (top + 1))
		top++;
	return sign | (112 + top) << 23 | ((mag << (23 - top)) & 0x7fffff);
}

static int32_t of_float(uint32_t f)
{
	int exp = (int)(f >> 23 & 0xff) - 112;
	uint32_t mag = (f & 0x7fffff) | 0x800000;

	if (exp < 0 || exp > 15)
		return exp < 0 ? 0 : 32767;
	mag >>= 23 - exp;
	return f & 0x80000000u ? -(int32_t)mag : (int32_t)mag;
}

static void put_sample(const struct pcm *p, uint8_t *to, int32_t v)
{
	int32_t w = p->format == FMT_S16 ? v : p->format == FMT_S24 ? v * 256 : v * 65536;
	uint32_t f = float_of(v);

	memcpy(to, p->format == FMT_F32 ? (void *)&f : (void *)&w, p->sample_bytes);
}

static int32_t get_sample(const struct pcm *p, const uint8_t *from)
{
	int32_t w = 0;
	int16_t s;

	if (p->format == FMT_S16) {
		memcpy(&s, from, 2);
		return s;
	}
	memcpy(&w, from, 4);
	if (p->format == FMT_F32)
		return of_float((uint32_t)w);
	return p->format == FMT_S24 ? w / 256 : w / 65536;
}

/* ---- one stream ---- */

static uint32_t number(const char *key, uint64_t dflt, uint64_t min, uint64_t max)
{
	uint64_t v = rt_arg_u64(key, dflt);

	if (v < min || v > max)
		rt_fail("argument %s=%lu is not in %lu..%lu", key, v, min, max);
	return (uint32_t)v;
}

static uint8_t format_arg(void)
{
	char buf[8];

	if (!rt_arg_str("format", buf, sizeof(buf)) || !strcmp(buf, "s16"))
		return FMT_S16;
	if (!strcmp(buf, "s24"))
		return FMT_S24;
	if (!strcmp(buf, "s32"))
		return FMT_S32;
	if (!strcmp(buf, "f32"))
		return FMT_F32;
	rt_fail("format=%s is none", buf);
}

static void pcm_init(struct pcm *p, bool output, uint32_t stream)
{
	uint32_t hz = number("rate", 48000, 1, 384000);

	p->output = output;
	p->stream = stream;
	p->format = format_arg();
	p->sample_bytes = p->format == FMT_S16 ? 2 : 4;
	p->channels = number("channels", 2, 1, 8);
	p->frame_bytes = p->channels * p->sample_bytes;
	p->period_frames = number("period", 480, 1, 65536);
	p->periods = number("periods", 4, 1, MSGS_MAX);
	p->rate_hz = hz;
	while (p->rate < RT_ARRAY_LEN(rates) && rates[p->rate] != hz)
		p->rate++;
	for (unsigned i = 0; i < p->periods; i++) {
		struct snd_msg *m = rt_need(sizeof(*m), 64, "messages");

		m->stream = stream;
		m->data_bytes = p->period_frames * p->frame_bytes;
		m->data = rt_need(m->data_bytes, 64, "messages");
		p->free[p->n_free++] = m;
	}
	if (stream >= snd.n_streams || (snd.info[stream].direction == 0) != output)
		rt_fail("stream %u is not one to %s", stream, output ? "play" : "record");
}

static void command(struct pcm *p, uint32_t code)
{
	uint32_t status = snd_command(&snd, code, p->stream);

	if (status != SND_S_OK)
		rt_fail("request 0x%x of stream %u: 0x%x", code, p->stream, status);
}

static void set_params(struct pcm *p)
{
	const struct snd_params req = {
		.code = SND_R_SET_PARAMS, .stream = p->stream,
		.buffer_bytes = p->periods * p->period_frames * p->frame_bytes,
		.period_bytes = p->period_frames * p->frame_bytes,
		.features = features & snd.info[p->stream].features,
		.channels = (uint8_t)p->channels, .format = p->format, .rate = p->rate,
	};
	uint32_t status = snd_request(&snd, &req, sizeof(req), NULL, 0);

	if (status != SND_S_OK)
		rt_fail("SET_PARAMS of stream %u: 0x%x", p->stream, status);
}

static void fill(struct pcm *p, struct snd_msg *m, uint32_t frames)
{
	uint8_t *to = m->data;

	for (uint32_t i = 0; i < frames; i++) {
		int32_t v = wave_next(&wave);

		for (uint32_t c = 0; c < p->channels; c++, to += p->sample_bytes)
			put_sample(p, to, v);
	}
}

/* Sends what there is to send; true when something was. */
static bool put_all(struct pcm *p)
{
	bool did = false;

	while (p->to_put && p->n_free) {
		struct snd_msg *m = p->free[--p->n_free];
		uint32_t frames = p->to_put < p->period_frames ? (uint32_t)p->to_put :
								 p->period_frames;

		if (p->output)
			fill(p, m, frames);
		if (!snd_put(&snd, p->output, m, frames * p->frame_bytes))
			rt_fail("no room for a message");
		p->to_put -= frames;
		p->n_out++;
		did = true;
	}
	if (did && !(features & SND_F_POLLING))
		snd_kick(&snd, p->output);
	return did;
}

static void hear(struct pcm *p, const struct snd_msg *m, uint32_t frames)
{
	const uint8_t *from = m->data;

	for (uint32_t i = 0; i < frames; i++) {
		for (uint32_t c = 0; c < p->channels; c++, from += p->sample_bytes) {
			int64_t v = get_sample(p, from);
			uint64_t mag = (uint64_t)(v < 0 ? -v : v);

			if (mag > p->peak[c])
				p->peak[c] = mag;
			p->squares[c] += mag * mag;
		}
	}
}

/* Takes what came back; true when something did. */
static bool get_all(struct pcm *p)
{
	struct snd_msg *m;
	uint32_t bytes;
	bool did = false;

	while ((m = snd_get(&snd, p->output, &bytes)) != NULL) {
		p->free[p->n_free++] = m;
		p->n_out--;
		p->n_messages++;
		p->n_errors += m->result.status != SND_S_OK;
		if (m->result.latency_bytes > p->latency_max)
			p->latency_max = m->result.latency_bytes;
		if (!p->output) {
			hear(p, m, bytes / p->frame_bytes);
			p->to_get -= bytes / p->frame_bytes < p->to_get ? bytes / p->frame_bytes :
									  p->to_get;
		} else if (!p->n_out && !p->to_put) {
			p->to_get = 0;
		}
		did = true;
	}
	return did;
}

static void begin(struct pcm *p, uint64_t frames)
{
	p->on = frames > 0;
	if (!p->on)
		return;
	p->frames = p->to_put = p->to_get = frames;
	set_params(p);
	command(p, SND_R_PREPARE);
	put_all(p);
	p->started = arch_ticks();
	command(p, SND_R_START);
}

static void end(struct pcm *p)
{
	if (!p->on)
		return;
	p->took = arch_ticks() - p->started;
	command(p, SND_R_STOP);
	command(p, SND_R_RELEASE);
	get_all(p);
	if (p->n_out)
		rt_fail("%u messages of stream %u are out after RELEASE", p->n_out, p->stream);
}

/* ---- turns ---- */

/* Once, in the middle of a run: nothing is sent for a while. */
static void be_late(void)
{
	uint64_t until = arch_ticks() + rt_ticks(late_ms * RT_NS_PER_MS);

	if (!late_ms || out.frames - out.to_put < late_at)
		return;
	late_ms = 0;
	while (arch_ticks() < until)
		rt_wait(rt_wake, until);
}

static bool turn(struct pcm *p)
{
	bool did = p->on && get_all(p);

	if (did && p->output)
		be_late();
	return (p->on && put_all(p)) || did;
}

static bool is_over(const struct pcm *p)
{
	return !p->on || !p->to_get;
}

static void rest(uint32_t seen)
{
	bool came = (out.on && vq_arm(&snd.tx)) | (in.on && vq_arm(&snd.rx));

	if (!came)
		rt_wait(seen, arch_ticks() + rt_ticks(5 * RT_NS_PER_MS));
	vq_disarm(&snd.tx);
	vq_disarm(&snd.rx);
}

/* False: the operator wants an end. */
static bool run(void)
{
	uint64_t heard = arch_ticks();

	while (!is_over(&out) || !is_over(&in)) {
		uint32_t seen = rt_wake;

		snd_irq_ack(&snd);
		snd_look_at_events(&snd);
		bool did = turn(&out);
		did |= turn(&in);
		if (did)
			heard = arch_ticks();
		else if (arch_ticks() - heard > rt_ticks(STALL_NS))
			rt_fail("nothing came back for %lu s", STALL_NS / RT_NS_PER_S);
		else
			rest(seen);
		if (rt_power_button(false) || rt_getc() == 'q')
			return false;
	}
	return true;
}

/* ---- reports ---- */

static uint64_t root(uint64_t v)
{
	uint64_t r = 0;

	for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= v)
			r |= bit;
	return r;
}

static void report(struct pcm *p)
{
	if (!p->on)
		return;
	rt_printf("snd: %s stream=%u frames=%lu us=%lu messages=%lu errors=%lu latency_max=%lu "
		  "xruns=%u periods=%u\n", p->output ? "played" : "recorded", p->stream, p->frames,
		  rt_ns(p->took) / RT_NS_PER_US, p->n_messages, p->n_errors, p->latency_max,
		  snd.n_xruns[p->stream], snd.n_periods[p->stream]);
	for (uint32_t c = 0; c < p->channels && !p->output; c++)
		rt_printf("snd: heard channel=%u peak=%lu rms=%lu\n", c, p->peak[c],
			  root(p->squares[c] / p->frames));
	memset(p->peak, 0, sizeof(p->peak));
	memset(p->squares, 0, sizeof(p->squares));
}

/* False: the operator wants an end. */
static bool wait_for_key(void)
{
	for (;;) {
		int c = rt_getc();

		if (c == 'g')
			return true;
		if (c == 'q' || rt_power_button(true))
			return false;
		rt_wait(rt_wake, arch_ticks() + rt_ticks(RT_NS_PER_MS));
	}
}

static void say_device(void)
{
	rt_printf("snd: ready dev=%s features=0x%lx jacks=%u streams=%u chmaps=%u\n", snd.dev->name,
		  snd.dev->features, snd.n_jacks, snd.n_streams, snd.n_chmaps);
	for (uint32_t i = 0; i < snd.n_streams; i++)
		rt_printf("snd: stream id=%u nid=%u direction=%u features=0x%x formats=0x%lx "
			  "rates=0x%lx channels=%u..%u\n", i, snd.info[i].nid,
			  snd.info[i].direction, snd.info[i].features, snd.info[i].formats,
			  snd.info[i].rates, snd.info[i].channels_min, snd.info[i].channels_max);
}

/* One run of the script; false: no more of them. */
static bool once(uint64_t record_frames, bool wait, unsigned n)
{
	if (wait && !wait_for_key())
		return false;
	wave_rewind(&wave);
	begin(&in, record_frames);
	begin(&out, wave_frames(&wave));
	if (out.on || in.on)
		rt_printf("snd: started run=%u\n", n);
	bool go_on = run();
	end(&out);
	end(&in);
	snd_look_at_events(&snd);
	report(&out);
	report(&in);
	return go_on;
}

void guest_main(void)
{
	uint64_t ring = (number("indirect", 1, 0, 1) ? VIO_F_INDIRECT : 0) |
			(number("event_idx", 1, 0, 1) ? VIO_F_EVENT_IDX : 0) |
			(number("packed", 0, 0, 1) ? VIO_F_PACKED : 0);
	uint32_t record_ms = number("record_ms", 0, 0, 3600000);
	uint32_t runs = number("runs", 1, 0, 1000000);
	bool wait = number("wait", 0, 0, 1);
	const char *why = snd_open(&snd, vio_find(VIO_ID_SND, number("dev", 0, 0, 15)), ring);

	if (why)
		rt_fail("snd: %s", why);
	say_device();
	features = (number("polling", 0, 0, 1) ? SND_F_POLLING : 0) |
		   (number("events", 1, 0, 1) ? SND_F_XRUNS | SND_F_PERIODS : 0);
	wave_read(&wave, number("rate", 48000, 1, 384000));
	if (wave.n)
		pcm_init(&out, true, number("stream", 0, 0, 15));
	if (record_ms)
		pcm_init(&in, false, number("record", 1, 0, 15));
	late_ms = number("late_ms", 0, 0, 60000);
	late_at = wave_frames(&wave) / 2;
	for (unsigned n = 0; !runs || n < runs; n++)
		if (!once((uint64_t)record_ms * in.rate_hz / 1000, wait, n))
			break;
	rt_printf("snd: total jack_events=%u\n", snd.n_jack_events);
}
