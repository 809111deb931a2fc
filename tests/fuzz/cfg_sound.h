/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of any text that is read as a configuration, for the fuzz target and for the
 * mutations of the golden set. qassert() tells when it does not.
 */
#pragma once

#include "qvm/cfg_arch.h"

/* True when it is a configuration, which was sound. */
bool cfg_sound_read(const struct cfg_arch *arch, const char *text, size_t len);
