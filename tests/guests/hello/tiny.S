/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the start-up benchmark: its first instructions are the debug port and power off.
 * No paging, no stack, no memory access.
 */
	.section .note.pvh, "a", @note
	.p2align 2
	.long 4, 8, 18
	.asciz "Xen"
	.quad start32

	.section .text.start, "ax"
	.code32
	.globl start32
start32:
	mov $0x10, %al
	out %al, $0xf4
	mov $0x604, %dx
	mov $0x3400, %ax
	out %ax, %dx
	mov $0x2000, %ax
	out %ax, %dx
	cli
1:	hlt
	jmp 1b

	.globl rt_tss
	.set rt_tss, 0		/* the linker script's descriptor fields; not used here */
	.section .note.GNU-stack, "", @progbits
