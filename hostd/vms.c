/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the VMs. Main thread. Invariant: the list is sorted by name, no name twice; a VM that is
 * alive is never removed.
 */
#include "hostd/vms.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostd/order.h"
#include "lib/qlog.h"

static const char suffix[] = ".qvmconf";

void hd_vms_init(struct hd_vms *s, struct hd_env *env, const struct hd_vm_ops *ops, void *ctx)
{
	*s = (struct hd_vms){ .env = env, .ops = ops, .ctx = ctx };
	LIST_INIT(&s->list);
}

static void remove_vm(struct hd_vms *s, struct hd_vm *vm)
{
	LIST_REMOVE(vm, entry);
	s->n--;
	hd_vm_free(vm);
}

void hd_vms_fini(struct hd_vms *s)
{
	while (!LIST_EMPTY(&s->list))
		remove_vm(s, LIST_FIRST(&s->list));
}

struct hd_vm *hd_vms_find(struct hd_vms *s, const char *name)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry)
		if (strcmp(vm->name, name) == 0)
			return vm;
	return NULL;
}

static void insert_sorted(struct hd_vms *s, struct hd_vm *vm)
{
	struct hd_vm *at, *last = NULL;

	LIST_FOREACH(at, &s->list, entry) {
		if (strcmp(at->name, vm->name) > 0)
			break;
		last = at;
	}
	if (last)
		LIST_INSERT_AFTER(last, vm, entry);
	else
		LIST_INSERT_HEAD(&s->list, vm, entry);
	s->n++;
}

/* The name of a VM in @file's name, into @ret; false when it is none. */
static bool name_of(const char *file, char ret[HD_NAME_MAX + 1])
{
	size_t len = strlen(file), end = sizeof(suffix) - 1;

	if (len <= end || len - end > HD_NAME_MAX || strcmp(file + len - end, suffix) != 0)
		return false;
	snprintf(ret, HD_NAME_MAX + 1, "%.*s", (int)(len - end), file);
	return hd_name_ok(ret);
}

static int add_vm(struct hd_vms *s, const char *name)
{
	struct hd_vm *vm = hd_vms_find(s, name);

	if (vm) {
		if (!hd_vm_state_alive(vm->state))
			hd_vm_reload(vm);
		return 0;
	}
	if (s->n >= HD_VMS_MAX) {
		qlog_warn("ev=too_many_vms vm=%s limit=%u", name, HD_VMS_MAX);
		return 0;
	}
	vm = hd_vm_new(s->env, name, s->ops, s->ctx);
	if (!vm)
		return -ENOMEM;
	insert_sorted(s, vm);
	return 0;
}

static void remove_gone(struct hd_vms *s, int dir_fd)
{
	struct hd_vm *vm, *next;

	for (vm = LIST_FIRST(&s->list); vm; vm = next) {
		char file[HD_NAME_MAX + sizeof(suffix)];

		next = LIST_NEXT(vm, entry);
		snprintf(file, sizeof(file), "%s%s", vm->name, suffix);
		if (!hd_vm_state_alive(vm->state) && faccessat(dir_fd, file, F_OK, 0) < 0 &&
		    errno == ENOENT)
			remove_vm(s, vm);
	}
}

int hd_vms_scan(struct hd_vms *s)
{
	char path[PATH_MAX];
	int r = 0;

	snprintf(path, sizeof(path), "%s/vms", s->env->config_dir);
	DIR *d = opendir(path);
	if (!d)
		return -errno;
	for (const struct dirent *e = readdir(d); e && r == 0; e = readdir(d)) {
		char name[HD_NAME_MAX + 1];

		if (name_of(e->d_name, name))
			r = add_vm(s, name);
	}
	remove_gone(s, dirfd(d));
	closedir(d);
	hd_order_check(s);
	return r;
}

void hd_vms_adopt(struct hd_vms *s)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry)
		hd_vm_adopt(vm);
}

void hd_vms_kick(struct hd_vms *s)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry)
		hd_vm_kick(vm);
}

void hd_vms_autostart(struct hd_vms *s)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry)
		if (vm->conf.autostart && !vm->conf_errors && vm->state == HD_VM_OFF)
			hd_vm_queue(vm, "started with the host");
}

unsigned hd_vms_stop_some(struct hd_vms *s, bool force)
{
	unsigned n_alive = 0, first = UINT32_MAX;
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry) {
		if (vm->state == HD_VM_WAITING)
			hd_vm_stop(vm, 0);
		if (!hd_vm_state_alive(vm->state))
			continue;
		n_alive++;
		first = Q_MIN(first, hd_order_rank(vm->conf.class));
	}
	LIST_FOREACH(vm, &s->list, entry) {
		if (!hd_vm_state_alive(vm->state))
			continue;
		if (force)
			hd_vm_cut(vm);
		else if (hd_order_rank(vm->conf.class) == first && vm->state != HD_VM_STOPPING)
			hd_vm_stop(vm, 0);
	}
	return n_alive;
}
