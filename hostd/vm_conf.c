/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NAME.vm says of a VM, and what is wrong with it, as lines for an operator. Main thread.
 * Invariant: conf_errors is set exactly while the file is refused; conf holds what was last taken.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/vm.h"

/* The lines of @errs as one text; NULL when there are none, or no memory. */
static char *errors_text(const struct cf_errors *errs)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = errs->n ? open_memstream(&text, &len) : NULL;

	if (!f)
		return NULL;
	cf_errors_print(errs, f);
	(void)fclose(f);
	return text;
}

void hd_vm_reload(struct hd_vm *vm)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	char path[PATH_MAX];
	bool was_refused = vm->conf_errors;

	snprintf(path, sizeof(path), "%s/vms/%s.vm", vm->env->config_dir, vm->name);
	free(vm->conf_errors);
	free(vm->conf_warnings);
	vm->conf_errors = vm->conf_warnings = NULL;
	int r = hd_vm_conf_load(path, &vm->env->conf, &errs, &vm->conf);
	if (r < 0)
		vm->conf_errors = errors_text(&errs);
	if (r < 0 && !vm->conf_errors)
		vm->conf_errors = strdup("out of memory\n");
	cf_errors_fini(&errs);
	if (was_refused != (vm->conf_errors != NULL))
		vm->ops->changed(vm->ctx, vm);
}

void hd_vm_complain(struct hd_vm *vm, enum cf_level level, const char *fmt, ...)
{
	char **field = level == CF_ERROR ? &vm->conf_errors : &vm->conf_warnings;
	struct cf_errors errs = CF_ERRORS_NULL;
	char path[PATH_MAX], text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/vms/%s.vm", vm->env->config_dir, vm->name);
	cf_error_add(&errs, level, path, vm->conf.after_line, 0, "%s", text);
	char *line = errors_text(&errs), *all = line;
	if (line && *field) {
		if (asprintf(&all, "%s%s", *field, line) < 0)
			all = NULL;
		free(line);
	}
	if (all) {
		free(*field);
		*field = all;
	}
	cf_errors_fini(&errs);
}
