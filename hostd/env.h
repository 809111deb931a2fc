/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every part of hostd stands on: the loop, the folders, the configuration, the events. Set
 * up by main, outlives everything. Main thread.
 */
#pragma once

#include <event2/event.h>

#include "hostd/conf.h"
#include "hostd/events.h"
#include "hostd/logs.h"
#include "hostd/mode.h"
#include "hostd/recorder.h"

struct hd_env {
	struct event_base *base;
	/* Absolute, because children stand in other folders. */
	const char *config_dir, *state_dir, *run_dir, *bin_dir;
	struct hd_conf conf;
	struct hd_events events;
	struct hd_logs logs;
	struct hd_recorder recorder;	/* of events */
	uint32_t causes;	/* of the mode that the host is in; written by hd_modes_update() */
	uint64_t start_ns;
	bool ending;	/* nothing is started any more */
};
