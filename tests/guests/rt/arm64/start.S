/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of a guest: from the loader's entry (Linux' booting.rst: x0 is the device tree, EL1, MMU
 * and caches off, interrupts masked) to rt_main() in C, still without an MMU. C code is built with
 * -mstrict-align, because memory without an MMU is device memory and takes aligned accesses only.
 */
#define R_AARCH64_RELATIVE	0x403
#define IMAGE_FLAGS		0xa	/* little-endian, 4 KiB pages, anywhere in memory */

	.section .text.start, "ax"
	.globl _start
_start:	b start
	.long 0
	.quad 0				/* text_offset */
	.quad image_bytes		/* with .bss */
	.quad IMAGE_FLAGS
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

start:
	msr daifset, #0xf
	msr spsel, #1
	mov x19, x0
	adrp x1, _bss_start
	add x1, x1, :lo12:_bss_start
	adrp x2, _image_end
1:	stp xzr, xzr, [x1], #16
	cmp x1, x2
	b.lo 1b
	adr x3, _start
	adrp x1, _rela_start
	add x1, x1, :lo12:_rela_start
	adrp x2, _rela_end
	add x2, x2, :lo12:_rela_end
2:	cmp x1, x2
	b.hs 3f
	ldp x4, x5, [x1], #16		/* offset, kind */
	ldr x6, [x1], #8		/* addend */
	cmp x5, #R_AARCH64_RELATIVE
	b.ne 2b
	add x6, x6, x3
	str x6, [x3, x4]
	b 2b
3:	adrp x1, rt_vectors
	add x1, x1, :lo12:rt_vectors
	msr vbar_el1, x1
	isb
	adrp x1, rt_stack_top
	add x1, x1, :lo12:rt_stack_top
	mov sp, x1
	mov x0, x19
	bl rt_main
4:	wfi
	b 4b

	.bss
	.p2align 4
	.skip 0x8000
	.globl rt_stack_top
rt_stack_top:
	.skip 16
	.section .note.GNU-stack, "", @progbits
