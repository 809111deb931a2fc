/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the TSC runs, from the first source that knows: the key tsc_khz, CPUID leaf 0x15, the
 * hypervisor's leaf 0x40000010, KVM's clock page, and the PIT as the last resort.
 */
#include "tests/guests/rt/rt.h"
#include "tests/guests/rt/x86/x86.h"

#define MSR_KVM_CLOCK	0x4b564d01
#define KVM_CLOCK_BIT	(1u << 3)	/* leaf 0x40000001 */
#define PIT_HZ		1193182u
#define PIT_COUNTS	11932u		/* 10 ms */

struct kvm_clock {
	uint32_t version, pad;
	uint64_t tsc, system_ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

static void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(0));
}

static uint64_t khz_from_cpuid(void)
{
	uint32_t r[4];

	cpuid(0, r);
	if (r[0] < 0x15)
		return 0;
	cpuid(0x15, r);
	return r[0] && r[1] && r[2] ? (uint64_t)r[2] * r[1] / r[0] / 1000 : 0;
}

/* Returns the highest hypervisor leaf, or 0; @ret_kvm tells whether it is KVM's. */
static uint32_t hypervisor_leaves(bool *ret_kvm)
{
	uint32_t r[4];

	*ret_kvm = false;
	cpuid(1, r);
	if (!(r[2] & 1u << 31))
		return 0;
	cpuid(0x40000000, r);
	*ret_kvm = r[1] == 0x4b4d564b && r[2] == 0x564b4d56 && r[3] == 0x4d;
	return r[0] == 0 && *ret_kvm ? 0x40000001 : r[0];
}

static uint64_t khz_from_kvm_clock(void)
{
	static volatile struct kvm_clock page __attribute__((aligned(64)));
	uint32_t r[4];

	cpuid(0x40000001, r);
	if (!(r[0] & KVM_CLOCK_BIT))
		return 0;
	x86_service(X86_SVC_WRMSR, MSR_KVM_CLOCK, (uint32_t)(uint64_t)&page | 1, 0);
	uint64_t khz = page.mul ? (1000000ull << 32) / page.mul : 0;
	khz = page.shift < 0 ? khz << -page.shift : khz >> page.shift;
	x86_service(X86_SVC_WRMSR, MSR_KVM_CLOCK, 0, 0);
	return khz;
}

/* Channel 2, mode 0, gated by port 0x61; its output is readable there. */
static uint64_t khz_from_pit(void)
{
	uint8_t gate = arch_in8(0x61) & 0xfc;

	arch_out8(0x61, gate | 1);
	arch_out8(0x43, 0xb0);
	arch_out8(0x42, PIT_COUNTS & 0xff);
	arch_out8(0x42, PIT_COUNTS >> 8);
	if (arch_in8(0x61) & 0x20)
		return 0;	/* high before it can have counted: no PIT */
	uint64_t t0 = arch_ticks();
	unsigned n_polls = 0;
	while (!(arch_in8(0x61) & 0x20) && n_polls < 10000000)
		n_polls++;
	uint64_t t1 = arch_ticks();
	arch_out8(0x61, gate);
	return n_polls < 10000000 ? (t1 - t0) * PIT_HZ / PIT_COUNTS / 1000 : 0;
}

/* Emulated LAPIC timers run at 1 GHz: what KVM and QEMU have always done. */
static uint64_t khz_from_lapic(void)
{
	rt_clock_set(1000000, "none");
	return x86_lapic_per_tick() ? ((uint64_t)1000000 << 32) / x86_lapic_per_tick() : 0;
}

static uint64_t find_khz(const char **ret_source)
{
	bool is_kvm;
	uint32_t leaves = hypervisor_leaves(&is_kvm), r[4];
	uint64_t khz;

	*ret_source = "cmdline";
	khz = rt_arg_u64("tsc_khz", 0);
	if (khz)
		return khz;
	*ret_source = "cpuid";
	khz = khz_from_cpuid();
	if (khz)
		return khz;
	*ret_source = "hypervisor";
	if (leaves >= 0x40000010) {
		cpuid(0x40000010, r);
		if (r[0])
			return r[0];
	}
	*ret_source = "kvmclock";
	khz = is_kvm ? khz_from_kvm_clock() : 0;
	if (khz)
		return khz;
	*ret_source = "pit";
	khz = khz_from_pit();
	if (khz)
		return khz;
	*ret_source = "lapic";
	return khz_from_lapic();
}

void rt_time_init(void)
{
	const char *source;
	uint64_t khz = find_khz(&source);

	if (!khz)
		rt_fail("no source knows the speed of the TSC; give tsc_khz=");
	rt_clock_set(khz, source);
	x86_lapic_per_tick();
}
