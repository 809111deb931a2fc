/* SPDX-License-Identifier: Apache-2.0 */
/* Sound in the answer to `hostctl stats`, as tables and as JSON. Main thread. */
#pragma once

#include "hostctl/conn.h"

struct json_t;

/* The streams of those voices that @wanted(@only) says. */
void hc_print_voices(const Parley__MediatorStats *m, bool (*wanted)(const char *, const char *),
		     const char *only);
void hc_print_sounds(const Parley__MediatorStats *m);
/* NULL when out of memory. */
struct json_t *hc_sound_json(const Parley__SoundStats *s);
struct json_t *hc_voice_json(const Parley__VoiceStats *v);
