/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the state page of a policy. */
#include "mediator/statpage.h"

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

int statpage_init(struct statpage *s, const struct med_policy *p)
{
	int r = qstat_page_init(&s->page, (unsigned)p->n_devices, (unsigned)p->n_shares);

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
