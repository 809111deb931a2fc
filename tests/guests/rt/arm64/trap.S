/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exception vectors. An interrupt saves what C may change and calls arm64_irq(). Everything
 * else is the end: arm64_trap() reports it on a fresh stack; but where the guest expects the bus to
 * refuse an access, arm64_sync() may finish that instruction, with all its registers in a frame.
 * Handlers do not nest, so ELR and SPSR stay in their registers.
 */
	.macro trap kind
	.p2align 7
	mov x0, #\kind
	b trap_common
	.endm

	.text
	.p2align 11
	.globl rt_vectors
rt_vectors:
	trap 0				/* this EL, SP_EL0: not used */
	trap 1
	trap 2
	trap 3
	.p2align 7			/* this EL: synchronous */
	msr tpidr_el1, x0
	adrp x0, rt_bus_errors_ok
	ldrb w0, [x0, :lo12:rt_bus_errors_ok]
	cbnz w0, sync_entry
	mov x0, #4
	b trap_common
	.p2align 7
	b irq_entry
	trap 6				/* FIQ */
	trap 7				/* SError */
	trap 8				/* EL0: not used */
	trap 9
	trap 10
	trap 11
	trap 12
	trap 13
	trap 14
	trap 15

	.p2align 7
irq_entry:
	stp x0, x1, [sp, #-160]!
	stp x2, x3, [sp, #16]
	stp x4, x5, [sp, #32]
	stp x6, x7, [sp, #48]
	stp x8, x9, [sp, #64]
	stp x10, x11, [sp, #80]
	stp x12, x13, [sp, #96]
	stp x14, x15, [sp, #112]
	stp x16, x17, [sp, #128]
	stp x18, x30, [sp, #144]
	bl arm64_irq
	ldp x18, x30, [sp, #144]
	ldp x16, x17, [sp, #128]
	ldp x14, x15, [sp, #112]
	ldp x12, x13, [sp, #96]
	ldp x10, x11, [sp, #80]
	ldp x8, x9, [sp, #64]
	ldp x6, x7, [sp, #48]
	ldp x4, x5, [sp, #32]
	ldp x2, x3, [sp, #16]
	ldp x0, x1, [sp], #160
	eret

sync_entry:
	mrs x0, tpidr_el1
	stp x0, x1, [sp, #-256]!
	stp x2, x3, [sp, #16]
	stp x4, x5, [sp, #32]
	stp x6, x7, [sp, #48]
	stp x8, x9, [sp, #64]
	stp x10, x11, [sp, #80]
	stp x12, x13, [sp, #96]
	stp x14, x15, [sp, #112]
	stp x16, x17, [sp, #128]
	stp x18, x19, [sp, #144]
	stp x20, x21, [sp, #160]
	stp x22, x23, [sp, #176]
	stp x24, x25, [sp, #192]
	stp x26, x27, [sp, #208]
	stp x28, x29, [sp, #224]
	str x30, [sp, #240]
	mov x0, sp
	bl arm64_sync
	ldr x30, [sp, #240]
	ldp x28, x29, [sp, #224]
	ldp x26, x27, [sp, #208]
	ldp x24, x25, [sp, #192]
	ldp x22, x23, [sp, #176]
	ldp x20, x21, [sp, #160]
	ldp x18, x19, [sp, #144]
	ldp x16, x17, [sp, #128]
	ldp x14, x15, [sp, #112]
	ldp x12, x13, [sp, #96]
	ldp x10, x11, [sp, #80]
	ldp x8, x9, [sp, #64]
	ldp x6, x7, [sp, #48]
	ldp x4, x5, [sp, #32]
	ldp x2, x3, [sp, #16]
	ldp x0, x1, [sp], #256
	eret

trap_common:
	mrs x1, esr_el1
	mrs x2, elr_el1
	mrs x3, far_el1
	mov x4, sp
	adrp x5, rt_stack_top
	add x5, x5, :lo12:rt_stack_top
	mov sp, x5
	bl arm64_trap
	.section .note.GNU-stack, "", @progbits
