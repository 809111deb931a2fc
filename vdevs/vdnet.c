/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a network vdev's configuration: what `peer` and `mac` say. Pure functions, any
 * thread.
 */
#include "vdevs/vdnet.h"

#include <ctype.h>
#include <string.h>

#define IF_NAME_MAX 15u	/* of an interface of the host */

static bool starts(const char *text, const char *with, const char **ret_rest)
{
	size_t n = strlen(with);

	if (strncmp(text, with, n) != 0)
		return false;
	*ret_rest = text + n;
	return true;
}

static const char *interface(const char *name, enum vd_net_form form, struct vd_net_peer *ret)
{
	size_t n = strlen(name);

	if (!n || n > IF_NAME_MAX)
		return "the name of an interface has 1 to 15 letters";
	for (const char *c = name; *c; c++)
		if (*c == '/' || *c == ':' || *c == '%' || isspace((unsigned char)*c))
			return "the name of an interface has no '/', ':', '%' or white space in it";
	ret->form = form;
	memcpy(ret->name, name, n + 1);
	return NULL;
}

static const char *vdev_of_vm(const char *text, struct vd_net_peer *ret)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : 0;

	if (!n || !slash[1] || strchr(slash + 1, '/'))
		return "expected SYSTEM/NAME of another VM's vdev, tap:NAME, bridge:NAME or "
		       "/dev/vdevpeers/NAME";
	if (n >= sizeof(ret->system) || strlen(slash + 1) >= sizeof(ret->name))
		return "a name in it is too long";
	if (*text == '.' || slash[1] == '.')
		return "the name of a VM or vdev does not start with a dot";
	ret->form = VD_NET_VM;
	memcpy(ret->system, text, n);
	memcpy(ret->name, slash + 1, strlen(slash + 1) + 1);
	return NULL;
}

const char *vd_net_peer_parse(const char *text, struct vd_net_peer *ret)
{
	static const char qvm[] = "/qvm/";
	const char *rest, *at = NULL;

	*ret = (struct vd_net_peer){ .form = VD_NET_NONE };
	if (starts(text, "tap:", &rest))
		return interface(rest, VD_NET_TAP, ret);
	if (starts(text, "bridge:", &rest))
		return interface(rest, VD_NET_BRIDGE, ret);
	if (starts(text, "/dev/vdevpeers/", &rest)) {
		ret->vdevpeers = true;
		return interface(rest, VD_NET_TAP, ret);
	}
	if (*text != '/')
		return vdev_of_vm(text, ret);
	for (rest = text; (rest = strstr(rest, qvm)); rest++)	/* the last one */
		at = rest;
	return vdev_of_vm(at ? at + strlen(qvm) : "", ret);
}

const char *vd_net_tap_parse(const char *text, struct vd_net_peer *ret)
{
	*ret = (struct vd_net_peer){ .form = VD_NET_NONE };
	return interface(text, VD_NET_TAP, ret);
}

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' :
	       isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

const char *vd_net_mac_parse(const char *text, uint8_t ret_mac[VD_NET_MAC_BYTES])
{
	static const uint8_t none[VD_NET_MAC_BYTES];
	uint8_t mac[VD_NET_MAC_BYTES];
	char sep = text[0] && text[1] ? text[2] : 0;

	if (sep != ':' && sep != '-')
		sep = 0;
	for (unsigned i = 0; i < sizeof(mac); i++) {
		int hi = digit(text[0]), lo = hi < 0 ? -1 : digit(text[1]);

		if (lo < 0)
			return "expected six bytes in hexadecimal, as in 02:00:00:00:00:01";
		mac[i] = (uint8_t)(hi << 4 | lo);
		text += 2;
		if (sep && i + 1 < sizeof(mac) && *text++ != sep)
			return "expected six bytes in hexadecimal, as in 02:00:00:00:00:01";
	}
	if (*text)
		return "there is more behind its six bytes";
	if (mac[0] & 1)
		return "it is a group address (the lowest bit of the first byte is set)";
	if (!memcmp(mac, none, sizeof(mac)))
		return "it is zero";
	memcpy(ret_mac, mac, sizeof(mac));
	return NULL;
}
