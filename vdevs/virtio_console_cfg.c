/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration of a virtio-console says: the ports that it names, each once or, for two
 * directions, more often, and what is wrong with them. No state; main thread.
 */
#include <string.h>

#include "vdevs/virtio_console.h"

size_t vcon_name_len(const char *text)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-.:+";
	size_t len = strcspn(text, ",");

	return len <= VCON_NAME_MAX && strspn(text, legal) == len && text[0] != '.' ? len : 0;
}

/* The first option that names the port of @cfg->args[@i]. */
static size_t port_first(const struct vd_config *cfg, size_t i)
{
	size_t len = vcon_name_len(cfg->args[i].text);

	for (size_t j = 0; j < i; j++)
		if (!strcmp(cfg->args[j].opt->name, "port") &&
		    vcon_name_len(cfg->args[j].text) == len &&
		    !memcmp(cfg->args[j].text, cfg->args[i].text, len))
			return j;
	return i;
}

bool vcon_is_new_port(const struct vd_config *cfg, size_t i)
{
	return !strcmp(cfg->args[i].opt->name, "port") && port_first(cfg, i) == i;
}

static void check_port(const struct vd_config *cfg, const struct vd_arg *a, struct cf_errors *errs)
{
	size_t len = vcon_name_len(a->text);

	if (!len)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: port '%s': expected NAME or NAME,HOSTDEV; a name has 1 to %u "
			     "letters, digits and _ - . : +, and does not begin with .", cfg->type,
			     a->text, VCON_NAME_MAX);
	else if (a->text[len])
		vd_console_check_hostdev(cfg, a, a->text + len + 1, errs);
}

void vcon_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	unsigned n = 1;

	virtio_check(cfg, errs);
	vd_console_check(cfg, errs);
	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];

		if (strcmp(a->opt->name, "port") != 0)
			continue;
		check_port(cfg, a, errs);
		if (vcon_is_new_port(cfg, i) && n++ == VCON_PORTS_MAX)
			cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
				     "%s: port '%s' is one too many: there are at most %u",
				     cfg->type, a->text, VCON_PORTS_MAX - 1);
	}
}
