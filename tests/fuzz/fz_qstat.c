/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state page of a mediator that lies: a right one of two devices and three shares, some of it
 * overwritten, as hostd reads it and tells of it.
 *
 * Input: patches, each a record (0 is the head), a place in it (16 bits), a length, and the bytes.
 */
#include <stdlib.h>

#include "lib/qstat.h"
#include "proto/qp_stats.h"
#include "tests/fuzz/fuzz.h"

#define DEVICES 2u
#define SHARES 3u
#define ROOM 1u	/* for one more of both */

static void *record(const struct qstat_page *p, unsigned which)
{
	if (which == 0)
		return p->head;
	return which <= DEVICES ? (void *)qstat_page_device(p, which - 1) :
				  (void *)qstat_page_share(p, which - 1 - DEVICES);
}

static void damage(struct qstat_page *p, struct fuzz_in *in)
{
	char bytes[256], *at[1 + DEVICES + SHARES];

	/* Where they are, before the head says otherwise. */
	for (unsigned i = 0; i < Q_ARRAY_LEN(at); i++)
		at[i] = record(p, i);
	while (in->left > 0) {
		char *to = at[fuzz_u8(in) % Q_ARRAY_LEN(at)];
		size_t off = fuzz_u16(in) % sizeof(struct qstat_share);
		size_t len = fuzz_u8(in), room = p->len_bytes - (size_t)(to - (char *)p->head);

		fuzz_bytes(in, bytes, len);
		if (off < room)
			memcpy(to + off, bytes, Q_MIN(len, room - off));
	}
}

static void tell(const struct qstat_view *v)
{
	Parley__MediatorStats *s = NULL;

	if (qp_stats_new(v, "", &s) < 0)
		return;
	qassert(s->n_devices <= DEVICES + ROOM && s->n_shares <= SHARES + ROOM);
	for (size_t i = 0; i < s->n_shares; i++) {
		qassert(strlen(s->shares[i]->share) < QSTAT_NAME_BYTES);
		qassert(strlen(s->shares[i]->device) < QSTAT_NAME_BYTES);
		for (const char *c = s->shares[i]->share; *c; c++)
			qassert(*c >= ' ' && *c <= '~');
	}
	size_t len = parley__mediator_stats__get_packed_size(s);
	uint8_t *packed = malloc(len + 1);
	qassert(packed && parley__mediator_stats__pack(s, packed) == len);
	free(packed);
	qp_stats_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct qstat_page p;
	struct qstat_view v;

	if (qstat_page_init_room(&p, DEVICES, SHARES, ROOM, ROOM) < 0)
		return 0;
	for (unsigned i = 0; i < DEVICES; i++)
		qstat_set_name(qstat_page_device(&p, i)->name, "disk");
	/* The last is nobody's, until somebody writes there. */
	for (unsigned i = 0; i < SHARES - 1; i++)
		qstat_set_name(qstat_page_share(&p, i)->name, "cluster/data");
	damage(&p, &in);
	if (qstat_view_init(&v, p.fd) == 0) {
		tell(&v);
		qstat_view_fini(&v);
	}
	qstat_page_fini(&p);
	return 0;
}
