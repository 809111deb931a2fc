/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages, each with its contract in sandbox.h. Called once each, on the main thread, before
 * other threads exist, so that what they set holds for all threads.
 */
#include "qvm/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FIRST_FD 3u

static int close_from(unsigned first, unsigned last)
{
	return first <= last && close_range(first, last, 0) < 0 ? -errno : 0;
}

int sandbox_early(int control_fd)
{
	unsigned keep = (unsigned)control_fd;

	if (control_fd < (int)FIRST_FD)
		return close_from(FIRST_FD, UINT_MAX);
	int r = keep > FIRST_FD ? close_from(FIRST_FD, keep - 1) : 0;
	return r < 0 ? r : close_from(keep + 1, UINT_MAX);
}

int sandbox_ready(int control_fd)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
