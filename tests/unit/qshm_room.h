/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with regions and one hub, for the tests of lib/qshm.h. */
#pragma once

#include <poll.h>

#include "lib/qfd.h"
#include "lib/qshm.h"
#include "tests/unit/fixture.h"

#define WAIT_MS 30000

struct room {
	char dir[64];
	struct qshm *hub;
};

static inline void room_open(struct room *r)
{
	snprintf(r->dir, sizeof(r->dir), "/tmp/parley-qshm.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->dir));
	ck_assert_int_eq(qshm_new(r->dir, "t-shm", &r->hub), 0);
}

/* Nothing may be left of a region whose last one left by itself. */
static inline void room_close(struct room *r)
{
	char path[128];

	r->hub = qshm_free(r->hub);
	snprintf(path, sizeof(path), "%s/shm", r->dir);
	ck_assert_msg(rmdir(path) == 0, "%s: something is left", path);
	ck_assert_int_eq(rmdir(r->dir), 0);
}

static inline struct qshm_conn *joined(struct qshm *s, const char *name, uint32_t n_pages)
{
	struct qshm_conn *c = NULL;
	int r = qshm_join(s, name, n_pages, &c);

	ck_assert_msg(r == 0, "join %s: %d (%s)", name, r, qshm_verdict_str(r));
	return c;
}

/* Until the status is @want; bells are not cleared. */
static inline void until(struct qshm_conn *c, uint32_t want)
{
	uint64_t end = qnow_ns() + WAIT_MS * Q_NSEC_PER_MSEC;

	while (qshm_status(c) != want) {
		struct pollfd p = { .fd = qshm_event_fd(c), .events = POLLIN };

		ck_assert_msg(qnow_ns() < end, "status %#x, expected %#x", qshm_status(c), want);
		poll(&p, 1, 100);
		qfd_event_clear(p.fd);
	}
}
