/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mediator's control plane: its channel to hostd (or, standalone, a listening socket of its own
 * for tools), answers to requests, events of the devices' threads. Main thread, libevent.
 */
#pragma once

#include <event2/event.h>

#include "mediator/disk.h"
#include "mediator/live.h"
#include "mediator/statpage.h"
#include "proto/qp_chan.h"

struct control;

/*
 * @disks (MED_DISKS_MAX slots) and @page are borrowed. Takes @take_chan and @take_listen_fd (either
 * may be absent: NULL, -1) on success and failure. Who connects there is a tool, or, where there is
 * a @take_chan to a hostd, a later hostd of the same user: it takes over. NULL when out of memory.
 */
struct control *control_new(struct event_base *base, struct med_disk *disks,
			    const struct statpage *page, struct qp_chan *take_chan,
			    int take_listen_fd);
struct control *control_free(struct control *c);
/*
 * Where the devices' threads tell events: never blocks; what does not fit is counted and said
 * later.
 */
struct med_event_sink control_sink(struct control *c);
/* Whose policy is asked for from now on; borrowed, NULL = nobody's. */
void control_set_live(struct control *c, struct live *live);
/*
 * As live_ops.listen, of hostd: -EAGAIN, and with the answer the request that wants them is served
 * again. -ENOTCONN: there is no hostd; -EBUSY: others are being asked for.
 */
int control_listen(struct control *c, const char *const *names, size_t n, int *ret_fds);
/* As live_ops.unlisten, of hostd. */
void control_unlisten(struct control *c, const char *const *names, size_t n);
/* Whose sound is told of from now on; borrowed, NULL = nobody's. */
struct med_audio;
void control_set_audio(struct control *c, struct med_audio *audio);
/* To hostd, if there is one: the guests can come, and here is the state page. */
void control_ready(struct control *c);

/*
 * Before the loop: asks hostd for the listening sockets of @names; the descriptors in @ret_fds (@n
 * of them, the caller's). 0, -errno, or -EPROTO when hostd's answer is not one.
 */
int control_ask_sockets(struct qp_chan *chan, const char *const *names, size_t n, int *ret_fds);
/* To hostd: it will not come to Ready. */
void control_start_failed(struct qp_chan *chan, const char *stage, int err, const char *text);
