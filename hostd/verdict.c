/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts VMs and plans before the rules of the whole system. Main thread. Owns nothing but what it
 * returns.
 */
#include "hostd/verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/med.h"

static struct hd_whole_vm whole_of(const struct hd_vm *vm, const struct hd_plans *plans)
{
	const struct hd_plan_item *it = hd_plans_find(plans, vm->name);

	return (struct hd_whole_vm){
		.name = vm->name,
		.class = vm->conf.class,
		.runs = vm->child != NULL,
		.comes = vm->conf.autostart || vm->state == HD_VM_STARTING ||
			 vm->state == HD_VM_WAITING,
		.plan = it ? it->plan : NULL,
		.errs = CF_ERRORS_NULL,
	};
}

int hd_verdicts_make(struct hd_verdicts *ret, const struct hd_vms *vms,
		     const struct hd_plans *plans)
{
	static const struct hd_plan nothing;
	const struct hd_plan_item *med = hd_plans_find(plans, "");
	const struct hd_plan *mediator = med ? med->plan : NULL;
	struct hd_board board;
	struct hd_vm *vm;

	*ret = (struct hd_verdicts){ .v = calloc(vms->n + 1, sizeof(ret->v[0])) };
	if (!ret->v)
		return -ENOMEM;
	LIST_FOREACH(vm, &vms->list, entry)
		ret->v[ret->n++] = whole_of(vm, plans);
	if (!med && !hd_med_has_policies(vms->env))
		mediator = &nothing;
	hd_board_read(&board);
	hd_whole_check(ret->v, ret->n, mediator, &board);
	return 0;
}

void hd_verdicts_fini(struct hd_verdicts *v)
{
	for (size_t i = 0; i < v->n; i++)
		cf_errors_fini(&v->v[i].errs);
	free(v->v);
	*v = (struct hd_verdicts){ 0 };
}

/* The lines of @level alone, as cf_errors_print() writes them. */
static char *text_of(const struct cf_errors *errs, enum cf_level level)
{
	struct cf_errors some = CF_ERRORS_NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	for (size_t i = 0; i < errs->n; i++)
		if (errs->v[i].level == level)
			cf_error_add(&some, level, errs->v[i].file, errs->v[i].line,
				     errs->v[i].col, "%s", errs->v[i].text);
	if (f) {
		cf_errors_print(&some, f);
		(void)fclose(f);
	}
	cf_errors_fini(&some);
	return text;
}

int hd_verdict_text(const struct hd_verdicts *v, const char *name, enum cf_level level,
		    char **ret)
{
	*ret = NULL;
	for (size_t i = 0; i < v->n; i++) {
		const struct cf_errors *errs = &v->v[i].errs;
		size_t n = level == CF_ERROR ? errs->n_errors : errs->n - errs->n_errors;

		if (strcmp(v->v[i].name, name) != 0 || n == 0)
			continue;
		*ret = text_of(errs, level);
		return *ret ? 0 : -ENOMEM;
	}
	return 0;
}
