/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities and seccomp. Main thread, but for the handler of SIGSYS, which runs in the thread
 * that did what it may not do.
 *
 * Theory of operation: a call that is not in the list traps. The handler says which it was and ends
 * the process by a call that the filter answers with death. The handler cannot be replaced (its
 * signal is not allowed in rt_sigaction), and a thread that blocks the signal is killed by the
 * kernel at once: the call itself is never made.
 *
 * The kernel drops capabilities thread by thread. With SIGSYS sent to each by ourselves, the same
 * handler does that in each.
 */
#include "lib/qjail.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 50u
#define ROUND_NS (100 * Q_NSEC_PER_MSEC)
/* Not a call that anybody makes: how the handler ends the process. */
#define DEATH_CALL SCMP_SYS(vhangup)
#define DEATH_NR SYS_vhangup

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1	/* si_code, as the kernel has it; older C libraries do not */
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static const char *const mode_str[] = {
	[QJAIL_ON] = "on", [QJAIL_LOG] = "log", [QJAIL_OFF] = "off",
};
static_assert(Q_ARRAY_LEN(mode_str) == QJAIL_MODES, "every mode has a word");

/* Of the handler. */
static sem_t followed;

const char *qjail_mode_str(enum qjail_mode m)
{
	return (unsigned)m < QJAIL_MODES ? mode_str[m] : "unknown";
}

bool qjail_mode_parse(const char *text, enum qjail_mode *ret)
{
	for (unsigned i = 0; i < QJAIL_MODES; i++) {
		if (strcmp(text, mode_str[i]) != 0)
			continue;
		*ret = (enum qjail_mode)i;
		return true;
	}
	return false;
}

/* ---- what every program needs: threads, memory, time, its descriptors ---- */

#define CALL(name) { SCMP_SYS(name), QJAIL_ALWAYS }
#define CALL_FAILS(name, err) { SCMP_SYS(name), QJAIL_FAILS, .value = (err) }
#define CALL_MASKED(name, a, m, v) { SCMP_SYS(name), QJAIL_IF_MASKED, (a), (m), (v) }

static const struct qjail_call common[] = {
	CALL(brk), CALL(clock_getres), CALL(clock_gettime), CALL(clock_nanosleep), CALL(close),
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait), CALL(epoll_wait), CALL(eventfd2),
	CALL(exit), CALL(exit_group), CALL(fcntl), CALL(fstat), CALL(fstatfs), CALL(ftruncate),
	CALL(futex), CALL(getpid), CALL(getrandom), CALL(getsockopt), CALL(gettid),
	CALL(gettimeofday), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
	CALL(io_uring_enter), CALL(io_uring_register),
	CALL(io_uring_setup), CALL(lseek), CALL(madvise), CALL(memfd_create), CALL(mremap),
	CALL(munmap), CALL(nanosleep), CALL(newfstatat), CALL(pipe2), CALL(poll), CALL(ppoll),
	CALL(pread64), CALL(pwrite64), CALL(read), CALL(readv), CALL(recvfrom), CALL(recvmsg),
	CALL(restart_syscall), CALL(rseq), CALL(rt_sigprocmask), CALL(rt_sigreturn),
	CALL(sched_yield), CALL(sendmsg), CALL(sendto), CALL(set_robust_list), CALL(setsockopt),
	CALL(signalfd4), CALL(statx), CALL(sysinfo), CALL(timerfd_create),
	CALL(timerfd_settime), CALL(write), CALL(writev), CALL(accept4),
	/* Of clone3 the kernel shows us a pointer only: the C library takes clone when there is
	 * none. */
	CALL_FAILS(clone3, ENOSYS),
	CALL_MASKED(socket, 0, UINT32_MAX, AF_UNIX),
	CALL_MASKED(socketpair, 0, UINT32_MAX, AF_UNIX),
#ifndef SANITIZED
	/* Memory that was data does not become code; a thread, never a process; limits are read,
	 * not set; names of threads and of what the C library maps. */
	CALL_MASKED(mmap, 2, PROT_EXEC, 0), CALL_MASKED(mprotect, 2, PROT_EXEC, 0),
	CALL_MASKED(clone, 0, CLONE_THREAD, CLONE_THREAD),
	CALL_MASKED(prlimit64, 2, UINT64_MAX, 0),
	CALL_MASKED(prctl, 0, UINT32_MAX, PR_SET_NAME),
	CALL_MASKED(prctl, 0, UINT32_MAX, PR_SET_VMA),
	{ SCMP_SYS(tgkill), QJAIL_IF_OWN_PID, 0 },
	{ SCMP_SYS(rt_sigaction), QJAIL_IF_NOT, 0, 0, SIGSYS },
#else
	/* The leak check at the end: a task of its own that stops ours and reads /proc. */
	CALL(clone), CALL(getdents64), CALL(getppid), CALL(kill), CALL(mmap), CALL(mprotect),
	CALL(open), CALL(openat), CALL(prctl), CALL(process_vm_readv), CALL(ptrace), CALL(readlink),
	CALL(readlinkat), CALL(sched_getaffinity), CALL(sigaltstack), CALL(wait4), CALL(getrusage),
	CALL(prlimit64), CALL(rt_sigaction), CALL(tgkill), CALL(dup), CALL(dup2), CALL(dup3),
#endif
};

/* ---- the handler ---- */

static void drop_own_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &h, none);
}

/*
 * Nothing that is refused is called by the allocator, so that its lock is not ours when we get here
 * and a name may be allocated.
 */
static void tell(const siginfo_t *si)
{
	char line[128];
	char *name = seccomp_syscall_resolve_num_arch(si->si_arch, si->si_syscall);
	int n = snprintf(line, sizeof(line), "<1>" QJAIL_SAID "\"system call %s (%d) is not "
			 "allowed\"\n", name ? name : "unknown", si->si_syscall);

	/* Nobody is left to tell when even this fails. */
	if (n > 0 && write(STDERR_FILENO, line, Q_MIN((size_t)n, sizeof(line) - 1)) < 0)
		return;
}

static void on_sigsys(int sig, siginfo_t *si, void *context)
{
	int err = errno;

	if (si->si_code == SYS_SECCOMP) {
		tell(si);
		for (;;)
			syscall(DEATH_NR);
	}
	if (si->si_code == SI_TKILL && si->si_pid == getpid()) {
		drop_own_caps();
		sem_post(&followed);
	}
	errno = err;
}

static int handle_sigsys(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL) < 0 ? -errno : 0;
}

/* ---- capabilities ---- */

static bool has_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	return syscall(SYS_capget, &h, d) < 0 || d[0].permitted || d[1].permitted ||
	       d[0].inheritable || d[1].inheritable;
}

/* What the kernel runs for our io_uring stands among our threads and takes no signal. It works with
 * the credentials of who asked, not with its own. */
static bool is_kernels(const char *tid)
{
	char path[64], name[16] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	bool is = fgets(name, sizeof(name), f) && strncmp(name, "iou-", 4) == 0;
	(void)fclose(f);
	return is;
}

/* The signal goes to each thread, ours too. Those that start later are started by one that has
 * nothing left. Number told, or -errno. */
static int tell_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;
	int n = 0;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		int tid = (int)strtol(e->d_name, NULL, 10);

		if (tid > 0 && !is_kernels(e->d_name) &&
		    syscall(SYS_tgkill, getpid(), tid, SIGSYS) == 0)
			n++;
	}
	closedir(dir);
	return n;
}

/* 0, -ETIMEDOUT, -errno. */
static int round_of_all(void)
{
	struct timespec until;
	int n = tell_threads();

	if (clock_gettime(CLOCK_MONOTONIC, &until) < 0)
		return -errno;
	uint64_t ns = (uint64_t)until.tv_nsec + ROUND_NS;
	until.tv_sec += (time_t)(ns / Q_NSEC_PER_SEC);
	until.tv_nsec = (long)(ns % Q_NSEC_PER_SEC);
	for (; n > 0; n--)
		while (sem_clockwait(&followed, CLOCK_MONOTONIC, &until) < 0)
			if (errno != EINTR)
				return -errno;
	return n;
}

int qjail_drop_caps(void)
{
	int r = has_caps() ? handle_sigsys() : 0;

	if (r < 0 || !has_caps())
		return r;
	/* One more round for what had no name of the kernel's yet, or was slow. */
	r = -ETIMEDOUT;
	for (unsigned i = 0; r == -ETIMEDOUT && i < ROUNDS; i++)
		r = sem_init(&followed, 0, 0) < 0 ? -errno : round_of_all();
	return r < 0 ? r : has_caps() ? -EPERM : 0;
}

/* ---- seccomp ---- */

static int add(scmp_filter_ctx ctx, const struct qjail_call *c)
{
	switch (c->when) {
	case QJAIL_ALWAYS:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 0);
	case QJAIL_IF_MASKED:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1,
					SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value));
	case QJAIL_IF_NOT:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1,
					SCMP_CMP64(c->arg, SCMP_CMP_NE, c->value));
	case QJAIL_IF_OWN_PID:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1,
					SCMP_CMP64(c->arg, SCMP_CMP_EQ, (uint32_t)getpid()));
	case QJAIL_FAILS:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint16_t)c->value), c->nr, 0);
	}
	return -EINVAL;
}

static int add_all(scmp_filter_ctx ctx, const struct qjail_call *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = add(ctx, &calls[i]);
	return r;
}

static void release(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

int qjail_filter(const struct qjail_call *calls, size_t n, enum qjail_mode mode)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (mode == QJAIL_OFF)
		return 0;
	scmp_filter_ctx ctx QCLEAN(release) =
		seccomp_init(mode == QJAIL_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!ctx)
		return -ENOMEM;
	int r = handle_sigsys();
	/* All threads; a binary tree, because vCPUs make a call with each exit. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_all(ctx, common, Q_ARRAY_LEN(common));
	if (r == 0)
		r = add_all(ctx, calls, n);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, DEATH_CALL, 0);
	return r == 0 ? seccomp_load(ctx) : r;
}
