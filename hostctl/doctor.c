/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl doctor: looks at the board and says what to change before VMs run well on it. Main
 * thread. Changes nothing and asks no hostd. Each finding is a function that fills a row; a
 * finding is bad when VMs, or what they are promised, cannot be had at all, and a note when they
 * are worse for it.
 */
#include "hostctl/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostctl/show.h"
#include "lib/qfd.h"

#define FDS_WANTED 65536u
#define EMULATED 3	/* of kvmprobe --native */

enum state { FINE, NOTE, BAD };

struct finding {
	enum state state;
	char text[256];		/* what is */
	char advice[256];	/* what to change; "" = nothing */
};

static void Q_PRINTF(3, 4) found(struct finding *f, enum state state, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	f->state = state;
}

static void Q_PRINTF(2, 3) advise(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->advice, sizeof(f->advice), fmt, ap);
	va_end(ap);
}

/* The first line of a file; "" when it cannot be read. */
static const char *line_of(const char *path, char *buf, size_t buf_bytes)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(buf, (int)buf_bytes, f))
		buf[0] = '\0';
	if (f)
		(void)fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

/* ---- KVM ---- */

/* Where it was installed, or where it was built beside us. */
static bool probe_path(char path[PATH_MAX])
{
	char own[PATH_MAX];

	snprintf(path, PATH_MAX, "%s/kvmprobe", PARLEY_LIBEXEC_DIR);
	if (access(path, X_OK) == 0)
		return true;
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 32);
	char *slash = n > 0 ? memrchr(own, '/', (size_t)n) : NULL;
	if (!slash)
		return false;
	snprintf(path, PATH_MAX, "%.*s/../tools/kvmprobe", (int)(slash - own), own);
	return access(path, X_OK) == 0;
}

static void text_of_probe(int fd, char *buf, size_t buf_bytes)
{
	size_t len = 0;
	ssize_t n;

	while (len + 1 < buf_bytes && (n = read(fd, buf + len, buf_bytes - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (strncmp(buf, "kvmprobe: ", 10) == 0)
		memmove(buf, buf + 10, strlen(buf + 10) + 1);
}

/* Its exit status, -1 when it could not be run; what it says is in @buf. */
static int run_probe(char *path, char *buf, size_t buf_bytes)
{
	extern char **environ;
	char *const argv[] = { path, (char *)"--native", NULL };
	posix_spawn_file_actions_t actions;
	int p[2], status;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDERR_FILENO);
	int r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	qfd_close(&p[1]);
	if (r == 0)
		text_of_probe(p[0], buf, buf_bytes);
	qfd_close(&p[0]);
	if (r != 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void look_kvm(struct finding *f)
{
	char path[PATH_MAX], said[200] = "";
	int code;

	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		found(f, BAD, "/dev/kvm cannot be opened: %s", strerror(errno));
		advise(f, "%s", errno == ENOENT ?
		       "switch virtualization on in the firmware, and load kvm_intel or kvm_amd" :
		       "run as root, or as a member of group kvm");
		return;
	}
	code = probe_path(path) ? run_probe(path, said, sizeof(said)) : -1;
	if (code == 0) {
		found(f, FINE, "%s", said);
	} else if (code == EMULATED) {
		found(f, NOTE, "%s", said);
		advise(f, "a guest's kernel runs slowly here: use a host of its own, not a VM "
		       "without nested virtualization");
	} else if (code > 0) {
		found(f, BAD, "a guest does not run: %s", said);
		advise(f, "see dmesg for what KVM says");
	} else {
		found(f, NOTE, "/dev/kvm is there; kvmprobe, which would try it, is not");
	}
}

/* ---- devices ---- */

static size_t count_dir(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void look_iommu(struct finding *f)
{
	size_t n = count_dir("/sys/kernel/iommu_groups");

	if (n) {
		found(f, FINE, "%zu groups", n);
		return;
	}
	found(f, NOTE, "none: devices can reach all memory");
	advise(f, "switch it on in the firmware, and with intel_iommu=on where it is Intel's");
}

static void look_sound(struct finding *f)
{
	char buf[256];

	line_of("/proc/asound/cards", buf, sizeof(buf));
	if (*buf && !strstr(buf, "no soundcards")) {
		found(f, FINE, "%s", buf + strspn(buf, " "));
		return;
	}
	found(f, NOTE, "no sound card: voices play to nobody");
	advise(f, "load the driver of the card, if there is to be sound");
}

/* ---- the kernel ---- */

static void look_cgroups(struct finding *f)
{
	static const char *const wanted[] = { "cpu", "memory", "pids" };
	char buf[256], missing[64] = "";

	line_of("/sys/fs/cgroup/cgroup.controllers", buf, sizeof(buf));
	for (size_t i = 0; i < Q_ARRAY_LEN(wanted); i++) {
		const char *at = strstr(buf, wanted[i]);

		if (!at)
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing),
				 " %s", wanted[i]);
	}
	if (!*buf) {
		found(f, NOTE, "no cgroup v2: weights and limits of VMs mean nothing");
		advise(f, "boot with systemd.unified_cgroup_hierarchy=1");
	} else if (*missing) {
		found(f, NOTE, "cgroup v2 without%s", missing);
		advise(f, "enable the controllers in the kernel, and for parley.slice");
	} else {
		found(f, FINE, "v2: %s", buf);
	}
}

static void look_uring(struct finding *f)
{
	char buf[32];

	line_of("/proc/sys/kernel/io_uring_disabled", buf, sizeof(buf));
	if (strcmp(buf, "2") == 0 || (strcmp(buf, "1") == 0 && geteuid() != 0)) {
		found(f, BAD, "io_uring is switched off: the mediator cannot reach its disks");
		advise(f, "sysctl kernel.io_uring_disabled=0");
	} else {
		found(f, FINE, "io_uring may be used");
	}
}

static void look_realtime(struct finding *f)
{
	char buf[64], model[32];
	struct rlimit prio = { 0 };

	line_of("/proc/sys/kernel/sched_rt_runtime_us", buf, sizeof(buf));
	line_of("/sys/kernel/realtime", model, sizeof(model));
	(void)getrlimit(RLIMIT_RTPRIO, &prio);
	if (geteuid() != 0 && prio.rlim_max == 0) {
		found(f, NOTE, "this user may not have real-time priorities");
		advise(f, "run hostd as its service does, or set a limit on rtprio");
	} else if (strcmp(buf, "0") == 0) {
		found(f, BAD, "the kernel gives real-time threads no time");
		advise(f, "sysctl kernel.sched_rt_runtime_us=950000");
	} else {
		found(f, FINE, "%s us of each period%s", *buf ? buf : "?",
		      strcmp(model, "1") == 0 ? ", kernel PREEMPT_RT" : "");
	}
}

static void look_hugepages(struct finding *f)
{
	char buf[128], pool[32];

	line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled", buf, sizeof(buf));
	line_of("/proc/sys/vm/nr_hugepages", pool, sizeof(pool));
	if (!*buf || strstr(buf, "[never]") || strstr(buf, "[deny]")) {
		found(f, NOTE, "guest memory is of small pages; a pool of %s large ones",
		      *pool ? pool : "0");
		advise(f, "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled");
	} else {
		found(f, FINE, "%s; a pool of %s", buf, *pool ? pool : "0");
	}
}

/* ---- limits ---- */

static void look_descriptors(struct finding *f)
{
	struct rlimit lim = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_max >= FDS_WANTED) {
		found(f, FINE, "%llu may be open", (unsigned long long)lim.rlim_max);
		return;
	}
	found(f, NOTE, "only %llu may be open: a greedy guest could keep others out",
	      (unsigned long long)lim.rlim_max);
	advise(f, "raise the limit on open files to %u (LimitNOFILE=)", FDS_WANTED);
}

static void look_locked(struct finding *f)
{
	struct rlimit lim = { 0 };

	(void)getrlimit(RLIMIT_MEMLOCK, &lim);
	if (geteuid() == 0 || lim.rlim_max == RLIM_INFINITY) {
		found(f, FINE, "the memory of safety VMs can be locked");
		return;
	}
	found(f, NOTE, "at most %llu KiB can be locked: a larger safety VM does not start",
	      (unsigned long long)(lim.rlim_max >> 10));
	advise(f, "raise the limit on locked memory (LimitMEMLOCK=infinity)");
}

static void look_group(struct finding *f)
{
	if (getgrnam("parley")) {
		found(f, FINE, "its members may control VMs");
		return;
	}
	found(f, NOTE, "there is none: only root controls VMs");
	advise(f, "systemd-sysusers, or groupadd --system parley");
}

/* ---- all of them ---- */

static const struct {
	const char *name;
	void (*look)(struct finding *f);
} looks[] = {
	{ "kvm", look_kvm },		 { "iommu", look_iommu },
	{ "cgroups", look_cgroups },	 { "io_uring", look_uring },
	{ "realtime", look_realtime },	 { "hugepages", look_hugepages },
	{ "sound", look_sound },	 { "descriptors", look_descriptors },
	{ "locked-memory", look_locked }, { "group", look_group },
};

static const char *const words[] = { "fine", "note", "bad" };

static void print(const struct finding *v)
{
	for (size_t i = 0; i < Q_ARRAY_LEN(looks); i++) {
		printf("%-14s %-5s %s\n", looks[i].name, words[v[i].state], v[i].text);
		if (*v[i].advice)
			printf("%-20s do: %s\n", "", v[i].advice);
	}
}

static enum hc_exit print_json(const struct hc *hc, const struct finding *v, bool ok)
{
	json_t *all = json_array();

	for (size_t i = 0; i < Q_ARRAY_LEN(looks); i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s}", "name", looks[i].name,
						     "state", words[v[i].state], "text", v[i].text,
						     "do", v[i].advice));
	return hc_print_json(hc, json_pack("{s:i, s:b, s:o}", "schema", 1, "ok", (int)ok,
					   "findings", all));
}

enum hc_exit hc_doctor(struct hc *hc)
{
	struct finding v[Q_ARRAY_LEN(looks)] = { 0 };
	enum hc_exit r = HC_OK;
	bool ok = true;

	for (size_t i = 0; i < Q_ARRAY_LEN(looks); i++) {
		looks[i].look(&v[i]);
		ok = ok && v[i].state != BAD;
	}
	if (hc->json)
		r = print_json(hc, v, ok);
	else
		print(v);
	return r == HC_OK && !ok ? HC_FAILED : r;
}
