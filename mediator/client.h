/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vhost-user client of one share: its connection, its rings, its requests. On the device's
 * thread only. The client is hostile: whatever it breaks ends its connection and nothing else.
 *
 * Life: accepted → serving → dying (no new requests; waits for those at the device) → buried →
 * freed after the round.
 */
#pragma once

#include "mediator/disk.h"

/* Takes @take_fd on success and failure. NULL when out of memory. */
struct med_client *med_client_new(struct med_share *sh, int take_fd);
/* Asks to end; freed after a round when nothing of it is at the device. */
void med_client_end(struct med_client *c, const char *why);

/* Takes connections to shares that are free, some a round. True when more may wait. */
bool med_clients_accept(struct med_disk *d, uint64_t now_ns);
/* Serves clients that have work, each once with a budget. True when work remains. */
bool med_clients_serve(struct med_disk *d);
/*
 * Publishes what completed in this round and signals each driver at most once a queue; frees
 * clients that are done with. True when that made work (a share is free for the next client, a
 * connection goes on).
 */
bool med_clients_finish_round(struct med_disk *d);
/* A last look before sleeping: true when a ring has work that no kick will tell. */
bool med_clients_arm(struct med_disk *d);
/* True when a ring has work now (for busy waiting). */
bool med_clients_pending(const struct med_disk *d);
/* When the next half message is given up on, or a connection tried again (qnow_ns()); 0 = never. */
uint64_t med_clients_deadline_ns(const struct med_disk *d);
