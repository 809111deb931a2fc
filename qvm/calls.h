/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of a qvm whose guest runs, besides those of every program (lib/qjail.c). */
#pragma once

#include "lib/qjail.h"

extern const struct qjail_call qvm_calls[];
extern const size_t qvm_n_calls;
