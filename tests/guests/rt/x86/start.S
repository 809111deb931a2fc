/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of a guest: from the loader's entry to rt_main() in ring 3.
 *
 * Two entries: start32, named by the PVH note (32-bit, paging off, ebx = hvm_start_info), and
 * start64, the ELF entry of guests built with RT_PLAIN64 (long mode, rdi = hvm_start_info). Ring 0
 * is slow on some hosts, so everything here is static data and the way to ring 3 is short: no
 * loop, no memory clearing. The IDT is filled by rt_main(), in ring 3, before interrupts go on.
 *
 * Memory is identity-mapped up to 4 GiB, open to ring 3. The topmost GiB below 4 GiB appears a
 * second time at the top of the address space, so that the interrupt stubs reach the LAPIC with a
 * 32-bit displacement.
 */
#define SEL_CODE0	0x08
#define SEL_DATA3	0x1b
#define SEL_CODE3	0x23
#define SEL_TSS		0x28
#define CR4_PAE		0x20
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define CR0_PG_ET_PE	0x80000011
#define FLAGS_USER	0x3002		/* IOPL 3, interrupts off */
#define TSS_BYTES	(104 + 8192 + 1)
#define PTE_LINK	0x7		/* present, writable, user */
#define PTE_BIG		0xe7		/* and accessed, dirty, 2 MiB */
#define PTE_BIG_UC	0xff		/* and uncached */

#ifndef RT_PLAIN64
	.section .note.pvh, "a", @note
	.p2align 2
	.long 4, 8, 18			/* name size, desc size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad start32
#endif

	.section .text.start, "ax"
	.code32
	.globl start32
start32:
#ifdef RT_FIRST_BYTE
	mov $0x3f8, %edx
	mov $RT_FIRST_BYTE, %al
	out %al, %dx
#endif
	mov %ebx, rt_boot_info
	lgdt gdt_ptr
	mov $CR4_PAE, %eax
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	mov $EFER_LME, %eax
	xor %edx, %edx
	wrmsr
	mov $CR0_PG_ET_PE, %eax
	mov %eax, %cr0
	ljmp $SEL_CODE0, $enter_user

	.code64
	.globl start64
start64:
	mov %rdi, rt_boot_info(%rip)
	lgdt gdt_ptr(%rip)
	mov $pml4, %eax
	mov %rax, %cr3
	mov $boot_stack_top, %esp
	pushq $SEL_CODE0
	pushq $enter_user
	lretq

enter_user:
	mov $SEL_TSS, %eax
	ltr %ax
	lidt idt_ptr(%rip)
	mov $SEL_DATA3, %eax
	mov %eax, %ds
	mov %eax, %es
	mov $boot_stack_top, %esp
	pushq $SEL_DATA3
	pushq $user_stack_top
	pushq $FLAGS_USER
	pushq $SEL_CODE3
	pushq $rt_main
	iretq

	.section .data.page, "aw", @progbits
	.p2align 12
pml4:	.quad pdpt + PTE_LINK
	.fill 510, 8, 0
	.quad pdpt + PTE_LINK
pdpt:	.quad pd + PTE_LINK, pd + 0x1000 + PTE_LINK
	.quad pd + 0x2000 + PTE_LINK, pd + 0x3000 + PTE_LINK
	.fill 507, 8, 0
	.quad pd + 0x3000 + PTE_LINK
	.set gpa, 0
pd:	.rept 1536
	.quad gpa + PTE_BIG
	.set gpa, gpa + 0x200000
	.endr
	.rept 512
	.quad gpa + PTE_BIG_UC
	.set gpa, gpa + 0x200000
	.endr

	.data
	.p2align 3
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* SEL_CODE0 */
	.quad 0x00cf93000000ffff	/* 0x10: data, ring 0 */
	.quad 0x00cff3000000ffff	/* SEL_DATA3 */
	.quad 0x00affb000000ffff	/* SEL_CODE3 */
	.word TSS_BYTES - 1, tss_0_15	/* SEL_TSS */
	.byte tss_16_23, 0x89, 0, tss_24_31
	.quad 0
gdt_end:
gdt_ptr:
	.word gdt_end - gdt - 1
	.quad gdt
idt_ptr:
	.word 256 * 16 - 1
	.quad rt_idt

	.p2align 3
	.globl rt_tss
rt_tss:	.long 0
	.quad kernel_stack_top		/* rsp0 */
	.fill 90, 1, 0
	.word 104			/* I/O bitmap: every port is open; some hosts ignore IOPL */
	.fill 8192, 1, 0
	.byte 0xff

	.globl rt_boot_info
	.p2align 3
rt_boot_info:
	.quad 0

	.bss
	.p2align 12
	.globl rt_idt
rt_idt:	.skip 256 * 16
	.skip 0x1000
boot_stack_top:
	.skip 0x2000
kernel_stack_top:
	.skip 0x8000
	.globl user_stack_top
user_stack_top:
	.skip 64
	.section .note.GNU-stack, "", @progbits
