/* SPDX-License-Identifier: Apache-2.0 */
/* The way into Linux and out of the loader, x86-64. */
#pragma once

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* _start: calls @function with the address of argc, argv, which the stack begins with. */
#define SYS_START(function)                                                                       \
	__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n"  \
		"\tcall " #function "\n\tud2\n")
