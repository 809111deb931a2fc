/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_net_frame.c and vdnet.c: what a header may say of a frame, checksums and segments
 * made in software, and the words of the configuration. The sums are checked by the definition (RFC
 * 1071), word for word, not by the code under test.
 */
#include <linux/virtio_net.h>

#include "tests/unit/fixture.h"
#include "vdevs/virtio_net_frame.h"

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UDP VIRTIO_NET_HDR_GSO_UDP
#define ECN VIRTIO_NET_HDR_GSO_ECN

static void put_hdr(uint8_t hdr[VD_NET_HDR_BYTES], uint8_t flags, uint8_t gso, uint16_t size,
		    uint16_t start, uint16_t off)
{
	const uint16_t f[4] = { 0xffff, size, start, off };

	memset(hdr, 0xff, VD_NET_HDR_BYTES);
	hdr[0] = flags;
	hdr[1] = gso;
	for (unsigned i = 0; i < 4; i++) {
		hdr[2 + 2 * i] = (uint8_t)f[i];
		hdr[3 + 2 * i] = (uint8_t)(f[i] >> 8);
	}
}

static const struct {
	const char *what;
	uint8_t flags, gso;
	uint16_t size, start, off;
	uint32_t len;
	enum net_verdict want;
} hdr_rows[] = {
	{ "plain", 0, 0, 0, 0, 0, 60, NET_OK },
	{ "the shortest", 0, 0, 0, 0, 0, 14, NET_OK },
	{ "a runt", 0, 0, 0, 0, 0, 13, NET_BAD_LEN },
	{ "nothing", 0, 0, 0, 0, 0, 0, NET_BAD_LEN },
	{ "the longest", 0, 0, 0, 0, 0, VD_NET_FRAME_MAX, NET_OK },
	{ "one more", 0, 0, 0, 0, 0, VD_NET_FRAME_MAX + 1, NET_BAD_LEN },
	{ "sizes of no meaning are ignored", 0, 0, 0xffff, 0xffff, 0xffff, 60, NET_OK },
	{ "unknown flags are ignored", 0xfe, 0, 0, 0, 0, 60, NET_OK },
	{ "sum", CSUM, 0, 0, 34, 16, 60, NET_OK },
	{ "sum at the end", CSUM, 0, 0, 34, 24, 60, NET_OK },
	{ "sum across the end", CSUM, 0, 0, 34, 25, 60, NET_BAD_CSUM },
	{ "sum behind the end", CSUM, 0, 0, 61, 0, 60, NET_BAD_CSUM },
	{ "sum that wraps 16 bits", CSUM, 0, 0, 0xffff, 0xffff, 60, NET_BAD_CSUM },
	{ "sum in the addresses", CSUM, 0, 0, 6, 0, 60, NET_BAD_CSUM },
	{ "tso", CSUM, TCP4, 1448, 34, 16, 5000, NET_OK },
	{ "tso with ecn", CSUM, TCP4 | ECN, 1448, 34, 16, 5000, NET_OK },
	{ "tso6", CSUM, TCP6, 1428, 54, 16, 5000, NET_OK },
	{ "ufo", CSUM, UDP, 1472, 34, 6, 5000, NET_OK },
	{ "ufo with ecn", CSUM, UDP | ECN, 1472, 34, 6, 5000, NET_BAD_GSO },
	{ "ecn alone", CSUM, ECN, 0, 34, 16, 60, NET_BAD_GSO },
	{ "tso without a sum", 0, TCP4, 1448, 34, 16, 5000, NET_BAD_GSO },
	{ "tso with udp's sum", CSUM, TCP4, 1448, 34, 6, 5000, NET_BAD_GSO },
	{ "ufo with tcp's sum", CSUM, UDP, 1448, 34, 16, 5000, NET_BAD_GSO },
	{ "tso of size 0", CSUM, TCP4, 0, 34, 16, 5000, NET_BAD_GSO },
	{ "tso of size 1", CSUM, TCP4, 1, 34, 16, 5000, NET_BAD_GSO },
	{ "tso whose header ends behind", CSUM, TCP4, 1448, 42, 16, 61, NET_BAD_GSO },
	{ "kind 2", CSUM, 2, 1448, 34, 16, 5000, NET_BAD_GSO },
	{ "kind 5 (USO)", CSUM, 5, 1448, 34, 6, 5000, NET_BAD_GSO },
	{ "kind 0x7f", CSUM, 0x7f, 1448, 34, 16, 5000, NET_BAD_GSO },
};
START_TEST(headers)
{
	const typeof(hdr_rows[0]) *row = &hdr_rows[_i];
	uint8_t hdr[VD_NET_HDR_BYTES], again[VD_NET_HDR_BYTES];
	struct net_meta m, n;

	put_hdr(hdr, row->flags, row->gso, row->size, row->start, row->off);
	enum net_verdict v = net_meta_read(hdr, row->len, &m);
	ck_assert_msg(v == row->want, "%s: %s", row->what, net_verdict_str(v));
	if (v != NET_OK)
		return;
	net_meta_write(&m, 3, again);	/* what is written is sound, and says the same */
	ck_assert_int_eq(net_meta_read(again, row->len, &n), NET_OK);
	ck_assert_int_eq(memcmp(&m, &n, sizeof(m)), 0);
	ck_assert_uint_eq(again[10], 3);
	ck_assert_uint_eq(again[0] & ~CSUM, 0);
}
END_TEST

/* ---- frames ---- */

#define MSS 1000u

static uint8_t frame[VD_NET_FRAME_MAX];

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The one's complement sum by its definition. */
static unsigned def_sum(const uint8_t *p, size_t len, unsigned s)
{
	for (size_t i = 0; i < len; i++) {
		s += i % 2 ? p[i] : (unsigned)p[i] << 8;
		s = (s & 0xffff) + (s >> 16);
	}
	return s;
}

static unsigned pseudo(const uint8_t *ip, bool v6, unsigned proto, unsigned len)
{
	unsigned s = def_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, 0);

	s += proto + len;
	return (s & 0xffff) + (s >> 16);
}

struct shape {
	bool v6, vlan;
	unsigned tcp_words;	/* of 4 bytes, 5..15 */
	uint8_t flags;
	uint32_t payload;
};

/* A large TCP segment as a driver makes it: the sum of the pseudo header in the sum's place. */
static uint32_t make_tcp(const struct shape *s, struct net_meta *ret)
{
	uint32_t l3 = s->vlan ? 18 : 14, l4 = l3 + (s->v6 ? 40 : 20), tcp_bytes = 4 * s->tcp_words;
	uint32_t len = l4 + tcp_bytes + s->payload;
	uint8_t *ip = frame + l3, *tcp = frame + l4;

	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8));
	if (s->vlan)
		put16(frame + 12, 0x8100);
	put16(frame + l3 - 2, s->v6 ? 0x86dd : 0x0800);
	ip[0] = s->v6 ? 0x60 : 0x45;
	if (s->v6) {
		ip[6] = 6;
	} else {
		put16(ip + 2, len - l3);
		put16(ip + 4, 0xfffe);	/* wraps in the third segment */
		ip[9] = 6;
	}
	put16(tcp + 4, 0xffff);		/* the number wraps as well */
	put16(tcp + 6, 0xff00);
	tcp[12] = (uint8_t)(s->tcp_words << 4);
	tcp[13] = s->flags;
	put16(tcp + 16, pseudo(ip, s->v6, 6, tcp_bytes + s->payload));
	*ret = (struct net_meta){ .needs_csum = true, .gso = s->v6 ? TCP6 : TCP4, .gso_size = MSS,
				  .csum_start = (uint16_t)l4, .csum_off = 16 };
	return len;
}

static const struct shape shapes[] = {
	{ false, false, 5, 0x18, 4500 }, { true, false, 8, 0x19, 4500 },
	{ false, true, 15, 0x99, 2001 }, { true, true, 5, 0x90, 3000 },
	{ false, false, 5, 0x11, 0 },	 { false, false, 8, 0x18, 1 },
	{ true, false, 5, 0x18, 999 },	 { false, false, 5, 0x10, 64000 },
};

static void check_segment(const struct shape *s, const struct net_meta *m, uint32_t i, uint32_t n,
			  const uint8_t *hdrs, uint32_t off, uint32_t len)
{
	const uint8_t *ip = hdrs + m->l3_off, *tcp = hdrs + m->csum_start;
	uint32_t tcp_bytes = 4 * s->tcp_words;

	ck_assert_uint_eq(off, m->hdrs_len + i * MSS);
	ck_assert_uint_eq(len, i + 1 < n ? MSS : s->payload - i * MSS);
	if (s->v6) {
		ck_assert_uint_eq(be16(ip + 4), tcp_bytes + len);
	} else {
		ck_assert_uint_eq(be16(ip + 2), 20 + tcp_bytes + len);
		ck_assert_uint_eq(be16(ip + 4), (0xfffe + i) & 0xffff);
		ck_assert_uint_eq(def_sum(ip, 20, 0), 0xffff);
	}
	uint32_t seq = be16(tcp + 4) << 16 | be16(tcp + 6);
	ck_assert_uint_eq(seq, (uint32_t)(0xffffff00u + i * MSS));
	uint8_t want = s->flags;
	if (i + 1 < n)
		want &= (uint8_t)~0x09;	/* FIN, PSH: of the last */
	if (i)
		want &= (uint8_t)~0x80;	/* CWR: of the first */
	ck_assert_uint_eq(tcp[13], want);
	/* The whole sum, payload and all, is right when it comes to all ones. */
	static uint8_t whole[VD_NET_FRAME_MAX];
	memcpy(whole, tcp, tcp_bytes);
	memcpy(whole + tcp_bytes, frame + off, len);
	ck_assert_uint_eq(def_sum(whole, tcp_bytes + len, pseudo(ip, s->v6, 6, tcp_bytes + len)),
			  0xffff);
}

START_TEST(segments)
{
	const struct shape *s = &shapes[_i];
	uint8_t hdrs[NET_HDRS_MAX];
	uint32_t off, seg_len, total = 0;
	struct net_meta m;
	uint32_t len = make_tcp(s, &m), n;

	ck_assert_int_eq(net_meta_parse(&m, frame, len), NET_OK);
	ck_assert_uint_eq(m.hdrs_len, len - s->payload);
	n = net_seg_count(&m, len);
	ck_assert_uint_eq(n, s->payload ? (s->payload + MSS - 1) / MSS : 1);
	for (uint32_t i = 0; i < n; i++) {
		net_seg_make(&m, frame, len, i, hdrs, &off, &seg_len);
		check_segment(s, &m, i, n, hdrs, off, seg_len);
		total += seg_len;
	}
	ck_assert_uint_eq(total, s->payload);
}
END_TEST

/* One byte is changed in a sound frame: what it must be called. */
static const struct {
	const char *what;
	bool v6;
	uint32_t at;
	uint8_t val;
	enum net_verdict want;
} parse_rows[] = {
	{ "sound", false, 0, 0, NET_OK },
	{ "sound, IPv6", true, 0, 0, NET_OK },
	{ "no IP", false, 12, 0x09, NET_BAD_HEADERS },
	{ "IPv6 said to be IPv4", true, 12, 0x08, NET_BAD_HEADERS },
	{ "IP of another version", false, 14, 0x55, NET_BAD_HEADERS },
	{ "IP header too short", false, 14, 0x44, NET_BAD_HEADERS },
	{ "IP header that ends elsewhere", false, 14, 0x46, NET_BAD_HEADERS },
	{ "no TCP", false, 23, 17, NET_BAD_HEADERS },
	{ "no TCP, IPv6", true, 20, 17, NET_BAD_HEADERS },
	{ "TCP header too short", false, 46, 0x40, NET_BAD_HEADERS },
	{ "TCP header behind the end", false, 46, 0xf0, NET_BAD_HEADERS },
};
START_TEST(parsing)
{
	const typeof(parse_rows[0]) *row = &parse_rows[_i];
	const struct shape s = { row->v6, false, 5, 0x10, 30 };
	struct net_meta m;
	uint32_t len = make_tcp(&s, &m);

	if (row->at)
		frame[row->at] = row->val;
	enum net_verdict v = net_meta_parse(&m, frame, len);
	ck_assert_msg(v == row->want, "%s: %s", row->what, net_verdict_str(v));
}
END_TEST

/* Every length, from an odd start too: the finished sum comes to all ones. */
START_TEST(sums)
{
	for (uint32_t len = 40; len < 200; len++) {
		struct net_meta m = { .needs_csum = true, .csum_start = (uint16_t)(20 + _i),
				      .csum_off = 6 };
		unsigned seed = len * 77 & 0xffff;

		for (uint32_t i = 0; i < len; i++)
			frame[i] = (uint8_t)(i * 31 + len);
		put16(frame + m.csum_start + 6, seed);
		net_csum_finish(&m, frame, len);
		unsigned all = def_sum(frame + m.csum_start, len - m.csum_start, seed);
		ck_assert_uint_eq(all, 0xffff);
	}
}
END_TEST

START_TEST(sum_of_zero)
{
	struct net_meta m = { .needs_csum = true, .csum_start = 20, .csum_off = 6 };

	memset(frame, 0, 60);
	put16(frame + 22, 0xffff);
	net_csum_finish(&m, frame, 60);	/* the sum is 0: written as all ones, for UDP */
	ck_assert_uint_eq(be16(frame + 26), 0xffff);
}
END_TEST

static const struct {
	uint8_t flags, gso;
	uint64_t driver, guest;
} needs_rows[] = {
	{ 0, 0, 0, 0 },
	{ CSUM, 0, 1ull << 0, 1ull << 1 },
	{ CSUM, TCP4, 1ull << 0 | 1ull << 11, 1ull << 1 | 1ull << 7 },
	{ CSUM, TCP6, 1ull << 0 | 1ull << 12, 1ull << 1 | 1ull << 8 },
	{ CSUM, TCP4 | ECN, 1ull << 0 | 1ull << 11 | 1ull << 13,
	  1ull << 1 | 1ull << 7 | 1ull << 9 },
	{ CSUM, UDP, 1ull << 0 | 1ull << 14, 1ull << 1 | 1ull << 10 },
};
START_TEST(needs)
{
	uint8_t hdr[VD_NET_HDR_BYTES];
	struct net_meta m;

	put_hdr(hdr, needs_rows[_i].flags, needs_rows[_i].gso, 1000, 34,
		needs_rows[_i].gso == UDP ? 6 : 16);
	ck_assert_int_eq(net_meta_read(hdr, 5000, &m), NET_OK);
	ck_assert_uint_eq(net_meta_needs(&m, false), needs_rows[_i].driver);
	ck_assert_uint_eq(net_meta_needs(&m, true), needs_rows[_i].guest);
}
END_TEST

/* ---- words ---- */

static const struct {
	const char *text;
	enum vd_net_form form;
	const char *system, *name;
} peer_rows[] = {
	{ "ivi/net", VD_NET_VM, "ivi", "net" },
	{ "/dev/qvm/ivi/net", VD_NET_VM, "ivi", "net" },
	{ "/run/parley/qvm/ivi/net", VD_NET_VM, "ivi", "net" },
	{ "/tmp/qvm/x/qvm/ivi/net", VD_NET_VM, "ivi", "net" },
	{ "tap:vp0", VD_NET_TAP, "", "vp0" },
	{ "bridge:br0", VD_NET_BRIDGE, "", "br0" },
	{ "/dev/vdevpeers/vp1", VD_NET_TAP, "", "vp1" },
	{ "", VD_NET_NONE, NULL, NULL },
	{ "net", VD_NET_NONE, NULL, NULL },
	{ "/net", VD_NET_NONE, NULL, NULL },
	{ "ivi/", VD_NET_NONE, NULL, NULL },
	{ "/dev/qvm/ivi", VD_NET_NONE, NULL, NULL },
	{ "/dev/qvm/ivi/net/more", VD_NET_NONE, NULL, NULL },
	{ "/dev/ivi/net", VD_NET_NONE, NULL, NULL },
	{ "../net", VD_NET_NONE, NULL, NULL },
	{ "ivi/..", VD_NET_NONE, NULL, NULL },
	{ "tap:", VD_NET_NONE, NULL, NULL },
	{ "tap:0123456789abcdef", VD_NET_NONE, NULL, NULL },
	{ "tap:a/b", VD_NET_NONE, NULL, NULL },
	{ "tap:a%d", VD_NET_NONE, NULL, NULL },
	{ "bridge:a b", VD_NET_NONE, NULL, NULL },
	{ "0123456789012345678901234567890123456789012345678901234567890123/n", VD_NET_NONE, NULL,
	  NULL },
};
START_TEST(peers)
{
	const typeof(peer_rows[0]) *row = &peer_rows[_i];
	struct vd_net_peer p;
	const char *why = vd_net_peer_parse(row->text, &p);

	ck_assert_int_eq(p.form, row->form);
	ck_assert_int_eq(!why, row->form != VD_NET_NONE);
	if (why)
		return;
	ck_assert_str_eq(p.system, row->system);
	ck_assert_str_eq(p.name, row->name);
}
END_TEST

static const struct {
	const char *text;
	bool ok;
} mac_rows[] = {
	{ "02:00:00:00:00:01", true }, { "02-00-00-00-00-01", true }, { "020000000001", true },
	{ "aE:BB:cc:0d:0E:0f", true }, { "", false }, { "0", false }, { "02:00:00:00:00", false },
	{ "02:00:00:00:00:01:", false }, { "02:00-00:00:00:01", false },
	{ "02:00:00:00:00:0g", false }, { "03:00:00:00:00:01", false },
	{ "00:00:00:00:00:00", false }, { "0200000000011", false }, { "2:0:0:0:0:1", false },
};
START_TEST(macs)
{
	uint8_t mac[VD_NET_MAC_BYTES] = { 0 };
	const char *why = vd_net_mac_parse(mac_rows[_i].text, mac);

	ck_assert_msg(!why == mac_rows[_i].ok, "%s: %s", mac_rows[_i].text, why ? why : "taken");
	ck_assert_int_eq(mac[5] != 0, mac_rows[_i].ok);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_net_frame");
	TCase *tc = fixture_case(s, "frame");

	tcase_add_loop_test(tc, headers, 0, Q_ARRAY_LEN(hdr_rows));
	tcase_add_loop_test(tc, segments, 0, Q_ARRAY_LEN(shapes));
	tcase_add_loop_test(tc, parsing, 0, Q_ARRAY_LEN(parse_rows));
	tcase_add_loop_test(tc, sums, 0, 2);
	tcase_add_test(tc, sum_of_zero);
	tcase_add_loop_test(tc, needs, 0, Q_ARRAY_LEN(needs_rows));
	tcase_add_loop_test(tc, peers, 0, Q_ARRAY_LEN(peer_rows));
	tcase_add_loop_test(tc, macs, 0, Q_ARRAY_LEN(mac_rows));
	return fixture_main(s);
}
