/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vdevs are called and what they call: names, given or made, and the names by which they refer
 * to what is outside: shares of a mediator, disks, peers on a network. What one VM says of itself
 * can be seen here; whether others agree is seen when they meet. Main thread.
 */
#include <errno.h>

#include "qvm/cfg_int.h"
#include "vdevs/types.h"
#include "vdevs/vdnet.h"
#include "vdevs/virtio_blk.h"

/* ---- names ---- */

static const struct cfg_vdev *name_owner(const struct vm_cfg *cfg, const char *name, size_t before)
{
	for (size_t i = 0; i < before; i++)
		if (cfg->vdevs[i].cfg.name && !strcmp(cfg->vdevs[i].cfg.name, name))
			return &cfg->vdevs[i];
	return NULL;
}

static void check_given_names(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (!v->cfg.name || !v->type)
			continue;
		const struct cfg_vdev *other = name_owner(cfg, v->cfg.name, i);
		if (other)
			cfg_err(errs, &v->pos, "the name '%s' is taken by vdev %s (%s:%u:%u)",
				v->cfg.name, other->cfg.type, other->pos.file, other->pos.line,
				other->pos.col);
		if (!strcmp(v->cfg.name, "env"))
			cfg_err(errs, &v->pos, "the name 'env' is kept for the VM's state file");
		if (!strcmp(v->type->name, cfg->arch->pic_type) && strchr(v->cfg.name, ':'))
			cfg_err(errs, &v->pos, "the name '%s' of an interrupt controller must not "
				"have a ':'", v->cfg.name);
	}
}

/* "virtio-blk0", "pl011-0" for the first without a name, unless somebody has that name. */
static int make_names(struct vm_cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		struct cfg_vdev *v = &cfg->vdevs[i];
		char name[64];
		if (v->cfg.name || !v->type)
			continue;
		unsigned n = 0;
		for (size_t k = 0; k < i; k++)
			n += cfg->vdevs[k].type == v->type;
		size_t len = strlen(v->type->name);
		bool digit = len && strchr("0123456789", v->type->name[len - 1]);
		do
			snprintf(name, sizeof(name), "%s%s%u", v->type->name, digit ? "-" : "",
				 n++);
		while (name_owner(cfg, name, cfg->n_vdevs));
		if (v->type->flags & VD_IMPLICIT)
			snprintf(name, sizeof(name), "%s", v->type->name);
		v->cfg.name = cfg_store_copy(cfg->strings, name, strlen(name));
		if (!v->cfg.name)
			return -ENOMEM;
	}
	return 0;
}

int cfg_check_names(struct vm_cfg *cfg, struct cf_errors *errs)
{
	check_given_names(cfg, errs);
	return make_names(cfg);
}

/* ---- what stands behind a vdev ---- */

static struct cf_pos arg_pos(const struct vd_arg *a)
{
	return (struct cf_pos){ a->file, a->line, a->col };
}

static bool is_disk(const struct cfg_vdev *v)
{
	return v->type == &vd_virtio_blk_type;
}

/* Why @a of @v and @b of an earlier vdev cannot both be, or NULL. */
static const char *why_not_both(const struct cfg_vdev *v, const char *a, const char *b)
{
	const bool read_only = a[0] == '<', other_read_only = b[0] == '<';
	if (strcmp(a + read_only, b + other_read_only))
		return NULL;
	if (!strncmp(a, "mediator:", 9) || !strncmp(a, "refer:", 6))
		return "a share has one client";
	if (!strncmp(a, "vhost-user:", 11))
		return "a socket serves one client";
	if (!strncmp(a, "file:", 5) && v->type == &vd_virtio_snd_type)
		return "a file of sound has one writer";
	if (is_disk(v) && !(read_only && other_read_only))
		return "a disk has one writer: write '<' before it in both for reading only";
	return NULL;
}

static void check_backing(const struct vm_cfg *cfg, size_t n, struct cf_errors *errs)
{
	const struct cfg_vdev *v = &cfg->vdevs[n];
	const struct vd_arg *a = v->type ? vd_arg_find(&v->cfg, "hostdev") : NULL;
	for (size_t i = 0; a && i < n; i++) {
		const struct cfg_vdev *other = &cfg->vdevs[i];
		const struct vd_arg *b =
			other->type ? vd_arg_find(&other->cfg, "hostdev") : NULL;
		const char *why = b ? why_not_both(v, a->text, b->text) : NULL;
		const struct cf_pos pos = arg_pos(a);
		if (!why)
			continue;
		cfg_err(errs, &pos, "hostdev %s is that of '%s' already (%s:%u:%u): %s",
			CFG_SHOW(a->text), other->cfg.name, b->file, b->line, b->col, why);
		return;
	}
}

/* ---- standard input ---- */

/* One stream of a vdev: what is behind its `hostdev`, or behind one name of its `port`. */
struct stream {
	const char *port;	/* NULL: hostdev */
	size_t port_len;
	const char *text;	/* NULL: nothing, or @arg is another option */
};

static struct stream stream_of(const struct vd_arg *arg)
{
	if (!strcmp(arg->opt->name, "hostdev"))
		return (struct stream){ .text = arg->text };
	if (strcmp(arg->opt->name, "port") != 0)
		return (struct stream){ 0 };
	size_t len = strcspn(arg->text, ",");
	return (struct stream){ arg->text, len, arg->text[len] ? arg->text + len + 1 : NULL };
}

static bool same_stream(const struct stream *a, const struct stream *b)
{
	return !a->port == !b->port && a->port_len == b->port_len &&
	       (!a->port || !memcmp(a->port, b->port, a->port_len));
}

/* Argument @n names standard input, and none behind it takes that back. */
static bool reads_stdin(const struct vd_config *c, size_t n)
{
	const struct stream s = stream_of(&c->args[n]);
	if (!s.text || (strcmp(s.text, "-") != 0 && strcmp(s.text, "<-") != 0))
		return false;
	for (size_t i = n + 1; i < c->n_args; i++) {
		const struct stream later = stream_of(&c->args[i]);
		if (later.text && later.text[0] != '>' && same_stream(&later, &s))
			return false;
	}
	return true;
}

static bool has_streams(const struct cfg_vdev *v)
{
	return v->type == &vd_ser8250_type || v->type == &vd_pl011_type ||
	       v->type == &vd_virtio_console_type;
}

/* Two readers would each get some of what is typed. */
static void check_stdin(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	const struct vd_arg *first = NULL;
	const char *owner = NULL;
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		for (size_t k = 0; has_streams(v) && k < v->cfg.n_args; k++) {
			const struct vd_arg *a = &v->cfg.args[k];
			const struct cf_pos pos = arg_pos(a);
			if (!reads_stdin(&v->cfg, k))
				continue;
			if (first)
				cfg_err(errs, &pos, "%s %s: standard input is that of '%s' already "
					"(%s:%u:%u), and has one reader: '>-' is for output alone",
					a->opt->name, CFG_SHOW(a->text), owner, first->file,
					first->line, first->col);
			else
				first = a, owner = v->cfg.name;
		}
	}
}

/* ---- peers ---- */

/* What @v names as its peer; false when nothing that is understood: its type tells that. */
static bool peer_of(const struct cfg_vdev *v, const struct vd_arg **ret_arg,
		    struct vd_net_peer *ret)
{
	*ret_arg = v->type ? vd_arg_find(&v->cfg, "peer") : NULL;
	return *ret_arg && !vd_net_peer_parse((*ret_arg)->text, ret);
}

static bool same_peer(const struct vd_net_peer *a, const struct vd_net_peer *b)
{
	return a->form == b->form && !strcmp(a->name, b->name) &&
	       (a->form != VD_NET_VM || !strcmp(a->system, b->system));
}

/* A peer inside this VM: it is another one, it exists, and its peer is this one. */
static void check_own_peer(const struct vm_cfg *cfg, const struct cfg_vdev *v,
			   const struct vd_arg *arg, const struct vd_net_peer *peer,
			   struct cf_errors *errs)
{
	const struct cf_pos pos = arg_pos(arg);
	const struct cfg_vdev *other = name_owner(cfg, peer->name, cfg->n_vdevs);
	const struct vd_arg *back;
	struct vd_net_peer its;
	if (other == v)
		cfg_err(errs, &pos, "peer %s: that is this vdev itself", CFG_SHOW(arg->text));
	else if (!other)
		cfg_err(errs, &pos, "peer %s: this VM has no vdev named '%s'", CFG_SHOW(arg->text),
			peer->name);
	else if (other->type && other->type != v->type)
		cfg_err(errs, &pos, "peer %s: that is a vdev %s (%s:%u:%u)", CFG_SHOW(arg->text),
			other->type->name, other->pos.file, other->pos.line, other->pos.col);
	else if (peer_of(other, &back, &its) &&
		 (its.form != VD_NET_VM || strcmp(its.system, cfg->system) ||
		  strcmp(its.name, v->cfg.name)))
		cfg_err(errs, &pos, "peer %s: the peer of that one is %s (%s:%u:%u), not '%s/%s'",
			CFG_SHOW(arg->text), CFG_SHOW(back->text), back->file, back->line,
			back->col, cfg->system, v->cfg.name);
}

static void check_peer(const struct vm_cfg *cfg, size_t n, struct cf_errors *errs)
{
	const struct cfg_vdev *v = &cfg->vdevs[n];
	struct vd_net_peer peer, its;
	const struct vd_arg *arg, *b;
	if (!peer_of(v, &arg, &peer))
		return;
	const struct cf_pos pos = arg_pos(arg);
	for (size_t i = 0; i < n && peer.form != VD_NET_BRIDGE; i++) {
		if (!peer_of(&cfg->vdevs[i], &b, &its) || !same_peer(&peer, &its))
			continue;
		cfg_err(errs, &pos, "peer %s is that of '%s' already (%s:%u:%u)",
			CFG_SHOW(arg->text), cfg->vdevs[i].cfg.name, b->file, b->line, b->col);
		return;
	}
	if (peer.form != VD_NET_VM)
		return;
	if (!cfg->system_given)
		cfg_err(errs, &pos, "peer %s: a VM without a name cannot be found by others: write "
			"'system NAME' as the first option", CFG_SHOW(arg->text));
	else if (!strcmp(peer.system, cfg->system))
		check_own_peer(cfg, v, arg, &peer, errs);
}

void cfg_check_refs(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		check_backing(cfg, i, errs);
		check_peer(cfg, i, errs);
	}
	check_stdin(cfg, errs);
}
