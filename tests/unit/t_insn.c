/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of x86 instructions: each form once, cut short, and what has none. */
#include <stdlib.h>

#include "qvm/arch/x86/insn.h"
#include "tests/unit/fixture.h"

static const struct {
	unsigned bits;
	const char *bytes;	/* followed by nonsense */
	unsigned n, want;
} rows[] = {
	{ 64, "\xcc", 1, 1 },					/* int3 */
	{ 64, "\xdd\x00", 2, 2 },				/* fldl (%rax) */
	{ 64, "\xdd\x04\x25\x00\x00\x00\xf1", 7, 7 },		/* fldl 0xf1000000 */
	{ 64, "\x41\xdd\x44\x24\x08", 5, 5 },			/* fldl 8(%r12) */
	{ 64, "\xdd\x05\x10\x00\x00\x00", 6, 6 },		/* fldl 16(%rip) */
	{ 64, "\x67\xdd\x80\x00\x01\x00\x00", 7, 7 },		/* fldl 0x100(%eax) */
	{ 32, "\x67\xdd\x07", 3, 3 },				/* fldl (%bx), 16-bit address */
	{ 16, "\xdd\x06\x34\x12", 4, 4 },			/* fldl 0x1234 */
	{ 16, "\xdd\x87\x34\x12", 4, 4 },			/* fldl 0x1234(%bx) */
	{ 16, "\x67\xdd\x04\x24", 4, 4 },			/* fldl (%esp) */
	{ 64, "\xf0\x48\x0f\xc7\x0f", 5, 5 },			/* lock cmpxchg16b (%rdi) */
	{ 64, "\x0f\x0b", 2, 2 },				/* ud2 */
	{ 64, "\x0f\x01\xd0", 3, 3 },				/* xgetbv */
	{ 64, "\x0f\x70\xc1\x1b", 4, 4 },			/* pshufw */
	{ 64, "\x66\x0f\x38\x00\x00", 5, 5 },			/* pshufb */
	{ 64, "\x66\x0f\x3a\x0f\xc1\x08", 6, 6 },		/* palignr */
	{ 64, "\xc5\xf8\x10\x00", 4, 4 },			/* vmovups */
	{ 64, "\xc5\xf8\x77", 3, 3 },				/* vzeroupper */
	{ 64, "\xc4\xe2\x79\x18\x00", 5, 5 },			/* vbroadcastss */
	{ 64, "\xc4\xe3\x7d\x39\xc1\x01", 6, 6 },		/* vextracti128 */
	{ 64, "\x62\xf1\x7c\x48\x10\x00", 6, 6 },		/* vmovups, EVEX */
	{ 32, "\xc5\x00", 2, 0 },				/* lds: nothing of 64 bits */
	{ 64, "\x81\x00\x78\x56\x34\x12", 6, 6 },		/* addl $imm32 */
	{ 64, "\x66\x81\x00\x34\x12", 5, 5 },			/* addw $imm16 */
	{ 64, "\x48\xc7\x00\x78\x56\x34\x12", 7, 7 },		/* movq $imm32 */
	{ 16, "\x81\x06\x34\x12\x78\x56", 6, 6 },		/* addw $imm16, 0x1234 */
	{ 64, "\x83\x00\x01", 3, 3 },				/* addl $imm8 */
	{ 64, "\xe4\x60", 2, 2 },				/* in $0x60 */
	{ 64, "\xeb\xfe", 2, 0 },				/* a jump is not stepped over */
	{ 64, "\x0f\x0a", 2, 0 },				/* no instruction */
	{ 64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\xcc", 16, 0 },
	{ 64, "", 0, 0 },
};

START_TEST(row)
{
	/* Of the exact size, so that a sanitizer sees the first byte beside it. */
	uint8_t *p = malloc(rows[_i].n ? rows[_i].n : 1);

	for (unsigned i = 0; i < rows[_i].n; i++)
		p[i] = (uint8_t)rows[_i].bytes[i];
	ck_assert_uint_eq(x86_insn_len(p, rows[_i].n, rows[_i].bits), rows[_i].want);
	free(p);
}
END_TEST

/* With one byte less, or more, there is no length, or the same. */
START_TEST(cut)
{
	for (unsigned n = 0; n < rows[_i].want; n++) {
		uint8_t *p = malloc(n ? n : 1);

		for (unsigned i = 0; i < n; i++)
			p[i] = (uint8_t)rows[_i].bytes[i];
		ck_assert_uint_eq(x86_insn_len(p, n, rows[_i].bits), 0);
		free(p);
	}
	if (rows[_i].want) {
		uint8_t more[20];
		for (unsigned i = 0; i < sizeof(more); i++)
			more[i] = i < rows[_i].n ? (uint8_t)rows[_i].bytes[i] : 0xff;
		ck_assert_uint_eq(x86_insn_len(more, sizeof(more), rows[_i].bits), rows[_i].want);
	}
}
END_TEST

/* Whatever the bytes are, the length is what is there at most, and never beyond 15. */
START_TEST(any)
{
	uint8_t p[16];

	srand(1);
	for (unsigned round = 0; round < 200000; round++) {
		const unsigned n = (unsigned)rand() % (sizeof(p) + 1), bits = 16u << rand() % 3;
		for (unsigned i = 0; i < n; i++)
			p[i] = (uint8_t)rand();
		ck_assert_uint_le(x86_insn_len(p, n, bits), n < 15 ? n : 15);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("insn");
	TCase *tc = fixture_case(s, "insn");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, cut, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, any);
	return fixture_main(s);
}
