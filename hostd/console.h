/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console of a VM: what it printed lately, those who look at it, and the one who types. Main
 * thread. Nobody who reads slowly holds anybody up: a reader further behind than the ring is
 * dropped.
 */
#pragma once

#include <event2/event.h>
#include <sys/queue.h>

#include "hostd/ring.h"

#define HD_CONSOLE_BYTES (64u << 10)
#define HD_CONSOLE_READERS 16u
#define HD_CONSOLE_INPUT 4096u

struct hd_reader;

struct hd_console {
	struct event_base *base;	/* borrowed */
	struct hd_ring ring;
	int vm_fd;			/* our end of the VM's stdin and stdout; -1: it is off */
	struct event *ev_vm_read, *ev_vm_write;
	LIST_HEAD(, hd_reader) readers;
	unsigned n_readers;
	struct hd_reader *writer;	/* who has the keyboard */
	char input[HD_CONSOLE_INPUT];	/* typed, not yet taken by the VM */
	size_t input_len;
	uint64_t n_dropped;		/* readers that were too slow */
	void (*tap)(void *ctx, const char *bytes, size_t len);	/* sees what it prints, or NULL */
	void *tap_ctx;
};

void hd_console_init(struct hd_console *c, struct event_base *base);
void hd_console_fini(struct hd_console *c);
/* A VM starts: makes the pair of sockets, gives the VM's end (the caller's). 0 or -errno. */
int hd_console_open(struct hd_console *c, int *ret_vm_fd);
/* A VM of an earlier hostd: takes @take_fd, our end of its console, on success and failure. 0 or
 * -errno. */
int hd_console_adopt(struct hd_console *c, int take_fd);
/* It ended: takes what it still said; readers get the rest, then end of file. */
void hd_console_close(struct hd_console *c);
/* A new reader: its descriptor in @ret_fd (the caller's). Without @read_only it gets the
 * keyboard, if nobody has it. 0, -EUSERS (HD_CONSOLE_READERS), or -errno. */
int hd_console_attach(struct hd_console *c, bool replay, bool read_only, int *ret_fd,
		      bool *ret_writer);
