/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl -H [USER@]HOST: the same command on another host, by ssh, as systemctl does it. Main
 * thread. Owns nothing: terminal, input and output are ssh's while it runs, and its exit status is
 * that of the hostctl there.
 */
#include "hostctl/remote.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SSH_FAILED 255
#define NO_PROGRAM 127

/* True when @arg is the option; *ret_n is then 1, or 2 when the host stands in the next one. */
static bool is_host_option(const char *arg, int *ret_n)
{
	if (strcmp(arg, "-H") == 0 || strcmp(arg, "--host") == 0) {
		*ret_n = 2;
		return true;
	}
	*ret_n = 1;
	return strncmp(arg, "-H", 2) == 0 || strncmp(arg, "--host=", 7) == 0;
}

/* A shell reads it there: in single quotes, where only one of these means anything. */
static void put_quoted(FILE *f, const char *arg)
{
	fputs(" '", f);
	for (; *arg; arg++)
		if (*arg == '\'')
			fputs("'\\''", f);
		else
			putc(*arg, f);
	putc('\'', f);
}

/* "hostctl 'ARG'…" without the option; NULL when out of memory. */
static char *command_of(int argc, char **argv)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	bool options = true;
	int n;

	if (!f)
		return NULL;
	fputs("hostctl", f);
	for (int i = 1; i < argc; i++) {
		options = options && strcmp(argv[i], "--") != 0;
		if (options && is_host_option(argv[i], &n))
			i += n - 1;
		else
			put_quoted(f, argv[i]);
	}
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static enum hc_exit ended(const struct hc *hc, const char *host, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : SSH_FAILED;

	if (code == SSH_FAILED)
		return hc_fail(hc, HC_NO_HOSTD, "%s cannot be reached with ssh", host);
	if (code == NO_PROGRAM)
		return hc_fail(hc, HC_NO_HOSTD, "%s has no hostctl", host);
	return code < HC_EXITS ? (enum hc_exit)code : HC_FAILED;
}

enum hc_exit hc_remote(const struct hc *hc, const char *host, bool terminal, int argc, char **argv)
{
	extern char **environ;
	int status;
	pid_t pid;

	if (*host == '-' || !*host)
		return hc_fail(hc, HC_USAGE, "-H %.64s: expected [USER@]HOST", host);
	char *command = command_of(argc, argv);
	if (!command)
		return hc_fail(hc, HC_FAILED, "out of memory");
	char *const words[] = {
		(char *)"ssh", terminal ? (char *)"-t" : (char *)"-T", (char *)"--", (char *)host,
		command, NULL,
	};
	int r = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
	free(command);
	if (r != 0)
		return hc_fail(hc, HC_FAILED, "-H needs ssh, which cannot be run: %s", strerror(r));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hc_fail(hc, HC_FAILED, "ssh: %s", strerror(errno));
	return ended(hc, host, status);
}
