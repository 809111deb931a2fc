/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvmprobe - does the KVM of this board run a guest at all?
 *
 * Runs on a board, apart from everything else of Parley, so that a test of a board that fails says
 * whose fault it is: makes a VM with one vCPU and a page of memory, lets it run a few instructions
 * that store MAGIC where nothing is, and sees that exactly this store arrives here. Exit status 0,
 * or 1 and a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC		0x2a
#define PAGE_BYTES	4096

struct probe {
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
};

#if defined(__x86_64__)

#define PAGE_GPA 0x1000
/* Real mode: mov $0x2a,%al; out %al,$0xf4; hlt */
static const uint8_t guest_code[] = { 0xb0, MAGIC, 0xe6, 0xf4, 0xf4 };

static int vcpu_prepare(struct probe *p)
{
	struct kvm_sregs sregs;
	if (ioctl(p->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(p->vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return -errno;
	struct kvm_regs regs = { .rip = PAGE_GPA, .rflags = 2 };
	return ioctl(p->vcpu_fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static int magic_arrived(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
	       run->io.port == 0xf4 && ((const uint8_t *)run)[run->io.data_offset] == MAGIC;
}

#elif defined(__aarch64__)

#define PAGE_GPA 0x80000000
/* movz x0, #0x1000, lsl #16; movz w1, #0x2a; strb w1, [x0] */
static const uint32_t guest_code[] = { 0xd2a20000, 0x52800541, 0x39000001 };

static int vcpu_prepare(struct probe *p)
{
	struct kvm_vcpu_init init;
	if (ioctl(p->vm_fd, KVM_ARM_PREFERRED_TARGET, &init) < 0 ||
	    ioctl(p->vcpu_fd, KVM_ARM_VCPU_INIT, &init) < 0)
		return -errno;
	uint64_t pc = PAGE_GPA;
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};
	return ioctl(p->vcpu_fd, KVM_SET_ONE_REG, &reg) < 0 ? -errno : 0;
}

static int magic_arrived(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write && run->mmio.len == 1 &&
	       run->mmio.phys_addr == 0x10000000 && run->mmio.data[0] == MAGIC;
}

#endif

static int failed(const char *what, int error)
{
	printf("kvmprobe: %s: %s\n", what, strerror(error));
	return 1;
}

static int open_kvm(struct probe *p)
{
	p->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm_fd < 0)
		return failed("cannot open /dev/kvm", errno);
	int version = ioctl(p->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		printf("kvmprobe: KVM speaks version %d, not %d\n", version, KVM_API_VERSION);
		return 1;
	}
	p->vm_fd = ioctl(p->kvm_fd, KVM_CREATE_VM, 0);
	return p->vm_fd < 0 ? failed("cannot create a VM", errno) : 0;
}

static int make_memory(struct probe *p)
{
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			  0);
	if (page == MAP_FAILED)
		return failed("no memory", errno);
	memcpy(page, guest_code, sizeof(guest_code));
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = PAGE_GPA,
		.memory_size = PAGE_BYTES,
		.userspace_addr = (uintptr_t)page,
	};
	if (ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return failed("cannot give the VM memory", errno);
	return 0;
}

static int make_vcpu(struct probe *p)
{
	p->vcpu_fd = ioctl(p->vm_fd, KVM_CREATE_VCPU, 0);
	if (p->vcpu_fd < 0)
		return failed("cannot create a vCPU", errno);
	int run_bytes = ioctl(p->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_bytes < (int)sizeof(*p->run))
		return failed("KVM_GET_VCPU_MMAP_SIZE", errno);
	p->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu_fd, 0);
	if (p->run == MAP_FAILED)
		return failed("cannot map the vCPU's state", errno);
	int r = vcpu_prepare(p);
	return r < 0 ? failed("cannot set the vCPU up", -r) : 0;
}

int main(void)
{
	struct probe p = { .kvm_fd = -1 };
	if (open_kvm(&p) || make_memory(&p) || make_vcpu(&p))
		return 1;
	if (ioctl(p.vcpu_fd, KVM_RUN, 0) < 0)
		return failed("the guest does not run", errno);
	if (!magic_arrived(p.run)) {
		printf("kvmprobe: the guest left for reason %u, not with its store\n",
		       p.run->exit_reason);
		return 1;
	}
	printf("kvmprobe: the guest ran\n");
	return 0;
}
