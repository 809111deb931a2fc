/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two qvm say to each other before frames flow (docs/decisions/0013): one message of one fixed
 * form, both ways, on a SOCK_SEQPACKET socket. Afterwards a message is one byte, a bell. Pure
 * functions, any thread.
 */
#pragma once

#include "vdevs/vdnet.h"

#define NP_VERSION 1u
#define NP_NAME_BYTES 136u	/* "SYSTEM/NAME" and its end */
#define NP_MSG_BYTES 336u
#define NP_BELL 0x42u

enum np_type {
	NP_CALL = 1,	/* here are the rings (one descriptor): let us begin */
	NP_KNOCK,	/* I am here: call me. From the end whose name sorts later */
	NP_ACCEPT,	/* answer to CALL: we have begun */
	NP_COMING,	/* answer to KNOCK: I shall call */
	NP_REFUSE,	/* answer to either: no, and why */
};

enum np_why {
	NP_WHY_NONE = 0,
	NP_WHY_OTHER_PEER,	/* my peer is @to, and that is not you */
	NP_WHY_NOT_ME,		/* I am @from, and that is not whom you call */
	NP_WHY_RINGS,		/* the rings cannot be used */
	NP_WHY_ORDER,		/* the other of us two is to call */
	NP_WHYS
};

struct np_msg {
	enum np_type type;
	enum np_why why;		/* of REFUSE */
	char from[NP_NAME_BYTES];	/* who says it */
	char to[NP_NAME_BYTES];		/* whom its configuration names as peer */
	uint64_t features;		/* its peerfeats */
	uint32_t pairs, mtu, ring_bytes;
	uint8_t mac[VD_NET_MAC_BYTES];
};

enum np_msg_verdict {
	NP_MSG_OK = 0,
	NP_MSG_STRANGE,		/* not of this protocol */
	NP_MSG_VERSION,		/* of another version of it: *ret_version */
};

void np_msg_put(const struct np_msg *m, uint8_t buf[NP_MSG_BYTES]);
/* Anything may have come: @len bytes. *ret is written on OK, *ret_version on VERSION. */
enum np_msg_verdict np_msg_get(const uint8_t *buf, size_t len, struct np_msg *ret,
			       uint32_t *ret_version);
