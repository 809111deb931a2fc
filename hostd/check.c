/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl check: what every program says of its own configuration, and what the whole-system check
 * says of all of them together. hostctl plan: what one program says that it would do. Main thread.
 * Nothing that runs is touched.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"
#include "hostd/run.h"
#include "hostd/verdict.h"

struct check {
	struct hd_job job;
	struct hd_plans *plans;
	struct hd_vms *vms;
	char name[HD_NAME_MAX + 1];	/* "" = all */
	struct hd_run *run;		/* of a plan */
};

/* ---- check ---- */

/* An answer under construction: items and their lines, all owned. */
struct report {
	Parley__CheckReply__Item *items, **v;
	size_t n;
	bool ok;
};

static void add_line(Parley__CheckReply__Item *it, const char *text, size_t len)
{
	char **v = realloc(it->lines, (it->n_lines + 1) * sizeof(v[0]));

	if (!v)
		return;
	it->lines = v;
	v[it->n_lines] = strndup(text, len);
	it->n_lines += v[it->n_lines] != NULL;
}

static void add_text(Parley__CheckReply__Item *it, const char *text)
{
	while (text && *text) {
		size_t len = strcspn(text, "\n");

		add_line(it, text, len);
		text += len + (text[len] == '\n');
	}
}

static void add_verdict(Parley__CheckReply__Item *it, const struct hd_verdicts *verdicts,
			const char *name)
{
	static const enum cf_level levels[] = { CF_ERROR, CF_WARNING };

	for (size_t i = 0; i < Q_ARRAY_LEN(levels); i++) {
		char *text = NULL;

		if (hd_verdict_text(verdicts, name, levels[i], &text) == 0 && !text)
			continue;
		it->ok = it->ok && levels[i] != CF_ERROR;
		add_text(it, text ? text : "out of memory");
		free(text);
	}
}

static Parley__CheckReply__Item *add_item(struct report *r, const struct hd_plan_item *plan,
					  const char *name)
{
	Parley__CheckReply__Item *it = &r->items[r->n];

	*it = (Parley__CheckReply__Item)PARLEY__CHECK_REPLY__ITEM__INIT;
	it->name = (char *)name;
	it->ok = plan && plan->ok;
	for (size_t i = 0; plan && i < plan->n_lines; i++)
		add_text(it, plan->lines[i]);
	r->v[r->n++] = it;
	return it;
}

static void add_vm(struct report *r, const struct check *k, const struct hd_vm *vm,
		   const struct hd_verdicts *verdicts)
{
	Parley__CheckReply__Item *it = add_item(r, hd_plans_find(k->plans, vm->name), vm->name);

	if (vm->conf_errors) {
		it->ok = false;
		add_text(it, vm->conf_errors);
	}
	add_text(it, vm->conf_warnings);
	add_verdict(it, verdicts, vm->name);
	r->ok = r->ok && it->ok;
}

static void report_fini(struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		for (size_t n = 0; n < r->items[i].n_lines; n++)
			free(r->items[i].lines[n]);
		free(r->items[i].lines);
	}
	free(r->items);
	free(r->v);
}

static int make_report(struct report *r, const struct check *k)
{
	const struct hd_plan_item *med = *k->name ? NULL : hd_plans_find(k->plans, "");
	struct hd_verdicts verdicts;
	struct hd_vm *vm;

	*r = (struct report){ .ok = true };
	r->items = calloc(k->vms->n + 2, sizeof(r->items[0]));
	r->v = calloc(k->vms->n + 2, sizeof(r->v[0]));
	if (!r->items || !r->v || hd_verdicts_make(&verdicts, k->vms, k->plans) < 0)
		return -ENOMEM;
	LIST_FOREACH(vm, &k->vms->list, entry)
		if (!*k->name || strcmp(vm->name, k->name) == 0)
			add_vm(r, k, vm, &verdicts);
	if (med)
		r->ok = add_item(r, med, "mediator")->ok && r->ok;
	hd_verdicts_fini(&verdicts);
	return 0;
}

static void check_done(void *ctx, const char *name)
{
	struct check *k = ctx;
	Parley__CheckReply reply = PARLEY__CHECK_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	struct report report;
	struct hd_client *c = k->job.client;

	int r = make_report(&report, k);
	reply.ok = report.ok;
	reply.items = report.v;
	reply.n_items = report.n;
	e.body_case = PARLEY__ENVELOPE__BODY_CHECK_REPLY;
	e.check_reply = &reply;
	if (r == 0)
		hd_client_reply(c, k->job.id, &e);
	else
		hd_link_send_error(c->link, k->job.id, PARLEY__CODE__E_FAILED, "out of memory");
	report_fini(&report);
	hd_job_remove(&k->job);
	free(k);
}

static void check_cancel(struct hd_job *job)
{
	struct check *k = Q_CONTAINER_OF(job, struct check, job);

	hd_plans_forget(k->plans, k);
	hd_run_forget(k->run);
	free(k);
}

static struct check *check_new(struct hd_client *c, uint32_t id, const char *name)
{
	struct check *k = calloc(1, sizeof(*k));

	if (!k) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "out of memory");
		return NULL;
	}
	k->plans = c->oper->plans;
	k->vms = c->oper->vms;
	k->job.cancel = check_cancel;
	snprintf(k->name, sizeof(k->name), "%s", name);
	if (hd_job_add(&k->job, c, id) == 0)
		return k;
	free(k);
	return NULL;
}

static void give_up(struct check *k, int err)
{
	hd_link_send_error(k->job.client->link, k->job.id, PARLEY__CODE__E_FAILED, "%s",
			   strerror(-err));
	hd_job_remove(&k->job);
	free(k);
}

void hd_check(struct hd_client *c, uint32_t id, const char *name)
{
	struct check *k = check_new(c, id, name);
	int r = k ? hd_plans_ask(k->plans, HD_PLANS_ALL, "", 0, check_done, k) : 0;

	if (r < 0)
		give_up(k, r);
}

/* ---- plan ---- */

/* As much as one string may hold, without cutting a character. */
static size_t piece_len(const char *text, size_t len)
{
	size_t n = Q_MIN(len, (size_t)QP_STRING_MAX - 4);

	while (n > 1 && n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static void send_plan(struct hd_client *c, uint32_t id, const char *text, size_t len)
{
	Parley__PlanReply reply = PARLEY__PLAN_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	char *pieces[HD_RUN_OUTPUT_MAX / (QP_STRING_MAX / 2)];
	bool whole = true;

	for (size_t at = 0; at < len && whole;) {
		size_t n = piece_len(text + at, len - at);

		pieces[reply.n_text] = strndup(text + at, n);
		whole = pieces[reply.n_text] != NULL;
		reply.n_text += whole;
		at += n;
	}
	reply.text = pieces;
	e.body_case = PARLEY__ENVELOPE__BODY_PLAN_REPLY;
	e.plan_reply = &reply;
	if (whole)
		hd_client_reply(c, id, &e);
	else
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "out of memory");
	for (size_t i = 0; i < reply.n_text; i++)
		free(pieces[i]);
}

static void plan_done(void *ctx, const struct hd_run_result *r)
{
	struct check *k = ctx;
	struct hd_client *c = k->job.client;
	char *why = NULL;
	size_t len = 0;
	FILE *f = r->ok && r->output ? NULL : open_memstream(&why, &len);

	k->run = NULL;
	for (size_t i = 0; f && i < r->n_lines; i++)
		fprintf(f, "\n%s", r->lines[i]);
	if (f)
		(void)fclose(f);
	if (r->ok && r->output)
		send_plan(c, k->job.id, r->output, r->output_len);
	else
		hd_link_send_error(c->link, k->job.id, PARLEY__CODE__E_CONFIG,
				   "%s has no plan:%.3500s", k->name, why ? why : "");
	free(why);
	hd_job_remove(&k->job);
	free(k);
}

void hd_plan(struct hd_client *c, uint32_t id, const char *name, bool json)
{
	struct check *k = check_new(c, id, name);
	char exe[PATH_MAX], cwd[PATH_MAX], arg[HD_NAME_MAX + 16];
	char *argv[] = { exe, (char *)"--plan", json ? (char *)"--json" : arg, json ? arg : NULL,
			 NULL };

	if (!k)
		return;
	snprintf(exe, sizeof(exe), "%s/qvm", c->oper->env->bin_dir);
	snprintf(cwd, sizeof(cwd), "%s/vms", c->oper->env->config_dir);
	snprintf(arg, sizeof(arg), "@%s.qvmconf", name);
	int r = hd_run_start(c->oper->env, exe, cwd, argv, plan_done, k, &k->run);
	if (r < 0)
		give_up(k, r);
}
