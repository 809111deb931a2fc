/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between one piece and several. No state. */
#include "lib/qiov.h"

#include <string.h>

#include "lib/qdef.h"

size_t qiov_gather(const struct iovec *iov, unsigned n_iov, void *buf, size_t max_bytes)
{
	size_t done = 0;

	for (unsigned i = 0; i < n_iov && done < max_bytes; i++) {
		size_t n = Q_MIN(iov[i].iov_len, max_bytes - done);

		memcpy((char *)buf + done, iov[i].iov_base, n);
		done += n;
	}
	return done;
}

size_t qiov_scatter(const struct iovec *iov, unsigned n_iov, const void *buf, size_t len_bytes)
{
	size_t done = 0;

	for (unsigned i = 0; i < n_iov && done < len_bytes; i++) {
		size_t n = Q_MIN(iov[i].iov_len, len_bytes - done);

		memcpy(iov[i].iov_base, (const char *)buf + done, n);
		done += n;
	}
	return done;
}
