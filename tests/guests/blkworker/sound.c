/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream of S16 stereo at 48 kHz, as a driver plays it: PREPARE, all messages filled, START,
 * one more for each that comes back, STOP and RELEASE when the last one did. The requests wait for
 * their answers, and the disk with them; messages wait for nobody.
 */
#include "tests/guests/blkworker/sound.h"
#include "tests/guests/drv/snd.h"
#include "tests/guests/sounder/wave.h"

#define RATE_HZ		48000u
#define FRAMES		240u		/* of a message: 5 ms */
#define FRAME_BYTES	4u
#define MSGS		16u
#define PERIOD_BYTES	(4 * FRAMES * FRAME_BYTES)
#define FMT_S16		5
#define RATE_48000	7

static struct snd snd;
static struct wave wave;
static struct snd_msg *idle_msg[MSGS];
static unsigned n_idle, n_errors;
static uint64_t frames_left;
static bool here, plays;

static void request(uint32_t code)
{
	uint32_t status = snd_command(&snd, code, 0);

	if (status != SND_S_OK)
		rt_fail("sound: request 0x%x: 0x%x", code, status);
}

void sound_open(void)
{
	const struct snd_params params = {
		.code = SND_R_SET_PARAMS, .buffer_bytes = MSGS / 4 * PERIOD_BYTES,
		.period_bytes = PERIOD_BYTES, .features = SND_F_XRUNS, .channels = 2,
		.format = FMT_S16, .rate = RATE_48000,
	};

	wave_read(&wave, RATE_HZ);
	if (!wave.n)
		return;
	const char *why = snd_open(&snd, vio_find(VIO_ID_SND, 0), VIO_F_EVENT_IDX);
	if (why)
		rt_fail("sound: %s", why);
	if (snd_request(&snd, &params, sizeof(params), NULL, 0) != SND_S_OK)
		rt_fail("sound: no stereo at 48 kHz");
	for (n_idle = 0; n_idle < MSGS; n_idle++) {
		struct snd_msg *m = rt_need(sizeof(*m), 64, "messages");

		m->data_bytes = FRAMES * FRAME_BYTES;
		m->data = rt_need(m->data_bytes, 64, "messages");
		idle_msg[n_idle] = m;
	}
	here = true;
	rt_printf("snd: ready dev=%s frames=%lu\n", snd.dev->name, wave_frames(&wave));
}

static void fill(struct snd_msg *m, uint32_t frames)
{
	for (uint32_t i = 0; i < frames; i++) {
		int16_t v = (int16_t)wave_next(&wave), both[2] = { v, v };

		memcpy(m->data + i * FRAME_BYTES, both, sizeof(both));
	}
}

static void put_all(void)
{
	bool any = false;

	while (frames_left && n_idle) {
		struct snd_msg *m = idle_msg[--n_idle];
		uint32_t frames = frames_left < FRAMES ? (uint32_t)frames_left : FRAMES;

		fill(m, frames);
		if (!snd_put(&snd, true, m, frames * FRAME_BYTES))
			rt_fail("sound: no room for a message");
		frames_left -= frames;
		any = true;
	}
	if (any)
		snd_kick(&snd, true);
}

static void begin(void)
{
	wave_rewind(&wave);
	frames_left = wave_frames(&wave);
	plays = true;
	request(SND_R_PREPARE);
	put_all();
	request(SND_R_START);
}

static void end(void)
{
	request(SND_R_STOP);
	request(SND_R_RELEASE);
	snd_look_at_events(&snd);
	plays = false;
	rt_printf("snd: played frames=%lu errors=%u xruns=%u\n", wave_frames(&wave), n_errors,
		  snd.n_xruns[0]);
}

void sound_key(int c)
{
	if (here && c == 'm' && !plays)
		begin();
}

bool sound_turn(void)
{
	struct snd_msg *m;
	uint32_t bytes;
	bool did = false;

	if (!here)
		return false;
	snd_irq_ack(&snd);
	while ((m = snd_get(&snd, true, &bytes)) != NULL) {
		n_errors += m->result.status != SND_S_OK;
		idle_msg[n_idle++] = m;
		did = true;
	}
	if (!plays)
		return did;
	put_all();
	if (!frames_left && n_idle == MSGS)
		end();
	return did;
}

bool sound_arm(void)
{
	return here && vq_arm(&snd.tx);
}

void sound_disarm(void)
{
	if (here)
		vq_disarm(&snd.tx);
}
