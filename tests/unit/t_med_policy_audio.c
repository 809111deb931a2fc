/* SPDX-License-Identifier: Apache-2.0 */
/* The sound sections of a policy: what is refused and how, what the rest means. Rows of text. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediator/policy.h"

#define SOUND "[sound s]\n"
#define VOICE "[voice a/x]\ndevice = s\n"

/* Errors with the file's path cut to "p". */
static char *load(const char *text, struct med_policy **ret)
{
	char path[] = "/tmp/t_med_policy_audio.XXXXXX";
	struct cf_errors errs = CF_ERRORS_NULL;
	char *raw = NULL, *out = NULL;
	size_t raw_len = 0, out_len = 0;
	int fd = mkstemp(path);

	ck_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	*ret = NULL;
	med_policy_load((const char *const[]){ path }, 1, &errs, ret);
	FILE *f = open_memstream(&raw, &raw_len);
	cf_errors_print(&errs, f);
	(void)fclose(f);
	f = open_memstream(&out, &out_len);
	for (const char *at = raw, *hit; *at; at = hit + strlen(path)) {
		hit = strstr(at, path);
		if (!hit) {
			fputs(at, f);
			break;
		}
		fprintf(f, "%.*sp", (int)(hit - at), at);
	}
	(void)fclose(f);
	free(raw);
	cf_errors_fini(&errs);
	unlink(path);
	return out;
}

static const struct { const char *text, *errors; } bad[] = {
	{ SOUND SOUND, "p:2: error: sound 's' is there twice\n" },
	{ SOUND "alsa = hw:0\nfile = x.wav\n",
	  "p:1: error: sound 's': expected alsa = PCM or file = FILE, or neither, and not both\n" },
	{ SOUND "period = 50ms\n", "p:2: error: period = 50ms: expected a time from 1ms to 40ms, "
				   "such as 5ms\n" },
	{ SOUND "rate = 192000\nperiod = 40ms\nroles = ,\n",
	  "p:1: error: sound 's': 0 roles; expected from 1 to 16\n" },
	{ SOUND "[voice a/x]\n",
	  "p:2: error: voice 'a/x': there is no [sound …]; expected device = NAME of one\n" },
	{ SOUND "[voice a/x]\ndevice = t\n",
	  "p:2: error: voice 'a/x': there is no [sound t]; expected device = NAME of one\n" },
	{ SOUND VOICE "role = song\n",
	  "p:2: error: voice 'a/x': role 'song' is none of its device's: " SND_ROLES_DEFAULT "\n" },
	{ SOUND VOICE "gain-limit = 6\nattenuation = 3\n",
	  "p:2: error: voice 'a/x': an attenuation of 3 dB is louder than its gain-limit of 6 dB "
	  "allows\n" },
	{ SOUND VOICE "streams = 0\n",
	  "p:2: error: voice 'a/x': 0 streams and 0 of capture; expected from 1 to 16 in all\n" },
	{ SOUND VOICE "class = safety\nmuted = yes\n",
	  "p:2: error: voice 'a/x' is of class safety: it cannot be muted\n" },
	{ SOUND VOICE "formats = mp3\nrates = 44101\n",
	  "p:2: error: voice 'a/x': formats = mp3: expected all, or some of s16,s24,s32,f32\n"
	  "p:2: error: voice 'a/x': rates = 44101: expected all, or rates of virtio sound, such as "
	  "44100,48000\n" },
	{ SOUND VOICE "when-higher = shout\n",
	  "p:4: error: when-higher = shout: expected mix, duck, pause or mute\n" },
	{ "[device d]\nnull = 1M\n[share a/x]\ndevice = d\n" SOUND VOICE,
	  "p:6: error: 'a/x' is a share already\n" },
	{ SOUND "[voice ax]\ndevice = s\n",
	  "p:2: error: 'ax': expected SYSTEM/NAME, at most 64 characters\n"
	  "p:2: error: 'ax': expected SYSTEM/NAME, each of letters, digits, '-', '_' and '.', at "
	  "most 64 in all\n" },
};

START_TEST(refused)
{
	struct med_policy *p;
	char *errors = load(bad[_i].text, &p);

	ck_assert_ptr_null(p);
	ck_assert_str_eq(errors, bad[_i].errors);
	free(errors);
}
END_TEST

START_TEST(meaning)
{
	struct med_policy *p;
	char *errors = load(SOUND "headroom = 6\nroles = siren song\n" VOICE
				  "role = song\nwhen-higher = duck\nduck = 20\nattack = 5ms\n"
				  "release = 1s\ngain-limit = 6\nstreams = 2\ncapture = 1\n"
				  "[voice a/y]\ndevice = s\nclass = safety\nrole = siren\n", &p);

	ck_assert_str_eq(errors, "");
	ck_assert_ptr_nonnull(p);
	const struct snd_device_policy *d = &p->sound.devices[0];
	struct mix_voice_cfg v = snd_policy_mix(d, &p->sound.voices[0]);
	ck_assert_uint_eq(snd_policy_period_frames(d), 240);
	ck_assert(fabsf(snd_policy_limit(d) - 0.501187f) < 1e-5f);
	ck_assert(fabsf(v.duck - 0.1f) < 1e-6f && fabsf(v.gain - 0.501187f) < 1e-5f);
	ck_assert_uint_eq(v.attack_frames, 240);
	ck_assert_uint_eq(v.release_frames, 48000);
	ck_assert_uint_eq(v.rank, 1);
	ck_assert_uint_eq(snd_policy_mix(d, &p->sound.voices[1]).rank, 0);
	struct qsnd_dev dev;
	snd_policy_dev(&p->sound.voices[0], &dev);
	ck_assert_uint_eq(dev.n_streams, 3);
	ck_assert_uint_eq(dev.streams[1].direction, VIRTIO_SND_D_OUTPUT);
	ck_assert_uint_eq(dev.streams[2].direction, VIRTIO_SND_D_INPUT);
	free(errors);
	med_policy_free(p);
}
END_TEST

/* What is in force, printed and read again, is the same. */
START_TEST(print_and_read)
{
	struct med_policy *p, *q;
	struct cf_errors errs = CF_ERRORS_NULL;
	char *text = NULL, *diff = NULL;
	size_t len = 0;

	free(load(SOUND "voices = 3\n" VOICE "role = media\nmuted = yes\nhold = 7ms\n", &p));
	ck_assert_ptr_nonnull(p);
	FILE *f = open_memstream(&text, &len);
	med_policy_print(p, f);
	(void)fclose(f);
	free(load(text, &q));
	ck_assert_ptr_nonnull(q);
	f = open_memstream(&diff, &len);
	ck_assert_uint_eq(med_policy_diff(p, q, f, &errs), 0);
	q->sound.voices[0].muted = false;
	q->sound.devices[0].rate_hz = 44100;
	ck_assert_uint_eq(med_policy_diff(p, q, f, &errs), 2);
	(void)fclose(f);
	ck_assert_str_eq(diff, "voice a/x: muted = no (was yes)\n");
	ck_assert(!cf_errors_ok(&errs));	/* the rate is fixed */
	cf_errors_fini(&errs);
	free(text);
	free(diff);
	med_policy_free(p);
	med_policy_free(q);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_policy_audio");
	TCase *t = tcase_create("policy");

	tcase_add_loop_test(t, refused, 0, Q_ARRAY_LEN(bad));
	tcase_add_test(t, meaning);
	tcase_add_test(t, print_and_read);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
