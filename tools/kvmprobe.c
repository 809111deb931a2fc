/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvmprobe - what kind of KVM is this?
 *
 * Stands apart from the rest of Parley, so that it can say whose fault it is when a VM does not
 * run: makes a VM with one vCPU, lets it count down in the mode that a kernel runs in (x86: 64
 * bits, paging, ring 0; arm64: EL1) and store MAGIC where nothing is, and sees that exactly this
 * store arrives. The time of the counting tells a processor that runs a guest's kernel itself
 * (about a nanosecond an instruction) from a KVM that emulates it (hundreds). Says also which of
 * the things are there that qvm builds on.
 *
 * Exit status: 0 the guest ran; 1 it did not, and a sentence; 2 usage; 3 with --native: it ran, but
 * was emulated.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAGIC		0x2a
#define LOOPS		50000u		/* of two instructions each */
#define TRIES		5		/* the best counts: others may have had the processor */
#define NATIVE_BELOW_NS 100.0
#define MEM_BYTES	0x10000

struct probe {
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	uint8_t *mem;
	struct kvm_run *run;
	double ns;			/* an instruction */
	bool irqchip, ioeventfd, irqfd;
};

enum { EXIT_RAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_EMULATED = 3 };

#if defined(__x86_64__)

#define MEM_GPA	 0x0
#define CODE_AT	 0x1000
#define PML4_AT	 0x2000
#define PDPT_AT	 0x3000
#define PD_AT	 0x4000
#define PRESENT	 0x3		/* and writable */
#define LARGE	 0x80

/* 1: dec %ecx; jnz 1b; mov $MAGIC,%al; out %al,$0xf4 */
static const uint8_t guest_code[] = { 0xff, 0xc9, 0x75, 0xfc, 0xb0, MAGIC, 0xe6, 0xf4 };

static void mem_prepare(struct probe *p)
{
	const uint64_t pml4 = PDPT_AT | PRESENT, pdpt = PD_AT | PRESENT, pd = PRESENT | LARGE;

	memcpy(p->mem + CODE_AT, guest_code, sizeof(guest_code));
	memcpy(p->mem + PML4_AT, &pml4, sizeof(pml4));
	memcpy(p->mem + PDPT_AT, &pdpt, sizeof(pdpt));
	memcpy(p->mem + PD_AT, &pd, sizeof(pd));
}

static int vcpu_prepare(struct probe *p)
{
	const struct kvm_segment code = { .selector = 8, .limit = ~0u, .type = 11, .present = 1,
					  .s = 1, .l = 1, .g = 1 };
	const struct kvm_segment data = { .selector = 16, .limit = ~0u, .type = 3, .present = 1,
					  .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2, .rcx = LOOPS };
	struct kvm_sregs sregs;

	if (ioctl(p->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = PML4_AT;
	sregs.cr4 = 1u << 5;			/* PAE */
	sregs.cr0 = 1u << 31 | 1u << 5 | 1;	/* PG, NE, PE */
	sregs.efer = 1u << 10 | 1u << 8;	/* LMA, LME */
	if (ioctl(p->vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return -errno;
	return ioctl(p->vcpu_fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static bool magic_arrived(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
	       run->io.port == 0xf4 && ((const uint8_t *)run)[run->io.data_offset] == MAGIC;
}

#elif defined(__aarch64__)

#define MEM_GPA 0x80000000

/*
 * movz w2, #(LOOPS >> 16), lsl #16; movk w2, #(LOOPS & 0xffff); 1: subs w2, w2, #1; b.ne 1b;
 * movz x0, #0x1000, lsl #16; movz w1, #MAGIC; strb w1, [x0]
 */
static const uint32_t guest_code[] = {
	0x52a00002 | (LOOPS >> 16) << 5, 0x72800002 | (LOOPS & 0xffff) << 5,
	0x71000442, 0x54ffffe1, 0xd2a20000, 0x52800001 | MAGIC << 5, 0x39000001,
};

static void mem_prepare(struct probe *p)
{
	memcpy(p->mem, guest_code, sizeof(guest_code));
}

static int vcpu_prepare(struct probe *p)
{
	struct kvm_vcpu_init init;

	if (ioctl(p->vm_fd, KVM_ARM_PREFERRED_TARGET, &init) < 0 ||
	    ioctl(p->vcpu_fd, KVM_ARM_VCPU_INIT, &init) < 0)
		return -errno;
	uint64_t pc = MEM_GPA;
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};
	return ioctl(p->vcpu_fd, KVM_SET_ONE_REG, &reg) < 0 ? -errno : 0;
}

static bool magic_arrived(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write && run->mmio.len == 1 &&
	       run->mmio.phys_addr == 0x10000000 && run->mmio.data[0] == MAGIC;
}

#endif

static int failed(const char *what, int error)
{
	fprintf(stderr, "kvmprobe: %s: %s\n", what, strerror(error));
	return EXIT_FAILED;
}

static bool there(const struct probe *p, int capability)
{
	return ioctl(p->kvm_fd, KVM_CHECK_EXTENSION, capability) > 0;
}

static int open_kvm(struct probe *p)
{
	p->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm_fd < 0)
		return failed("cannot open /dev/kvm", errno);
	int version = ioctl(p->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		fprintf(stderr, "kvmprobe: KVM speaks version %d, not %d\n", version,
			KVM_API_VERSION);
		return EXIT_FAILED;
	}
	p->irqchip = there(p, KVM_CAP_IRQCHIP);
	p->ioeventfd = there(p, KVM_CAP_IOEVENTFD);
	p->irqfd = there(p, KVM_CAP_IRQFD);
	p->vm_fd = ioctl(p->kvm_fd, KVM_CREATE_VM, 0);
	return p->vm_fd < 0 ? failed("cannot create a VM", errno) : 0;
}

static int make_memory(struct probe *p)
{
	p->mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->mem == MAP_FAILED)
		return failed("no memory", errno);
	mem_prepare(p);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = MEM_GPA,
		.memory_size = MEM_BYTES,
		.userspace_addr = (uintptr_t)p->mem,
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
	return 0;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One run from the start to the store. */
static int count_down(struct probe *p)
{
	int r = vcpu_prepare(p);
	if (r < 0)
		return failed("cannot set the vCPU up", -r);
	double start = now_ns();
	while (ioctl(p->vcpu_fd, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			return failed("the guest does not run", errno);
	double ns = (now_ns() - start) / (2.0 * LOOPS);
	if (!magic_arrived(p->run)) {
		fprintf(stderr, "kvmprobe: the guest left for reason %u, not with its store\n",
			p->run->exit_reason);
		return EXIT_FAILED;
	}
	if (p->ns <= 0 || ns < p->ns)
		p->ns = ns;
	return 0;
}

static bool is_native(const struct probe *p)
{
	return p->ns < NATIVE_BELOW_NS;
}

static void report(const struct probe *p, bool json)
{
	static const char *const word[] = { "false", "true" };

	if (json)
		printf("{\"native\": %s, \"ns_per_instruction\": %.2f, \"irqchip\": %s, "
		       "\"ioeventfd\": %s, \"irqfd\": %s}\n",
		       word[is_native(p)], p->ns, word[p->irqchip], word[p->ioeventfd],
		       word[p->irqfd]);
	else
		printf("kvmprobe: the guest ran; its kernel mode is %s, %.2f ns an instruction; "
		       "irqchip %s, ioeventfd %s, irqfd %s\n",
		       is_native(p) ? "native" : "emulated", p->ns, p->irqchip ? "yes" : "no",
		       p->ioeventfd ? "yes" : "no", p->irqfd ? "yes" : "no");
}

int main(int argc, char **argv)
{
	bool json = false, want_native = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strcmp(argv[i], "--native")) {
			want_native = true;
		} else {
			fputs("usage: kvmprobe [--json] [--native]\n", stderr);
			return EXIT_USAGE;
		}
	}
	struct probe p = { .kvm_fd = -1 };
	if (open_kvm(&p) || make_memory(&p) || make_vcpu(&p))
		return EXIT_FAILED;
	/* What is emulated is told from the first run, and slow: no need to make sure. */
	for (int i = 0; i < TRIES && (i == 0 || p.ns < 10 * NATIVE_BELOW_NS); i++)
		if (count_down(&p))
			return EXIT_FAILED;
	report(&p, json);
	return want_native && !is_native(&p) ? EXIT_EMULATED : EXIT_RAN;
}
