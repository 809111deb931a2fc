/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mediator's state page (lib/qstat.h) as the message that tells of it: made by the mediator that
 * is asked, or by who holds its page when it does not answer.
 */
#pragma once

#include "lib/qstat.h"
#include "proto/parley.pb-c.h"

/* All shares, or that of name @share ("" = all). *ret is owned (qp_stats_free()). 0 or -ENOMEM. */
int qp_stats_new(const struct qstat_view *v, const char *share, Parley__MediatorStats **ret);
Parley__MediatorStats *qp_stats_free(Parley__MediatorStats *s);
