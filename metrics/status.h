/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status page is drawn from, as JSON. Pure.
 */
#pragma once

#include "metrics/feed.h"

/* Freed with free(). NULL when out of memory. */
char *mt_status_json(const struct mt_feed *f);
