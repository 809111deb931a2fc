/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The length of an x86 instruction: prefixes, opcode, ModRM with what it brings, immediate. It
 * knows what KVM's emulator is likely not to: the two- and three-byte opcodes, VEX and EVEX, x87,
 * and the plain one-byte ones that take a ModRM or nothing. An opcode that it does not know has no
 * length: stepping to a wrong place would be worse than stopping. The bytes are a guest's.
 */
#include "qvm/arch/x86/insn.h"

#include <string.h>

#define INSN_BYTES_MAX 15u

struct cursor {
	const uint8_t *p;
	unsigned n, at;
	unsigned bits;
	bool addr_short;	/* 0x67 */
	bool operand_short;	/* 0x66 */
	bool wide;		/* REX.W */
};

enum form { FORM_UNKNOWN, FORM_NONE, FORM_MODRM, FORM_MODRM_IMM8, FORM_MODRM_IMM, FORM_IMM8 };

static bool take(struct cursor *c, uint8_t *ret)
{
	if (c->at >= c->n || c->at >= INSN_BYTES_MAX)
		return false;
	*ret = c->p[c->at++];
	return true;
}

static bool is_prefix(uint8_t b)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					    0x66, 0x67, 0xf0, 0xf2, 0xf3 };

	return memchr(prefixes, b, sizeof(prefixes));
}

/* The first byte behind the prefixes in *ret. */
static bool take_prefixes(struct cursor *c, uint8_t *ret)
{
	do {
		if (!take(c, ret))
			return false;
		c->addr_short |= *ret == 0x67;
		c->operand_short |= *ret == 0x66;
	} while (is_prefix(*ret));
	if (c->bits == 64 && (*ret & 0xf0) == 0x40) {
		c->wide = *ret & 8;
		return take(c, ret);
	}
	return true;
}

static enum form form_of_one(uint8_t op)
{
	static const uint8_t none[] = { 0x98, 0x99, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa4, 0xa5, 0xa6,
					0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc9, 0xcc, 0xd7,
					0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4, 0xf5, 0xf8, 0xf9, 0xfa,
					0xfb, 0xfc, 0xfd };

	if (memchr(none, op, sizeof(none)))
		return FORM_NONE;
	if (op < 0x40 && (op & 7) < 4)		/* add … cmp */
		return FORM_MODRM;
	if (op >= 0x84 && op <= 0x8e)		/* test, xchg, mov, lea */
		return FORM_MODRM;
	if (op >= 0xd8 && op <= 0xdf)		/* x87 */
		return FORM_MODRM;
	if (op == 0x80 || op == 0x83 || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0x6b)
		return FORM_MODRM_IMM8;
	if (op == 0x81 || op == 0xc7 || op == 0x69)
		return FORM_MODRM_IMM;
	if ((op >= 0xd0 && op <= 0xd3) || op == 0x63 || op == 0xfe || op == 0xff)
		return FORM_MODRM;
	if (op == 0xcd || op == 0xe4 || op == 0xe5 || op == 0xe6 || op == 0xe7)
		return FORM_IMM8;
	return FORM_UNKNOWN;
}

/* Behind 0x0f. */
static enum form form_of_two(uint8_t op)
{
	static const uint8_t none[] = { 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x30, 0x31, 0x32, 0x33,
					0x34, 0x35, 0x37, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9,
					0xaa };
	static const uint8_t imm8[] = { 0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5,
					0xc6, 0x0f };

	if (memchr(none, op, sizeof(none)) || (op >= 0xc8 && op <= 0xcf))
		return FORM_NONE;
	if (memchr(imm8, op, sizeof(imm8)))
		return FORM_MODRM_IMM8;
	/* Far jumps end the path; what is no instruction has no length. */
	if ((op >= 0x80 && op <= 0x8f) || op == 0x04 || op == 0x0a || op == 0x0c || op == 0x36 ||
	    op == 0x39 || (op >= 0x3b && op <= 0x3f) || (op >= 0x24 && op <= 0x27))
		return FORM_UNKNOWN;
	return FORM_MODRM;
}

static bool skip(struct cursor *c, unsigned n)
{
	uint8_t b;

	while (n--)
		if (!take(c, &b))
			return false;
	return true;
}

/* Opcode map 1, 2 or 3 of VEX and EVEX, of which the legacy escapes are a part. */
static enum form form_of_map(struct cursor *c, unsigned map, bool is_vex)
{
	uint8_t op;

	if (!take(c, &op))
		return FORM_UNKNOWN;
	if (map == 2 || map == 5 || map == 6)
		return FORM_MODRM;
	if (map == 3)
		return FORM_MODRM_IMM8;
	if (map != 1)
		return FORM_UNKNOWN;
	if (is_vex && op == 0x77)
		return FORM_NONE;
	return form_of_two(op);
}

static enum form form_of_vex(struct cursor *c, uint8_t lead)
{
	uint8_t b;

	if (!take(c, &b))
		return FORM_UNKNOWN;
	/* Outside of 64-bit code, these are VEX only when they would name a register. */
	if (c->bits != 64 && (b & 0xc0) != 0xc0)
		return FORM_UNKNOWN;
	if (lead == 0xc5)
		return form_of_map(c, 1, true);
	if (!skip(c, lead == 0xc4 ? 1 : 2))
		return FORM_UNKNOWN;
	return form_of_map(c, lead == 0xc4 ? b & 0x1f : b & 7, true);
}

static enum form form_next(struct cursor *c)
{
	uint8_t op;

	if (!take_prefixes(c, &op))
		return FORM_UNKNOWN;
	if (op == 0xc4 || op == 0xc5 || op == 0x62)
		return form_of_vex(c, op);
	if (op != 0x0f)
		return form_of_one(op);
	if (!take(c, &op))
		return FORM_UNKNOWN;
	if (op == 0x38 || op == 0x3a) {
		return form_of_map(c, op == 0x38 ? 2 : 3, false);
	}
	return form_of_two(op);
}

/* ModRM, SIB and displacement; false when they are not all there. */
static bool skip_modrm(struct cursor *c)
{
	uint8_t modrm, sib = 0;

	if (!take(c, &modrm))
		return false;
	const unsigned mod = modrm >> 6, rm = modrm & 7;
	const bool short_addr = c->bits == 16 ? !c->addr_short : c->bits == 32 && c->addr_short;
	if (mod == 3)
		return true;
	if (short_addr)
		return skip(c, mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
	if (rm == 4 && !take(c, &sib))
		return false;
	if (mod == 0)
		return skip(c, rm == 5 || (rm == 4 && (sib & 7) == 5) ? 4 : 0);
	return skip(c, mod == 1 ? 1 : 4);
}

unsigned x86_insn_len(const uint8_t *p, unsigned n, unsigned bits)
{
	struct cursor c = { .p = p, .n = n, .bits = bits };
	const enum form form = form_next(&c);
	const bool short_imm = !c.wide && (bits == 16) != c.operand_short;
	bool ok = form != FORM_UNKNOWN;

	if (ok && (form == FORM_MODRM || form == FORM_MODRM_IMM8 || form == FORM_MODRM_IMM))
		ok = skip_modrm(&c);
	if (ok && (form == FORM_MODRM_IMM8 || form == FORM_IMM8))
		ok = skip(&c, 1);
	if (ok && form == FORM_MODRM_IMM)
		ok = skip(&c, short_imm ? 2 : 4);
	return ok ? c.at : 0;
}
