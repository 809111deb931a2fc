/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks decoded messages against the limits of the protocol by walking their descriptors, so
 * that a new message needs no code here. Stateless. Invariant: reads only what protobuf-c
 * allocated for the message.
 */
#include "proto/qp_check.h"

#include <string.h>

#include "proto/qp_chan.h"

#define NEST_MAX 8

static const char *check_message(const ProtobufCMessage *m, unsigned depth);

/* The bytes of the UTF-8 sequence at @s (its first byte is not 0), or 0 when it is none that may
 * stand in a string. */
static unsigned utf8_len(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead, n;
		uint32_t min;
	} forms[] = {
		{ 0x80, 0x00, 1, 0 },
		{ 0xe0, 0xc0, 2, 0x80 },
		{ 0xf0, 0xe0, 3, 0x800 },
		{ 0xf8, 0xf0, 4, 0x10000 },
	};

	for (size_t i = 0; i < Q_ARRAY_LEN(forms); i++) {
		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		uint32_t cp = s[0] & (unsigned char)~forms[i].mask;
		for (unsigned k = 1; k < forms[i].n; k++) {
			if ((s[k] & 0xc0) != 0x80)	/* also stops at the NUL */
				return 0;
			cp = cp << 6 | (s[k] & 0x3f);
		}
		bool surrogate = cp >= 0xd800 && cp <= 0xdfff;
		return cp >= forms[i].min && cp <= 0x10ffff && !surrogate ? forms[i].n : 0;
	}
	return 0;
}

static bool string_ok(const char *str)
{
	const unsigned char *s = (const unsigned char *)str;

	if (!s)
		return true;
	for (size_t i = 0; s[i];) {
		if (i >= QP_STRING_MAX)
			return false;
		if (s[i] == 0x7f || (s[i] < 0x20 && s[i] != '\t' && s[i] != '\n'))
			return false;
		unsigned n = utf8_len(s + i);
		if (!n)
			return false;
		i += n;
	}
	return true;
}

static const char *check_element(const ProtobufCFieldDescriptor *f, const void *at, unsigned depth)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return string_ok(*(const char *const *)at) ? NULL : f->name;
	case PROTOBUF_C_TYPE_ENUM:
		return protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)at) ?
			       NULL :
			       f->name;
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *sub = *(const ProtobufCMessage *const *)at;

		return sub ? check_message(sub, depth + 1) : NULL;
	}
	default:
		return NULL;
	}
}

static size_t element_bytes(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	default:
		return 0;	/* numbers have nothing to be checked */
	}
}

static const char *check_repeated(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
				  unsigned depth)
{
	const char *base = (const char *)m;
	size_t n = *(const size_t *)(base + f->quantifier_offset);
	const char *array = *(const char *const *)(base + f->offset);
	size_t step = element_bytes(f->type);

	if (n > QP_REPEAT_MAX)
		return f->name;
	for (size_t i = 0; step && i < n; i++) {
		const char *bad = check_element(f, array + i * step, depth);

		if (bad)
			return bad;
	}
	return NULL;
}

static const char *check_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
			       unsigned depth)
{
	const char *base = (const char *)m;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return check_repeated(m, f, depth);
	/* Only the chosen member of a oneof is there. */
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const uint32_t *)(base + f->quantifier_offset) != f->id)
		return NULL;
	return check_element(f, base + f->offset, depth);
}

static const char *check_message(const ProtobufCMessage *m, unsigned depth)
{
	if (depth > NEST_MAX)
		return "nesting";
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const char *bad = check_field(m, &m->descriptor->fields[i], depth);

		if (bad)
			return bad;
	}
	return NULL;
}

const char *qp_check_message(const ProtobufCMessage *m)
{
	return check_message(m, 0);
}

char *qp_text_clean(char *str)
{
	unsigned char *s = (unsigned char *)str;
	size_t i = 0;

	while (s[i]) {
		bool control = s[i] == 0x7f || (s[i] < 0x20 && s[i] != '\t' && s[i] != '\n');
		unsigned n = control ? 0 : utf8_len(s + i);

		if (!n)
			s[i] = '?';
		if (i + Q_MAX(n, 1u) > QP_STRING_MAX)
			break;
		i += Q_MAX(n, 1u);
	}
	s[i] = '\0';
	return str;
}
