/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table. It stands on the functions that the program's object code imports, and on runs of the
 * tests with the list in force: what is missing ends a qvm with the call's name.
 */
#include "qvm/calls.h"

#include <seccomp.h>
#include <sys/ioctl.h>

#define CALL(name) { SCMP_SYS(name), QJAIL_ALWAYS }
/* All requests of one kind of descriptor: their letter. */
#define IOCTLS(letter) { SCMP_SYS(ioctl), QJAIL_IF_MASKED, 1, 0xff00, (letter) << 8 }
#define IOCTL(request) { SCMP_SYS(ioctl), QJAIL_IF_MASKED, 1, UINT32_MAX, (uint32_t)(request) }
#define TUN_SET_QUEUE _IOW('T', 217, int)
#define TUN_SET_OFFLOAD _IOW('T', 208, unsigned)

const struct qjail_call qvm_calls[] = {
	IOCTLS(0xae),	/* KVM */
	/* block devices, PCMs; terminals: never what puts letters into one (TIOCSTI) */
	IOCTLS(0x12), IOCTLS('A'), IOCTLS('U'),
	IOCTL(TCGETS), IOCTL(TCSETS), IOCTL(TCSETSW), IOCTL(TCSETSF), IOCTL(TIOCGWINSZ),
	IOCTL(TIOCGPGRP), IOCTL(FIONBIO), IOCTL(TUN_SET_QUEUE), IOCTL(TUN_SET_OFFLOAD),
	/* what may be looked for again: back ends, peers, delayed files */
	CALL(access), CALL(bind), CALL(connect), CALL(faccessat), CALL(faccessat2), CALL(fchmod),
	CALL(listen), CALL(lstat), CALL(open), CALL(openat), CALL(stat), CALL(umask), CALL(unlink),
	/* the files of the runtime directory, dumps, shared memory */
	CALL(flock), CALL(getdents64), CALL(mkdirat), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(rmdir), CALL(unlinkat),
	/* disks without a ring */
	CALL(fallocate), CALL(fdatasync), CALL(fsync), CALL(preadv), CALL(pwritev),
	/* who is in front of the terminal */
	CALL(getpgrp), CALL(getpgid),
};
const size_t qvm_n_calls = Q_ARRAY_LEN(qvm_calls);
