/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on a decoded message that the generated code does not know: counts of repeated fields, lengths and contents of strings,
 * enum values. Walks any message by its descriptor. Any thread.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "lib/qdef.h"

/* NULL when @m keeps the rules (QP_REPEAT_MAX, QP_STRING_MAX, UTF-8 without control characters except tab and newline, known enum
 * values, nesting ≤ 8), else the name of the field that does not. */
const char *qp_check_message(const ProtobufCMessage *m);
