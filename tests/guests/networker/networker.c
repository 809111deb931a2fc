/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network worker: sends bytes through virtio-net, receives bytes, checks each. What flows is
 * UDP over IPv4, so that another VM's worker or a socket of the host can be the other end. One flow
 * a queue pair; frames have numbers, the receiver takes them in order and says how far it is, and a
 * sender that hears nothing for a while goes back to there. Content is made of the flow, the
 * transfer (epoch) and the frame's number, and is compared word by word.
 *
 * One thread: everything happens in the turns of run().
 */
#include "tests/guests/drv/net.h"

#define MAGIC		0x4e574b31u
#define ETH_BYTES	14u
#define IP_BYTES	20u
#define UDP_BYTES	8u
#define HEADS		(ETH_BYTES + IP_BYTES + UDP_BYTES)
#define PORT		7777u
#define BUFS		128u
#define AGAIN_NS	(100 * RT_NS_PER_MS)
#define LINK_NS		(20 * RT_NS_PER_MS)

enum kind { DATA = 1, ACK = 2 };

struct head {
	uint32_t magic;
	uint8_t kind, flow, last, zero;
	uint64_t epoch;
	uint32_t seq;		/* of an ACK: the next one that is expected */
	uint32_t words;		/* of 8 bytes, behind this */
};
#define FRAME_HEADS	(HEADS + (uint32_t)sizeof(struct head))

struct flow {
	/* sending */
	uint64_t epoch;
	uint32_t next, acked, n_frames;
	uint64_t heard;		/* ticks */
	/* receiving */
	uint64_t in_epoch;
	uint32_t expected;
	bool owe_ack, complete;
};

static struct net net;
static struct flow flows[NET_PAIRS_MAX];
static unsigned n_pairs, win, times, n_done;
static uint32_t n_words, nap_ms;
static uint64_t send_bytes, n_again, n_in, n_in_bytes, n_out_of_order, started, first_in, n_partial;
static uint8_t dst[6], my_ip[4], peer_ip[4];
static bool partial, sum_it, verify, was_up, sink;
static unsigned n_ups;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t sum(const uint8_t *p, uint32_t len, uint32_t s)
{
	for (uint32_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	if (len & 1)
		s += (uint32_t)p[len - 1] << 8;
	return s;
}

static unsigned fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* ---- frames ---- */

static uint32_t pseudo(const uint8_t *ip, uint32_t udp_len)
{
	return sum(ip + 12, 8, 17 + udp_len);
}

static void put_heads(uint8_t *f, uint32_t payload, struct net_hdr *hdr)
{
	uint8_t *ip = f + ETH_BYTES, *udp = ip + IP_BYTES;
	uint32_t udp_len = UDP_BYTES + payload;

	memcpy(f, dst, 6);
	memcpy(f + 6, net.mac, 6);
	put16(f + 12, 0x0800);
	memset(ip, 0, IP_BYTES + UDP_BYTES);
	ip[0] = 0x45;
	put16(ip + 2, IP_BYTES + udp_len);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, my_ip, 4);
	memcpy(ip + 16, peer_ip, 4);
	put16(ip + 10, ~fold(sum(ip, IP_BYTES, 0)));
	put16(udp, PORT);
	put16(udp + 2, PORT);
	put16(udp + 4, udp_len);
	if (partial) {
		put16(udp + 6, fold(pseudo(ip, udp_len)));
		hdr->flags = NET_H_NEEDS_CSUM;
		hdr->csum_start = ETH_BYTES + IP_BYTES;
		hdr->csum_offset = 6;
	} else if (sum_it) {
		unsigned c = ~fold(sum(udp, udp_len, pseudo(ip, udp_len))) & 0xffff;
		put16(udp + 6, c ? c : 0xffff);
	}
}

static bool send_frame(unsigned i, enum kind kind, uint64_t epoch, uint32_t seq, uint32_t words,
		       bool last)
{
	struct net_buf *b = net_tx_get(&net, i);
	struct head h = { .magic = MAGIC, .kind = kind, .flow = (uint8_t)i, .last = last,
			  .epoch = epoch, .seq = seq, .words = words };

	if (!b)
		return false;
	uint8_t *p = b->frame + FRAME_HEADS;
	for (uint32_t w = 0; verify && w < words; w++) {
		uint64_t v = mix(epoch + (uint64_t)seq * 0x10001 + w);
		memcpy(p + 8 * w, &v, 8);
	}
	memcpy(b->frame + HEADS, &h, sizeof(h));
	put_heads(b->frame, (uint32_t)sizeof(h) + 8 * words, &b->hdr);
	net_tx_put(&net, i, b, FRAME_HEADS + 8 * words);
	return true;
}

/* ---- receiving ---- */

/* What the network says of a frame, before we look into it. */
static void check_net(const uint8_t *f, uint32_t len, const struct net_hdr *hdr)
{
	const uint8_t *ip = f + ETH_BYTES, *udp = ip + IP_BYTES;
	uint32_t udp_len = (uint32_t)udp[4] << 8 | udp[5];

	if (hdr->gso_type)
		rt_fail("gso_type=%u was not agreed", hdr->gso_type);
	if (fold(sum(ip, IP_BYTES, 0)) != 0xffff)
		rt_fail("IP header with a wrong sum");
	if (udp_len < UDP_BYTES || udp_len > len - ETH_BYTES - IP_BYTES)
		rt_fail("udp length %u in a frame of %u", udp_len, len);
	if (hdr->flags & NET_H_NEEDS_CSUM) {
		n_partial++;
		if (!(net.dev->features & NET_F_GUEST_CSUM))
			rt_fail("a checksum is left to us, which was not agreed");
	} else if ((udp[6] || udp[7]) && fold(sum(udp, udp_len, pseudo(ip, udp_len))) != 0xffff) {
		rt_fail("UDP with a wrong sum");
	}
}

static void check_words(const uint8_t *p, const struct head *h)
{
	for (uint32_t w = 0; w < h->words; w++) {
		uint64_t got, want = mix(h->epoch + (uint64_t)h->seq * 0x10001 + w);

		memcpy(&got, p + 8 * w, 8);
		if (got != want)
			rt_fail("flow %u frame %u word %u: 0x%lx, expected 0x%lx", h->flow, h->seq,
				w, got, want);
	}
}

static void got_data(const struct head *h, const uint8_t *words)
{
	struct flow *f = &flows[h->flow];

	if (h->epoch != f->in_epoch && h->seq == 0) {
		f->in_epoch = h->epoch;
		f->expected = 0;
		f->complete = false;
	}
	f->owe_ack = h->epoch == f->in_epoch;
	if (h->epoch != f->in_epoch || h->seq != f->expected) {
		n_out_of_order++;
		return;
	}
	if (verify)
		check_words(words, h);
	if (!first_in)
		first_in = arch_ticks();
	f->expected++;
	n_in++;
	n_in_bytes += 8 * (uint64_t)h->words;
	if (h->last) {
		uint64_t ms = rt_ns(arch_ticks() - first_in) / RT_NS_PER_MS;

		f->complete = true;
		n_done++;
		first_in = 0;
		rt_printf("net: received flow=%u frames=%u bytes=%lu ms=%lu merged=%lu again=%lu "
			  "partial=%lu\n", h->flow, f->expected, n_in_bytes, ms, net.n_merged,
			  n_out_of_order, n_partial);
	}
}

static void got_ack(const struct head *h)
{
	struct flow *f = &flows[h->flow];

	if (h->epoch != f->epoch || h->seq > f->n_frames || h->seq < f->acked)
		return;
	if (h->seq > f->acked)
		f->heard = arch_ticks();
	f->acked = h->seq;
	if (f->next < f->acked)
		f->next = f->acked;
}

static void got_frame(const uint8_t *f, uint32_t len, const struct net_hdr *hdr)
{
	struct head h;

	/* Others talk on a host's network, too. */
	if (len < FRAME_HEADS || f[12] != 8 || f[13] != 0 || f[ETH_BYTES + 9] != 17)
		return;
	memcpy(&h, f + HEADS, sizeof(h));
	if (h.magic != MAGIC || h.flow >= n_pairs || h.words > (len - FRAME_HEADS) / 8)
		return;
	check_net(f, len, hdr);
	if (h.kind == DATA)
		got_data(&h, f + FRAME_HEADS);
	else if (h.kind == ACK)
		got_ack(&h);
}

/* ---- turns ---- */

static bool receive(unsigned i)
{
	struct net_hdr hdr;
	const uint8_t *f;
	uint32_t len;
	unsigned n = 0;

	while (n < BUFS / 4 && (f = net_rx_get(&net, i, &len, &hdr)) != NULL) {
		got_frame(f, len, &hdr);
		n++;
	}
	if (n)
		net_rx_kick(&net, i);
	return n > 0;
}

static bool transmit(unsigned i)
{
	struct flow *f = &flows[i];
	bool did = false;

	if (f->owe_ack && send_frame(i, ACK, f->in_epoch, f->expected, 0, false)) {
		f->owe_ack = false;
		did = true;
	}
	if (f->acked < f->n_frames && arch_ticks() - f->heard > rt_ticks(AGAIN_NS)) {
		n_again += f->next > f->acked;
		f->next = f->acked;
		f->heard = arch_ticks();
	}
	while (f->next < f->n_frames && f->next - f->acked < win &&
	       send_frame(i, DATA, f->epoch, f->next, n_words, f->next + 1 == f->n_frames)) {
		f->next++;
		did = true;
	}
	if (did)
		net_tx_kick(&net, i);
	return did;
}

static void look_at_link(void)
{
	static uint64_t next;

	if (arch_ticks() < next)
		return;
	next = arch_ticks() + rt_ticks(LINK_NS);
	bool up = net_link_up(&net);
	if (up != was_up)
		rt_printf("net: link %s\n", up ? "up" : "down");
	if (up && !was_up) {
		n_ups++;
		for (unsigned i = 0; i < n_pairs; i++)
			flows[i].heard = arch_ticks();
	}
	was_up = up;
}

static bool all_done(void)
{
	for (unsigned i = 0; i < n_pairs; i++)
		if (flows[i].acked < flows[i].n_frames || flows[i].owe_ack)
			return false;
	return !sink || (times && n_done >= times * n_pairs);
}

static void rest(uint32_t seen, uint64_t until)
{
	bool came = false;

	for (unsigned i = 0; i < n_pairs; i++)
		came |= vq_arm(&net.rx[i].q);
	if (!came)
		rt_wait(seen, until);
	for (unsigned i = 0; i < n_pairs; i++)
		vq_disarm(&net.rx[i].q);
}

/* Until @until, or 0: until all is done. */
static void run(uint64_t until)
{
	while (until ? arch_ticks() < until : !all_done()) {
		uint32_t seen = rt_wake;
		bool did = false;

		look_at_link();
		net_irq_ack(&net);
		for (unsigned i = 0; i < n_pairs; i++) {
			did |= receive(i);
			did |= was_up && transmit(i);
		}
		if (rt_power_button(false))
			break;
		if (!did)
			rest(seen, arch_ticks() + rt_ticks(nap_ms * RT_NS_PER_MS));
	}
}

/* ---- start ---- */

static uint32_t number(const char *key, uint64_t dflt, uint64_t min, uint64_t max)
{
	uint64_t v = rt_arg_u64(key, dflt);

	if (v < min || v > max)
		rt_fail("argument %s=%lu is not in %lu..%lu", key, v, min, max);
	return (uint32_t)v;
}

static void read_args(struct net_setup *s)
{
	uint64_t to = rt_arg_u64("dst", UINT64_C(0xffffffffffff));
	uint32_t me = number("ip", 1, 1, 254), peer = number("peer", 2, 1, 254);
	uint32_t bs = number("bs", 1400, 8, 60000);

	for (unsigned i = 0; i < 6; i++)
		dst[i] = (uint8_t)(to >> (40 - 8 * i));
	memcpy(my_ip, (uint8_t[]){ 10, 77, 0, (uint8_t)me }, 4);
	memcpy(peer_ip, (uint8_t[]){ 10, 77, 0, (uint8_t)peer }, 4);
	n_pairs = number("pairs", 1, 1, NET_PAIRS_MAX);
	win = number("win", 64, 1, BUFS - 8);
	times = number("times", 1, 0, 1000000);
	send_bytes = rt_arg_u64("send", 0);
	sink = number("recv", !send_bytes, 0, 1);
	sum_it = number("sum", 0, 0, 1);
	verify = number("verify", 1, 0, 1);
	nap_ms = number("nap_ms", 5, 1, 60000);
	n_words = bs / 8;
	*s = (struct net_setup){
		.features = (number("mrg", 1, 0, 1) ? NET_F_MRG_RXBUF : 0) |
			    (number("csum", 0, 0, 1) ? NET_F_CSUM : 0) |
			    (number("guest_csum", 0, 0, 1) ? NET_F_GUEST_CSUM : 0) |
			    (number("indirect", 1, 0, 1) ? VIO_F_INDIRECT : 0) |
			    (number("event_idx", 1, 0, 1) ? VIO_F_EVENT_IDX : 0) |
			    (number("packed", 0, 0, 1) ? VIO_F_PACKED : 0),
		.n_pairs = n_pairs, .queue_size = VQ_MAX_SIZE, .n_tx = BUFS,
		.rx_bytes = number("rxbuf", 2048, 64, NET_HDR_BYTES + NET_FRAME_MAX),
		.n_rx = number("n_rx", BUFS, 1, VQ_MAX_SIZE), .tx_bytes = FRAME_HEADS + 8 * n_words,
	};
}

static void begin_flows(void)
{
	uint64_t frame = 8 * (uint64_t)n_words;

	started = arch_ticks();
	/* What came meanwhile stays: the other end may be ahead of us. */
	for (unsigned i = 0; i < n_pairs && send_bytes; i++) {
		flows[i].epoch = mix(started + i) | 1;
		flows[i].heard = started;
		flows[i].n_frames = (uint32_t)((send_bytes / n_pairs + frame - 1) / frame);
	}
}

void guest_main(void)
{
	struct net_setup s;

	read_args(&s);
	struct vio_dev *d = vio_find(VIO_ID_NET, number("dev", 0, 0, VIO_MAX_DEVS));
	const char *why = net_open(&net, d, &s);
	if (why)
		rt_fail("net: %s", why);
	partial = net.dev->features & NET_F_CSUM;
	rt_printf("net: ready dev=%s mac=%02x:%02x:%02x:%02x:%02x:%02x features=0x%lx pairs=%u\n",
		  net.dev->name, net.mac[0], net.mac[1], net.mac[2], net.mac[3], net.mac[4],
		  net.mac[5], net.dev->features, n_pairs);
	while (!was_up)
		run(arch_ticks() + rt_ticks(LINK_NS));
	begin_flows();
	run(0);
	uint64_t us = rt_ns(arch_ticks() - started) / RT_NS_PER_US;
	if (send_bytes)
		rt_printf("net: sent bytes=%lu us=%lu kb_s=%lu frames=%lu again=%lu\n", send_bytes,
			  us, send_bytes * 1000 / (us ? us : 1),
			  send_bytes / (8 * (uint64_t)n_words), n_again);
	/* The other end may not have heard our last word. */
	run(arch_ticks() + rt_ticks(number("linger_ms", 250, 0, 60000) * RT_NS_PER_MS));
	uint64_t kicks = 0, saved = 0;
	for (unsigned i = 0; i < n_pairs; i++) {
		kicks += net.tx[i].q.n_kicks + net.rx[i].q.n_kicks;
		saved += net.tx[i].q.n_kicks_saved + net.rx[i].q.n_kicks_saved;
	}
	rt_printf("net: total in=%lu kicks=%lu kicks_saved=%lu links=%u\n", n_in, kicks, saved,
		  n_ups);
}
