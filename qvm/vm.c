/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM from nothing to its end, in one order: KVM, memory, the board, vCPUs, vdevs, the guest's
 * files, threads; and back in the reverse order. Main thread, but for vm_end().
 *
 * The end: whoever learns that the guest is over calls vm_end(); the first decides the exit code
 * and wakes the main thread, which calls vm_stop(): vCPU threads leave the guest and are joined, so
 * that nothing of the guest runs any more when the vdevs are quiesced; then the I/O thread ends,
 * and only then anything is freed.
 */
#include "qvm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/qfd.h"
#include "qvm/arch.h"
#include "qvm/console.h"
#include "qvm/dump.h"
#include "qvm/loop.h"
#include "qvm/status.h"
#include "qvm/shm.h"
#include "qvm/vcpu.h"
#include "qvm/vmdev.h"

#define KVM_DEVICE "/dev/kvm"

int vm_fail(struct vm *vm, const char *stage, int err, const char *fmt, ...)
{
	va_list ap;

	err = err < 0 ? -err : err;
	vm->fail.stage = stage;
	vm->fail.err = err;
	va_start(ap, fmt);
	vsnprintf(vm->fail.text, sizeof(vm->fail.text), fmt, ap);
	va_end(ap);
	return err ? -err : -EINVAL;
}

/* ---- KVM and memory ---- */

static int open_failed(struct vm *vm, int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return vm_fail(
			vm, "kvm", err,
			KVM_DEVICE
			" is not there: load the module kvm_intel or kvm_amd, switch "
			"virtualization on in the firmware, or run on a machine that has it");
	case EACCES:
	case EPERM:
		return vm_fail(vm, "kvm", err,
			       KVM_DEVICE
			       " may not be opened: become a member of the group that owns it "
			       "(usually: adduser USER kvm), or run as root");
	default:
		return vm_fail(vm, "kvm", err, KVM_DEVICE " cannot be opened");
	}
}

/*
 * KVM looks for an interrupt for a while (200 us) before it lets the thread of a guest that halted
 * sleep. Where the thread has a real-time priority or a budget, that is other people's processor,
 * or the vCPU's own time: shorter. A kernel without the call keeps its own time.
 */
#define RT_HALT_POLL_NS 20000u

static void limit_halt_poll(const struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL, .args = { RT_HALT_POLL_NS } };

	for (size_t i = 0; i < vm->cfg->n_cpus; i++) {
		enum cfg_sched_policy p = vm->cfg->cpus[i].policy;

		if (p == CFG_SCHED_RR || p == CFG_SCHED_FIFO || p == CFG_SCHED_SPORADIC) {
			ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap);
			return;
		}
	}
}

static int open_kvm(struct vm *vm)
{
	vm->kvm_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return open_failed(vm, errno);
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return vm_fail(vm, "kvm", ENOTSUP, KVM_DEVICE " has another API version than %d",
			       KVM_API_VERSION);
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return vm_fail(vm, "kvm", ENOTSUP,
			       "this kernel's KVM is too old: Linux 4.13 or newer is needed");
	do
		vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, arch_vm_type(vm->kvm_fd));
	while (vm->vm_fd < 0 && errno == EINTR);
	if (vm->vm_fd < 0)
		return vm_fail(vm, "kvm", errno, "KVM makes no VM");
	limit_halt_poll(vm);
	return 0;
}

static int add_slot(struct vm *vm, unsigned slot, const struct qmem_region *r)
{
	struct kvm_userspace_memory_region m = {
		.slot = slot,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len_bytes,
		.userspace_addr = (uintptr_t)r->host,
		.flags = r->flags & QMEM_READONLY ? KVM_MEM_READONLY : 0,
	};

	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &m) < 0)
		return vm_fail(vm, "memory", errno, "KVM does not take %s 0x%llx,0x%llx",
			       m.flags ? "rom" : "ram", (unsigned long long)r->gpa,
			       (unsigned long long)r->len_bytes);
	return 0;
}

/* A guest that keeps a promise must not wait for a page: all are made, and none is taken away. */
static int lock_memory(struct vm *vm)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < vm->mem->n; i++)
		bytes += vm->mem->r[i].len_bytes;
	for (unsigned i = 0; i < vm->mem->n; i++)
		if (mlock(vm->mem->r[i].host, vm->mem->r[i].len_bytes) < 0)
			return vm_fail(vm, "memory", errno,
				       "the %llu MiB of a safety VM are to be locked in memory: "
				       "it takes CAP_IPC_LOCK or a limit on locked memory that "
				       "reaches (ulimit -l), and so much free memory",
				       (unsigned long long)(bytes >> 20));
	return 0;
}

static int make_memory(struct vm *vm)
{
	vm->mem = qmem_new();
	if (!vm->mem)
		return vm_fail(vm, "memory", ENOMEM, "out of memory");
	for (size_t i = 0; i < vm->cfg->n_ram; i++) {
		const struct cfg_ram *c = &vm->cfg->ram[i];
		int r = qmem_add(vm->mem, gpa(c->gpa), c->len_bytes, c->rom ? QMEM_READONLY : 0,
				 c->rom ? "guest-rom" : "guest-ram");
		if (r < 0)
			return vm_fail(vm, "memory", r, "%s:%u: no memory for %s 0x%llx,0x%llx",
				       c->pos.file, c->pos.line, c->rom ? "rom" : "ram",
				       (unsigned long long)c->gpa,
				       (unsigned long long)c->len_bytes);
	}
	for (unsigned i = 0; i < vm->mem->n; i++) {
		int r = add_slot(vm, i, &vm->mem->r[i]);
		if (r < 0)
			return r;
	}
	return vm->cfg->lock_memory ? lock_memory(vm) : 0;
}

/* ---- assembling ---- */

static int make_vcpus(struct vm *vm)
{
	int r = 0;

	vm->vcpus = calloc(vm->cfg->n_cpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return vm_fail(vm, "kvm", ENOMEM, "out of memory");
	for (unsigned i = 0; r == 0 && i < vm->cfg->n_cpus; i++) {
		r = vcpu_init(&vm->vcpus[i], vm, i);
		vm->n_vcpus = i + 1;
	}
	return r;
}

static int make_loop(struct vm *vm)
{
	int r = loop_new(&vm->loop);

	return r < 0 ? vm_fail(vm, "threads", r, "no event loop") : 0;
}

static int load_guest_files(struct vm *vm)
{
	char text[sizeof(vm->fail.text)] = "";
	int r = arch_load_claims(vm);

	if (r < 0)
		return r;
	r = load_all(vm->cfg, vm->mem, &vm->boot, text, sizeof(text));
	return r < 0 ? vm_fail(vm, "load", r, "%s", text) : 0;
}

int vm_init(struct vm *vm, const struct vm_cfg *cfg, const char *run_dir, struct cf_errors *errs)
{
	memset(vm, 0, sizeof(*vm));
	vm->cfg = cfg;
	vm->run_dir = run_dir;
	vm->kvm_fd = vm->vm_fd = vm->end_fd = -1;
	atomic_init(&vm->end_code, -1);
	unsup_init(&vm->unsup);
	pthread_mutex_init(&vm->gate_lock, NULL);
	pthread_cond_init(&vm->gate_moved, NULL);
	bus_init(&vm->bus[VD_MEM]);
	bus_init(&vm->bus[VD_IO]);
	irqs_init(&vm->irqs, -1);
	vm->end_fd = qfd_eventfd();
	if (vm->end_fd < 0)
		return vm_fail(vm, "threads", vm->end_fd, "no descriptor");
	int r = open_kvm(vm);
	vm->irqs.vm_fd = vm->vm_fd;
	if (r == 0)
		r = make_memory(vm);
	if (r == 0)
		r = arch_vm_init(vm);
	if (r == 0)
		r = arch_policy_init(vm);
	if (r == 0)
		r = make_vcpus(vm);
	if (r == 0)
		r = arch_vm_late_init(vm);
	if (r == 0)
		r = make_loop(vm);
	if (r == 0)
		r = dump_init(vm);
	if (r == 0)
		r = vmdev_make_all(vm, errs);
	if (r == 0)
		r = load_guest_files(vm);
	return r < 0 ? r : arch_boot(vm);
}

/* ---- running ---- */

/* The I/O thread serves all vdevs: the most urgent `sched` among them is its own. */
static int schedule_io(struct vm *vm)
{
	const struct cfg_vdev *most = NULL;

	for (size_t i = 0; i < vm->cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &vm->cfg->vdevs[i];
		if (v->sched_policy == CFG_SCHED_INHERIT)
			continue;
		if (!most || most->sched_policy == CFG_SCHED_OTHER ||
		    (v->sched_policy != CFG_SCHED_OTHER && v->sched_prio > most->sched_prio))
			most = v;
	}
	if (!most)
		return 0;
	const int policy = most->sched_policy == CFG_SCHED_OTHER ? SCHED_OTHER :
			   most->sched_policy == CFG_SCHED_FIFO ? SCHED_FIFO : SCHED_RR;
	const struct sched_param prm = {
		.sched_priority = policy == SCHED_OTHER ? 0 : (int)most->sched_prio
	};
	int r = pthread_setschedparam(loop_thread(vm->loop), policy, &prm);
	return r ? vm_fail(vm, "threads", r, "%s:%u: vdev %s: sched: the host refuses this policy "
			   "or priority; it takes CAP_SYS_NICE or an RLIMIT_RTPRIO that reaches it",
			   most->pos.file, most->pos.line, most->cfg.name) : 0;
}

int vm_start_threads(struct vm *vm)
{
	char name[16];
	int r;

	snprintf(name, sizeof(name), "%.12s-io", vm->cfg->system);
	r = loop_start(vm->loop, name);
	if (r < 0)
		return vm_fail(vm, "threads", r, "no I/O thread");
	r = schedule_io(vm);
	if (r < 0)
		return r;
	return vcpu_start_all(vm);
}

void vm_run(struct vm *vm)
{
	vm->started_ns = qnow_ns();
	status_start(vm);
	vcpu_open_gate(vm);
}

void vm_end(struct vm *vm, enum vm_exit code, const char *why)
{
	int running = -1;

	/* Pairs with the acquire load of who reads end_why after it saw end_code: the winner writes
	 * why before it signals the descriptor, and the main thread reads both after it. */
	if (!atomic_compare_exchange_strong(&vm->end_code, &running, (int)code))
		return;
	atomic_store(&vm->end_why, why);
	qfd_event_signal(vm->end_fd);
}

void vm_end_reset(struct vm *vm, const char *why)
{
	/* Seen with why, by the same pairs as in vm_end(). */
	atomic_store(&vm->reset, true);
	vm_end(vm, VM_EXIT_OK, why);
}

void vm_stop(struct vm *vm)
{
	/* Pairs with the acquire load in vcpu_loop(). */
	atomic_store_explicit(&vm->stopping, true, memory_order_release);
	vcpu_open_gate(vm);
	dump_stop(vm);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
	if (vm->n_devs)
		vmdev_quiesce_all(vm);
	if (vm->loop)
		loop_stop(vm->loop);
}

/*
 * Lets go of the VM without waiting for its end. KVM takes up to 20 ms to dismantle one (grace
 * periods, the timer's above all), and whoever closes the last descriptor sits through it. A ring
 * is dismantled by a kernel worker: what is registered with ours is closed there, after us. Guest
 * memory is not held up by it. Where there is no io_uring the end just takes longer.
 */
static void let_go(int vm_fd)
{
	struct io_uring ring;

	if (vm_fd >= 0 && io_uring_queue_init(1, &ring, 0) == 0) {
		(void)io_uring_register_files(&ring, &vm_fd, 1);
		io_uring_queue_exit(&ring);
	}
}

void vm_fini(struct vm *vm)
{
	vm_stop(vm);
	dump_fini(vm);
	vmdev_free_all(vm);
	vm->shm = vm_shm_free(vm->shm);
	vm->loop = loop_free(vm->loop);
	alive_fini(&vm->alive);
	while (vm->n_vcpus > 0)
		vcpu_fini(&vm->vcpus[--vm->n_vcpus]);
	free(vm->vcpus);
	vm->vcpus = NULL;
	arch_vm_fini(vm);
	irqs_fini(&vm->irqs);
	let_go(vm->vm_fd);
	qfd_close(&vm->vm_fd);
	qfd_close(&vm->kvm_fd);
	vm->mem = qmem_unref(vm->mem);
	bus_fini(&vm->bus[VD_MEM]);
	bus_fini(&vm->bus[VD_IO]);
	unsup_fini(&vm->unsup);
	pthread_mutex_destroy(&vm->gate_lock);
	pthread_cond_destroy(&vm->gate_moved);
	qfd_close(&vm->end_fd);
	console_restore();
}

bool vm_button(struct vm *vm)
{
	return vmdev_button_all(vm);
}

/* ---- what the operator sees ---- */

void vm_counters(struct vm *vm, void (*fn)(void *arg, const char *name, uint64_t value), void *arg)
{
	char name[128];

	for (unsigned e = 0; e < VCPU_EXITS; e++) {
		uint64_t n = 0;
		for (size_t i = 0; i < vm->n_vcpus; i++)
			n += atomic_load_explicit(&vm->vcpus[i].n_exits[e], memory_order_relaxed);
		snprintf(name, sizeof(name), "exit.%s", vcpu_exit_str(e));
		fn(arg, name, n);
	}
	unsup_counters(&vm->unsup, fn, arg);
	for (size_t i = 0; i < vm->n_devs; i++) {
		uint64_t faults[VD_FAULTS];
		vmdev_faults(&vm->devs[i], faults);
		for (unsigned f = 1; f < VD_FAULTS; f++) {
			snprintf(name, sizeof(name), "vdev.%s.fault.%s",
				 vm->devs[i].cfg->cfg.name, vd_fault_str(f));
			if (faults[f])
				fn(arg, name, faults[f]);
		}
	}
}
