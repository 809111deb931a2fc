/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing WAV files. One thread at a time a file.
 *
 * S24 of a guest is the low 24 bits of 32; in the file it is 3 bytes, as all programs understand.
 *
 * Invariant of a writer: the header never says more than is in the file, and at most SYNC_BYTES
 * less. Sizes are 32 bits in RIFF: a file ends before that.
 */
#include "qvm/snd_wav.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"

#define TAG_PCM 1u
#define TAG_FLOAT 3u
#define TAG_EXTENSIBLE 0xfffeu
#define SYNC_BYTES (64u << 10)
#define DATA_MAX (UINT32_MAX - 4096u)
#define CHUNK_FRAMES 256u
#define CHUNKS_MAX 64u		/* in front of the data */

struct wire_fmt {
	uint16_t w_tag, w_channels;
	uint32_t w_rate, w_byte_rate;
	uint16_t w_block, w_bits;
} __attribute__((packed));
static_assert(sizeof(struct wire_fmt) == 16, "as in the file");

struct wire_chunk {
	char id[4];
	uint32_t w_len;
};

struct wire_head {
	struct wire_chunk riff;
	char wave[4];
	struct wire_chunk fmt_chunk;
	struct wire_fmt fmt;
	struct wire_chunk data;
} __attribute__((packed));
static_assert(sizeof(struct wire_head) == 44, "as in the file");

static unsigned file_sample_bytes(const struct snd_wav *w)
{
	return w->format == VIRTIO_SND_PCM_FMT_S24 ? 3 : qsnd_sample_bytes(w->format);
}

static unsigned file_frame_bytes(const struct snd_wav *w)
{
	return w->channels * file_sample_bytes(w);
}

static int write_at(int fd, const void *buf, size_t len, off_t off)
{
	const char *from = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, from, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

/* All of it, or zeroes behind the end. */
static int read_at(int fd, void *buf, size_t len, off_t off)
{
	char *to = buf;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			memset(to, 0, len);
			return 0;
		}
		to += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- writing ---- */

int snd_wav_sync(struct snd_wav *w)
{
	unsigned frame = file_frame_bytes(w);
	struct wire_head h = {
		.riff = { "RIFF", htole32((uint32_t)sizeof(h) - 8 + w->data_bytes) },
		.wave = "WAVE",
		.fmt_chunk = { "fmt ", htole32(sizeof(h.fmt)) },
		.fmt = { htole16(w->format == VIRTIO_SND_PCM_FMT_FLOAT ? TAG_FLOAT : TAG_PCM),
			 htole16(w->channels), htole32(w->rate_hz), htole32(w->rate_hz * frame),
			 htole16((uint16_t)frame), htole16((uint16_t)(8 * file_sample_bytes(w))) },
		.data = { "data", htole32(w->data_bytes) },
	};
	int r = write_at(w->fd, &h, sizeof(h), 0);

	if (r == 0)
		w->said_bytes = w->data_bytes;
	return r;
}

int snd_wav_create(struct snd_wav *w, const char *path, const struct qsnd_params *p)
{
	int r;

	*w = SND_WAV_NULL;
	w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (w->fd < 0)
		return -errno;
	w->format = p->format;
	w->channels = p->channels;
	w->rate_hz = p->rate_hz;
	w->data_off = sizeof(struct wire_head);
	r = snd_wav_sync(w);
	if (r < 0)
		snd_wav_close(w);
	return r;
}

/* Samples of a guest as the file has them; how many bytes. */
static size_t pack(const struct snd_wav *w, const uint8_t *from, uint8_t *to, uint32_t n_samples)
{
	unsigned bytes = file_sample_bytes(w);

	if (bytes != 3) {
		memcpy(to, from, (size_t)n_samples * bytes);
		return (size_t)n_samples * bytes;
	}
	for (uint32_t i = 0; i < n_samples; i++, from += 4, to += 3)
		memcpy(to, from, 3);	/* little-endian: the low three */
	return (size_t)n_samples * 3;
}

static int append(struct snd_wav *w, const uint8_t *from, uint32_t n)
{
	uint8_t buf[CHUNK_FRAMES * QSND_CHANNELS_MAX * 4] = { 0 };
	size_t len = from ? pack(w, from, buf, n * w->channels) : (size_t)n * file_frame_bytes(w);
	int r;

	if (len > DATA_MAX - w->data_bytes)
		return -EFBIG;
	r = write_at(w->fd, buf, len, (off_t)(w->data_off + w->data_bytes));
	if (r == 0)
		w->data_bytes += (uint32_t)len;
	return r;
}

int snd_wav_write(struct snd_wav *w, const void *buf, uint32_t n)
{
	size_t frame = (size_t)w->channels * qsnd_sample_bytes(w->format);
	const uint8_t *from = buf;

	while (n > 0) {
		uint32_t some = Q_MIN(n, CHUNK_FRAMES);
		int r = append(w, from, some);

		if (r < 0)
			return r;
		if (from)
			from += some * frame;
		n -= some;
	}
	return w->data_bytes - w->said_bytes >= SYNC_BYTES ? snd_wav_sync(w) : 0;
}

/* ---- reading ---- */

static int take_fmt(struct snd_wav *w, const struct wire_fmt *f, uint16_t tag)
{
	static const struct { uint16_t tag, bits; uint8_t format; } rows[] = {
		{ TAG_PCM, 16, VIRTIO_SND_PCM_FMT_S16 }, { TAG_PCM, 24, VIRTIO_SND_PCM_FMT_S24 },
		{ TAG_PCM, 32, VIRTIO_SND_PCM_FMT_S32 },
		{ TAG_FLOAT, 32, VIRTIO_SND_PCM_FMT_FLOAT },
	};
	unsigned channels = le16toh(f->w_channels);

	for (unsigned i = 0; i < Q_ARRAY_LEN(rows); i++) {
		if (rows[i].tag != tag || rows[i].bits != le16toh(f->w_bits))
			continue;
		w->format = rows[i].format;
		w->channels = (uint8_t)Q_MIN(channels, UINT8_MAX);
		w->rate_hz = le32toh(f->w_rate);
		return channels && channels <= QSND_CHANNELS_MAX &&
		       le16toh(f->w_block) == file_frame_bytes(w) ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static int read_fmt(struct snd_wav *w, off_t off, uint32_t len)
{
	struct { struct wire_fmt f; uint8_t more[8]; uint16_t w_tag; } __attribute__((packed)) b;
	uint16_t tag;
	int r;

	if (len < sizeof(b.f))
		return -EINVAL;
	r = read_at(w->fd, &b, sizeof(b), off);
	if (r < 0)
		return r;
	tag = le16toh(b.f.w_tag);
	/* Extensible: the tag is the head of the subformat. */
	if (tag == TAG_EXTENSIBLE && len >= sizeof(b))
		tag = le16toh(b.w_tag);
	return take_fmt(w, &b.f, tag);
}

/* Goes through the chunks up to the data. */
static int find_data(struct snd_wav *w, uint64_t file_bytes)
{
	struct wire_chunk c;
	uint64_t off = 12;
	bool known = false;
	int r;

	for (unsigned i = 0; i < CHUNKS_MAX; i++) {
		if (!qspan_inside(off, sizeof(c), file_bytes))
			return -EINVAL;
		r = read_at(w->fd, &c, sizeof(c), (off_t)off);
		if (r < 0)
			return r;
		off += sizeof(c);
		if (!memcmp(c.id, "data", 4)) {
			w->data_off = off;
			w->data_bytes = (uint32_t)Q_MIN(le32toh(c.w_len), file_bytes - off);
			return known ? 0 : -EINVAL;
		}
		if (!memcmp(c.id, "fmt ", 4)) {
			r = read_fmt(w, (off_t)off, le32toh(c.w_len));
			if (r < 0)
				return r;
			known = true;
		}
		off += (uint64_t)le32toh(c.w_len) + (le32toh(c.w_len) & 1);
	}
	return -EINVAL;
}

int snd_wav_open(struct snd_wav *w, const char *path)
{
	struct wire_chunk c;
	char wave[4];
	struct stat st;
	int r;

	*w = SND_WAV_NULL;
	w->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (w->fd < 0)
		return -errno;
	r = fstat(w->fd, &st) < 0 ? -errno : read_at(w->fd, &c, sizeof(c), 0);
	if (r == 0)
		r = read_at(w->fd, wave, sizeof(wave), sizeof(c));
	if (r == 0 && (!S_ISREG(st.st_mode) || memcmp(c.id, "RIFF", 4) || memcmp(wave, "WAVE", 4)))
		r = -EINVAL;
	if (r == 0)
		r = find_data(w, (uint64_t)st.st_size);
	if (r < 0)
		snd_wav_close(w);
	return r;
}

static void unpack(const struct snd_wav *w, const uint8_t *from, uint8_t *to, uint32_t n_samples)
{
	if (file_sample_bytes(w) != 3) {
		memcpy(to, from, (size_t)n_samples * file_sample_bytes(w));
		return;
	}
	for (uint32_t i = 0; i < n_samples; i++, from += 3, to += 4) {
		memcpy(to, from, 3);
		to[3] = from[2] & 0x80 ? 0xff : 0;
	}
}

static int read_some(struct snd_wav *w, uint8_t *to, uint32_t n)
{
	uint8_t buf[CHUNK_FRAMES * QSND_CHANNELS_MAX * 4] = { 0 };
	uint64_t want = (uint64_t)n * file_frame_bytes(w);
	uint64_t have = Q_MIN(want, w->data_bytes - Q_MIN(w->at_bytes, w->data_bytes));
	int r = read_at(w->fd, buf, (size_t)have, (off_t)(w->data_off + w->at_bytes));

	if (r < 0)
		return r;
	w->at_bytes += have;
	unpack(w, buf, to, n * w->channels);
	return 0;
}

int snd_wav_read(struct snd_wav *w, void *buf, uint32_t n)
{
	size_t frame = (size_t)w->channels * qsnd_sample_bytes(w->format);
	uint8_t *to = buf;

	while (n > 0) {
		uint32_t some = Q_MIN(n, CHUNK_FRAMES);
		int r = read_some(w, to, some);

		if (r < 0)
			return r;
		to += some * frame;
		n -= some;
	}
	return 0;
}

void snd_wav_close(struct snd_wav *w)
{
	qfd_close(&w->fd);
}
