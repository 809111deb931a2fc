/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages, each with its contract in sandbox.h. Called once each, on the main thread.
 */
#include "qvm/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/qdef.h"
#include "qvm/calls.h"

#define FIRST_FD 3u

static int close_from(unsigned first, unsigned last)
{
	return first <= last && close_range(first, last, 0) < 0 ? -errno : 0;
}

/* Closes what lies between *from and the @n descriptors from @first on (-1: none). */
static int close_up_to(unsigned *from, int first, unsigned n)
{
	if (first < (int)FIRST_FD)
		return 0;
	int r = (unsigned)first > *from ? close_from(*from, (unsigned)first - 1) : 0;
	*from = Q_MAX(*from, (unsigned)first + n);
	return r;
}

int sandbox_early(int control_fd, int keep_fd)
{
	bool control_first = control_fd < keep_fd;
	unsigned from = FIRST_FD;
	int r = control_first ? close_up_to(&from, control_fd, 1) :
				close_up_to(&from, keep_fd, SANDBOX_KEPT_FDS);

	if (r == 0)
		r = control_first ? close_up_to(&from, keep_fd, SANDBOX_KEPT_FDS) :
				    close_up_to(&from, control_fd, 1);
	if (r == 0)
		r = close_from(from, UINT_MAX);
	if (r == 0 && keep_fd >= 0 &&
	    close_range((unsigned)keep_fd, (unsigned)keep_fd + SANDBOX_KEPT_FDS - 1,
			CLOSE_RANGE_CLOEXEC) < 0)
		r = -errno;
	return r;
}

int sandbox_opened(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int sandbox_ready(enum qjail_mode mode)
{
	int r = mode == QJAIL_OFF ? 0 : qjail_drop_caps();

	return r < 0 ? r : qjail_filter(qvm_calls, qvm_n_calls, mode);
}
