/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio_net_hdr says about its frame, checked, and what has to be done in software for who
 * cannot take it so: finish a checksum, cut a large TCP segment. Pure functions on private copies,
 * any thread. All input is hostile.
 */
#pragma once

#include "vdevs/vdnet.h"

enum net_verdict {
	NET_OK = 0,
	NET_BAD_LEN,		/* shorter than a header or longer than any frame */
	NET_BAD_CSUM,		/* the checksum's place is outside the frame */
	NET_BAD_GSO,		/* unknown kind, no size, without a checksum */
	NET_BAD_HEADERS,	/* a large segment whose headers are not what the kind says */
	NET_VERDICTS
};
const char *net_verdict_str(enum net_verdict v);

/* The header of one frame, in our byte order. */
struct net_meta {
	bool needs_csum;
	bool ecn;
	uint8_t gso;		/* VIRTIO_NET_HDR_GSO_*, without ECN */
	uint16_t gso_size;
	uint16_t csum_start, csum_off;
	uint16_t hdrs_len;	/* of a large segment: all headers, of the first segment */
	uint16_t l3_off;	/* of a large TCP segment: where its IP header is */
};

#define NET_HDRS_MAX 512u	/* headers of a large segment */
#define NET_MSS_MIN 48u		/* smaller segments are an attack on who has to cut them */

/* Reads and checks a header for a frame of @len bytes, by what needs no look at the frame. */
enum net_verdict net_meta_read(const uint8_t hdr[VD_NET_HDR_BYTES], uint32_t len,
			       struct net_meta *ret);
/* Checks a large segment's headers and fills hdrs_len and l3_off. */
enum net_verdict net_meta_parse(struct net_meta *m, const uint8_t *frame, uint32_t len);
void net_meta_write(const struct net_meta *m, uint16_t n_buffers, uint8_t hdr[VD_NET_HDR_BYTES]);

/* Bits of VD_NET_PEER_FEATURES that who sends, or who receives (@guest), must have agreed to. */
uint64_t net_meta_needs(const struct net_meta *m, bool guest);

/* Finishes the checksum that @m asks for. */
void net_csum_finish(const struct net_meta *m, uint8_t *frame, uint32_t len);
/* How many segments a large TCP segment makes. */
uint32_t net_seg_count(const struct net_meta *m, uint32_t len);
/*
 * Segment @i of @frame: its headers, complete with checksum, in @hdrs (m->hdrs_len bytes), its
 * payload at *ret_off, *ret_len bytes of @frame.
 */
void net_seg_make(const struct net_meta *m, const uint8_t *frame, uint32_t len, uint32_t i,
		  uint8_t hdrs[NET_HDRS_MAX], uint32_t *ret_off, uint32_t *ret_len);
