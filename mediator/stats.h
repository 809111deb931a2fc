/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mediator's disks remember of requests, as a protocol message. Main thread; reads what
 * the devices' threads write.
 */
#pragma once

#include "mediator/disk.h"
#include "proto/parley.pb-c.h"

/*
 * The slowest requests of share @name. 0, -ENOENT or -ENOMEM; *ret is owned (med_explain_free()).
 */
int med_explain(struct med_disk *disks, const char *name,
		Parley__ExplainReply **ret);
Parley__ExplainReply *med_explain_free(Parley__ExplainReply *e);
