/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back end whose front end is the test, which writes raw messages and reads raw
 * answers; and an owner that notes what it is told. One thread.
 */
#pragma once

#include "lib/qfd.h"
#include "lib/qvhu_be.h"
#include "tests/unit/fixture.h"

#define K 1024ull
#define MEM_BYTES (64 * K)
#define GPA 0x100000ull
#define UADDR 0x7f0000000000ull
#define OFFERED (QVHU_F_PROTOCOL_FEATURES | 1ull << 28 | 1ull << 29 | 1ull << 32)
#define PROTOCOL                                                                         \
	(QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT |            \
	 QVHU_PF_RESET_DEVICE | QVHU_PF_CONFIGURE_MEM_SLOTS | QVHU_PF_STATUS)

/* A back end, the front end's end of its socket, and what the owner was told. */
struct world {
	struct qvhu_be_ops ops;
	struct qvhu_be *be;
	int peer;
	unsigned starts[2], stops[2], calls;
	bool running[2];
	bool stop_waits;		/* queue_stop returns false */
	bool stop_inside;		/* ... after having called qvhu_be_queue_stopped() itself */
	uint16_t stop_base;
	struct qvhu_be_queue q[2];
	struct qmem *mem;		/* of the last start */
	int start_verdict;
	uint64_t features;
	uint8_t config[32];
};

/* How far a connection has come. */
enum stage { NEW, NEGOTIATED, MEMORY, READY, RUNNING };

/* A back end of two queues at most 256 long that wants sealed memory. world_close() ends it and
 * checks that every start had its stop. */
void world_open(struct world *w);
void world_close(struct world *w);
/* Opens, and goes on to @stage: features acked; a memory table at GPA and UADDR; queue 0 enabled
 * and kicked but without addresses; queue 0 running. */
void world_at(struct world *w, enum stage stage);
/*
 * Writes one raw message with a descriptor for each letter: m and s sealed memory of 64 KiB and 4
 * KiB, u not sealed, v an in-flight region of version 2, e eventfd, p pipe, z /dev/zero. A length
 * beyond what we may send is claimed only.
 */
void say_fds(struct world *w, uint32_t req, uint32_t flags, const void *payload,
		    uint32_t len, const char *kinds);
/* The same with plain flags, and has it served. */
int tell(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds);
/* The same, which must be QVHU_OK. */
void ok(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds);
void ok_u64(struct world *w, uint32_t req, uint64_t v, const char *kinds);
void ok_state(struct world *w, uint32_t req, uint32_t index, uint32_t num);
/* The answer to @req; its length. */
uint32_t hear(struct world *w, uint32_t req, void *payload, size_t max);
uint64_t hear_u64(struct world *w, uint32_t req);
bool hears_nothing(struct world *w);
/* One region of MEM_BYTES; the parts of ring @i in it, with base 3. */
void say_mem(struct world *w, uint64_t gpa_, uint64_t uaddr);
void say_ring(struct world *w, unsigned i);
