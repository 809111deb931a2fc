/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vhost-user sound client of one voice: its connection, its control and event queues, the state
 * of its streams. Its tx and rx queues are handed to the engine. On the session's thread of the
 * device only; the client is hostile: whatever it breaks ends its connection and nothing else.
 */
#pragma once

#include "mediator/snd_sound.h"

/* Takes @take_fd on success and failure. NULL when out of memory. */
struct snd_session *snd_session_new(struct snd_voice *v, int take_fd);
/* True when more work is there at once. */
bool snd_session_serve(struct snd_session *s, uint64_t now_ns);
/* A reply of the engine that concerns this client. */
void snd_session_reply(struct snd_session *s, const struct snd_reply *r);
/* The client's own fault, @why. */
void snd_session_fault(struct snd_session *s, const char *why);
/* It shall end; see snd_session_ended(). */
void snd_session_end(struct snd_session *s, const char *why);
/* When it has ended, and the engine has given everything back: freed, and true. */
bool snd_session_reap(struct snd_session *s);
/* A last look before sleeping: true when a ring has work that no kick will tell. */
bool snd_session_arm(struct snd_session *s);
/* When snd_session_serve() has something to do without being told; 0 = never. */
uint64_t snd_session_deadline_ns(const struct snd_session *s);
