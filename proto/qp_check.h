/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on a decoded message that the generated code does not know: counts of repeated fields,
 * lengths and contents of strings, enum values. Walks any message by its descriptor. Any thread.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "lib/qdef.h"

/* NULL when @m keeps the rules (QP_REPEAT_MAX, QP_STRING_MAX, UTF-8 without control characters
 * except tab and newline, known enum values, nesting ≤ 8), else the name of the field that does
 * not. */
const char *qp_check_message(const ProtobufCMessage *m);

/* Makes @s what a string of ours may be: control characters (but tab and newline) and bytes that
 * are no UTF-8 become '?', and it is cut at QP_STRING_MAX without cutting a character. For what
 * came from elsewhere and goes into a message: a peer would end the channel over it. Returns @s. */
char *qp_text_clean(char *s);
