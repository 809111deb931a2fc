/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that runs in ring 0 after the start: interrupt stubs that count and acknowledge, the
 * sleep service, the MSR service, and the way out of an exception.
 *
 * Wake-up protocol: every interrupt stub increments rt_wake. Ring 3 reads rt_wake, looks at its
 * rings, and calls the sleep service with the value it read. The service compares with interrupts
 * off and halts with `sti; hlt`, whose one-instruction shadow leaves no gap in which an interrupt
 * could be taken between the comparison and the halt.
 */
#define LAPIC_EOI	0xfffffffffee000b0	/* the LAPIC's second mapping, see start.S */
#define SEL_DATA3	0x1b
#define SEL_CODE3	0x23

	.text
	/* Stub n, 32 bytes each, for vector 0x30 + n. */
	.p2align 5
	.globl rt_irq_stubs
rt_irq_stubs:
	.set n, 0
	.rept 80
	.p2align 5
	incl rt_irq_count + 4 * n(%rip)
	incl rt_wake(%rip)
	movl $0, LAPIC_EOI
	iretq
	.set n, n + 1
	.endr

	/*
	 * Vector 0xff. A spurious one needs no EOI, but a message with that vector does, and
	 * handlers never nest, so an EOI too many acknowledges nothing else.
	 */
	.globl rt_irq_spurious
rt_irq_spurious:
	movl $0, LAPIC_EOI
	iretq

	/*
	 * int3, the one software interrupt that every host delivers from ring 3. eax is the
	 * service: 0: sleep until rt_wake differs from edi; 1: wrmsr of edx:esi to ecx; 2:
	 * interrupts on (`sti` in ring 3 needs an IOPL that some hosts do not give).
	 */
	.globl rt_service
rt_service:
	test %eax, %eax
	jnz 2f
1:	cmp %edi, rt_wake(%rip)
	jne 4f
	sti
	hlt
	cli
	jmp 1b
2:	cmp $1, %eax
	jne 3f
	mov %esi, %eax
	wrmsr
	iretq
3:	orl $0x200, 16(%rsp)
4:	iretq

	/*
	 * Exceptions: note what happened, then return to rt_trap_report() in ring 3 on a fresh
	 * stack. Entry n, 16 bytes each, vectors 0 to 31.
	 */
	.p2align 4
	.globl rt_trap_stubs
rt_trap_stubs:
	.set n, 0
	.rept 32
	.p2align 4
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30)
	pushq $0
	.endif
	pushq $n
	jmp trap_common
	.set n, n + 1
	.endr
trap_common:
	incl rt_trap_depth(%rip)
	cmpl $1, rt_trap_depth(%rip)
	jne dead		/* the report itself faulted: keep what the first left */
	popq rt_trap_info(%rip)
	popq rt_trap_info + 8(%rip)
	mov (%rsp), %rax
	mov %rax, rt_trap_info + 16(%rip)
	mov %cr2, %rax
	mov %rax, rt_trap_info + 24(%rip)
	mov 24(%rsp), %rax
	mov %rax, rt_trap_info + 32(%rip)
	movq $rt_trap_report, (%rsp)
	movq $SEL_CODE3, 8(%rsp)
	movq $user_stack_top - 8, 24(%rsp)
	movq $SEL_DATA3, 32(%rsp)
	iretq

dead:	cli
	hlt
	jmp dead

	.bss
	.p2align 3
rt_trap_depth:
	.skip 8
	.globl rt_trap_info
rt_trap_info:				/* vector, error code, rip, cr2, rsp */
	.skip 40
	.globl rt_irq_count
rt_irq_count:
	.skip 4 * 80
	.globl rt_wake
rt_wake:
	.skip 4
	.section .note.GNU-stack, "", @progbits
