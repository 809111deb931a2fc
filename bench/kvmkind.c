/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvmkind: at what speed does this host's KVM run ring 0 of a guest? Prints "native NS" or
 * "emulated NS", where NS is nanoseconds an instruction; "none WHY" when there is no KVM. A
 * processor that runs the guest itself needs about a nanosecond, an emulator hundreds.
 *
 * Real mode: two instructions 100,000 times, then a port. Exit status 0 when it could tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/qdef.h"
#include "lib/qfd.h"

#define PAGE_BYTES 4096u
#define CODE_GPA 0x1000u
#define LOOPS 100000u
#define NATIVE_BELOW_NS 50

static int none(const char *why)
{
	printf("none %s: %s\n", why, strerror(errno));
	return 1;
}

static int enter_real_mode(int vcpu)
{
	/* 1: dec %ecx; jnz 1b; out %al, $0xf4 */
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2, .rcx = LOOPS };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

int main(void)
{
	static const uint8_t code[] = { 0x66, 0x49, 0x75, 0xfc, 0xe6, 0xf4 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		return none("/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	if (vm < 0 || page == MAP_FAILED)
		return none("KVM_CREATE_VM");
	memcpy(page, code, sizeof(code));
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = CODE_GPA,
						    .memory_size = PAGE_BYTES,
						    .userspace_addr = (uintptr_t)page };
	int vcpu = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -1 :
								      ioctl(vm, KVM_CREATE_VCPU, 0);
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || run_bytes < (int)sizeof(struct kvm_run))
		return none("KVM_CREATE_VCPU");
	struct kvm_run *run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				   vcpu, 0);
	if (run == MAP_FAILED || enter_real_mode(vcpu) < 0)
		return none("the vCPU's state");
	uint64_t start = qnow_ns();
	while (ioctl(vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			return none("KVM_RUN");
	uint64_t ns = (qnow_ns() - start) / (2 * LOOPS);
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0xf4) {
		printf("none the guest stopped for reason %u\n", run->exit_reason);
		return 1;
	}
	printf("%s %llu\n", ns < NATIVE_BELOW_NS ? "native" : "emulated", (unsigned long long)ns);
	return 0;
}
