/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the state page of a policy, and shares out its records later. Main thread, except as the
 * header says. Invariant: a record without a name is nobody's, and empty.
 */
#include "mediator/statpage.h"

#include <string.h>

#define RELAXED memory_order_relaxed

void statpage_set_device(struct qstat_device *to, const struct med_device_policy *p)
{
	atomic_store_explicit(&to->slots, p->slots, RELAXED);
	atomic_store_explicit(&to->reserve, p->reserve, RELAXED);
}

void statpage_set_share(struct qstat_share *to, const struct med_share_policy *p)
{
	atomic_store_explicit(&to->class, (uint32_t)p->class, RELAXED);
	atomic_store_explicit(&to->depth, p->depth, RELAXED);
	atomic_store_explicit(&to->target_ns, p->target_ns, RELAXED);
}

int statpage_take_device(struct statpage *s, const struct med_device_policy *p)
{
	unsigned i = 0, n = s->page.head->n_devices;

	while (i < n && qstat_page_device(&s->page, i)->name[0])
		i++;
	int r = i == n ? qstat_page_add_device(&s->page) : 0;
	if (r < 0)
		return r;
	struct qstat_device *d = qstat_page_device(&s->page, i);
	qstat_begin(&d->seq);
	qstat_set_name(d->name, p->name);
	statpage_set_device(d, p);
	qstat_end(&d->seq);
	return (int)i;
}

int statpage_take_share(struct statpage *s, const struct med_share_policy *p, unsigned device)
{
	unsigned i = 0, n = s->page.head->n_shares;

	while (i < n && qstat_page_share(&s->page, i)->name[0])
		i++;
	int r = i == n ? qstat_page_add_share(&s->page) : 0;
	if (r < 0)
		return r;
	struct qstat_share *sh = qstat_page_share(&s->page, i);
	qstat_begin(&sh->seq);
	qstat_set_name(sh->name, p->name);
	sh->device = device;
	statpage_set_share(sh, p);
	qstat_end(&sh->seq);
	return (int)i;
}

unsigned statpage_index(const struct statpage *s, const struct qstat_device *d)
{
	const struct qstat_head *h = s->page.head;

	return (unsigned)(((const char *)d - (const char *)h - h->devices_at) / h->device_bytes);
}

void statpage_clear_device(struct qstat_device *to)
{
	const size_t from = offsetof(struct qstat_device, name);

	qstat_begin(&to->seq);
	memset((char *)to + from, 0, sizeof(*to) - from);
	qhist_reset(&to->service);
	qstat_end(&to->seq);
}

void statpage_clear_share(struct qstat_share *to)
{
	const size_t from = offsetof(struct qstat_share, name);

	qstat_begin(&to->seq);
	memset((char *)to + from, 0, sizeof(*to) - from);
	qhist_reset(&to->latency);
	qhist_reset(&to->wait);
	qstat_end(&to->seq);
}

int statpage_init(struct statpage *s, const struct med_policy *p)
{
	/* Room for a whole policy that comes while another goes. */
	int r = qstat_page_init_room(&s->page, (unsigned)p->n_devices, (unsigned)p->n_shares,
				     2 * MED_DEVICES_MAX - (unsigned)p->n_devices,
				     2 * MED_SHARES_MAX - (unsigned)p->n_shares);

	if (r == 0)
		r = qstat_view_init(&s->view, s->page.fd);
	if (r < 0) {
		statpage_fini(s);
		return r;
	}
	for (unsigned i = 0; i < p->n_devices; i++) {
		struct qstat_device *d = qstat_page_device(&s->page, i);

		qstat_set_name(d->name, p->devices[i].name);
		statpage_set_device(d, &p->devices[i]);
	}
	for (unsigned i = 0; i < p->n_shares; i++) {
		struct qstat_share *sh = qstat_page_share(&s->page, i);

		qstat_set_name(sh->name, p->shares[i].name);
		sh->device = p->shares[i].device;
		statpage_set_share(sh, &p->shares[i]);
	}
	return 0;
}

void statpage_fini(struct statpage *s)
{
	qstat_view_fini(&s->view);
	qstat_page_fini(&s->page);
}
