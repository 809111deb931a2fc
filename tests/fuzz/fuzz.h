/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzz target is: one function that is given bytes and must survive them. It keeps nothing
 * from one call to the next that changes what the next one does; qassert() says what must hold.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/qdef.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as it is eaten. What is not there any more reads as 0. */
struct fuzz_in {
	const uint8_t *at;
	size_t left;
};

static inline void fuzz_bytes(struct fuzz_in *in, void *buf, size_t len_bytes)
{
	size_t n = Q_MIN(len_bytes, in->left);

	memset(buf, 0, len_bytes);
	if (n > 0)
		memcpy(buf, in->at, n);
	in->at += n;
	in->left -= n;
}

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	uint8_t v;

	fuzz_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t lo = fuzz_u8(in);

	return (uint16_t)(lo | fuzz_u8(in) << 8);
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t v;

	fuzz_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint64_t fuzz_u64(struct fuzz_in *in)
{
	uint64_t v;

	fuzz_bytes(in, &v, sizeof(v));
	return v;
}
