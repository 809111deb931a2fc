/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/snd_wav.h and qvm/snd_file.c: what is written can be read, in each format; files that were
 * given to us, damaged in every way; the sound device that is a file, in virtual time.
 */
#include "qvm/snd_wav.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "qvm/snd.h"
#include "tests/unit/fixture.h"
#include "vdevs/vdev.h"

#define FRAMES 1000u

static char folder[256], path[512];

static void setup(void)
{
	fixture_mkdir(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/a.wav", folder);
}

static void teardown(void)
{
	fixture_rmdir(folder);
}

static const uint8_t formats[] = { VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_FMT_S24,
				   VIRTIO_SND_PCM_FMT_S32, VIRTIO_SND_PCM_FMT_FLOAT };

static struct qsnd_params params(uint8_t format, uint8_t channels)
{
	return (struct qsnd_params){ .format = format, .channels = channels, .rate_hz = 48000,
				     .rate = VIRTIO_SND_PCM_RATE_48000,
				     .frame_bytes = channels * qsnd_sample_bytes(format) };
}

/* Samples as a guest has them: S24 with the sign in the fourth byte. */
static void pattern(uint8_t *buf, uint8_t format, uint32_t n)
{
	uint64_t seed = 7;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t v = (uint32_t)fixture_rand(&seed);
		unsigned bytes = qsnd_sample_bytes(format);

		if (format == VIRTIO_SND_PCM_FMT_S24)
			v = (uint32_t)((int32_t)(v << 8) >> 8);
		v = htole32(v);
		memcpy(buf + i * bytes, &v, bytes);
	}
}

START_TEST(round_trip)
{
	static uint8_t wrote[FRAMES * 8 * 4], got[FRAMES * 8 * 4 + 64];
	uint8_t format = formats[_i % 4], channels = (uint8_t)(_i / 4 + 1);
	struct qsnd_params p = params(format, channels);
	struct snd_wav w;

	pattern(wrote, format, FRAMES * channels);
	ck_assert_int_eq(snd_wav_create(&w, path, &p), 0);
	ck_assert_int_eq(snd_wav_write(&w, wrote, 1), 0);
	ck_assert_int_eq(snd_wav_write(&w, wrote + p.frame_bytes, FRAMES - 1), 0);
	ck_assert_int_eq(snd_wav_write(&w, NULL, 700), 0);
	ck_assert_int_eq(snd_wav_sync(&w), 0);
	snd_wav_close(&w);
	snd_wav_close(&w);

	ck_assert_int_eq(snd_wav_open(&w, path), 0);
	ck_assert_uint_eq(w.format, format);
	ck_assert_uint_eq(w.channels, channels);
	ck_assert_uint_eq(w.rate_hz, 48000);
	ck_assert_int_eq(snd_wav_read(&w, got, 300), 0);
	ck_assert_int_eq(snd_wav_read(&w, got + 300 * p.frame_bytes, FRAMES - 300), 0);
	ck_assert_mem_eq(got, wrote, FRAMES * p.frame_bytes);
	/* Silence as it was written, and behind the end. */
	for (unsigned i = 0; i < 3; i++) {
		memset(got, 0x77, sizeof(got));
		ck_assert_int_eq(snd_wav_read(&w, got, FRAMES), 0);
		for (unsigned k = 0; k < FRAMES * p.frame_bytes; k++)
			ck_assert_uint_eq(got[k], 0);
	}
	ck_assert_uint_eq(w.at_bytes, w.data_bytes);
	snd_wav_close(&w);
}
END_TEST

/* The file can be read while it is written: what the header says is there. */
START_TEST(read_while_written)
{
	static const uint8_t silence[256 * 4];
	struct qsnd_params p = params(VIRTIO_SND_PCM_FMT_S16, 2);
	struct snd_wav w, r;
	struct stat st;

	ck_assert_int_eq(snd_wav_create(&w, path, &p), 0);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_int_eq(snd_wav_write(&w, silence, 256), 0);
		ck_assert_int_eq(snd_wav_open(&r, path), 0);
		ck_assert_uint_eq(r.data_bytes, w.said_bytes);
		ck_assert_uint_le(w.data_bytes - r.data_bytes, 65536);
		ck_assert_int_eq(fstat(r.fd, &st), 0);
		ck_assert_uint_ge((uint64_t)st.st_size, 44 + r.data_bytes);
		snd_wav_close(&r);
	}
	snd_wav_close(&w);
}
END_TEST

/* ---- files that were given to us ---- */

struct field {
	unsigned off, bytes;
	uint32_t val;
};
static const struct {
	const char *what;
	struct field change;
	uint32_t cut;		/* to this length, 0 = not */
	bool ok;
} given_rows[] = {
	{ "as it was", { 0, 0, 0 }, 0, true },
	{ "no RIFF", { 0, 4, 0 }, 0, false },
	{ "no WAVE", { 8, 4, 0 }, 0, false },
	{ "no fmt", { 12, 4, 0x20746d67 }, 0, false },
	{ "fmt is too short", { 16, 4, 15 }, 0, false },
	{ "fmt is longer than the file", { 16, 4, UINT32_MAX }, 0, false },
	{ "another coding", { 20, 2, 2 }, 0, false },
	{ "no channels", { 22, 2, 0 }, 0, false },
	{ "too many channels", { 22, 2, 9 }, 0, false },
	{ "channels that do not fit the block", { 22, 2, 1 }, 0, false },
	{ "no block", { 32, 2, 0 }, 0, false },
	{ "8 bits", { 34, 2, 8 }, 0, false },
	{ "no data", { 36, 4, 0x61746163 }, 0, false },
	{ "data are longer than the file", { 40, 4, UINT32_MAX }, 0, true },
	{ "data of an odd length", { 40, 4, 399 }, 0, true },
	{ "cut in the data", { 0, 0, 0 }, 100, true },
	{ "cut behind the header", { 0, 0, 0 }, 44, true },
	{ "cut in a chunk's head", { 0, 0, 0 }, 40, false },
	{ "cut in fmt", { 0, 0, 0 }, 30, false },
	{ "cut in RIFF", { 0, 0, 0 }, 6, false },
	{ "empty", { 0, 0, 0 }, 1, false },
};

START_TEST(given)
{
	struct qsnd_params p = params(VIRTIO_SND_PCM_FMT_S16, 2);
	static uint8_t buf[400];
	struct snd_wav w;
	uint32_t v = htole32(given_rows[_i].change.val);
	int fd, r;

	ck_assert_int_eq(snd_wav_create(&w, path, &p), 0);
	ck_assert_int_eq(snd_wav_write(&w, buf, 100), 0);
	ck_assert_int_eq(snd_wav_sync(&w), 0);
	snd_wav_close(&w);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, &v, given_rows[_i].change.bytes, given_rows[_i].change.off),
			 given_rows[_i].change.bytes);
	if (given_rows[_i].cut)
		ck_assert_int_eq(ftruncate(fd, given_rows[_i].cut), 0);
	close(fd);

	r = snd_wav_open(&w, path);
	ck_assert_msg(r == (given_rows[_i].ok ? 0 : -EINVAL), "%s: %d", given_rows[_i].what, r);
	if (r == 0) {
		for (unsigned i = 0; i < 5; i++)
			ck_assert_int_eq(snd_wav_read(&w, buf, 50), 0);
		ck_assert_uint_le(w.at_bytes, 400);
	}
	snd_wav_close(&w);
}
END_TEST

START_TEST(no_file)
{
	struct qsnd_params p = params(VIRTIO_SND_PCM_FMT_S16, 2);
	struct snd_wav w;

	ck_assert_int_eq(snd_wav_open(&w, path), -ENOENT);
	ck_assert_int_lt(snd_wav_open(&w, folder), 0);
	ck_assert_int_eq(snd_wav_create(&w, folder, &p), -EISDIR);
	ck_assert_int_eq(w.fd, -1);
}
END_TEST

/* ---- the device ---- */

static uint64_t clock_ns;

static uint64_t host_now(struct vd_host *h)
{
	return clock_ns;
}

static const struct vd_host_ops host_ops = { .now = host_now };
static struct vd_host host = { .ops = &host_ops };
static const struct vd_option hostdev = { .name = "hostdev" };
static struct cf_errors errs;

static int file_open(bool output, const char *where, struct vd_snd_pcm **ret)
{
	static char text[600];
	static struct vd_arg arg;
	const struct vd_snd_cfg cfg = { .hostdev = &arg, .output = output,
					.formats = QSND_FORMATS, .rates = QSND_RATES,
					.channels_min = 1, .channels_max = 8 };

	snprintf(text, sizeof(text), "file:%s", where);
	arg = (struct vd_arg){ .opt = &hostdev, .text = text, .file = "t", .line = 1, .col = 1 };
	return snd_open(&host, &cfg, &errs, ret);
}

static uint32_t data_of(const char *name)
{
	struct snd_wav w;
	char p[600];
	uint32_t n;

	snprintf(p, sizeof(p), "%s/%s", folder, name);
	ck_assert_int_eq(snd_wav_open(&w, p), 0);
	n = w.data_bytes;
	snd_wav_close(&w);
	return n;
}

/* Frames at their time, gaps as silence, stops left out; a file for each format. */
START_TEST(device)
{
	struct qsnd_params p = params(VIRTIO_SND_PCM_FMT_S16, 2);
	static uint8_t buf[48000 * 4];
	struct vd_snd_pcm *pcm;

	clock_ns = 12345;
	ck_assert_int_eq(file_open(true, path, &pcm), 0);
	ck_assert_int_eq(pcm->ops->begin(pcm, &p), 0);
	clock_ns += Q_NSEC_PER_SEC;
	ck_assert_int_eq(pcm->ops->room(pcm), 0);	/* the clock stands */
	ck_assert_int_eq(pcm->ops->run(pcm, true), 0);
	clock_ns += 10 * Q_NSEC_PER_MSEC;
	ck_assert_int_eq(pcm->ops->room(pcm), 480);
	ck_assert_int_eq(pcm->ops->write(pcm, buf, 480), 0);
	ck_assert_uint_eq(pcm->ops->delay(pcm), 0);
	clock_ns += 5 * Q_NSEC_PER_MSEC;
	pcm->ops->gap(pcm);
	ck_assert_int_eq(pcm->ops->room(pcm), 0);
	ck_assert_int_eq(pcm->ops->run(pcm, false), 0);
	ck_assert_uint_eq(data_of("a.wav"), 15 * 48 * 4);
	/* Released and prepared again: the same file goes on. */
	pcm->ops->end(pcm);
	ck_assert_int_eq(pcm->ops->begin(pcm, &p), 0);
	ck_assert_int_eq(pcm->ops->run(pcm, true), 0);
	clock_ns += 100 * Q_NSEC_PER_SEC;
	pcm->ops->gap(pcm);	/* at most a second at once */
	pcm->ops->end(pcm);
	ck_assert_uint_eq(data_of("a.wav"), (15 * 48 + 48000) * 4);
	p = params(VIRTIO_SND_PCM_FMT_S24, 1);
	ck_assert_int_eq(pcm->ops->begin(pcm, &p), 0);
	ck_assert_int_eq(pcm->ops->run(pcm, true), 0);
	clock_ns += 10 * Q_NSEC_PER_MSEC;
	ck_assert_int_eq(pcm->ops->write(pcm, buf, 480), 0);
	pcm->ops->close(pcm);
	ck_assert_uint_eq(data_of("a-2.wav"), 480 * 3);
}
END_TEST

START_TEST(device_records)
{
	struct qsnd_params p = params(VIRTIO_SND_PCM_FMT_S24, 2);
	static uint8_t wrote[FRAMES * 8], got[FRAMES * 8];
	struct vd_snd_pcm *pcm;
	struct snd_wav w;

	pattern(wrote, p.format, FRAMES * 2);
	ck_assert_int_eq(snd_wav_create(&w, path, &p), 0);
	ck_assert_int_eq(snd_wav_write(&w, wrote, FRAMES), 0);
	ck_assert_int_eq(snd_wav_sync(&w), 0);
	snd_wav_close(&w);
	ck_assert_int_eq(file_open(false, path, &pcm), 0);
	/* It can be nothing else than what it is. */
	ck_assert_uint_eq(pcm->formats, QSND_BIT(VIRTIO_SND_PCM_FMT_S24));
	ck_assert_uint_eq(pcm->rates, QSND_BIT(VIRTIO_SND_PCM_RATE_48000));
	ck_assert_uint_eq(pcm->channels_min, 2);
	ck_assert_uint_eq(pcm->channels_max, 2);
	ck_assert_int_eq(pcm->ops->begin(pcm, &p), 0);
	ck_assert_int_eq(pcm->ops->run(pcm, true), 0);
	clock_ns += 10 * Q_NSEC_PER_MSEC;
	ck_assert_int_eq(pcm->ops->room(pcm), 480);
	ck_assert_int_eq(pcm->ops->read(pcm, got, 200), 0);
	ck_assert_mem_eq(got, wrote, 200 * 8);
	pcm->ops->gap(pcm);	/* 280 frames that nobody fetched are lost */
	clock_ns += 10 * Q_NSEC_PER_MSEC;
	ck_assert_int_eq(pcm->ops->read(pcm, got, 480), 0);
	ck_assert_mem_eq(got, wrote + 480 * 8, 480 * 8);
	pcm->ops->close(pcm);
}
END_TEST

START_TEST(device_refused)
{
	struct vd_snd_pcm *pcm;
	char where[600];

	ck_assert_int_eq(file_open(true, "/nowhere/a.wav", &pcm), -ENOENT);
	ck_assert_int_eq(file_open(false, path, &pcm), -ENOENT);
	ck_assert_int_eq(file_open(true, folder, &pcm), -EISDIR);
	memset(where, 'x', sizeof(where) - 1);
	where[sizeof(where) - 1] = 0;
	ck_assert_int_lt(file_open(true, where, &pcm), 0);
	ck_assert_uint_ge(errs.n, 4);
	cf_errors_fini(&errs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_wav");
	TCase *tc = fixture_case(s, "files");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, round_trip, 0, 4 * 8);
	tcase_add_test(tc, read_while_written);
	tcase_add_loop_test(tc, given, 0, Q_ARRAY_LEN(given_rows));
	tcase_add_test(tc, no_file);
	tc = fixture_case(s, "device");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, device);
	tcase_add_test(tc, device_records);
	tcase_add_test(tc, device_refused);
	return fixture_main(s);
}
