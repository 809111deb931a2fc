/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the back end that a device's policy asks for. Main thread. */
#include "mediator/backend.h"

#include <string.h>

int backend_open(const struct med_device_policy *p, bool lock, struct cf_errors *errs,
		 struct backend **ret)
{
	if (!p->null_bytes)
		return backend_file_open(p, lock, errs, ret);
	int r = backend_null_open(p->null_bytes, ret);
	if (r < 0)
		cf_error_add(errs, CF_ERROR, p->file, p->line, 0, "device '%s': %s", p->name,
			     strerror(-r));
	return r;
}

struct backend *backend_free(struct backend *b)
{
	if (b)
		b->ops->free(b);
	return NULL;
}
