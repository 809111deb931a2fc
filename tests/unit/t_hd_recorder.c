/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/recorder.h: what is written is there again, and nothing but that, whatever became of it. */
#include "hostd/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

static char dir[256], path[300];

static void make_dir(void)
{
	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/events.ring", dir);
}

static void put(struct hd_recorder *r, uint64_t n)
{
	struct hd_event ev = { .time_ms = 1000 * n };

	snprintf(ev.kind, sizeof(ev.kind), "kind%llu", (unsigned long long)n);
	snprintf(ev.subject, sizeof(ev.subject), "vm");
	snprintf(ev.text, sizeof(ev.text), "text of %llu", (unsigned long long)n);
	hd_recorder_put(r, &ev);
}

static void is_there(const struct hd_recorder *r, uint64_t seq, bool there)
{
	struct hd_record rec;
	char text[64];

	ck_assert_msg(hd_recorder_get(r, seq, &rec) == there, "record %llu",
		      (unsigned long long)seq);
	if (!there)
		return;
	snprintf(text, sizeof(text), "text of %llu", (unsigned long long)seq);
	ck_assert_str_eq(rec.event.text, text);
	ck_assert_str_eq(rec.event.subject, "vm");
	ck_assert_uint_eq(rec.event.time_ms, 1000 * seq);
	ck_assert_uint_eq(rec.seq, seq);
	ck_assert_str_eq(rec.boot, r->boot);
}

static void reopen(struct hd_recorder *r, uint32_t n)
{
	hd_recorder_close(r);
	ck_assert_int_eq(hd_recorder_open(r, path, n), 0);
}

START_TEST(kept_over_a_restart)
{
	struct hd_recorder r;
	struct stat st;

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 8), 0);
	for (uint64_t n = 1; n <= 20; n++)
		put(&r, n);
	for (int again = 0; again < 2; again++) {
		ck_assert_uint_eq(r.next, 21);
		ck_assert_uint_eq(r.n_damaged, 0);
		for (uint64_t n = 0; n <= 21; n++)
			is_there(&r, n, n >= 13 && n <= 20);
		reopen(&r, 8);
	}
	put(&r, 21);
	is_there(&r, 13, false);
	is_there(&r, 21, true);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 8 * HD_RECORD_BYTES);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

static const struct { uint32_t from, to; uint64_t first; } sizes[] = {
	{ 8, 4, 17 }, { 8, 64, 13 }, { 8, 7, 14 }, { 64, 3, 18 },
};

START_TEST(another_size)
{
	struct hd_recorder r;

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, sizes[_i].from), 0);
	for (uint64_t n = 1; n <= 20; n++)
		put(&r, n);
	reopen(&r, sizes[_i].to);
	for (uint64_t n = 0; n <= 21; n++)
		is_there(&r, n, n >= sizes[_i].first && n <= 20);
	put(&r, 21);
	is_there(&r, 21, true);
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

/* A write that was cut off at any byte breaks its own record and no other. */
START_TEST(torn)
{
	uint8_t old[HD_RECORD_BYTES], new[HD_RECORD_BYTES];
	struct hd_recorder r;

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 4), 0);
	for (uint64_t n = 1; n <= 4; n++)
		put(&r, n);
	ck_assert_int_eq(pread(r.fd, old, sizeof(old), HD_RECORD_BYTES), sizeof(old));
	put(&r, 5);
	ck_assert_int_eq(pread(r.fd, new, sizeof(new), HD_RECORD_BYTES), sizeof(new));
	for (size_t cut = 0; cut <= sizeof(new); cut += 4) {
		uint8_t mix[HD_RECORD_BYTES];

		memcpy(mix, old, sizeof(mix));
		memcpy(mix, new, cut);
		ck_assert_int_eq(pwrite(r.fd, mix, sizeof(mix), HD_RECORD_BYTES), sizeof(mix));
		reopen(&r, 4);
		bool is_old = memcmp(mix, old, sizeof(mix)) == 0;
		bool is_new = memcmp(mix, new, sizeof(mix)) == 0;
		is_there(&r, 1, is_old);
		is_there(&r, 5, is_new);
		ck_assert_uint_eq(r.n_damaged, !is_old && !is_new);
		ck_assert_uint_eq(r.next, is_new ? 6 : 5);
		for (uint64_t n = 2; n <= 4; n++)
			is_there(&r, n, true);
	}
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

/* Each single bit that rots is seen. */
START_TEST(rotten)
{
	struct hd_recorder r;
	uint8_t was[HD_RECORD_BYTES];

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 4), 0);
	put(&r, 1);
	ck_assert_int_eq(pread(r.fd, was, sizeof(was), HD_RECORD_BYTES), sizeof(was));
	for (size_t bit = 0; bit < sizeof(was) * 8; bit += 7) {
		uint8_t b = was[bit / 8] ^ (uint8_t)(1u << bit % 8);

		ck_assert_int_eq(pwrite(r.fd, &b, 1, (off_t)(HD_RECORD_BYTES + bit / 8)), 1);
		is_there(&r, 1, false);
		b = was[bit / 8];
		ck_assert_int_eq(pwrite(r.fd, &b, 1, (off_t)(HD_RECORD_BYTES + bit / 8)), 1);
	}
	is_there(&r, 1, true);
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

static const struct { const char *word; int boot; } words[] = {
	{ "0", 0 }, { "-0", 0 }, { "-1", 2 }, { "-2", 1 }, { "-3", -1 }, { "1", -1 }, { "", -1 },
	{ "aaaa", 1 }, { "bbbb", 2 }, { "aaa", -1 }, { "cccccc", -1 }, { "-", -1 },
	{ "-9999999999999999999999", -1 },
};

START_TEST(boots)
{
	static const char *const ids[] = { NULL, "aaaa-1", "bbbb-2" };
	struct hd_recorder r;
	char own[HD_BOOT_LETTERS + 1];

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 8), 0);
	memcpy(own, r.boot, sizeof(own));
	ck_assert_uint_eq(strlen(own), HD_BOOT_LETTERS);
	for (uint64_t n = 1; n <= 6; n++) {
		if (n <= 4)
			snprintf(r.boot, sizeof(r.boot), "%s", ids[(n + 1) / 2]);
		else
			memcpy(r.boot, own, sizeof(own));
		put(&r, n);
	}
	for (int again = 0; again < 2; again++) {
		const char *got = hd_recorder_boot(&r, words[_i].word);

		if (words[_i].boot < 0)
			ck_assert_ptr_null(got);
		else
			ck_assert_str_eq(got, words[_i].boot ? ids[words[_i].boot] : own);
		reopen(&r, 8);
	}
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

/* Only the latest boots are known by name; all records stay. */
START_TEST(many_boots)
{
	struct hd_recorder r;

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 100), 0);
	for (uint64_t n = 1; n <= 50; n++) {
		snprintf(r.boot, sizeof(r.boot), "boot%llu", (unsigned long long)n);
		put(&r, n);
	}
	ck_assert_uint_eq(r.n_boots, HD_BOOTS_MAX);
	ck_assert_ptr_nonnull(hd_recorder_boot(&r, "-31"));
	ck_assert_ptr_null(hd_recorder_boot(&r, "-32"));
	ck_assert_ptr_null(hd_recorder_boot(&r, "boot18"));
	is_there(&r, 50, true);
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(none)
{
	struct hd_recorder r;

	make_dir();
	ck_assert_int_eq(hd_recorder_open(&r, path, 0), 0);
	put(&r, 1);
	is_there(&r, 1, false);
	hd_recorder_close(&r);
	ck_assert_int_eq(access(path, F_OK), -1);
	/* No file can be there, or it is no file: it says so, and keeps nothing. */
	ck_assert_int_eq(hd_recorder_open(&r, "/nonexistent/events.ring", 8), -ENOENT);
	put(&r, 1);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(hd_recorder_open(&r, path, 8), -EISDIR);
	put(&r, 1);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(symlink("elsewhere", path), 0);
	ck_assert_int_eq(hd_recorder_open(&r, path, 8), -ELOOP);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(long_texts)
{
	struct hd_recorder r;
	struct hd_record rec;
	struct hd_event ev = { .time_ms = 1 };

	make_dir();
	memset(ev.kind, 'k', sizeof(ev.kind) - 1);
	memset(ev.subject, 's', sizeof(ev.subject) - 1);
	memset(ev.text, 't', sizeof(ev.text) - 1);
	ck_assert_int_eq(hd_recorder_open(&r, path, 4), 0);
	hd_recorder_put(&r, &ev);
	ck_assert(hd_recorder_get(&r, 1, &rec));
	ck_assert_str_eq(rec.event.kind, ev.kind);
	ck_assert_str_eq(rec.event.subject, ev.subject);
	ck_assert_uint_eq(strlen(rec.event.text), 339);
	hd_recorder_close(&r);
	fixture_rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_recorder");
	TCase *tc = fixture_case(s, "recorder");

	tcase_add_test(tc, kept_over_a_restart);
	tcase_add_loop_test(tc, another_size, 0, Q_ARRAY_LEN(sizes));
	tcase_add_test(tc, torn);
	tcase_add_test(tc, rotten);
	tcase_add_loop_test(tc, boots, 0, Q_ARRAY_LEN(words));
	tcase_add_test(tc, many_boots);
	tcase_add_test(tc, none);
	tcase_add_test(tc, long_texts);
	return fixture_main(s);
}
