/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one definition of qdef.h that is not inline. No state, any thread, no failure: the monotonic
 * clock exists on every Linux, and clock_gettime() goes through the vDSO.
 */
#include "lib/qdef.h"

#include <time.h>

uint64_t qnow_ns(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * Q_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}
