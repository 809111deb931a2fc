/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line asks of the block worker. README.md lists the keys. */
#pragma once
#include "tests/guests/drv/blk.h"
#include "tests/guests/rt/rt.h"

struct phase {
	char name[16];
	uint64_t secs;
	unsigned qd;			/* 0: as configured */
};

struct config {
	uint64_t seed, ops, secs, think_us, stall_ms, tick_ms;
	uint64_t start_sector, region_sectors;	/* region 0: not given */
	unsigned read_percent, bs, qd, segs, dev, flush_every, queue_size,
		data_offset, queues;
	bool sequential, verify, init, final, indirect, event_idx, packed, poll, live, errs_ok,
		paused, check_len;
	struct phase phase[8];
	unsigned n_phases;
};

/* Reads and checks all keys; a bad one ends the guest as FAILED. */
void config_read(struct config *c);
