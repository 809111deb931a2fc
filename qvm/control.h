/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm's end of the channel to hostd (--control-fd): Ready or StartFailed, requests while the guest
 * runs, Ended. Main thread. All functions take NULL, for a qvm that runs by itself.
 */
#pragma once

#include "qvm/vm.h"

struct control;

/* Takes @take_fd on success and failure. @listen_fd (borrowed; -1: none): where a supervisor that
 * comes after this one asks to take over. NULL when out of memory. */
struct control *control_new(int take_fd, int listen_fd);
struct control *control_free(struct control *c);

int control_fd(const struct control *c); /* to wait on; -1 without a channel */
int control_listen_fd(const struct control *c);	/* the same, for control_succeed() */
bool control_wants_write(const struct control *c);

void control_ready(struct control *c, const struct vm *vm);
void control_start_failed(struct control *c, const char *stage, int sys_errno, const char *text);
void control_ended(struct control *c, int exit_code, const char *reason, bool reset);

enum control_order {
	CONTROL_NOTHING = 0,
	CONTROL_BUTTON, /* press the power button */
	CONTROL_CUT,	/* end at once */
	CONTROL_PAUSE,	/* hold the guest still, or let it go: control_paused() */
	CONTROL_FREEZE,	/* hold the guest, for control_lease_ms() from now on */
	CONTROL_GONE,	/* hostd hung up: the VM lives on, without a channel */
};
/* Handles one message; answers what is only a question. Call again until CONTROL_NOTHING. */
enum control_order control_serve(struct control *c, struct vm *vm);
/* Of the last CONTROL_FREEZE; 0 = let it go on. */
uint32_t control_lease_ms(const struct control *c);
/* What an operator wants of the guest. */
bool control_paused(const struct control *c);
/* Somebody asks to take over. True when it is of our supervisor's user: the old channel is gone,
 * control_fd() is another. */
bool control_succeed(struct control *c);
/* Sends what waits. */
void control_flush(struct control *c);
