/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the back end that a device's policy asks for. Main thread. */
#include "mediator/backend.h"

#include <string.h>

static int told(const struct med_device_policy *p, int r, struct cf_errors *errs)
{
	if (r < 0)
		cf_error_add(errs, CF_ERROR, p->file, p->line, 0, "device '%s': %s", p->name,
			     strerror(-r));
	return r;
}

int backend_open(const struct med_device_policy *p, enum backend_lock lock, struct cf_errors *errs,
		 struct backend **ret)
{
	struct backend *b = NULL;
	int r = p->null_bytes ? told(p, backend_null_open(p->null_bytes, &b), errs) :
				backend_file_open(p, lock, errs, &b);

	if (r == 0 && p->simulate)
		r = told(p, backend_sim_wrap(&p->model, p->slots, b, &b), errs);
	if (r == 0)
		*ret = b;
	return r;
}

struct backend *backend_free(struct backend *b)
{
	if (b)
		b->ops->free(b);
	return NULL;
}
