/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets on which two qvm meet. Any thread, but for np_sock_listen(), which changes the process's
 * umask for a moment: before other threads make files.
 */
#pragma once

#include "lib/qdef.h"

/* Who is behind a connected socket: our own user, or root. */
bool np_sock_trusted(int fd);
/* Never waits. A descriptor; -EPERM when another user is there; -errno. */
int np_sock_connect(const char *path);
/* Takes the place of whatever is at @path: the folder is ours alone while this VM runs, so that it
 * is a dead one's. A descriptor or -errno. */
int np_sock_listen(const char *path);
/* The other end has closed it, and everything that it said before was taken. */
bool np_sock_hung_up(int fd);
