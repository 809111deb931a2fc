/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host streams of vdevs (vdevs/vdstream.h), done with Linux: what `hostdev` of a serial vdev or
 * `port` of a virtio-console names. Every function with the vdev's lock held.
 *
 *	-			standard input, standard output
 *	PATH			a terminal, serial line, character device, or a UNIX socket that
 *				somebody listens at
 *	<PATH, >PATH		one direction; then a FIFO or a regular file, too
 *	socket:PATH		a UNIX socket that is made, for one client at a time
 *
 * Without any of them: such a socket in the VM's runtime directory, named after the vdev and its
 * port, when there is that directory.
 */
#pragma once

#include "vdevs/vdstream.h"

extern const struct vd_stream_ops stream_ops;
