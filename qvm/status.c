/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status that SIGUSR1 asks for: the VM, its clock, its vCPUs, its counters, its vdevs. Main
 * thread.
 *
 * The clock's block is in ticks of the processor's counter, hexadecimal, as QNX prints it: the
 * host's counter, the guest's at the same moment, and by how much the distance between the two has
 * changed since the guest started. KVM keeps both at one rate: what is not zero is what the guest
 * wrote to its counter, or the few hundred ticks that the two readings are apart.
 */
#include "qvm/status.h"

#include "qvm/arch.h"
#include "qvm/pause.h"
#include "qvm/vcpu.h"
#include "qvm/vmdev.h"

#define HOLD_NS	 (1 * Q_NSEC_PER_SEC)
#define READINGS 4u

/* Of a few readings the one that took least: the two counters are closest together in it. */
static int read_counters(struct vm *vm, uint64_t *ret_guest, uint64_t *ret_host)
{
	uint64_t best_ns = UINT64_MAX;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < READINGS; i++) {
		uint64_t guest, host, begun_ns = qnow_ns();
		r = arch_vcpu_counter(&vm->vcpus[0], &guest, &host);
		uint64_t took_ns = qnow_ns() - begun_ns;
		if (r == 0 && took_ns < best_ns) {
			best_ns = took_ns;
			*ret_guest = guest;
			*ret_host = host;
		}
	}
	return r;
}

void status_start(struct vm *vm)
{
	uint64_t guest, host;

	/* A host that does not say has no drift to tell; see log_clock(). */
	if (read_counters(vm, &guest, &host) == 0)
		vm->counter_gap = host - guest;
}

static void log_clock(struct vm *vm)
{
	uint64_t guest, host;

	if (read_counters(vm, &guest, &host) < 0)
		return;
	int64_t drift = (int64_t)(host - guest - vm->counter_gap);
	qlog_info("ev=clock features=%llx host_time=%llx guest_time=%llx drift=%s%llx",
		  (unsigned long long)arch_clock_features(vm), (unsigned long long)host,
		  (unsigned long long)guest, drift < 0 ? "-" : "",
		  (unsigned long long)(drift < 0 ? -(uint64_t)drift : (uint64_t)drift));
}

static void log_vcpus(struct vm *vm)
{
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		struct vcpu *v = &vm->vcpus[i];
		uint64_t ip, n = 0;

		for (unsigned e = 0; e < VCPU_EXITS; e++)
			n += atomic_load_explicit(&v->n_exits[e], memory_order_relaxed);
		if (arch_vcpu_ip(v, &ip) == 0)
			qlog_info("ev=vcpu_status cpu=%u ip=0x%llx exits=%llu", v->idx,
				  (unsigned long long)ip, (unsigned long long)n);
	}
}

/* What only a vCPU that stands still can tell. */
static void log_held(struct vm *vm)
{
	pause_begin(vm);
	int r = pause_wait(vm, HOLD_NS);
	if (r == 0) {
		log_clock(vm);
		log_vcpus(vm);
	}
	pause_end(vm);
	if (r < 0)
		qlog_warn("ev=vcpu_status why=\"the vCPUs do not stand still\"");
}

static void log_counter(void *arg, const char *name, uint64_t value)
{
	qlog_info("ev=counter name=%s value=%llu", name, (unsigned long long)value);
}

static void log_vdevs(struct vm *vm)
{
	char buf[512];

	for (size_t i = 0; i < vm->n_devs; i++) {
		struct vm_dev *d = &vm->devs[i];
		if (!d->cfg->debug)
			continue;
		vmdev_status(d, buf, sizeof(buf));
		qlog_info("ev=vdev_status dev=%s type=%s %s", d->cfg->cfg.name, d->cfg->type->name,
			  buf);
	}
}

/* What the kernel has, as far as the configuration names it. */
static void log_kernel_made(struct vm *vm)
{
	char buf[512];

	for (size_t i = 0; i < vm->cfg->n_vdevs; i++) {
		const struct cfg_vdev *c = &vm->cfg->vdevs[i];
		if (!(c->type->flags & VD_HOST_MADE) || !c->debug)
			continue;
		arch_kernel_status(vm, c, buf, sizeof(buf));
		qlog_info("ev=vdev_status dev=%s type=%s %s", c->cfg.name, c->type->name, buf);
	}
}

void status_log(struct vm *vm)
{
	qlog_info("ev=status uptime_ms=%llu cpus=%zu ram_bytes=%llu",
		  (unsigned long long)((qnow_ns() - vm->started_ns) / Q_NSEC_PER_MSEC), vm->n_vcpus,
		  (unsigned long long)qmem_total(vm->mem));
	log_held(vm);
	vm_counters(vm, log_counter, NULL);
	log_vdevs(vm);
	log_kernel_made(vm);
}
