/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message of netpeer_msg.h on the wire, little-endian. Invariant: what np_msg_get() hands out
 * has names that end, of printable letters, and numbers in their ranges.
 */
#include "qvm/netpeer_msg.h"

#include <endian.h>
#include <string.h>

static const char magic[8] = { 'p', 'a', 'r', 'l', 'e', 'y', 'n', 'p' };

struct wire {
	char magic[8];
	uint32_t version, type, why, pairs;
	char from[NP_NAME_BYTES], to[NP_NAME_BYTES];
	uint64_t features;
	uint32_t mtu, ring_bytes;
	uint8_t mac[VD_NET_MAC_BYTES], zero[2];
	uint8_t later[16];	/* 0 */
};
static_assert(sizeof(struct wire) == NP_MSG_BYTES, "the form is fixed");

void np_msg_put(const struct np_msg *m, uint8_t buf[NP_MSG_BYTES])
{
	struct wire w = {
		.version = htole32(NP_VERSION), .type = htole32(m->type), .why = htole32(m->why),
		.pairs = htole32(m->pairs), .features = htole64(m->features),
		.mtu = htole32(m->mtu), .ring_bytes = htole32(m->ring_bytes),
	};

	memcpy(w.magic, magic, sizeof(magic));
	memcpy(w.from, m->from, strnlen(m->from, NP_NAME_BYTES - 1));
	memcpy(w.to, m->to, strnlen(m->to, NP_NAME_BYTES - 1));
	memcpy(w.mac, m->mac, sizeof(w.mac));
	memcpy(buf, &w, sizeof(w));
}

static bool name_ok(const char name[NP_NAME_BYTES])
{
	size_t n = strnlen(name, NP_NAME_BYTES);

	if (n == 0 || n == NP_NAME_BYTES)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)name[i] <= 0x20 || name[i] == 0x7f || name[i] == 0x22)
			return false;
	return true;
}

enum np_msg_verdict np_msg_get(const uint8_t *buf, size_t len, struct np_msg *ret,
			       uint32_t *ret_version)
{
	struct wire w;
	uint32_t type, why;

	if (len < sizeof(w.magic) + sizeof(w.version) || memcmp(buf, magic, sizeof(magic)) != 0)
		return NP_MSG_STRANGE;
	memcpy(&w, buf, Q_MIN(len, sizeof(w)));
	if (le32toh(w.version) != NP_VERSION) {
		*ret_version = le32toh(w.version);
		return NP_MSG_VERSION;
	}
	type = len == sizeof(w) ? le32toh(w.type) : 0;
	why = type ? le32toh(w.why) : 0;
	if (type < NP_CALL || type > NP_REFUSE || why >= NP_WHYS || !name_ok(w.from) ||
	    !name_ok(w.to))
		return NP_MSG_STRANGE;
	*ret = (struct np_msg){
		.type = type, .why = why, .features = le64toh(w.features),
		.pairs = le32toh(w.pairs), .mtu = le32toh(w.mtu),
		.ring_bytes = le32toh(w.ring_bytes),
	};
	memcpy(ret->from, w.from, strlen(w.from));	/* name_ok(): it ends */
	memcpy(ret->to, w.to, strlen(w.to));
	memcpy(ret->mac, w.mac, sizeof(ret->mac));
	if (!ret->pairs || ret->pairs > VD_NET_PAIRS_MAX)
		return NP_MSG_STRANGE;
	return NP_MSG_OK;
}
