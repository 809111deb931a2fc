/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of hostd as JSON and as text. JSON: the first member is "schema"; members are only ever
 * added within a schema. Main thread.
 */
#pragma once

#include "hostctl/conn.h"

/* Prints and frees @take (NULL: out of memory, told). */
struct json_t;
enum hc_exit hc_print_json(const struct hc *hc, struct json_t *take);

/* What hc_show_list() and hc_show_stats() print with --json; NULL when out of memory. */
struct json_t *hc_list_json(const Parley__ListReply *m);
struct json_t *hc_stats_json(const Parley__StatsReply *m, const char *only);
const char *hc_vm_state_str(const Parley__VmInfo *m);

enum hc_exit hc_show_list(const struct hc *hc, const Parley__ListReply *m);
enum hc_exit hc_show_vm(const struct hc *hc, const Parley__VmInfo *m);
/* One line: what became of a VM. */
enum hc_exit hc_show_vm_line(const struct hc *hc, const Parley__VmInfo *m);
enum hc_exit hc_show_stats(const struct hc *hc, const Parley__StatsReply *m, const char *only);
/* A number that means something only where something was promised; else "-". */
struct qtable;
void hc_promised_cell(struct qtable *t, uint64_t promise_ns, uint64_t n);
/* The word for a step of a device's ladder (DeviceStats). */
const char *hc_ladder_str(uint32_t step);
/* HC_CONFIG when something is not right. */
enum hc_exit hc_show_check(const struct hc *hc, const Parley__CheckReply *m);
enum hc_exit hc_show_explain(const struct hc *hc, const char *share,
			     const Parley__ExplainReply *m);
/* Its text as it is; with --json its lines. */
enum hc_exit hc_show_policy(const struct hc *hc, const Parley__PolicyReply *m);
/* {"schema": 1, "done": true} */
enum hc_exit hc_show_done(const struct hc *hc);
enum hc_exit hc_show_version(const struct hc *hc, const Parley__VersionReply *m);
/* With --json one object a line. */
enum hc_exit hc_show_event(const struct hc *hc, const Parley__Event *m);
