/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that starts `dump "|command"`. It exists from before qvm drops its privileges, so
 * that qvm itself need not start anything while a guest runs (docs/decisions/0016). It is this very
 * program in another role, and ends with its qvm.
 */
#pragma once

#include "lib/qdef.h"

/* The role's option: qvm --dump-helper FD COMMAND. Not for people. */
#define DUMP_PIPE_OPTION "dump-helper"

/* Starts the helper for @command. A descriptor to speak to it, the caller's; or -errno. */
int dump_pipe_spawn(const char *command);
/* Starts the command once: the descriptor of its standard input, nonblocking; or -errno. */
int dump_pipe_open(int helper_fd);
/*
 * After that descriptor was closed: waits until the command ends. Its wait status (waitpid), or
 * -ETIMEDOUT: it is left alone; another -errno.
 */
int dump_pipe_wait(int helper_fd, uint64_t limit_ns);
/* The helper's own main(): serves until the other end closes. The exit status. */
int dump_pipe_serve(int fd, const char *command);
