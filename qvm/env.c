/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a VM's runtime directory, written anew once a second by the main thread. A reader
 * gets the old one or the new one, never half of one: a file is written under another name and
 * renamed. No vCPU is disturbed: each tells its instruction pointer at an exit that it makes
 * anyway, so that of a guest which does not exit is the last one known.
 */
#include "qvm/env.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/arch.h"
#include "qvm/pause.h"
#include "qvm/vcpu.h"
#include "qvm/vmdev.h"

#define NEW_NAME ".new"

struct env {
	struct vm *vm;
	int dir_fd;
	char **last; /* what each vdev's file says; NULL: it has none yet */
	bool *is_taken; /* the vdev's name is in use there */
	size_t n_devs;
	bool told; /* of a failure */
};

/* ---- files ---- */

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int replace(const struct env *e, const char *name, const char *text)
{
	int fd = openat(e->dir_fd, NEW_NAME,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return -errno;
	int r = write_all(fd, text, strlen(text));
	qfd_close(&fd);
	if (r == 0 && renameat(e->dir_fd, NEW_NAME, e->dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(e->dir_fd, NEW_NAME, 0);
	return r;
}

static void put(struct env *e, const char *name, const char *text)
{
	int r = text ? replace(e, name, text) : -ENOMEM;

	if (r < 0 && !e->told)
		qlog_errno(QLOG_WARN, r, "ev=env_write_failed file=%s", name);
	e->told = r < 0;
}

/* ---- env ---- */

/* A set that fails (out of memory) leaves the member out; what is there stays right. */
static void set_num(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* Addresses need all 64 bits, which a number of JSON does not promise. */
static void set_hex(json_t *o, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)n);
	json_object_set_new(o, key, json_string(text));
}

static json_t *cpu_json(struct vcpu *v, bool stands)
{
	json_t *o = json_object(), *exits = json_object();

	set_num(o, "id", v->idx);
	set_num(o, "thread", (uint64_t)atomic_load(&v->tid));
	/* Relaxed: numbers for show. */
	set_hex(o, "last_known_ip",
		stands ? 0 : atomic_load_explicit(&v->last_ip, memory_order_relaxed));
	for (unsigned i = 0; i < VCPU_EXITS; i++)
		set_num(exits, vcpu_exit_str(i),
			atomic_load_explicit(&v->n_exits[i], memory_order_relaxed));
	json_object_set_new(o, "exits", exits);
	return o;
}

static json_t *dev_json(struct vm_dev *d)
{
	json_t *o = json_object(), *faults = json_object();
	uint64_t n[VD_FAULTS];
	char text[512];

	vmdev_status(d, text, sizeof(text));
	vmdev_faults(d, n);
	json_object_set_new(o, "name", json_string(d->cfg->cfg.name));
	json_object_set_new(o, "type", json_string(d->cfg->type->name));
	json_object_set_new(o, "status", json_string(text));
	for (unsigned f = 1; f < VD_FAULTS; f++)
		set_num(faults, vd_fault_str(f), n[f]);
	json_object_set_new(o, "faults", faults);
	return o;
}

static void add_counter(void *arg, const char *name, uint64_t value)
{
	set_num(arg, name, value);
}

static const char *state_str(struct vm *vm, bool stands)
{
	return !vm->started_ns ? "starting" : stands ? "held" : "running";
}

/* malloc'd, or NULL when out of memory. */
static char *env_text(struct vm *vm)
{
	json_t *o = json_object(), *cpus = json_array(), *devs = json_array();
	json_t *counters = json_object();
	bool stands = !vm->started_ns || pause_is_on(vm);

	set_num(o, "schema", ENV_SCHEMA);
	json_object_set_new(o, "version", json_string(PARLEY_VERSION));
	json_object_set_new(o, "system", json_string(vm->cfg->system));
	json_object_set_new(o, "arch", json_string(arch_name()));
	json_object_set_new(o, "state", json_string(state_str(vm, stands)));
	set_num(o, "pid", (uint64_t)getpid());
	set_num(o, "uptime_ms",
		vm->started_ns ? (qnow_ns() - vm->started_ns) / Q_NSEC_PER_MSEC : 0);
	set_num(o, "ram_bytes", qmem_total(vm->mem));
	for (size_t i = 0; i < vm->n_vcpus; i++)
		json_array_append_new(cpus, cpu_json(&vm->vcpus[i], stands));
	json_object_set_new(o, "cpus", cpus);
	for (size_t i = 0; i < vm->n_devs; i++)
		json_array_append_new(devs, dev_json(&vm->devs[i]));
	json_object_set_new(o, "vdevs", devs);
	vm_counters(vm, add_counter, counters);
	json_object_set_new(o, "counters", counters);
	char *text = json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	return text;
}

/* ---- the vdevs' files ---- */

/* What a vdev made itself (a socket) stays; `pid` and `env` are the VM's. */
static bool name_is_free(const struct env *e, const char *name)
{
	struct stat st;

	return strcmp(name, "pid") != 0 && strcmp(name, "env") != 0 &&
	       fstatat(e->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0;
}

static void write_dev(struct env *e, size_t i)
{
	struct vm_dev *d = &e->vm->devs[i];
	const char *name = d->cfg->cfg.name;
	char status[512], *text = NULL;

	if (!e->last[i] && !e->is_taken[i])
		e->is_taken[i] = !name_is_free(e, name);
	if (e->is_taken[i])
		return;
	vmdev_status(d, status, sizeof(status));
	if (asprintf(&text, "type=%s %s\n", d->cfg->type->name, status) < 0)
		return;
	if (e->last[i] && !strcmp(e->last[i], text)) {
		free(text);
		return;
	}
	put(e, name, text);
	free(e->last[i]);
	e->last[i] = text;
}

/* ---- life ---- */

struct env *env_new(struct vm *vm, int dir_fd)
{
	struct env *e = dir_fd < 0 ? NULL : calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->vm = vm;
	e->dir_fd = dir_fd;
	e->n_devs = vm->n_devs;
	e->last = calloc(vm->n_devs + 1, sizeof(*e->last));
	e->is_taken = calloc(vm->n_devs + 1, sizeof(*e->is_taken));
	return e->last && e->is_taken ? e : env_free(e);
}

struct env *env_free(struct env *e)
{
	if (!e)
		return NULL;
	for (size_t i = 0; e->last && i < e->n_devs; i++)
		free(e->last[i]);
	free(e->last);
	free(e->is_taken);
	free(e);
	return NULL;
}

void env_write(struct env *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_devs; i++)
		write_dev(e, i);
	char *text = env_text(e->vm);
	put(e, "env", text);
	free(text);
	/* Relaxed: a wish; the answer is a number for show. */
	for (size_t i = 0; i < e->vm->n_vcpus; i++)
		atomic_store_explicit(&e->vm->vcpus[i].ip_wanted, true, memory_order_relaxed);
}
