/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the sound devices as parts of a MediatorStats message. Main thread. */
#pragma once

#include "mediator/audio.h"
#include "proto/qp_chan.h"

/* Adds the devices, and the streams of voice @name ("" = all), to @s. 0 or -ENOMEM; in any case
 * med_audio_stats_drop() is due before @s is freed. */
int med_audio_stats_add(const struct med_audio *a, const char *name, Parley__MediatorStats *s);
void med_audio_stats_drop(Parley__MediatorStats *s);
/* What is heard of each stream of voice @name and why, as lines. False: there is none. */
bool med_audio_explain(const struct med_audio *a, const char *name, char *buf, size_t buf_bytes);
