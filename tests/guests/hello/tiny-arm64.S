/* SPDX-License-Identifier: Apache-2.0 */
/* The guest of the start-up benchmark: its first instructions are PSCI's SYSTEM_OFF. */
	.section .text.start, "ax"
	.globl _start
_start:	b start
	.long 0
	.quad 0				/* text_offset */
	.quad image_bytes
	.quad 0xa			/* little-endian, 4 KiB pages, anywhere */
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

start:	movz w0, #0x0008
	movk w0, #0x8400, lsl #16
	hvc #0
1:	wfi
	b 1b
	.section .note.GNU-stack, "", @progbits
