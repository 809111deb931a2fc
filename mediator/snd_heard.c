/* SPDX-License-Identifier: Apache-2.0 */
/* The heard-path check (snd_heard.h). Invariant: alarm is what was told last. */
#include "mediator/snd_heard.h"

enum snd_heard_news snd_heard_look(struct snd_heard *h, uint64_t now_ns, uint64_t consumed,
				   bool speaks, bool lost, uint64_t limit_ns)
{
	bool grows = consumed != h->consumed && !lost;

	if (grows || !h->since_ns || (speaks && !h->speaks && !h->alarm))
		h->since_ns = now_ns;
	h->consumed = consumed;
	h->speaks = speaks;
	if (h->alarm && grows) {
		h->alarm = false;
		return SND_HEARD_AGAIN;
	}
	if (!h->alarm && speaks && (lost || now_ns - h->since_ns > limit_ns)) {
		h->alarm = true;
		return SND_HEARD_ALARM;
	}
	return SND_HEARD_SAME;
}
