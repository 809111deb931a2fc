/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the tests of dumps: two processors with registers that are known, a call depth of
 * two, a word in memory. Ring 0 throughout: it does next to nothing, as fast as it can.
 *
 * It says K on the serial port when both stand where they shall; from then on the first one counts
 * in dump_count. The second one is in real mode, with ebx = "AP".
 */
#define LAPIC	    0xfee00000
#define LAPIC_SVR   0xf0
#define LAPIC_ICR   0x300
#define ICR_INIT    0x000c4500	/* all but self */
#define ICR_STARTUP 0x000c4600
#define AP_CODE	    0x8000
#define AP_FLAG	    0x8800	/* within its segment, and below the machine's page tables */
#define COM1	    0x3f8

	.cfi_sections .debug_frame	/* the linker script keeps no other */
	.section .text.start, "ax"
	.code64
	.globl start64
	.type start64, @function
start64:
	.cfi_startproc
	.cfi_undefined rip
	lea ap_code(%rip), %rsi
	mov $AP_CODE, %edi
	mov $(ap_end - ap_code), %ecx
	rep movsb
	mov $LAPIC, %ebx
	movl $0x1ff, LAPIC_SVR(%rbx)
	movl $ICR_INIT, LAPIC_ICR(%rbx)
	movl $(ICR_STARTUP | (AP_CODE >> 12)), LAPIC_ICR(%rbx)
1:	pause
	cmpl $1, AP_FLAG
	jne 1b
	movabs $0x0123456789abcdef, %rax
	mov %rax, dump_word(%rip)
	movabs $0x1111222233334444, %rbx
	movabs $0x5555666677778888, %r12
	movabs $0x9999aaaabbbbcccc, %r15
	call dump_outer
	.cfi_endproc

	.type dump_outer, @function
dump_outer:
	.cfi_startproc
	call dump_inner
	ret
	.cfi_endproc

	.type dump_inner, @function
dump_inner:
	.cfi_startproc
	mov $COM1, %edx
	mov $'K', %al
	out %al, %dx
1:	incq dump_count(%rip)
	jmp 1b
	.cfi_endproc

	.code16
ap_code:
	mov $0x4150, %ebx
	mov $0x00c0ffee, %esi
	movl $1, %cs:(AP_FLAG - AP_CODE)
1:	jmp 1b
ap_end:

	.section .bss
	.globl dump_word, dump_count
	.p2align 3
dump_word:
	.quad 0
dump_count:
	.quad 0

	.globl rt_tss
	.set rt_tss, 0		/* the linker script's descriptor fields; not used here */
	.section .note.GNU-stack, "", @progbits
