/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pckeyboard: the keyboard controller of a PC (8042) with a keyboard on it and no mouse. Nobody
 * types: it is there because guests look for it, ask it who it is, and restart the machine by it.
 *
 * Two windows: 0 the data port (0x60), 1 the command and status port (0x64). What the controller
 * and the keyboard answer stands in one queue; the byte at its head is in the output buffer. The
 * controller's own answers throw away what was queued, as they do on the chip. Invariant: the
 * interrupt line is (a byte is there) && CTR_KBD_INT after each callback, and falls between two
 * bytes, so that each is an edge.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/types.h"

#define PORT_DATA    0x60u
#define PORT_COMMAND 0x64u

enum { WIN_DATA, WIN_COMMAND };
enum { STR_OUT_FULL = 1 << 0, STR_SYSTEM = 1 << 2, STR_COMMAND = 1 << 3, STR_UNLOCKED = 1 << 4 };
enum {
	CTR_KBD_INT = 1 << 0,
	CTR_SYSTEM = 1 << 2,
	CTR_KBD_OFF = 1 << 4,
	CTR_AUX_OFF = 1 << 5,
	CTR_XLATE = 1 << 6
};
enum { OUT_NO_RESET = 1 << 0, OUT_A20 = 1 << 1, OUT_KBD_FULL = 1 << 4, OUT_FIXED = 0xc0 };

/* Commands of the controller. */
enum {
	CMD_READ_RAM = 0x20,	/* to 0x3f; the first is the control register */
	CMD_WRITE_RAM = 0x60,	/* to 0x7f */
	CMD_AUX_DISABLE = 0xa7,
	CMD_AUX_ENABLE = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KBD_TEST = 0xab,
	CMD_KBD_DISABLE = 0xad,
	CMD_KBD_ENABLE = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_KBD_LOOP = 0xd2,
	CMD_AUX_LOOP = 0xd3,
	CMD_AUX_SEND = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_TEST_INPUTS = 0xe0,
	CMD_PULSE = 0xf0,	/* to 0xff: the output bits that are 0 fall for a moment */
};
enum { SELF_TEST_OK = 0x55, KBD_TEST_OK = 0x00, AUX_TEST_NONE = 0x01, INPUT_UNLOCKED = 0x80 };

/* Commands and answers of the keyboard. */
enum {
	KBD_LEDS = 0xed,
	KBD_ECHO = 0xee,
	KBD_SCAN_SET = 0xf0,
	KBD_ID = 0xf2,
	KBD_RATE = 0xf3,
	KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5,
	KBD_DEFAULTS = 0xf6,
	KBD_ALL_KEYS = 0xf7,	/* to 0xfa: what keys report, in scan set 3 */
	KBD_ONE_KEY = 0xfb,	/* to 0xfd: the same of one key, whose code follows */
	KBD_RESEND = 0xfe,
	KBD_RESET = 0xff,
};
enum { ACK = 0xfa, NAK = 0xfe, RESET_DONE = 0xaa };

#define QUEUE_BYTES 16u

struct keyboard {
	struct vdev v;
	uint8_t ram[32];	/* [0]: the control register */
	uint8_t out_port;
	uint8_t to_data;	/* the controller's command that the next data byte is for, or 0 */
	bool last_was_command;
	uint8_t queue[QUEUE_BYTES];
	unsigned head, len;
	uint8_t data;		/* what the output buffer had last */
	bool line;
	/* the keyboard */
	uint8_t to_kbd;		/* its command that the next byte is for, or 0 */
	uint8_t leds, rate, scan_set, last_sent;
	bool scanning;
};

static void line_update(struct keyboard *k)
{
	bool line = k->len && (k->ram[0] & CTR_KBD_INT);

	if (line == k->line || !k->v.cfg->n_irqs)
		return;
	k->line = line;
	k->v.host->ops->irq_set(k->v.host, 0, line);
}

/* What does not fit is lost, as it is on the wire. */
static void put(struct keyboard *k, uint8_t byte)
{
	if (k->len < QUEUE_BYTES)
		k->queue[(k->head + k->len++) % QUEUE_BYTES] = byte;
	line_update(k);
}

static void answer(struct keyboard *k, uint8_t byte)
{
	k->len = 0;
	line_update(k);
	put(k, byte);
}

/* ---- the keyboard ---- */

static void kbd_defaults(struct keyboard *k)
{
	k->to_kbd = 0;
	k->rate = 0x2b;	/* 500 ms, then 10.9 a second */
	k->scan_set = 2;
	k->scanning = true;
}

static void kbd_say(struct keyboard *k, uint8_t byte)
{
	k->last_sent = byte;
	put(k, byte);
}

static void kbd_argument(struct keyboard *k, uint8_t byte)
{
	uint8_t command = k->to_kbd;

	k->to_kbd = 0;
	if (command == KBD_SCAN_SET && byte > 3) {
		kbd_say(k, NAK);
		return;
	}
	kbd_say(k, ACK);
	if (command == KBD_LEDS)
		k->leds = byte & 7;
	else if (command == KBD_RATE)
		k->rate = byte & 0x7f;
	else if (command == KBD_SCAN_SET && byte)
		k->scan_set = byte;
	else if (command == KBD_SCAN_SET)
		kbd_say(k, k->scan_set);
}

static void kbd_id(struct keyboard *k)
{
	kbd_say(k, ACK);
	kbd_say(k, 0xab);
	/* Translated to scan set 1, as all that a keyboard says is. */
	kbd_say(k, k->ram[0] & CTR_XLATE ? 0x41 : 0x83);
}

static void kbd_command(struct keyboard *k, uint8_t byte)
{
	switch (byte) {
	case KBD_ECHO:
		kbd_say(k, KBD_ECHO);
		break;
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case KBD_RATE:
	case KBD_ONE_KEY ... KBD_ONE_KEY + 2:
		k->to_kbd = byte;
		kbd_say(k, ACK);
		break;
	case KBD_ID:
		kbd_id(k);
		break;
	case KBD_ENABLE:
		k->scanning = true;
		kbd_say(k, ACK);
		break;
	case KBD_DISABLE:
	case KBD_DEFAULTS:
		kbd_defaults(k);
		k->scanning = byte == KBD_DEFAULTS;
		kbd_say(k, ACK);
		break;
	case KBD_ALL_KEYS ... KBD_ALL_KEYS + 3:
		kbd_say(k, ACK);
		break;
	case KBD_RESEND:
		put(k, k->last_sent);
		break;
	case KBD_RESET:
		kbd_defaults(k);
		k->leds = 0;
		kbd_say(k, ACK);
		kbd_say(k, RESET_DONE);
		break;
	default:
		kbd_say(k, NAK);
		break;
	}
}

/* A byte on the keyboard's wire: it switches a keyboard that was off on again. */
static void kbd_write(struct keyboard *k, uint8_t byte)
{
	k->ram[0] &= (uint8_t)~CTR_KBD_OFF;
	/* A command in an argument's place is a command. */
	if (k->to_kbd && byte < KBD_LEDS)
		kbd_argument(k, byte);
	else {
		k->to_kbd = 0;
		kbd_command(k, byte);
	}
}

/* ---- the controller ---- */

static void out_port_write(struct keyboard *k, uint8_t val)
{
	/* The gate of A20 is kept and has no effect: no PC of this century closes it. */
	k->out_port = (val & OUT_A20) | OUT_NO_RESET;
	if (!(val & OUT_NO_RESET))
		k->v.host->ops->power(k->v.host, VD_POWER_RESET);
}

static uint8_t out_port_read(const struct keyboard *k)
{
	return OUT_FIXED | k->out_port | (k->line ? OUT_KBD_FULL : 0);
}

static void self_test(struct keyboard *k)
{
	k->ram[0] = CTR_KBD_OFF | CTR_AUX_OFF | CTR_SYSTEM | (k->ram[0] & CTR_XLATE);
	answer(k, SELF_TEST_OK);
}

static void controller_command(struct keyboard *k, uint8_t cmd)
{
	k->to_data = 0;
	switch (cmd) {
	case CMD_READ_RAM ... CMD_READ_RAM + 0x1f:
		answer(k, k->ram[cmd & 0x1f]);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + 0x1f:
	case CMD_WRITE_OUTPUT:
	case CMD_KBD_LOOP:
	case CMD_AUX_LOOP:
	case CMD_AUX_SEND:
		k->to_data = cmd;
		break;
	case CMD_AUX_DISABLE:
		k->ram[0] |= CTR_AUX_OFF;
		break;
	case CMD_AUX_ENABLE:
		k->ram[0] &= (uint8_t)~CTR_AUX_OFF;
		break;
	case CMD_AUX_TEST:
		answer(k, AUX_TEST_NONE);
		break;
	case CMD_SELF_TEST:
		self_test(k);
		break;
	case CMD_KBD_TEST:
		answer(k, KBD_TEST_OK);
		break;
	case CMD_KBD_DISABLE:
		k->ram[0] |= CTR_KBD_OFF;
		break;
	case CMD_KBD_ENABLE:
		k->ram[0] &= (uint8_t)~CTR_KBD_OFF;
		break;
	case CMD_READ_INPUT:
		answer(k, INPUT_UNLOCKED);
		break;
	case CMD_READ_OUTPUT:
		answer(k, out_port_read(k));
		break;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		out_port_write(k, OUT_NO_RESET | (cmd == CMD_A20_ON ? OUT_A20 : 0));
		break;
	case CMD_TEST_INPUTS:
		answer(k, 0);
		break;
	case CMD_PULSE ... CMD_PULSE + 0xf:
		if (!(cmd & OUT_NO_RESET))
			k->v.host->ops->power(k->v.host, VD_POWER_RESET);
		break;
	default:
		break;	/* the chip ignores the rest */
	}
}

static void data_write(struct keyboard *k, uint8_t byte)
{
	uint8_t cmd = k->to_data;

	k->to_data = 0;
	switch (cmd) {
	case 0:
		kbd_write(k, byte);
		break;
	case CMD_WRITE_OUTPUT:
		out_port_write(k, byte);
		break;
	case CMD_KBD_LOOP:
	case CMD_AUX_LOOP:	/* it has no second port: what comes back is the keyboard's */
		answer(k, byte);
		break;
	case CMD_AUX_SEND:	/* nobody is there */
		break;
	default:
		k->ram[cmd & 0x1f] = byte;
		line_update(k);
		break;
	}
}

static uint8_t data_read(struct keyboard *k)
{
	if (!k->len)
		return k->data;	/* the buffer keeps what it had */
	k->data = k->queue[k->head];
	k->head = (k->head + 1) % QUEUE_BYTES;
	/* The line falls with each byte that is taken. */
	unsigned left = k->len - 1;
	k->len = 0;
	line_update(k);
	k->len = left;
	line_update(k);
	return k->data;
}

static uint8_t status(const struct keyboard *k)
{
	return (uint8_t)(STR_UNLOCKED | (k->len ? STR_OUT_FULL : 0) |
			 (k->ram[0] & CTR_SYSTEM ? STR_SYSTEM : 0) |
			 (k->last_was_command ? STR_COMMAND : 0));
}

/* ---- the vdev ---- */

static uint64_t keyboard_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct keyboard *k = Q_CONTAINER_OF(v, struct keyboard, v);

	return win == WIN_DATA ? data_read(k) : status(k);
}

static void keyboard_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct keyboard *k = Q_CONTAINER_OF(v, struct keyboard, v);

	k->last_was_command = win == WIN_COMMAND;
	if (win == WIN_COMMAND)
		controller_command(k, (uint8_t)val);
	else
		data_write(k, (uint8_t)val);
}

static void keyboard_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct keyboard *k = Q_CONTAINER_OF(v, struct keyboard, v);

	snprintf(buf, buf_bytes, "ctr=%#x out=%#x queued=%u leds=%u scan_set=%u scanning=%d",
		 k->ram[0], out_port_read(k), k->len, k->leds, k->scan_set, k->scanning);
}

static void keyboard_free(struct vdev *v)
{
	free(Q_CONTAINER_OF(v, struct keyboard, v));
}

static const struct vdev_ops keyboard_ops = {
	.read = keyboard_read,
	.write = keyboard_write,
	.status = keyboard_status,
	.free = keyboard_free,
};

static void keyboard_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->space != VD_IO || cfg->base != PORT_DATA)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev pckeyboard: the keyboard controller of a PC is at io:0x%x and "
			     "0x%x: leave loc out", PORT_DATA, PORT_COMMAND);
}

static int keyboard_create(const struct vd_config *cfg, struct vd_host *host,
			   struct cf_errors *errs, struct vdev **ret)
{
	struct keyboard *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->v = (struct vdev){ .ops = &keyboard_ops, .type = &vd_pckeyboard_type, .cfg = cfg,
			      .host = host };
	k->ram[0] = CTR_KBD_INT | CTR_SYSTEM | CTR_AUX_OFF | CTR_XLATE;	/* as firmware leaves it */
	k->out_port = OUT_NO_RESET | OUT_A20;
	kbd_defaults(k);
	int r = host->ops->bar_map(host, WIN_COMMAND, VD_IO, PORT_COMMAND, 1, true);
	if (r < 0) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: port 0x%x cannot be mapped", cfg->name, PORT_COMMAND);
		free(k);
		return r;
	}
	*ret = &k->v;
	return 0;
}

static const struct vd_option keyboard_options[] = {
	{ NULL },
};

const struct vd_type vd_pckeyboard_type = {
	.name = "pckeyboard",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = PORT_DATA,
	.len_bytes = 1,
	.max_irqs = 1,
	.archs = "x86",
	.options = keyboard_options,
	.check = keyboard_check,
	.create = keyboard_create,
};
