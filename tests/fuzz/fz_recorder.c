/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flight recorder's file is whatever the input is: read whole, asked for boots, written on. The
 * first byte of the input says how many records are written in between; the rest is the file.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostd/recorder.h"
#include "lib/qfd.h"
#include "tests/fuzz/fuzz.h"

static unsigned read_all(const struct hd_recorder *r)
{
	struct hd_record rec;
	unsigned n = 0;

	for (uint64_t seq = hd_recorder_first(r); seq < r->next; seq++) {
		if (!hd_recorder_get(r, seq, &rec))
			continue;
		qassert(rec.seq == seq && strlen(rec.event.text) < sizeof(rec.event.text));
		n++;
	}
	qassert(r->n_boots <= HD_BOOTS_MAX && n <= r->n_slots);
	for (unsigned i = 0; i < r->n_boots; i++)
		qassert(!*r->boots[i].id || strlen(r->boots[i].id) < 4 ||
			hd_recorder_boot(r, r->boots[i].id));
	(void)hd_recorder_boot(r, "-1");
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hd_event ev = { .time_ms = 1, .kind = "kind", .subject = "vm", .text = "text" };
	struct hd_recorder r;

	if (size < 1)
		return 0;
	int fd = qfd_memfd("recorder", size - 1);
	qassert(fd >= 0 && pwrite(fd, data + 1, size - 1, 0) == (ssize_t)(size - 1));
	hd_recorder_load(&r, fd);
	read_all(&r);
	for (unsigned i = 0; i < data[0]; i++)
		hd_recorder_put(&r, &ev);
	if (r.fd >= 0 && data[0])
		qassert(read_all(&r) >= 1);
	hd_recorder_close(&r);
	return 0;
}
