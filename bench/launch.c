/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch: starts a command once and says, as one JSON object, how long it took: from just before
 * its execve() to the first byte that it writes to its standard output, and to its end. One thread;
 * the clock is read next to the system calls, so that no interpreter's time is in the numbers.
 *
 * The first byte of tests/guests/hello.elf is written by its first instructions: that time includes
 * the exit to the VMM, the write(2) and our wake-up, and is therefore more than the time to the
 * first instruction.
 *
 * Exit status: 0 the command ended by itself, whatever its status; 1 it could not be started or
 * hung; 2 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/qdef.h"
#include "lib/qfd.h"

#define TIMEOUT_MS 20000

struct times {
	uint64_t exec_ns, first_ns, end_ns;	/* 0: did not come */
};

/*
 * Until the pipe ends, which is when every holder of its other end has gone. False when that takes
 * too long.
 */
static bool read_all(int fd, struct times *t)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];

	while (poll(&p, 1, TIMEOUT_MS) == 1) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n > 0 && !t->first_ns)
			t->first_ns = qnow_ns();
		if (n == 0)
			return true;
	}
	return false;
}

static double us_between(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns ? (double)(to_ns - from_ns) / 1e3 : -1;
}

static void report(const struct times *t, int status, const struct rusage *u)
{
	long long cpu_us = (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000ll +
			   u->ru_utime.tv_usec + u->ru_stime.tv_usec;

	printf("{\"first_byte_us\": %.1f, \"end_us\": %.1f, \"status\": %d, \"cpu_us\": %lld, "
	       "\"maxrss_kib\": %ld}\n",
	       us_between(t->exec_ns, t->first_ns), us_between(t->exec_ns, t->end_ns),
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), cpu_us,
	       u->ru_maxrss);
}

int main(int argc, char **argv)
{
	struct times t = { 0 };
	struct rusage u;
	int out[2], status;

	if (argc < 2) {
		fputs("usage: launch COMMAND [ARGUMENT]...\n", stderr);
		return 2;
	}
	/* The child writes there when it starts the command. */
	volatile uint64_t *exec_ns = mmap(NULL, sizeof(*exec_ns), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || exec_ns == MAP_FAILED || pipe2(out, O_CLOEXEC) < 0) {
		perror("launch");
		return 1;
	}
	pid_t pid = fork();
	if (pid == 0) {
		dup2(null, STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		*exec_ns = qnow_ns();
		execv(argv[1], argv + 1);
		_exit(127);
	}
	close(out[1]);
	bool ended = pid > 0 && read_all(out[0], &t);
	if (pid > 0 && !ended)
		kill(pid, SIGKILL);
	if (pid < 0 || wait4(pid, &status, 0, &u) != pid) {
		perror("launch");
		return 1;
	}
	t.end_ns = qnow_ns();
	t.exec_ns = *exec_ns;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		fprintf(stderr, "launch: %s cannot be started\n", argv[1]);
		return 1;
	}
	if (!ended) {
		fprintf(stderr, "launch: %s did not end in %d s\n", argv[1], TIMEOUT_MS / 1000);
		return 1;
	}
	report(&t, status, &u);
	return 0;
}
