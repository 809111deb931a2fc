/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/qassert.h"

#include <stdlib.h>

#include "lib/qlog.h"

_Noreturn void qassert_failed(const char *cond, const char *file, int line)
{
	qlog(QLOG_INTERNAL, "ev=bug file=%s line=%d cond=\"%s\"", file, line, cond);
	abort();
}
