/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the recorder's file. Main thread.
 *
 * Theory of operation: all slots are written once when the file is made, so that a record is an
 * overwrite of a block that the file has: nothing but that block need reach the disk for it to be
 * there after a crash, and no record waits for another. A write that was cut off breaks one
 * checksum, of the record that was written or of the oldest, whose place it takes.
 *
 * Invariants: every number in [first, next) stands at slot number % n_slots, or is lost; boots are
 * in the order of their first record. What the file holds is believed for nothing but its texts.
 */
#include "hostd/recorder.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "proto/qp_check.h"

#define RECORD_MAGIC 0x31764550u	/* "PEv1" */
#define SEQ_MAX (UINT64_C(1) << 62)	/* what is above was not counted up to */
#define TEXT_BYTES 340u
#define SLOTS_AT_ONCE 64u

struct slot {
	uint32_t magic, crc;		/* of what follows */
	uint64_t seq, time_ms, uptime_ms;
	char boot[HD_BOOT_LETTERS];
	char kind[32], subject[72], text[TEXT_BYTES];	/* with a nought, each */
};
static_assert(sizeof(struct slot) == HD_RECORD_BYTES, "a record fills its slot");
static_assert(sizeof(((struct slot *)0)->kind) == sizeof(((struct hd_event *)0)->kind) &&
	      sizeof(((struct slot *)0)->subject) == sizeof(((struct hd_event *)0)->subject),
	      "an event's names fit");

/* CRC-32 as in Ethernet, half a byte a step: a torn or rotten record is seen, malice is not. */
static uint32_t crc32_of(const void *p, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const uint8_t *b = p;
	uint32_t crc = UINT32_MAX;

	for (; len > 0; len--, b++) {
		crc = table[(crc ^ *b) & 0xf] ^ crc >> 4;
		crc = table[(crc ^ *b >> 4) & 0xf] ^ crc >> 4;
	}
	return ~crc;
}

static uint32_t slot_crc(const struct slot *s)
{
	return crc32_of(&s->seq, sizeof(*s) - offsetof(struct slot, seq));
}

/* 0: it holds no record. */
static uint64_t slot_seq(const struct slot *s, uint64_t at, uint64_t n_slots)
{
	uint64_t seq = le64toh(s->seq);

	if (le32toh(s->magic) != RECORD_MAGIC || le32toh(s->crc) != slot_crc(s) ||
	    seq % n_slots != at)
		return 0;
	return seq;
}

static bool read_slots(const struct hd_recorder *r, uint64_t at, struct slot *s, size_t n)
{
	size_t len = n * sizeof(*s);

	return pread(r->fd, s, len, (off_t)(at * sizeof(*s))) == (ssize_t)len;
}

uint64_t hd_recorder_first(const struct hd_recorder *r)
{
	return r->next > r->n_slots ? r->next - r->n_slots : 1;
}

/* A text of a file: it may have no end, and hold anything. */
static void take_text(char *to, size_t to_bytes, const char *from, size_t from_bytes)
{
	snprintf(to, to_bytes, "%.*s", (int)strnlen(from, from_bytes), from);
	qp_text_clean(to);
}

bool hd_recorder_get(const struct hd_recorder *r, uint64_t seq, struct hd_record *ret)
{
	struct slot s;

	if (r->fd < 0 || seq < hd_recorder_first(r) || seq >= r->next ||
	    !read_slots(r, seq % r->n_slots, &s, 1) ||
	    slot_seq(&s, seq % r->n_slots, r->n_slots) != seq)
		return false;
	*ret = (struct hd_record){
		.seq = seq,
		.uptime_ms = le64toh(s.uptime_ms),
		.event.time_ms = le64toh(s.time_ms),
	};
	take_text(ret->boot, sizeof(ret->boot), s.boot, sizeof(s.boot));
	take_text(ret->event.kind, sizeof(ret->event.kind), s.kind, sizeof(s.kind));
	take_text(ret->event.subject, sizeof(ret->event.subject), s.subject, sizeof(s.subject));
	take_text(ret->event.text, sizeof(ret->event.text), s.text, sizeof(s.text));
	return true;
}

/* ---- boots ---- */

static void note_boot(struct hd_recorder *r, const char *id, uint64_t seq)
{
	if (r->n_boots > 0 && strcmp(r->boots[r->n_boots - 1].id, id) == 0)
		return;
	if (r->n_boots == HD_BOOTS_MAX) {
		memmove(r->boots, r->boots + 1, sizeof(r->boots) - sizeof(r->boots[0]));
		r->n_boots--;
	}
	struct hd_boot *b = &r->boots[r->n_boots++];
	snprintf(b->id, sizeof(b->id), "%s", id);
	b->first = seq;
}

const char *hd_recorder_boot(const struct hd_recorder *r, const char *word)
{
	char *end;
	long back = strtol(word, &end, 10);
	unsigned last = r->n_boots;

	if (end != word && !*end && back <= 0) {
		if (back == 0)
			return r->boot;
		/* This one has a record as soon as hostd has said anything. */
		if (last > 0 && strcmp(r->boots[last - 1].id, r->boot) == 0)
			last--;
		return back >= -(long)last ? r->boots[(long)last + back].id : NULL;
	}
	for (unsigned i = last; i > 0 && strlen(word) >= 4; i--)
		if (strncmp(r->boots[i - 1].id, word, strlen(word)) == 0)
			return r->boots[i - 1].id;
	return NULL;
}

static void read_boot_id(struct hd_recorder *r)
{
	QCLEAN(qfd_close) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || qfd_read_all(fd, r->boot, HD_BOOT_LETTERS) < 0)
		snprintf(r->boot, sizeof(r->boot), "unknown");
	r->boot[HD_BOOT_LETTERS] = '\0';
}

/* ---- the file ---- */

static bool is_blank(const struct slot *s)
{
	static const struct slot blank;

	return memcmp(s, &blank, sizeof(*s)) == 0;
}

/* The highest number there is. */
static uint64_t scan(struct hd_recorder *r)
{
	static struct slot s[SLOTS_AT_ONCE];
	uint64_t last = 0;

	for (uint64_t at = 0; at < r->n_slots; at += SLOTS_AT_ONCE) {
		size_t n = (size_t)Q_MIN(r->n_slots - at, (uint64_t)SLOTS_AT_ONCE);

		if (!read_slots(r, at, s, n)) {
			r->n_damaged += n;
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			uint64_t seq = slot_seq(&s[i], at + i, r->n_slots);

			if (seq > SEQ_MAX)
				seq = 0;
			r->n_damaged += !seq && !is_blank(&s[i]);
			last = Q_MAX(last, seq);
		}
	}
	return last;
}

void hd_recorder_load(struct hd_recorder *r, int take_fd)
{
	struct hd_record rec;
	struct stat st;

	*r = HD_RECORDER_NULL;
	r->fd = take_fd;
	read_boot_id(r);
	if (fstat(take_fd, &st) == 0 && st.st_size > 0)
		r->n_slots = Q_MIN((uint64_t)st.st_size / HD_RECORD_BYTES,
				   (uint64_t)HD_RECORDS_MAX);
	if (r->n_slots == 0) {
		qfd_close(&r->fd);
		return;
	}
	r->next = scan(r) + 1;
	for (uint64_t seq = hd_recorder_first(r); seq < r->next; seq++)
		if (hd_recorder_get(r, seq, &rec))
			note_boot(r, rec.boot, seq);
}

static int write_slot(struct hd_recorder *r, const struct slot *s, uint64_t at)
{
	ssize_t n = pwrite(r->fd, s, sizeof(*s), (off_t)(at * sizeof(*s)));

	return n == (ssize_t)sizeof(*s) ? 0 : n < 0 ? -errno : -EIO;
}

static int blank_file(int fd, uint64_t n_slots)
{
	static const struct slot blanks[SLOTS_AT_ONCE];
	int r = 0;

	for (uint64_t at = 0; at < n_slots && r == 0; at += SLOTS_AT_ONCE)
		r = qfd_write_all(fd, blanks, (size_t)Q_MIN(n_slots - at, (uint64_t)SLOTS_AT_ONCE) *
						      sizeof(blanks[0]));
	return r;
}

/* The newest records of @old, as far as there is room, under the numbers that they have. */
static int copy_records(const struct hd_recorder *old, struct hd_recorder *r)
{
	uint64_t room = Q_MIN(old->n_slots, r->n_slots);
	uint64_t seq = old->next > room ? old->next - room : 1;
	struct slot s;
	int ret = 0;

	for (; seq < old->next && ret == 0; seq++)
		if (read_slots(old, seq % old->n_slots, &s, 1) &&
		    slot_seq(&s, seq % old->n_slots, old->n_slots) == seq)
			ret = write_slot(r, &s, seq % r->n_slots);
	return ret;
}

/* A file of @n_records with what @old has, in the place of that at @path. Descriptor or -errno. */
static int make_file(const char *path, const struct hd_recorder *old, uint32_t n_records)
{
	struct hd_recorder fresh = HD_RECORDER_NULL;
	char tmp[PATH_MAX];

	if (snprintf(tmp, sizeof(tmp), "%s.new", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	(void)unlink(tmp);
	QCLEAN(qfd_close) int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	fresh.fd = fd;
	fresh.n_slots = n_records;
	int r = blank_file(fd, n_records);
	if (r == 0 && old->fd >= 0)
		r = copy_records(old, &fresh);
	if (r == 0 && (fdatasync(fd) < 0 || rename(tmp, path) < 0))
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp);
		return r;
	}
	r = fd;
	fd = -1;
	return r;
}

int hd_recorder_open(struct hd_recorder *r, const char *path, uint32_t n_records)
{
	*r = HD_RECORDER_NULL;
	read_boot_id(r);
	if (n_records == 0)
		return 0;
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd >= 0)
		hd_recorder_load(r, fd);
	if (r->fd >= 0 && r->n_slots == n_records)
		return 0;
	fd = make_file(path, r, n_records);
	hd_recorder_close(r);
	if (fd < 0)
		return fd;
	hd_recorder_load(r, fd);
	return 0;
}

void hd_recorder_close(struct hd_recorder *r)
{
	if (r->fd >= 0)
		(void)fdatasync(r->fd);
	qfd_close(&r->fd);
	r->n_slots = 0;
}

static uint64_t uptime_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / Q_NSEC_PER_MSEC;
}

void hd_recorder_put(struct hd_recorder *r, const struct hd_event *ev)
{
	struct slot s = { .magic = htole32(RECORD_MAGIC) };

	if (r->fd < 0)
		return;
	s.seq = htole64(r->next);
	s.time_ms = htole64(ev->time_ms);
	s.uptime_ms = htole64(uptime_ms());
	memcpy(s.boot, r->boot, strlen(r->boot));
	memcpy(s.kind, ev->kind, sizeof(s.kind));
	memcpy(s.subject, ev->subject, sizeof(s.subject));
	memcpy(s.text, ev->text, strnlen(ev->text, sizeof(s.text) - 1));
	s.crc = htole32(slot_crc(&s));
	uint64_t at = r->next % r->n_slots;
	int err = write_slot(r, &s, at);
	if (err < 0 && !r->failed)
		qlog_err(err, "ev=recorder_failed why=\"what happens is not kept on disk\"");
	r->failed = err < 0;
	if (err < 0)
		return;
	/* Starts it towards the disk without waiting: the block is there, nothing else is due. */
	(void)sync_file_range(r->fd, (off_t)(at * sizeof(s)), sizeof(s), SYNC_FILE_RANGE_WRITE);
	note_boot(r, r->boot, r->next++);
}
