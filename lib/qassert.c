/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/qassert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void qassert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "<0>ev=bug file=%s line=%d cond=\"%s\"\n", file, line, cond);
	abort();
}
