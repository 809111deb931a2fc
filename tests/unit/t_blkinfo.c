/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/blkinfo.c on files of a file system of this machine, and on what is no disk. Real block
 * devices are not to be had in a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/blkinfo.h"
#include "tests/unit/fixture.h"

#define FILE_BYTES (1u << 20)

static int temp_file(void)
{
	char path[] = "/tmp/parley-blkinfo.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	return fd;
}

static bool punch(int fd, off_t at)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, 4096) == 0;
}

static const off_t size_rows[] = { 0, 1, 512, 4095, 4096, FILE_BYTES };
START_TEST(sizes)
{
	struct vd_blk_info info = { 0 };
	struct stat st;
	int fd = temp_file();

	ck_assert_int_eq(ftruncate(fd, size_rows[_i]), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(blkinfo_size(fd, &info), 0);
	ck_assert_uint_eq(info.len_bytes, (uint64_t)size_rows[_i]);
	ck_assert_uint_eq(info.block_bytes, 512);
	ck_assert_uint_eq(info.physical_bytes, st.st_blksize <= 4096 ? st.st_blksize : 0);
	ck_assert_uint_eq(info.io_best_bytes, 0);
	close(fd);
}
END_TEST

START_TEST(no_disk)
{
	static const char *const paths[] = { "/tmp", "/dev/null", "/dev/zero" };
	struct vd_blk_info info = { 0 };
	int fd = open(paths[_i], O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(blkinfo_size(fd, &info), -ENOTBLK);
	close(fd);
	ck_assert_int_eq(blkinfo_size(-1, &info), -EBADF);
}
END_TEST

/* What is said is what the file system does, and asking has changed nothing of it. */
START_TEST(abilities)
{
	struct vd_blk_info info = { 0 };
	bool holes = false, zero = false;
	struct stat before, after;
	char data[4096], back[4096];
	int fd = temp_file();

	memset(data, 0x5a, sizeof(data));
	for (unsigned at = 0; at < FILE_BYTES; at += sizeof(data))
		ck_assert_int_eq(pwrite(fd, data, sizeof(data), at), sizeof(data));
	ck_assert_int_eq(fsync(fd), 0);
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(blkinfo_size(fd, &info), 0);
	blkinfo_abilities(fd, &info, &holes, &zero);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq(pread(fd, back, sizeof(back), FILE_BYTES - sizeof(back)), sizeof(back));
	ck_assert_mem_eq(back, data, sizeof(back));
	ck_assert_int_eq(info.can_discard, holes);
	ck_assert_int_eq(info.can_zero, holes || zero);
	ck_assert_int_eq(holes, punch(fd, 0));
	close(fd);
}
END_TEST

/* Blocks only grow, to powers of 2 that a guest may have. */
START_TEST(direct)
{
	struct vd_blk_info info = { 0 };
	int fd = temp_file();

	ck_assert_int_eq(ftruncate(fd, FILE_BYTES), 0);
	ck_assert_int_eq(blkinfo_size(fd, &info), 0);
	blkinfo_direct(fd, &info);
	ck_assert_uint_ge(info.block_bytes, 512);
	ck_assert_uint_le(info.block_bytes, 4096);
	ck_assert_uint_eq(info.block_bytes & (info.block_bytes - 1), 0);
	info.block_bytes = 4096;
	blkinfo_direct(fd, &info);
	ck_assert_uint_eq(info.block_bytes, 4096);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blkinfo");
	TCase *tc = fixture_case(s, "blkinfo");

	tcase_add_loop_test(tc, sizes, 0, Q_ARRAY_LEN(size_rows));
	tcase_add_loop_test(tc, no_disk, 0, 3);
	tcase_add_test(tc, abilities);
	tcase_add_test(tc, direct);
	return fixture_main(s);
}
