/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames and their headers: see virtio_net_frame.h. No state. Invariant: nothing is read or written
 * outside [frame, frame + len), whatever the header and the frame say.
 */
#include "vdevs/virtio_net_frame.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <string.h>

#define ETH_BYTES 14u
#define VLAN_BYTES 4u
#define TYPE_IPV4 0x0800u
#define TYPE_IPV6 0x86ddu
#define TYPE_VLAN 0x8100u
#define TYPE_SVLAN 0x88a8u
#define PROTO_TCP 6u
#define IPV4_BYTES 20u
#define IPV6_BYTES 40u
#define TCP_BYTES 20u
#define UDP_BYTES 8u
#define TCP_CSUM_OFF 16u
#define UDP_CSUM_OFF 6u
#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == VD_NET_HDR_BYTES, "one header for all");

static const char *const verdict_str[] = {
	[NET_OK] = "ok",
	[NET_BAD_LEN] = "bad_len",
	[NET_BAD_CSUM] = "bad_csum_place",
	[NET_BAD_GSO] = "bad_gso",
	[NET_BAD_HEADERS] = "bad_headers",
};
static_assert(Q_ARRAY_LEN(verdict_str) == NET_VERDICTS, "every verdict has a word");

const char *net_verdict_str(enum net_verdict v)
{
	return (unsigned)v < NET_VERDICTS ? verdict_str[v] : "unknown";
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/* ---- the header ---- */

static enum net_verdict check_gso(const struct net_meta *m, uint32_t len)
{
	bool tcp = m->gso == VIRTIO_NET_HDR_GSO_TCPV4 || m->gso == VIRTIO_NET_HDR_GSO_TCPV6;
	unsigned off = tcp ? TCP_CSUM_OFF : UDP_CSUM_OFF;

	if (m->gso == VIRTIO_NET_HDR_GSO_NONE)
		return m->ecn ? NET_BAD_GSO : NET_OK;
	if (!tcp && (m->gso != VIRTIO_NET_HDR_GSO_UDP || m->ecn))
		return NET_BAD_GSO;
	if (!m->needs_csum || m->csum_off != off || m->gso_size < NET_MSS_MIN)
		return NET_BAD_GSO;
	return qspan_inside(m->csum_start, tcp ? TCP_BYTES : UDP_BYTES, len) ? NET_OK :
									      NET_BAD_GSO;
}

enum net_verdict net_meta_read(const uint8_t hdr[VD_NET_HDR_BYTES], uint32_t len,
			       struct net_meta *ret)
{
	struct virtio_net_hdr w_hdr;

	memcpy(&w_hdr, hdr, sizeof(w_hdr));
	*ret = (struct net_meta){
		.needs_csum = w_hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.ecn = w_hdr.gso_type & VIRTIO_NET_HDR_GSO_ECN,
		.gso = w_hdr.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN,
	};
	if (len < VD_NET_FRAME_MIN || len > VD_NET_FRAME_MAX)
		return NET_BAD_LEN;
	if (ret->gso != VIRTIO_NET_HDR_GSO_NONE)
		ret->gso_size = le16toh(w_hdr.gso_size);
	if (ret->needs_csum) {
		ret->csum_start = le16toh(w_hdr.csum_start);
		ret->csum_off = le16toh(w_hdr.csum_offset);
		if (ret->csum_start < VD_NET_FRAME_MIN ||
		    !qspan_inside((uint64_t)ret->csum_start + ret->csum_off, 2, len))
			return NET_BAD_CSUM;
	}
	return check_gso(ret, len);
}

void net_meta_write(const struct net_meta *m, uint16_t n_buffers, uint8_t hdr[VD_NET_HDR_BYTES])
{
	const struct virtio_net_hdr_mrg_rxbuf w_hdr = {
		.hdr = {
			.flags = m->needs_csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
			.gso_type = (uint8_t)(m->gso | (m->ecn ? VIRTIO_NET_HDR_GSO_ECN : 0)),
			.hdr_len = htole16(m->hdrs_len),
			.gso_size = htole16(m->gso_size),
			.csum_start = htole16(m->csum_start),
			.csum_offset = htole16(m->csum_off),
		},
		.num_buffers = htole16(n_buffers),
	};

	memcpy(hdr, &w_hdr, sizeof(w_hdr));
}

uint64_t net_meta_needs(const struct net_meta *m, bool guest)
{
	uint64_t needs = 0;

	if (m->needs_csum)
		needs |= 1ull << (guest ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM);
	if (m->gso == VIRTIO_NET_HDR_GSO_TCPV4)
		needs |= 1ull << (guest ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_HOST_TSO4);
	if (m->gso == VIRTIO_NET_HDR_GSO_TCPV6)
		needs |= 1ull << (guest ? VIRTIO_NET_F_GUEST_TSO6 : VIRTIO_NET_F_HOST_TSO6);
	if (m->gso == VIRTIO_NET_HDR_GSO_UDP)
		needs |= 1ull << (guest ? VIRTIO_NET_F_GUEST_UFO : VIRTIO_NET_F_HOST_UFO);
	if (m->ecn)
		needs |= 1ull << (guest ? VIRTIO_NET_F_GUEST_ECN : VIRTIO_NET_F_HOST_ECN);
	return needs;
}

/* ---- the headers of a large segment ---- */

/* Where the IP header is and what it is, or 0. */
static uint32_t find_l3(const uint8_t *frame, uint32_t len, uint16_t *ret_type)
{
	uint32_t at = ETH_BYTES;

	*ret_type = get16(frame + at - 2);
	if ((*ret_type == TYPE_VLAN || *ret_type == TYPE_SVLAN) && len >= at + VLAN_BYTES) {
		at += VLAN_BYTES;
		*ret_type = get16(frame + at - 2);
	}
	return *ret_type == TYPE_IPV4 || *ret_type == TYPE_IPV6 ? at : 0;
}

static bool l3_leads_to_tcp(const uint8_t *frame, uint32_t at, const struct net_meta *m)
{
	const uint8_t *ip = frame + at;	/* csum_start is inside the frame */

	if (m->gso == VIRTIO_NET_HDR_GSO_TCPV4)
		return qspan_inside(at, IPV4_BYTES, m->csum_start) && ip[0] >> 4 == 4 &&
		       (ip[0] & 15) * 4u >= IPV4_BYTES &&
		       at + (ip[0] & 15) * 4u == m->csum_start && ip[9] == PROTO_TCP;
	/* Extension headers may stand between, so that the next header need not be TCP. */
	return qspan_inside(at, IPV6_BYTES, m->csum_start) && ip[0] >> 4 == 6 &&
	       (at + IPV6_BYTES < m->csum_start || ip[6] == PROTO_TCP);
}

enum net_verdict net_meta_parse(struct net_meta *m, const uint8_t *frame, uint32_t len)
{
	uint16_t type;
	uint32_t at, tcp_len;

	if (m->gso == VIRTIO_NET_HDR_GSO_NONE)
		return NET_OK;
	at = find_l3(frame, len, &type);
	if (!at || at >= m->csum_start)
		return NET_BAD_HEADERS;
	if (m->gso == VIRTIO_NET_HDR_GSO_UDP) {
		if (m->csum_start + UDP_BYTES > NET_HDRS_MAX)
			return NET_BAD_HEADERS;
		m->hdrs_len = (uint16_t)(m->csum_start + UDP_BYTES);
		return NET_OK;
	}
	if ((type == TYPE_IPV4) != (m->gso == VIRTIO_NET_HDR_GSO_TCPV4) ||
	    !l3_leads_to_tcp(frame, at, m))
		return NET_BAD_HEADERS;
	tcp_len = (frame[m->csum_start + 12] >> 4) * 4u;
	if (tcp_len < TCP_BYTES || !qspan_inside(m->csum_start, tcp_len, len) ||
	    m->csum_start + tcp_len > NET_HDRS_MAX)
		return NET_BAD_HEADERS;
	m->hdrs_len = (uint16_t)(m->csum_start + tcp_len);
	m->l3_off = (uint16_t)at;
	return NET_OK;
}

/* ---- in software ---- */

/* The sum of big-endian 16-bit words, an odd byte as if a 0 followed. Folded when it is used. */
static uint64_t sum(const uint8_t *p, uint32_t len, uint64_t s)
{
	uint32_t w;

	/* In native words: a one's complement sum is the same but for the order of its bytes. */
	uint64_t native = 0;
	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&w, p, 4);
		native += w;
	}
	native = (native & 0xffffffff) + (native >> 32);
	native = (native & 0xffff) + (native >> 16 & 0xffff) + (native >> 32);
	native = (native & 0xffff) + (native >> 16);
	native = (native & 0xffff) + (native >> 16);
	s += be16toh((uint16_t)native);
	for (; len >= 2; p += 2, len -= 2)
		s += get16(p);
	return len ? s + (uint64_t)(p[0] << 8) : s;
}

static uint16_t fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

void net_csum_finish(const struct net_meta *m, uint8_t *frame, uint32_t len)
{
	uint16_t c = fold(sum(frame + m->csum_start, len - m->csum_start, 0));

	/* A sum of 0 is written as 0xffff: in UDP 0 says that there is none, in TCP both are 0. */
	put16(frame + m->csum_start + m->csum_off, c ? c : 0xffff);
}

uint32_t net_seg_count(const struct net_meta *m, uint32_t len)
{
	uint32_t payload = len - m->hdrs_len;

	return payload ? (payload + m->gso_size - 1) / m->gso_size : 1;
}

/* IP header of a segment: lengths, identification, checksum. The pseudo header's sum. */
static uint64_t seg_l3(const struct net_meta *m, uint8_t *hdrs, uint32_t i, uint32_t l4_bytes)
{
	uint8_t *ip = hdrs + m->l3_off;

	if (m->gso == VIRTIO_NET_HDR_GSO_TCPV4) {
		uint32_t ip_bytes = (ip[0] & 15) * 4u;

		put16(ip + 2, (uint16_t)(ip_bytes + l4_bytes));
		put16(ip + 4, (uint16_t)(get16(ip + 4) + i));
		put16(ip + 10, 0);
		put16(ip + 10, fold(sum(ip, ip_bytes, 0)));
		return sum(ip + 12, 8, PROTO_TCP + l4_bytes);
	}
	put16(ip + 4, (uint16_t)(m->csum_start - m->l3_off - IPV6_BYTES + l4_bytes));
	return sum(ip + 8, 32, PROTO_TCP + l4_bytes);
}

void net_seg_make(const struct net_meta *m, const uint8_t *frame, uint32_t len, uint32_t i,
		  uint8_t hdrs[NET_HDRS_MAX], uint32_t *ret_off, uint32_t *ret_len)
{
	uint32_t off = i * m->gso_size, payload = len - m->hdrs_len;
	uint32_t n = Q_MIN((uint32_t)m->gso_size, payload - off);
	uint32_t tcp_bytes = (uint32_t)(m->hdrs_len - m->csum_start);
	bool last = n == payload - off;
	uint8_t *tcp = hdrs + m->csum_start;

	memcpy(hdrs, frame, m->hdrs_len);
	uint64_t pseudo = seg_l3(m, hdrs, i, tcp_bytes + n);
	put32(tcp + 4, get32(tcp + 4) + off);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (i)
		tcp[13] &= (uint8_t)~TCP_CWR;	/* said once, by the first */
	put16(tcp + TCP_CSUM_OFF, 0);
	pseudo = sum(tcp, tcp_bytes, pseudo);	/* a multiple of 4: the payload begins even */
	put16(tcp + TCP_CSUM_OFF, fold(sum(frame + m->hdrs_len + off, n, pseudo)));
	*ret_off = m->hdrs_len + off;
	*ret_len = n;
}
