/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small definitions that everything uses: unit types, bounds by subtraction, cleanup attributes.
 * No state, any thread.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/qassert.h"

#define Q_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define Q_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define Q_MIN(a, b) ((a) < (b) ? (a) : (b))
#define Q_MAX(a, b) ((a) > (b) ? (a) : (b))
#define Q_ALIGN_UP(v, a) (((v) + ((a)-1)) & ~((__typeof__(v))(a)-1))
#define Q_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Runs @fn(&variable) when the variable leaves its scope. */
#define QCLEAN(fn) __attribute__((cleanup(fn)))

#define Q_SECTOR_BYTES 512u
#define Q_NSEC_PER_SEC 1000000000ull
#define Q_NSEC_PER_MSEC 1000000ull
#define Q_NSEC_PER_USEC 1000ull

/* A guest-physical address. Only qmem turns one into a pointer. */
typedef struct {
	uint64_t v;
} gpa_t;

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){ v };
}

/* True when [off, off + len) lies inside [0, size). Never overflows. */
static inline bool qspan_inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* True when the two spans share a byte. Empty spans share nothing. Spans that wrap do not exist
 * here: the caller has checked each with qspan_inside(). */
static inline bool qspan_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && (a < b ? b - a < a_len : a - b < b_len);
}

/* CLOCK_MONOTONIC, in nanoseconds. Any thread. */
uint64_t qnow_ns(void);
