/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostd says, as Prometheus reads it (text format 0.0.4). Pure.
 */
#pragma once

#include "lib/qdef.h"
#include "proto/parley.pb-c.h"

/*
 * All metrics, in one text; @list and @stats are NULL when hostd is not there. *ret is freed with
 * free(). 0 or -ENOMEM.
 */
int mt_prom_text(const Parley__ListReply *list, const Parley__StatsReply *stats, char **ret,
		 size_t *ret_bytes);
