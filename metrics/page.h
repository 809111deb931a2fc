/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: metrics/page.html, as it is, made into C by metrics/embed.py.
 */
#pragma once

#include <stddef.h>

extern const unsigned char mt_page[];
extern const size_t mt_page_bytes;
