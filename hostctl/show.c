/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows VMs, processes, checks, events and versions. Main thread. Nothing is interpreted here but
 * units: the words are hostd's.
 */
#include "hostctl/show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/qtable.h"

#define SCHEMA 1

static const char *const vm_states[] = {
	[PARLEY__VM_STATE__VM_OFF] = "off",
	[PARLEY__VM_STATE__VM_STARTING] = "starting",
	[PARLEY__VM_STATE__VM_RUNNING] = "running",
	[PARLEY__VM_STATE__VM_STOPPING] = "stopping",
	[PARLEY__VM_STATE__VM_FAILED] = "failed",
	[PARLEY__VM_STATE__VM_WAITING] = "waiting",
};

static const char *state_word(Parley__VmState s)
{
	return (size_t)s < Q_ARRAY_LEN(vm_states) ? vm_states[s] : "unknown";
}

const char *hc_vm_state_str(const Parley__VmInfo *m)
{
	return m->paused ? "paused" : state_word(m->state);
}

enum hc_exit hc_print_json(const struct hc *hc, struct json_t *take)
{
	if (!take || json_dumpf(take, stdout, JSON_INDENT(2)) < 0) {
		json_decref(take);
		fputs("hostctl: out of memory\n", stderr);
		return HC_FAILED;
	}
	putchar('\n');
	json_decref(take);
	return HC_OK;
}

static json_t *vm_json(const Parley__VmInfo *m)
{
	json_t *exit_code = m->exit_code < 0 ? json_null() : json_integer(m->exit_code);
	json_t *log = json_array();

	for (size_t i = 0; i < m->n_log; i++)
		json_array_append_new(log, json_string(m->log[i]));
	json_t *j = json_pack("{s:s, s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:o, s:s, s:s}",
			      "name", m->name, "state", state_word(m->state),
			      "paused", (int)m->paused,
			      "want", m->want, "class", qp_class_str(m->class_),
			      "pid", (json_int_t)m->pid, "uptime_ms", (json_int_t)m->uptime_ms,
			      "starts", (json_int_t)m->starts, "exit_code", exit_code,
			      "reason", m->reason, "config", m->config);
	if (j && m->n_log)
		json_object_set(j, "log", log);
	json_decref(log);
	return j;
}

static json_t *proc_json(const Parley__ProcInfo *m)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "name", m->name, "state", m->state,
			 "pid", (json_int_t)m->pid, "uptime_ms", (json_int_t)m->uptime_ms,
			 "starts", (json_int_t)m->starts, "reason", m->reason);
}

json_t *hc_list_json(const Parley__ListReply *m)
{
	json_t *vms = json_array(), *procs = json_array(), *causes = json_array();

	for (size_t i = 0; i < m->n_vms; i++)
		json_array_append_new(vms, vm_json(m->vms[i]));
	for (size_t i = 0; i < m->n_procs; i++)
		json_array_append_new(procs, proc_json(m->procs[i]));
	for (size_t i = 0; i < m->n_causes; i++)
		json_array_append_new(causes, json_string(m->causes[i]));
	return json_pack("{s:i, s:o, s:o, s:s, s:o}", "schema", SCHEMA, "vms", vms, "processes",
			 procs, "mode", m->mode, "causes", causes);
}

static void pid_cell(struct qtable *t, uint32_t pid)
{
	if (pid)
		qtable_add(t, "%" PRIu32, pid);
	else
		qtable_add(t, "-");
}

static void uptime_cell(struct qtable *t, uint64_t ms, bool up)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", up ? qtable_uptime(buf, ms) : "-");
}

/* A line where all is not well. */
static void show_mode(const Parley__ListReply *m)
{
	if (m->n_causes == 0)
		return;
	printf("mode: %s (", m->mode);
	for (size_t i = 0; i < m->n_causes; i++)
		printf("%s%s", i ? ", " : "", m->causes[i]);
	printf(")\n");
}

enum hc_exit hc_show_list(const struct hc *hc, const Parley__ListReply *m)
{
	static const char *const heads[] = {
		"NAME", "CLASS", "STATE", ">PID", ">UPTIME", "REASON",
	};
	struct qtable t;

	if (hc->json)
		return hc_print_json(hc, hc_list_json(m));
	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_vms; i++) {
		const Parley__VmInfo *v = m->vms[i];

		qtable_add(&t, "%s", v->name);
		qtable_add(&t, "%s", qp_class_str(v->class_));
		qtable_add(&t, "%s", hc_vm_state_str(v));
		pid_cell(&t, v->pid);
		uptime_cell(&t, v->uptime_ms, v->state == PARLEY__VM_STATE__VM_RUNNING);
		qtable_add(&t, "%s", v->reason);
	}
	for (size_t i = 0; i < m->n_procs; i++) {
		const Parley__ProcInfo *p = m->procs[i];

		qtable_add(&t, "(%s)", p->name);
		qtable_add(&t, "-");
		qtable_add(&t, "%s", p->state);
		pid_cell(&t, p->pid);
		uptime_cell(&t, p->uptime_ms, p->uptime_ms > 0);
		qtable_add(&t, "%s", p->reason);
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
	show_mode(m);
	return HC_OK;
}

static enum hc_exit vm_as_json(const struct hc *hc, const Parley__VmInfo *m)
{
	return hc_print_json(hc, json_pack("{s:i, s:o}", "schema", SCHEMA, "vm", vm_json(m)));
}

enum hc_exit hc_show_vm(const struct hc *hc, const Parley__VmInfo *m)
{
	char buf[QTABLE_UNIT_BYTES];

	if (hc->json)
		return vm_as_json(hc, m);
	printf("%s: %s\n", m->name, hc_vm_state_str(m));
	printf("  class    %s\n", qp_class_str(m->class_));
	printf("  wanted   %s\n", m->want);
	if (m->pid)
		printf("  process  %" PRIu32 "\n", m->pid);
	if (m->state == PARLEY__VM_STATE__VM_RUNNING)
		printf("  uptime   %s\n", qtable_uptime(buf, m->uptime_ms));
	if (*m->reason)
		printf("  reason   %s\n", m->reason);
	if (m->exit_code >= 0)
		printf("  exit     %" PRId32 "\n", m->exit_code);
	printf("  starts   %" PRIu32 "\n", m->starts);
	printf("  config   %s\n", m->config);
	if (m->n_log)
		puts("  log of its last run:");
	for (size_t i = 0; i < m->n_log; i++)
		printf("    %s\n", m->log[i]);
	return HC_OK;
}

enum hc_exit hc_show_vm_line(const struct hc *hc, const Parley__VmInfo *m)
{
	if (hc->json)
		return vm_as_json(hc, m);
	printf("%s: %s", m->name, hc_vm_state_str(m));
	if (m->pid)
		printf(" (process %" PRIu32 ")", m->pid);
	printf("%s%s\n", *m->reason ? ": " : "", m->reason);
	return HC_OK;
}

static enum hc_exit check_json(const struct hc *hc, const Parley__CheckReply *m)
{
	json_t *items = json_array();

	for (size_t i = 0; i < m->n_items; i++) {
		json_t *lines = json_array();

		for (size_t k = 0; k < m->items[i]->n_lines; k++)
			json_array_append_new(lines, json_string(m->items[i]->lines[k]));
		json_array_append_new(items, json_pack("{s:s, s:b, s:o}",
						       "name", m->items[i]->name,
						       "ok", (int)m->items[i]->ok,
						       "lines", lines));
	}
	return hc_print_json(hc, json_pack("{s:i, s:b, s:o}", "schema", SCHEMA, "ok", (int)m->ok,
					   "items", items));
}

static enum hc_exit check_verdict(const Parley__CheckReply *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_items; i++)
		n += !m->items[i]->ok;
	if (n)
		fprintf(stderr, "hostctl: %zu of %zu would not start: correct what is listed\n", n,
			m->n_items);
	return m->ok ? HC_OK : HC_CONFIG;
}

enum hc_exit hc_show_check(const struct hc *hc, const Parley__CheckReply *m)
{
	if (hc->json) {
		enum hc_exit r = check_json(hc, m);

		return r == HC_OK ? check_verdict(m) : r;
	}
	for (size_t i = 0; i < m->n_items; i++) {
		printf("%s: %s\n", m->items[i]->name, m->items[i]->ok ? "ok" : "REFUSED");
		for (size_t k = 0; k < m->items[i]->n_lines; k++)
			printf("  %s\n", m->items[i]->lines[k]);
	}
	if (m->n_items == 0)
		puts("there is nothing to check: no VM and no policy");
	return check_verdict(m);
}

/* All pieces as one text; NULL when out of memory. */
static char *joined(const Parley__PolicyReply *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	for (size_t i = 0; f && i < m->n_text; i++)
		fputs(m->text[i], f);
	if (f)
		(void)fclose(f);
	return text;
}

enum hc_exit hc_show_policy(const struct hc *hc, const Parley__PolicyReply *m)
{
	char *text = joined(m), *rest = NULL;

	if (!text)
		return hc_fail(hc, HC_FAILED, "out of memory");
	if (!hc->json) {
		fputs(text, stdout);
		free(text);
		return HC_OK;
	}
	json_t *lines = json_array();
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		json_array_append_new(lines, json_string(line));
	free(text);
	return hc_print_json(hc, json_pack("{s:i, s:o}", "schema", SCHEMA, "lines", lines));
}

enum hc_exit hc_show_done(const struct hc *hc)
{
	return hc_print_json(hc, json_pack("{s:i, s:b}", "schema", SCHEMA, "done", 1));
}

enum hc_exit hc_show_version(const struct hc *hc, const Parley__VersionReply *m)
{
	char buf[QTABLE_UNIT_BYTES];

	if (hc->json)
		return hc_print_json(hc, json_pack(
			"{s:i, s:s, s:{s:s, s:I, s:I, s:s, s:s}}", "schema", SCHEMA, "hostctl",
			PARLEY_VERSION, "hostd", "version", m->version, "pid", (json_int_t)m->pid,
			"uptime_ms", (json_int_t)m->uptime_ms, "config_dir", m->config_dir,
			"state_dir", m->state_dir));
	printf("hostctl (Parley) %s\n", PARLEY_VERSION);
	printf("hostd (Parley) %s, process %" PRIu32 ", up %s, configuration in %s\n", m->version,
	       m->pid, qtable_uptime(buf, m->uptime_ms), m->config_dir);
	return HC_OK;
}

enum hc_exit hc_show_event(const struct hc *hc, const Parley__Event *m)
{
	time_t sec = (time_t)(m->time_ms / 1000);
	struct tm tm;
	char when[32];

	if (hc->json) {
		json_t *j = json_pack("{s:i, s:I, s:s, s:s, s:s}", "schema", SCHEMA, "time_ms",
				      (json_int_t)m->time_ms, "kind", m->kind, "subject",
				      m->subject, "text", m->text);

		if (j && m->seq &&
		    json_object_update_new(j, json_pack("{s:I, s:I, s:s}", "seq",
							(json_int_t)m->seq, "uptime_ms",
							(json_int_t)m->uptime_ms, "boot",
							m->boot)) < 0) {
			json_decref(j);
			j = NULL;
		}
		if (!j || json_dumpf(j, stdout, JSON_COMPACT) < 0) {
			json_decref(j);
			return hc_fail(hc, HC_FAILED, "out of memory");
		}
		json_decref(j);
		putchar('\n');
	} else {
		localtime_r(&sec, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%s.%03u  %-16s  %-12s  %s\n", when, (unsigned)(m->time_ms % 1000), m->kind,
		       m->subject, m->text);
	}
	fflush(stdout);
	return HC_OK;
}
