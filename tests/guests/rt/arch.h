/* SPDX-License-Identifier: Apache-2.0 */
/* Picks the processor's part of the runtime. */
#pragma once
#if defined(__x86_64__)
#include "tests/guests/rt/x86/arch.h"
#elif defined(__aarch64__)
#include "tests/guests/rt/arm64/arch.h"
#else
#error "no runtime for this processor"
#endif
