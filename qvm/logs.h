/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where log lines go: `logger`, and `log` of a vdev. Set up once, on the main thread, before there
 * are others.
 */
#pragma once

#include "lib/qlog.h"
#include "qvm/cfg.h"

#define LOGS_SYSLOG_DEFAULT "/dev/log"

/*
 * Adds the destinations of the configuration, and `internal` to the system's log in any case. That
 * log is the socket @syslog; where nobody listens at it, or standard error is the journal anyway,
 * standard error takes its place. @cfg is borrowed for good.
 */
void logs_open(const struct vm_cfg *cfg, const char *syslog);
/* After logs_open(): @l as a destination. @l->mask may be 0. */
struct qlog_dest logs_dest(const struct cfg_logger *l);
void logs_close(void);
