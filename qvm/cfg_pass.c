/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pass context, read whole and refused: a device of the host in a guest takes VFIO, which this
 * version does not serve. What is wrong in its words is told all the same, so that a configuration
 * is right on the day that it is served. Main thread, while the tokens are walked.
 */
#include "qvm/cfg_int.h"

void cfg_opt_pass(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const struct cfg_tok *next = p->at < p->n_toks ? &p->toks[p->at] : NULL;
	p->ctx = CTX_PASS;
	cfg_err(p->errs, &opt->pos, "pass needs VFIO: not served by this version: give the guest a "
		"vdev for the device, such as virtio-blk with hostdev");
	if (!next || (strcmp(next->text, "loc") && strcmp(next->text, "intr")))
		cfg_err(p->errs, &opt->pos, "pass needs 'loc' or 'intr' behind it");
}

/* ---- loc spec[,length][,attributes][=host] ---- */

/* r w x access, c cacheable, e m s t d (a DMA device) n (none); + and - change the usual set. */
static bool is_attrs(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr("+-rwxcemdnst", text[i]))
			return false;
	return len > 0;
}

/* bus:dev[.func], or vendor/device[/index] of the host. */
static bool pci_ok(struct cfg_parser *p, const struct cfg_tok *tok, const char *at, size_t len)
{
	const bool ids = memchr(at, '/', len);
	const char *ends = ids ? "/" : ":.";
	const uint64_t limits[] = { ids ? 0xffff : 255, ids ? 0xffff : 31, ids ? 255 : 7 };
	uint64_t n;
	for (unsigned i = 0; i < Q_ARRAY_LEN(limits); i++) {
		size_t part = 0;
		while (part < len && !strchr(ends, at[part]))
			part++;
		if (!cfg_number(p, tok, at, part, CFG_NUMBER, "loc: PCI", &n))
			return false;
		if (n > limits[i])
			break;
		if (part == len && i > 0)
			return true;
		if (part == len)
			break;
		at += part + 1;
		len -= part + 1;
	}
	cfg_err(p->errs, &tok->pos, "loc %s: expected pci:bus:device.function or "
		"pci:vendor/device/index", CFG_SHOW(tok->text));
	return false;
}

/* An address or port with an optional length and attributes. */
static bool span_ok(struct cfg_parser *p, const struct cfg_tok *tok, enum vd_space space,
		    const char *at, size_t len)
{
	uint64_t base, bytes = 0;
	size_t part = Q_MIN(strcspn(at, ","), len);
	if (!cfg_number(p, tok, at, part, CFG_ADDRESS, "loc", &base))
		return false;
	at += part;
	len -= part;
	for (bool length = true; len; length = false) {
		part = Q_MIN(strcspn(at + 1, ","), len - 1);
		if (is_attrs(at + 1, part))
			length = false;
		else if (!length) {
			cfg_err(p->errs, &tok->pos, "loc %s: expected attributes of + - r w x c e "
				"m d n s t behind the length", CFG_SHOW(tok->text));
			return false;
		} else if (!cfg_number(p, tok, at + 1, part, CFG_SIZE, "the length", &bytes)) {
			return false;
		}
		at += part + 1;
		len -= part + 1;
	}
	uint64_t limit = space == VD_IO ? 0x10000 : p->arch->addr_limit;
	if (qspan_inside(base, Q_MAX(bytes, 1), limit))
		return true;
	cfg_err(p->errs, &tok->pos, "loc %s reaches beyond 0x%" PRIx64, CFG_SHOW(tok->text), limit);
	return false;
}

static bool spec_ok(struct cfg_parser *p, const struct cfg_tok *tok, enum vd_space space,
		    const char *at, size_t len)
{
	return space == VD_PCI ? pci_ok(p, tok, at, len) : span_ok(p, tok, space, at, len);
}

void cfg_opt_pass_loc(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	enum vd_space space = VD_MEM, host_space;
	const char *at = arg->text + cfg_space_prefix(arg->text, &space);
	const char *host = strchr(at, '=');
	size_t len = host ? (size_t)(host - at) : strlen(at);
	uint64_t addr;
	if (space == VD_IO && !p->arch->has_io) {
		cfg_err(p->errs, &arg->pos, "loc %s: %s has no I/O ports", CFG_SHOW(arg->text),
			p->arch->name);
		return;
	}
	if (!spec_ok(p, arg, space, at, len) || !host)
		return;
	host_space = space;
	at = host + 1 + cfg_space_prefix(host + 1, &host_space);
	if (host_space != space)
		cfg_err(p->errs, &arg->pos, "loc %s: both sides of '=' must be in one space",
			CFG_SHOW(arg->text));
	else if (space == VD_PCI)
		(void)pci_ok(p, arg, at, strlen(at));
	else
		(void)cfg_number(p, arg, at, strlen(at), CFG_ADDRESS, "the host's address", &addr);
}

/* guest_intr[=host_vector] */
void cfg_opt_pass_intr(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const char *host = strchr(arg->text, '=');
	size_t len = host ? (size_t)(host - arg->text) : strlen(arg->text);
	const char *colon = memchr(arg->text, ':', len);
	uint64_t n;
	if (!colon || colon == arg->text) {
		cfg_err(p->errs, &arg->pos, "intr %s: expected name:line, the name of an interrupt "
			"controller and its line, and =vector for the host's", CFG_SHOW(arg->text));
		return;
	}
	colon++;
	len -= (size_t)(colon - arg->text);
	if (cfg_number(p, arg, colon, len, CFG_NUMBER, "the line", &n) && host)
		(void)cfg_number(p, arg, host + 1, strlen(host + 1), CFG_NUMBER,
				 "the host's vector", &n);
}
