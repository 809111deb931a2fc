/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that lie in the parts of a chain of descriptors, as one piece. Any thread. The parts are
 * mapped already and checked (qring.h); what is behind them may be written by a guest meanwhile, so
 * what was gathered is used, and never looked at again where it was.
 */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

/* The first bytes of @iov, at most @max_bytes, into @buf; how many there were. */
size_t qiov_gather(const struct iovec *iov, unsigned n_iov, void *buf, size_t max_bytes);
/* @len_bytes of @buf into @iov, as far as they find room; how many did. */
size_t qiov_scatter(const struct iovec *iov, unsigned n_iov, const void *buf, size_t len_bytes);
