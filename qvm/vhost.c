/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vdev gets from its host: struct vd_host_ops, done with KVM and Linux. Every function is
 * called with the vdev's lock held, from a vCPU thread, the I/O thread or, before the guest runs,
 * the main thread.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib/qfd.h"
#include "qvm/arch.h"
#include "qvm/blkfile.h"
#include "qvm/dump.h"
#include "qvm/logs.h"
#include "qvm/loop.h"
#include "qvm/shm.h"
#include "qvm/snd.h"
#include "qvm/netpeer.h"
#include "qvm/stream.h"
#include "qvm/pcihost.h"
#include "qvm/vmdev.h"

#define SOCKET_PATH_BYTES 108u
#define PREFIX_MEDIATOR	  "mediator:"
#define PREFIX_VHOST_USER "vhost-user:"

static struct vm_dev *dev_of(struct vd_host *h)
{
	return Q_CONTAINER_OF(h, struct vm_dev, host);
}

/* A line of the vdev: where its `log` says, else where all go. */
static void Q_PRINTF(3, 4) dev_log(struct vm_dev *d, enum qlog_sev sev, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (d->cfg->has_log) {
		const struct qlog_dest to = logs_dest(&d->cfg->log);
		qlog_to_v(&to, 1, sev, fmt, ap);
	} else {
		qlog_v(sev, fmt, ap);
	}
	va_end(ap);
}

/* ---- interrupts ---- */

static void host_irq_set(struct vd_host *h, unsigned n, bool level)
{
	struct vm_dev *d = dev_of(h);

	if (n < d->n_lines)
		irq_line_set(&d->vm->irqs, &d->lines[n], level);
}

static int host_irq_fd(struct vd_host *h, unsigned n)
{
	struct vm_dev *d = dev_of(h);

	/* INTx of PCI is shared and level: an edge would be lost on it. */
	if (n >= d->n_lines || d->cfg->on_pci)
		return -1;
	int fd = irq_line_fd(&d->vm->irqs, &d->lines[n]);
	return fd < 0 ? -1 : fd;
}

static struct irq_msi *msi_of(struct vm_dev *d, unsigned vector)
{
	if (vector >= VMDEV_VECTORS_MAX)
		return NULL;
	if (!d->msis) {
		d->msis = malloc(VMDEV_VECTORS_MAX * sizeof(*d->msis));
		for (unsigned i = 0; d->msis && i < VMDEV_VECTORS_MAX; i++)
			d->msis[i] = IRQ_MSI_NULL;
	}
	return d->msis ? &d->msis[vector] : NULL;
}

static int host_msi_fd(struct vd_host *h, unsigned vector)
{
	struct irq_msi *m = msi_of(dev_of(h), vector);
	int fd = m ? irq_msi_fd(m) : -1;

	return fd < 0 ? -1 : fd;
}

static int host_msi_set(struct vd_host *h, unsigned vector, bool masked, uint64_t addr,
			uint32_t data)
{
	struct vm_dev *d = dev_of(h);
	struct irq_msi *m = msi_of(d, vector);

	return m ? irq_msi_set(&d->vm->irqs, m, masked, addr, data, d->devid) : -ENOMEM;
}

/* ---- notifications, windows ---- */

static int ioeventfd(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
		     const uint64_t *datamatch, int fd, uint32_t flags)
{
	struct kvm_ioeventfd e = { .addr = addr, .len = size, .fd = fd, .flags = flags };

	if (space == VD_IO)
		e.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (datamatch) {
		e.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
		e.datamatch = *datamatch;
	}
	return ioctl(dev_of(h)->vm->vm_fd, KVM_IOEVENTFD, &e) < 0 ? -errno : 0;
}

static int host_notify_add(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			   const uint64_t *datamatch, int fd)
{
	return ioeventfd(h, space, addr, size, datamatch, fd, 0);
}

static void host_notify_del(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			    const uint64_t *datamatch, int fd)
{
	ioeventfd(h, space, addr, size, datamatch, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int host_bar_map(struct vd_host *h, unsigned win, enum vd_space space, uint64_t addr,
			uint64_t len_bytes, bool enabled)
{
	return vmdev_map(dev_of(h), win, space, addr, len_bytes, enabled);
}

/* ---- events ---- */

/* A vdev's callback and its argument travel behind the loop's (owner, arg): owner is the vm_dev. */
struct vd_call {
	void (*fn)(struct vdev *v, void *arg);
	void *arg;
};
struct vd_watch {
	struct vd_call call;
	struct loop_watch *w;
};
struct vd_timer {
	struct vd_call call;
	struct loop_timer *t;
};

static void run_call(void *owner, void *arg)
{
	struct vm_dev *d = owner;
	struct vd_call *c = arg;

	if (d->v)
		c->fn(d->v, c->arg);
}

/* The handle may be freed inside its own callback, so what the callback needs is copied first. */
static void run_copied(void *owner, void *arg)
{
	struct vd_call c = *(struct vd_call *)arg;

	run_call(owner, &c);
}

static struct vd_watch *new_watch(struct vd_host *h, int fd,
				  void (*fn)(struct vdev *v, void *arg), void *arg, bool out)
{
	struct vm_dev *d = dev_of(h);
	struct vd_watch *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	w->call = (struct vd_call){ fn, arg };
	w->w = out ? loop_watch_out(d->vm->loop, &d->lock, fd, run_copied, d, &w->call) :
		     loop_watch(d->vm->loop, &d->lock, fd, run_copied, d, &w->call);
	if (!w->w) {
		free(w);
		return NULL;
	}
	return w;
}

static struct vd_watch *host_watch(struct vd_host *h, int fd, void (*fn)(struct vdev *v, void *arg),
				   void *arg)
{
	return new_watch(h, fd, fn, arg, false);
}

static struct vd_watch *host_watch_out(struct vd_host *h, int fd,
				       void (*fn)(struct vdev *v, void *arg), void *arg)
{
	return new_watch(h, fd, fn, arg, true);
}

static void host_unwatch(struct vd_host *h, struct vd_watch *w)
{
	if (!w)
		return;
	loop_unwatch(w->w);
	free(w);
}

static struct vd_timer *host_timer_new(struct vd_host *h, void (*fn)(struct vdev *v, void *arg),
				       void *arg)
{
	struct vm_dev *d = dev_of(h);
	struct vd_timer *t = malloc(sizeof(*t));

	if (!t)
		return NULL;
	t->call = (struct vd_call){ fn, arg };
	t->t = loop_timer_new(d->vm->loop, &d->lock, run_copied, d, &t->call);
	if (!t->t) {
		free(t);
		return NULL;
	}
	return t;
}

static void host_timer_arm(struct vd_host *h, struct vd_timer *t, uint64_t at_ns)
{
	loop_timer_arm(t->t, at_ns);
}

static void host_timer_free(struct vd_host *h, struct vd_timer *t)
{
	if (!t)
		return;
	loop_timer_free(t->t);
	free(t);
}

static void run_posted(void *owner, void *arg)
{
	struct vd_call c = *(struct vd_call *)arg;

	run_call(owner, &c);
}

static int host_post(struct vd_host *h, void (*fn)(struct vdev *v, void *arg), void *arg)
{
	struct vm_dev *d = dev_of(h);
	const struct vd_call c = { fn, arg };

	return loop_post(d->vm->loop, &d->lock, run_posted, d, &c, sizeof(c));
}

/* Work that waits, then done() as any callback. */
struct vd_job {
	void (*work)(void *work_arg);
	void *work_arg;
	struct vd_call done;
};

static void job_work(void *arg)
{
	struct vd_job *j = arg;

	j->work(j->work_arg);
}

static void job_done(void *owner, void *arg)
{
	struct vd_job *j = arg;

	run_call(owner, &j->done);
}

static int host_call(struct vd_host *h, void (*work)(void *work_arg), void *work_arg,
		     void (*done)(struct vdev *v, void *arg), void *arg)
{
	struct vm_dev *d = dev_of(h);
	const struct vd_job j = { work, work_arg, { done, arg } };

	return loop_call(d->vm->loop, &d->lock, job_work, job_done, d, &j, sizeof(j));
}

/* ---- host resources ---- */

static void blk_failed(void *arg, const char *why)
{
	struct vm_dev *d = arg;

	d->host.ops->failed(&d->host, why);
}

static int host_blk_open(struct vd_host *h, const struct vd_arg *hostdev, struct cf_errors *errs,
			 struct vd_blk **ret, struct vd_blk_info *ret_info)
{
	struct vm_dev *d = dev_of(h);
	const struct vd_arg *dio = vd_arg_find(&d->cfg->cfg, "dio");
	const struct blkfile_cfg cfg = {
		.path = hostdev->text, .name = d->cfg->cfg.name,
		.direct = dio && !strcmp(dio->text, "enable"), .loop = d->vm->loop,
		.lock = &d->lock, .owner = &d->v, .failed = blk_failed, .failed_arg = d
	};
	char text[512];
	int r = blkfile_open(&cfg, text, sizeof(text), ret, ret_info);

	if (r < 0)
		cf_error_add(errs, CF_ERROR, hostdev->file, hostdev->line, hostdev->col,
			     "hostdev %s", text);
	return r;
}

static int host_blk_submit(struct vd_host *h, struct vd_blk *b, struct vd_blk_io *io)
{
	return blkfile_submit(b, io);
}

static void host_blk_kick(struct vd_host *h, struct vd_blk *b)
{
	blkfile_kick(b);
}

static void host_blk_close(struct vd_host *h, struct vd_blk *b)
{
	blkfile_close(b);
}

static int host_backend_connect(struct vd_host *h, const struct vd_arg *hostdev)
{
	const struct vm *vm = dev_of(h)->vm;
	const char *what = hostdev->text;
	char path[SOCKET_PATH_BYTES];

	if (!strncmp(what, PREFIX_VHOST_USER, strlen(PREFIX_VHOST_USER)))
		return qfd_connect_unix_now(what + strlen(PREFIX_VHOST_USER));
	if (strncmp(what, PREFIX_MEDIATOR, strlen(PREFIX_MEDIATOR)) != 0)
		return -EINVAL;
	int n = snprintf(path, sizeof(path), "%s/mediator/%s.%s.sock", vm->run_dir, vm->cfg->system,
			 what + strlen(PREFIX_MEDIATOR));
	return n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : qfd_connect_unix_now(path);
}

static int host_net_open(struct vd_host *h, const struct vd_net_cfg *cfg, struct cf_errors *errs,
			 struct vd_net **ret)
{
	struct vm_dev *d = dev_of(h);
	const struct netpeer_host host = {
		.loop = d->vm->loop, .lock = &d->lock, .v = &d->v,
		.run_dir = d->vm->run_dir ? d->vm->run_dir : "",
		.system = d->vm->cfg->system, .system_given = d->vm->cfg->system_given,
	};

	return netpeer_open(&host, cfg, errs, ret);
}

/* ---- what the vdev says ---- */

static void host_power(struct vd_host *h, enum vd_power what)
{
	struct vm *vm = dev_of(h)->vm;

	switch (what) {
	case VD_POWER_OFF:
		vm_end(vm, VM_EXIT_OK, "guest powered off");
		break;
	case VD_POWER_RESET:
		vm_end_reset(vm, "guest reset");
		break;
	case VD_POWER_WATCHDOG:
		vm_end(vm, VM_EXIT_WATCHDOG, "watchdog");
		break;
	case VD_POWER_WATCHDOG_DUMP:
		dump_request(vm, "watchdog", VM_EXIT_WATCHDOG);
		break;
	case VD_POWER_DUMP:
		dump_request(vm, "watchdog", VM_EXIT_OK);
		break;
	}
}

static uint64_t host_now(struct vd_host *h)
{
	return qnow_ns();
}

static uint64_t host_utc(struct vd_host *h)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * Q_NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static int host_irq_number(struct vd_host *h, unsigned n)
{
	const struct vm_dev *d = dev_of(h);

	return n < d->n_lines ? (int)d->lines[n].line : -1;
}

static void host_pit_wired(struct vd_host *h, bool on)
{
	arch_pit_wired(dev_of(h)->vm, on);
}

static int host_pci_header(struct vd_host *h, const struct vd_arg *arg, struct cf_errors *errs,
			   uint8_t *ret)
{
	return pcihost_header(arg, errs, ret);
}

static void host_leave(struct vd_host *h, unsigned code)
{
	if (code < VD_LEAVE_MIN || code > VD_LEAVE_MAX)
		code = VD_LEAVE_MIN;
	vm_end(dev_of(h)->vm, (enum vm_exit)code, "a vdev ended the VM with a code of the guest");
}

static void host_failed(struct vd_host *h, const char *why)
{
	struct vm_dev *d = dev_of(h);

	dev_log(d, QLOG_FATAL, "ev=vdev_failed dev=%s why=\"%s\"", d->cfg->cfg.name, why);
	vm_end(d->vm, VM_EXIT_VDEV, why);
}

static void host_fault(struct vd_host *h, enum vd_fault f)
{
	struct vm_dev *d = dev_of(h);
	uint64_t n;

	if (qlog_limit_hit(&d->faults[f], qnow_ns(), &n))
		dev_log(d, QLOG_WARN, "ev=guest_fault dev=%s why=%s n=%llu", d->cfg->cfg.name,
			vd_fault_str(f), (unsigned long long)n);
}

static void Q_PRINTF(3, 4) host_log(struct vd_host *h, int sev, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev_log(dev_of(h), (enum qlog_sev)sev, "dev=%s %s", dev_of(h)->cfg->cfg.name, text);
}

const struct vd_host_ops vhost_ops = {
	.irq_set = host_irq_set,
	.irq_fd = host_irq_fd,
	.msi_fd = host_msi_fd,
	.msi_set = host_msi_set,
	.notify_add = host_notify_add,
	.notify_del = host_notify_del,
	.bar_map = host_bar_map,
	.watch = host_watch,
	.unwatch = host_unwatch,
	.timer_new = host_timer_new,
	.timer_arm = host_timer_arm,
	.timer_free = host_timer_free,
	.post = host_post,
	.call = host_call,
	.blk_open = host_blk_open,
	.blk_submit = host_blk_submit,
	.blk_kick = host_blk_kick,
	.blk_close = host_blk_close,
	.backend_connect = host_backend_connect,
	.net_open = host_net_open,
	.snd_open = snd_open,
	.power = host_power,
	.fault = host_fault,
	.log = host_log,
	.leave = host_leave,
	.failed = host_failed,
	.now = host_now,
	.utc = host_utc,
	.irq_number = host_irq_number,
	.pit_wired = host_pit_wired,
	.pci_header = host_pci_header,
	.watch_out = host_watch_out,
	.stream = &stream_ops,
	.shm = &vm_shm_ops,
};
