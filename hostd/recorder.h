/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flight recorder: what happened, on disk, bounded, so that it can be asked for after a crash
 * or a reboot. Main thread. Blocking, but one small write an event, into place that the file has
 * already.
 *
 * The file is a ring of records of 512 bytes, no header: record number seq (from 1, for ever)
 * stands at slot seq % slots, little-endian, with a checksum over all of it. What is torn, damaged
 * or at another place than its number says does not count. A record is in the file when put
 * returns, and on its way to the disk: hostd's death loses none, a power cut the last moments.
 */
#pragma once

#include "hostd/events.h"
#include "lib/qdef.h"

#define HD_RECORD_BYTES 512u
#define HD_RECORDS_MAX 65536u
#define HD_BOOTS_MAX 32u
#define HD_BOOT_LETTERS 36u

struct hd_record {
	uint64_t seq;
	uint64_t uptime_ms;		/* of the host; goes on while it sleeps, never back */
	char boot[HD_BOOT_LETTERS + 1];
	struct hd_event event;
};

struct hd_boot {
	char id[HD_BOOT_LETTERS + 1];
	uint64_t first;			/* its first record */
};

struct hd_recorder {
	int fd;				/* owned; -1: nothing is kept */
	uint64_t n_slots;
	uint64_t next;			/* number of the next record, from 1 */
	uint64_t n_damaged;		/* slots that hold neither a record nor noughts */
	bool failed;			/* the last write did */
	char boot[HD_BOOT_LETTERS + 1];	/* this one */
	struct hd_boot boots[HD_BOOTS_MAX];	/* oldest first */
	unsigned n_boots;
};
#define HD_RECORDER_NULL ((struct hd_recorder){ .fd = -1, .next = 1 })

/*
 * @path with room for @n_records of them, made when missing; one of another size is copied, the
 * newest records of it. 0: none is kept, and what was kept before is left alone. 0 or -errno, then
 * *r is one that keeps nothing.
 */
int hd_recorder_open(struct hd_recorder *r, const char *path, uint32_t n_records);
/* Reads what @take_fd has, however it came to be so. */
void hd_recorder_load(struct hd_recorder *r, int take_fd);
void hd_recorder_close(struct hd_recorder *r);

/* A failure is told in the log once, until a write goes well again. */
void hd_recorder_put(struct hd_recorder *r, const struct hd_event *ev);
/* The oldest number that may be there. */
uint64_t hd_recorder_first(const struct hd_recorder *r);
/* False when there is no such record any more, or not yet, or it is damaged. Texts are clean. */
bool hd_recorder_get(const struct hd_recorder *r, uint64_t seq, struct hd_record *ret);
/*
 * Which boot @word means: "0" this one, "-1" the one before that has records, …; or the beginning
 * of one's id, at least 4 letters. NULL when there is none. Borrowed until the next put.
 */
const char *hd_recorder_boot(const struct hd_recorder *r, const char *word);
