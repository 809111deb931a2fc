/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/policy.h: what a policy says, and every error with its file, line and sentence. Each row
 * is a file's text; all its errors must come in one run.
 */
#include "mediator/policy.h"

#include <errno.h>
#include <fcntl.h>

#include "tests/unit/fixture.h"

#define DEVICE	  "[device d]\npath = img\n"
#define LONG_NAME "s/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void write_file(const char *dir, const char *name, const char *text, size_t len)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

/* All errors as text: what follows the folder's name in each line. */
static char *errors_of(const struct cf_errors *errs, const char *dir)
{
	char *text = NULL, *out = NULL;
	size_t len, out_len, skip = strlen(dir) + 1;
	FILE *f = open_memstream(&text, &len), *to = open_memstream(&out, &out_len);

	cf_errors_print(errs, f);
	(void)fclose(f);
	char *rest;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		fprintf(to, "%s\n", strncmp(line, dir, skip - 1) == 0 ? line + skip : line);
	(void)fclose(to);
	free(text);
	return out;
}

/* ---- what is right ---- */

START_TEST(defaults)
{
	static const char text[] = DEVICE
		"[share s/a]\ndevice = d\n[share s/b]\ndevice=d\nclass : safety\n"
		"offset = 1M\nlength = 64K\n[share s/c]\ndevice = d\nread-only = yes\n"
		"offset = 0x200\nlength=512\n";
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char dir[200], path[300];

	fixture_mkdir(dir, sizeof(dir));
	write_file(dir, "p", text, strlen(text));
	snprintf(path, sizeof(path), "%s/p", dir);
	const char *paths[] = { path };
	/* The first share's open length overlaps the others. */
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), -EINVAL);
	cf_errors_fini(&errs);
	errs = CF_ERRORS_NULL;
	static const char fine[] = DEVICE
		"[share s/b]\ndevice=d\nclass : safety\noffset = 1M\nlength = 64K\n"
		"[share s/a]\ndevice = d\noffset = 2M\n";
	write_file(dir, "p", fine, strlen(fine));
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), 0);
	ck_assert_uint_eq(p->n_devices, 1);
	const struct med_device_policy *d = &p->devices[0];
	ck_assert_str_eq(d->name, "d");
	char want[300];
	snprintf(want, sizeof(want), "%s/img", dir);
	ck_assert_str_eq(d->path, want); /* beside the policy */
	ck_assert_uint_eq(d->slots, 32);
	ck_assert_uint_eq(d->reserve, 4);
	ck_assert_uint_eq(d->slice_bytes, 64 << 10);
	ck_assert_uint_eq(d->target_ns, 10 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(d->service_limit_ns, Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(d->flush_limit_ns, Q_NSEC_PER_MSEC);
	ck_assert(!d->direct);
	ck_assert_uint_eq(d->line, 1);
	ck_assert_uint_eq(p->n_shares, 2);
	ck_assert_uint_eq(p->shares[0].depth, 1);
	ck_assert_uint_eq(p->shares[0].len_bytes, 64 << 10);
	ck_assert_int_eq(p->shares[1].class, SCHED_NORMAL);
	ck_assert_uint_eq(p->shares[1].weight, 100);
	ck_assert_uint_eq(p->shares[1].depth, 0);
	ck_assert_uint_eq(p->shares[1].line, 8);
	/* Open lengths reach to the end, in whole sectors. */
	struct med_extent_rules dev = { (3 << 20) + 700, 512 };
	ck_assert_int_eq(med_policy_resolve(p, &dev, &errs), 0);
	ck_assert_uint_eq(p->shares[1].len_bytes, (1 << 20) + 512);
	dev.len_bytes = (1 << 20) + 100;
	ck_assert_int_eq(med_policy_resolve(p, &dev, &errs), -EINVAL);
	char *got = errors_of(&errs, dir);
	ck_assert_str_eq(
		got,
		"p:3: error: share 's/b': offset 1048576 + length 65536 is beyond the end of "
		"device 'd' (1048676 bytes)\n"
		"p:8: error: share 's/a': offset 2097152 + length 1049088 is beyond the end of "
		"device 'd' (1048676 bytes)\n");
	free(got);
	med_policy_free(p);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

/* What begins or ends within a sector is refused, and an open length ends with one. */
START_TEST(sectors_of_a_device)
{
	static const char text[] = DEVICE "direct = yes\n"
		"[share s/a]\ndevice = d\noffset = 512\nlength = 1M\n"
		"[share s/b]\ndevice = d\noffset = 2M\nlength = 1537K\n"
		"[share s/c]\ndevice = d\noffset = 8M\n";
	static const struct med_extent_rules large = { (9 << 20) + 5000, 4096 };
	static const struct med_extent_rules small = { (9 << 20) + 5000, 512 };
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p;
	char dir[200], path[300];
	const char *paths[] = { path };

	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/p", dir);
	write_file(dir, "p", text, strlen(text));
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), 0);
	ck_assert_int_eq(med_policy_resolve(p, &large, &errs), -EINVAL);
	ck_assert_uint_eq(p->shares[2].len_bytes, (1 << 20) + 4096);
	char *got = errors_of(&errs, dir);
	ck_assert_str_eq(got,
			 "p:4: error: share 's/a': offset 512 = 0 * 4096 + 512, but device "
			 "'d' has direct = yes and sectors of 4096 bytes: expected a multiple of "
			 "4096\n"
			 "p:8: error: share 's/b': length 1573888 = 384 * 4096 + 1024, but device "
			 "'d' has direct = yes and sectors of 4096 bytes: expected a multiple of "
			 "4096\n");
	free(got);
	med_policy_free(p);
	cf_errors_fini(&errs);
	errs = CF_ERRORS_NULL;
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), 0);
	ck_assert_int_eq(med_policy_resolve(p, &small, &errs), 0);
	ck_assert_uint_eq(p->shares[2].len_bytes, (1 << 20) + 4608);
	med_policy_free(p);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

/* ---- what is wrong: text, all of its errors ---- */

static const struct {
	const char *text, *errors;
} rows[] = {
	{ DEVICE, "" },
	{ "\xef\xbb\xbf" DEVICE "# comment\n; another\n\n  \t\n", "" },
	{ "[device d]\r\npath = img\r\n  slots = 8\r\n[share s/a]\r\ndevice = d", "" },
	{ "", "p: error: no [device NAME] or [sound NAME] section\n" },
	{ "[device d]\n",
	  "p:1: error: device 'd': expected path = FILE, or null = SIZE, and not both\n" },
	{ "[device d]\npath = x\nnull = 1M\n",
	  "p:1: error: device 'd': expected path = FILE, or null = SIZE, and not both\n" },
	{ "slots = 4\n" DEVICE, "p:1: error: 'slots' stands before the first [section]\n" },
	{ DEVICE "[disc e]\nx = y\n",
	  "p:3: error: section [disc e]: expected [device NAME], [share SYSTEM/NAME], "
	  "[group NAME], [sound NAME] or [voice SYSTEM/NAME]\n" },
	{ DEVICE "[device e\n", "p:3: error: a section's name ends with ']'\n" },
	{ DEVICE "nonsense\n= x\n[share s/a]\nmore\ndevice = d\n",
	  "p:3: error: expected [section] or key = value\n"
	  "p:4: error: expected [section] or key = value\n"
	  "p:6: error: expected [section] or key = value\n" },
	{ DEVICE "slot = 4\nbanana = 1\n",
	  "p:3: error: unknown key 'slot'; did you mean 'slots'?\np:4: error: unknown key "
	  "'banana'\n" },
	{ DEVICE "slots = 8\nslots = 9\n", "p:4: error: slots is set twice in this section\n" },
	{ DEVICE "slots = 0\n", "p:3: error: slots = 0: expected a number from 1 to 1024\n" },
	{ DEVICE "slots = 1025\n", "p:3: error: slots = 1025: expected a number from 1 to 1024\n" },
	{ DEVICE "slots = -1\n", "p:3: error: slots = -1: expected a number from 1 to 1024\n" },
	{ DEVICE "slots = 8x\n", "p:3: error: slots = 8x: expected a number from 1 to 1024\n" },
	{ DEVICE "slots =\n", "p:3: error: slots = : expected a number from 1 to 1024\n" },
	{ DEVICE "slots = 010\n", "" }, /* ten, so that the reserve of four fits */
	{ DEVICE "slots = 4\n",
	  "p:1: error: device 'd': reserve 4 of 4 slots leaves none for lower classes; expected "
	  "at most "
	  "3\n" },
	{ DEVICE "slice = 5000\n",
	  "p:1: error: device 'd': slice 5000 is not a multiple of 4096\n" },
	{ DEVICE "slice = 17M\n", "p:3: error: slice = 17M: expected a size from 4K to 16M\n" },
	{ DEVICE "slice = 99999999999999999999\n",
	  "p:3: error: slice = 99999999999999999999: expected a size from 4K to 16M\n" },
	{ DEVICE "slice = 18446744073709551615K\n",
	  "p:3: error: slice = 18446744073709551615K: expected a size from 4K to 16M\n" },
	{ DEVICE "target = 10\n",
	  "p:3: error: target = 10: expected a time from 1us to 1h, such as 10ms\n" },
	{ DEVICE "target = 10 m\n",
	  "p:3: error: target = 10 m: expected a time from 1us to 1h, such as 10ms\n" },
	{ DEVICE "service-limit = 61s\n",
	  "p:3: error: service-limit = 61s: expected a time from 1us to 60s, such as 1ms\n" },
	{ DEVICE "flush-limit = 0us\n",
	  "p:3: error: flush-limit = 0us: expected a time from 1us to 600s, such as 5ms\n" },
	{ DEVICE "direct = maybe\n", "p:3: error: direct = maybe: expected yes or no\n" },
	{ DEVICE "poll = 2ms\n", "p:3: error: poll = 2ms: expected a time from 0us to 1ms\n" },
	{ DEVICE "poll-normal = 101\n",
	  "p:3: error: poll-normal = 101: expected percent of a processor, 0 to 100\n" },
	{ DEVICE DEVICE, "p:3: error: device 'd' is there twice\n" },
	{ "[device a b]\npath = x\n",
	  "p:1: error: 'a b': expected a name of letters, digits, '-', '_' and '.', at most 64 in "
	  "all\n" },
	{ "[device .a]\npath = x\n",
	  "p:1: error: '.a': expected a name of letters, digits, '-', '_' and '.', at most 64 in "
	  "all\n" },
	{ DEVICE "[share s/a]\n",
	  "p:3: error: share 's/a' has no device: expected device = NAME\n" },
	{ DEVICE "[share s/a]\ndevice = e\n", "p:3: error: share 's/a': there is no [device e]\n" },
	{ DEVICE "[share a]\ndevice = d\n",
	  "p:3: error: 'a': expected SYSTEM/NAME, each of letters, digits, '-', '_' and '.', at "
	  "most 64 "
	  "in all\n" },
	{ DEVICE "[share a/../b]\ndevice = d\n",
	  "p:3: error: 'a/../b': expected SYSTEM/NAME, each of letters, digits, '-', '_' and '.', "
	  "at most "
	  "64 in all\n" },
	{ DEVICE "[share " LONG_NAME "]\ndevice = d\n",
	  "p:3: error: '" LONG_NAME
	  "': expected SYSTEM/NAME, each of letters, digits, '-', '_' and '.', "
	  "at most 64 in all\n" },
	{ DEVICE "[share s/a]\ndevice = d\nlength = 4K\n[share s/a]\ndevice = d\noffset = 4K\n",
	  "p:6: error: share 's/a' is there already: DIR/p:3\n" },
	{ DEVICE "[share s/a]\ndevice = d\nclass = urgent\n",
	  "p:5: error: class = urgent: expected safety, normal or best-effort\n" },
	{ DEVICE "[share s/a]\ndevice = d\nfault-window = 0s\n",
	  "p:5: error: fault-window = 0s: expected a time from 1ms to 86400s, such as 60s\n" },
	{ DEVICE "[share s/a]\ndevice = d\nweight = 1001\nfault-budget = 0\n",
	  "p:5: error: weight = 1001: expected a number from 1 to 1000\n"
	  "p:6: error: fault-budget = 0: expected a number from 1 to 1000000\n" },
	{ DEVICE "[share s/a]\ndevice = d\ndepth = 2\n",
	  "p:3: error: share 's/a': depth is promised to class safety only\n" },
	{ DEVICE "[share s/a]\ndevice = d\noffset = 100\nlength = 513\n",
	  "p:3: error: share 's/a': offset and length must be multiples of 512\n" },
	{ DEVICE "[share s/a]\ndevice = d\nlength = 8K\n[share s/b]\ndevice = d\noffset = 4K\n",
	  "p:6: error: share 's/b' (offset 4096) overlaps share 's/a' (offset 0, length 8192; "
	  "DIR/p:3), "
	  "and one of them writes\n" },
	{ DEVICE
	  "[share s/a]\ndevice = d\nread-only = yes\n[share s/b]\ndevice = d\nread-only = on\n",
	  "" },
	{ DEVICE "[share s/a]\ndevice = d\nshared-writers = yes\n"
	  "[share s/b]\ndevice = d\nshared-writers = yes\n",
	  "" },
	{ DEVICE "[share s/a]\ndevice = d\ntarget = 5ms\nfreeze = yes\nslice = 4K\n",
	  "p:3: error: share 's/a': a target is of class safety only\n"
	  "p:3: error: share 's/a': nobody is frozen unless device 'd' has ladder = freeze\n" },
	{ DEVICE "ladder = freeze\n[share s/a]\ndevice = d\nfreeze = yes\n", "" },
	{ DEVICE "ladder = always\n[share s/a]\ndevice = d\n",
	  "p:3: error: ladder = always: expected off, throttle, pause or freeze\n" },
	{ DEVICE "[share s/a]\ndevice = d\nclass = safety\nfreeze = yes\nslice = 4K\n",
	  "p:3: error: share 's/a': class safety is not cut into slices\n"
	  "p:3: error: share 's/a': class safety is never frozen\n"
	  "p:3: error: share 's/a': nobody is frozen unless device 'd' has ladder = freeze\n" },
	{ DEVICE "[share s/a]\ndevice = d\nslice = 128K\n",
	  "p:3: error: share 's/a': slice 131072 is longer than the device's, 65536: its promise "
	  "does not know of such\n" },
	{ DEVICE "[share s/a]\ndevice = d\nlimit-read-bytes = 100\nlimit-flushes = 1\n",
	  "p:3: error: share 's/a' cannot be served: limit-read-bytes = 100, and a sector of 512 "
	  "bytes takes 5120 ms of that; expected 512 or more\n" },
	{ DEVICE "[share s/a]\ndevice = d\nread-only = yes\nshared-writers = yes\n",
	  "p:3: error: share 's/a': expected read-only or shared-writers, and not both\n" },
	{ DEVICE "[share s/a]\ndevice = d\nread-only = yes\n[share s/b]\ndevice = d\n",
	  "p:6: error: share 's/b' (offset 0) overlaps share 's/a' (offset 0, length 0; DIR/p:3), "
	  "and one "
	  "of them writes\n" },
	{ DEVICE "[share s/a]\ndevice = d\nclass = safety\ndepth = 5\n",
	  "p:1: error: device 'd': its safety shares are promised 5 requests at once, but only 4 "
	  "slots are "
	  "reserved; expected reserve = 5 or more\n" },
	{ DEVICE
	  "target = 3ms\nflush-limit = 2ms\n[share s/a]\ndevice = d\nclass = safety\ndepth = 2\n",
	  "p:1: error: device 'd': target 3000 us cannot be kept: a lower-class slice and a "
	  "safety request "
	  "of service-limit 1000 us each + a flush of flush-limit 2000 us + 1 more safety "
	  "requests of the "
	  "longer of these = 6000 us\n" },
	{ DEVICE
	  "target = 6ms\nflush-limit = 2ms\n[share s/a]\ndevice = d\nclass = safety\ndepth = 2\n",
	  "" },
	{ DEVICE
	  "[group g]\nlimit-bytes = 1M\n[share s/a]\ndevice = d\ngroup = g\nburst = 0s\n",
	  "" },
	{ DEVICE "[group g]\n[group g]\nlimit-ops = 1\n[group a/b]\nlimit-ops = 1\n",
	  "p:3: error: group 'g' limits nothing: expected limit-ops, limit-bytes or one of their "
	  "read and write forms\n"
	  "p:4: error: group 'g' is there already: DIR/p:3\n"
	  "p:6: error: 'a/b': expected a name of letters, digits, '-', '_' and '.', at most 64 in "
	  "all\n" },
	{ DEVICE "[share s/a]\ndevice = d\nlimit-ops = 0\nlimit-read-ops = 1k\nlimit-bytes = -1\n"
		 "burst = 2h\nlimit-read-byte = 1M\ngroup =\n",
	  "p:5: error: limit-ops = 0: expected a number from 1, or none\n"
	  "p:6: error: limit-read-ops = 1k: expected a number from 1, or none\n"
	  "p:7: error: limit-bytes = -1: expected a size, such as 30M, or none\n"
	  "p:8: error: burst = 2h: expected a time from 0s to 3600s, such as 5ms\n"
	  "p:9: error: unknown key 'limit-read-byte'; did you mean 'limit-read-bytes'?\n"
	  "p:10: error: group = : expected the name of a [group NAME] section, or none\n" },
	{ DEVICE "[share s/a]\ndevice = d\ngroup = nosuch\n",
	  "p:3: error: share 's/a': there is no [group nosuch]\n" },
	{ DEVICE "[device e]\npath = other\n[group g]\nlimit-ops = 5\n"
		 "[share s/a]\ndevice = d\ngroup = g\n[share s/b]\ndevice = e\ngroup = g\n",
	  "p:10: error: share 's/b' is of device 'e', but group 'g' has share 's/a' of device 'd' "
	  "(DIR/p:7): a group is of one device\n" },
};

START_TEST(limits_of_shares_and_groups)
{
	static const char text[] = DEVICE
		"[share s/a]\ndevice = d\ngroup = two\nlength = 1M\nlimit-ops = 10\n"
		"limit-read-ops = 11\nlimit-write-ops = 12\nlimit-bytes = 1K\n"
		"limit-read-bytes = 1M\nlimit-write-bytes = 1G\nburst = 7ms\n"
		"[group one]\nlimit-ops = 1\n[group two]\nlimit-write-bytes = 2K\n"
		"[share s/b]\ndevice = d\noffset = 1M\n";
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char dir[200], path[300];

	fixture_mkdir(dir, sizeof(dir));
	write_file(dir, "p", text, strlen(text));
	snprintf(path, sizeof(path), "%s/p", dir);
	const char *paths[] = { path };
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), 0);
	const struct limits_cfg *l = &p->shares[0].limits;
	ck_assert_uint_eq(l->ops[LIMIT_BOTH], 10);
	ck_assert_uint_eq(l->ops[LIMIT_READ], 11);
	ck_assert_uint_eq(l->ops[LIMIT_WRITE], 12);
	ck_assert_uint_eq(l->bytes[LIMIT_BOTH], 1 << 10);
	ck_assert_uint_eq(l->bytes[LIMIT_READ], 1 << 20);
	ck_assert_uint_eq(l->bytes[LIMIT_WRITE], 1 << 30);
	ck_assert_uint_eq(l->burst_ns, 7 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(p->shares[0].group, 2);
	ck_assert_uint_eq(p->shares[1].group, 0);
	ck_assert(!limits_any(&p->shares[1].limits));
	ck_assert_uint_eq(p->n_groups, 2);
	ck_assert_uint_eq(p->groups[1].limits.bytes[LIMIT_WRITE], 2 << 10);
	ck_assert_uint_eq(p->groups[1].limits.burst_ns, 5 * Q_NSEC_PER_MSEC);
	med_policy_free(p);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(row)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char dir[200], path[300], want[2048], *at = want;

	fixture_mkdir(dir, sizeof(dir));
	write_file(dir, "p", rows[_i].text, strlen(rows[_i].text));
	snprintf(path, sizeof(path), "%s/p", dir);
	for (const char *s = rows[_i].errors; *s;)
		if (strncmp(s, "DIR", 3) == 0) {
			at += snprintf(at, (size_t)(want + sizeof(want) - at), "%s", dir);
			s += 3;
		} else {
			*at++ = *s++;
		}
	*at = '\0';
	const char *paths[] = { path };
	int r = med_policy_load(paths, 1, &errs, &p);
	char *got = errors_of(&errs, dir);
	ck_assert_str_eq(got, want);
	ck_assert_int_eq(r, *want ? -EINVAL : 0);
	ck_assert_int_eq(p != NULL, r == 0);
	free(got);
	med_policy_free(p);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(long_lines_and_zero_bytes)
{
	static char text[6000] = "[device d]\n";
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char dir[200], path[300];
	size_t n = strlen(text);

	memset(text + n, 'x', 5000);
	memcpy(text + n, "path = ", 7);
	n += 5000;
	n += (size_t)snprintf(text + n, sizeof(text) - n, "\nslots = 0\npath = a");
	text[n++] = '\0';
	n += (size_t)snprintf(text + n, sizeof(text) - n, "b\nslots = zero\n");
	fixture_mkdir(dir, sizeof(dir));
	write_file(dir, "p", text, n);
	snprintf(path, sizeof(path), "%s/p", dir);
	const char *paths[] = { path };
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), -EINVAL);
	char *got = errors_of(&errs, dir);
	ck_assert_str_eq(
		got,
		"p:2: error: the line is too long, or holds a zero byte\n"
		"p:3: error: slots = 0: expected a number from 1 to 1024\n"
		"p:4: error: the line is too long, or holds a zero byte\n"
		"p:5: error: slots is set twice in this section\n"
		"p:5: error: slots = zero: expected a number from 1 to 1024\n"
		"p:1: error: device 'd': expected path = FILE, or null = SIZE, and not both\n");
	free(got);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

/* A folder gives its *.policy files in order of name; errors of all of them come together. */
START_TEST(folders_and_several_files)
{
	static const char dev[] = "[device d]\npath = /img\n",
			  dev2[] = "[device e]\npath = img\nslots = 0\n";
	static const char share[] = "[share s/a]\ndevice = d\nlength = 4K\ncolor = 1\n";
	struct cf_errors errs = CF_ERRORS_NULL;
	struct med_policy *p = NULL;
	char dir[200];

	fixture_mkdir(dir, sizeof(dir));
	const char *paths[] = { dir };
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), -EINVAL);
	char *got = errors_of(&errs, dir);
	ck_assert_ptr_nonnull(strstr(got, "holds no *.policy file"));
	free(got);
	cf_errors_fini(&errs);
	errs = CF_ERRORS_NULL;
	write_file(dir, "20.policy", dev2, strlen(dev2));
	write_file(dir, "10.policy", share, strlen(share));
	write_file(dir, "30.policy", dev, strlen(dev));
	write_file(dir, ".hidden.policy", "x", 1);
	write_file(dir, "README", "x", 1);
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), -EINVAL);
	got = errors_of(&errs, dir);
	ck_assert_str_eq(got, "10.policy:4: error: unknown key 'color'\n"
			      "20.policy:3: error: slots = 0: expected a number from 1 to 1024\n");
	free(got);
	cf_errors_fini(&errs);
	errs = CF_ERRORS_NULL;
	write_file(dir, "10.policy", share, strlen(share) - strlen("color = 1\n"));
	write_file(dir, "20.policy", dev2, strlen(dev2) - strlen("slots = 0\n"));
	ck_assert_int_eq(med_policy_load(paths, 1, &errs, &p), 0);
	ck_assert_str_eq(p->devices[p->shares[0].device].name, "d");
	ck_assert_str_eq(p->devices[p->shares[0].device].path, "/img");
	med_policy_free(p);
	ck_assert_int_eq(med_policy_load(NULL, 0, &errs, &p), -EINVAL);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_policy");
	TCase *tc = fixture_case(s, "policy");

	tcase_add_test(tc, defaults);
	tcase_add_test(tc, limits_of_shares_and_groups);
	tcase_add_test(tc, sectors_of_a_device);
	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, long_lines_and_zero_bytes);
	tcase_add_test(tc, folders_and_several_files);
	return fixture_main(s);
}
