/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kind of peer it is, and the address of an interface that was given none. Main thread.
 */
#include "qvm/netpeer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a, 64 bits: names that differ by one letter are far apart. */
static uint64_t hash(uint64_t h, const char *text)
{
	do {
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
	} while (*text++);	/* with its end: "a","bc" is not "ab","c" */
	return h;
}

void netpeer_mac(const char *system, const char *name, uint8_t ret[VD_NET_MAC_BYTES])
{
	uint64_t h = hash(hash(0xcbf29ce484222325ull, system), name);

	h ^= h >> 32;	/* the low bits alone are the weakest */
	for (unsigned i = 0; i < VD_NET_MAC_BYTES; i++)
		ret[i] = (uint8_t)(h >> (8 * i));
	ret[0] = (uint8_t)((ret[0] & ~0x01u) | 0x02u);
}

int np_refuse(const struct vd_net_cfg *cfg, struct cf_errors *errs, int err, const char *fmt, ...)
{
	const struct vd_arg *a = cfg->peer;
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cf_error_add(errs, CF_ERROR, a->file, a->line, a->col, "peer %s: %s", a->text, text);
	return err;
}

int netpeer_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		 struct cf_errors *errs, struct vd_net **ret)
{
	const struct vd_arg *a = cfg->peer;
	struct vd_net_peer peer;
	const char *why = strcmp(a->opt->name, "tapdev") ? vd_net_peer_parse(a->text, &peer) :
							   vd_net_tap_parse(a->text, &peer);

	if (why) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col, "%s '%s': %s", a->opt->name,
			     a->text, why);
		return -EINVAL;
	}
	return peer.form == VD_NET_VM ? netpeer_vm_open(h, cfg, &peer, errs, ret) :
					netpeer_tap_open(h, cfg, &peer, errs, ret);
}
