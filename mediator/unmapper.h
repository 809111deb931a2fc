/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes down the memory of clients that are gone, on a thread of its own: it takes 50 ms a
 * gigabyte, and the device's thread has other guests to serve.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qmem.h"

struct unmapper {
	struct qmem_heir heir;		/* give it to the tables; any one thread */
	struct qmem *_Atomic head;	/* tables that wait, the last one first */
	_Atomic bool stop;
	int wake_fd;			/* owned; blocking */
	pthread_t thread;
	bool running;
};

#define UNMAPPER_NULL ((struct unmapper){ .wake_fd = -1 })

int unmapper_start(struct unmapper *u);	/* 0 or -errno */
/* Takes down what still waits. Nobody may give it anything any more. */
void unmapper_stop(struct unmapper *u);
