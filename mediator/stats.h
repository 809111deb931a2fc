/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mediator's disks say of themselves, as a protocol message. Main thread; reads counters
 * that the devices' threads write.
 */
#pragma once

#include "mediator/disk.h"
#include "proto/parley.pb-c.h"

/* All shares, or that of name @share ("" = all). *ret is owned (med_stats_free()). 0 or -ENOMEM. */
int med_stats_collect(const struct med_disk *disks, size_t n_disks, const char *share,
		      uint64_t uptime_ns, Parley__MediatorStats **ret);
/*
 * The slowest requests of share @name. 0, -ENOENT or -ENOMEM; *ret is owned (med_explain_free()).
 */
int med_explain(const struct med_disk *disks, size_t n_disks, const char *name,
		Parley__ExplainReply **ret);
Parley__ExplainReply *med_explain_free(Parley__ExplainReply *e);
Parley__MediatorStats *med_stats_free(Parley__MediatorStats *s);
