/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of a configuration: addresses are hexadecimal and everything else is decimal unless a
 * prefix (0x, 0d) says otherwise; addresses and sizes take a multiplier. No state, any thread.
 */
#include <ctype.h>
#include <strings.h>

#include "qvm/cfg_int.h"

static unsigned mult_shift(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return 0;
	}
}

/* The radix that a prefix asks for, 0 without one. */
static unsigned prefix_radix(const char *text, size_t len)
{
	if (len < 2 || text[0] != '0')
		return 0;
	if (text[1] == 'x' || text[1] == 'X')
		return 16;
	if (text[1] == 'd' || text[1] == 'D')
		return 10;
	return 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static enum cfg_num digits_parse(const char *text, size_t len, unsigned radix, uint64_t *ret)
{
	uint64_t v = 0;
	bool overflow = false;
	if (len == 0)
		return CFG_NUM_BAD;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)digit_of(text[i]);
		if (digit >= radix)
			return CFG_NUM_BAD;
		overflow |= __builtin_mul_overflow(v, (uint64_t)radix, &v);
		overflow |= __builtin_add_overflow(v, (uint64_t)digit, &v);
	}
	if (overflow)
		return CFG_NUM_RANGE;
	*ret = v;
	return CFG_NUM_OK;
}

enum cfg_num cfg_num_parse(const char *text, size_t len, enum cfg_num_kind kind, uint64_t *ret)
{
	if (len == 0)
		return CFG_NUM_EMPTY;
	unsigned radix = prefix_radix(text, len);
	if (radix) {
		text += 2;
		len -= 2;
	} else {
		radix = kind == CFG_ADDRESS ? 16 : 10;
	}
	unsigned shift = kind != CFG_NUMBER && len ? mult_shift(text[len - 1]) : 0;
	if (shift)
		len--;

	uint64_t v = 0;
	enum cfg_num r = digits_parse(text, len, radix, &v);
	if (r != CFG_NUM_OK)
		return r;
	if (v > UINT64_MAX >> shift)
		return CFG_NUM_RANGE;
	*ret = v << shift;
	return CFG_NUM_OK;
}

bool cfg_num_misleads(const char *text, size_t len)
{
	if (len && mult_shift(text[len - 1]))
		len--;
	if (len < 2)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)text[i]))
			return false;
	return true;
}

bool cfg_bool_parse(const char *text, bool *ret)
{
	static const char *const words[2][4] = {
		{ "0", "no", "off", "false" },
		{ "1", "yes", "on", "true" },
	};
	for (unsigned value = 0; value < 2; value++) {
		for (unsigned i = 0; i < 4; i++) {
			if (!strcasecmp(text, words[value][i])) {
				*ret = value;
				return true;
			}
		}
	}
	return false;
}
