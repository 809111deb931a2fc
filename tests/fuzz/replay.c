/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a fuzz target in ordinary builds: gives it every file of its corpus, then seeded
 * mutations of each, then generated inputs and mutations of those. The same in every run, so that
 * a failure can be had again; whatever kills the process, the last line says which input it was.
 *
 * fz_TARGET DIR|FILE [MUTATIONS [SEED]]
 *
 * DIR need not exist. With FILE only that file is run, once. One thread.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qdef.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 16384u
#define FILES_MAX 1024u
#define GENERATED 32u
#define MUTATIONS 2000u

struct input {
	char name[64];
	size_t len;
	uint8_t *bytes;		/* owned */
};

/* What runs now, for the line that a dying process leaves behind. */
static char now_running[160];
static uint64_t rng;

/* Of the sanitizers' run time, where there is one. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void say_last(void)
{
	ssize_t r = write(STDERR_FILENO, now_running, strlen(now_running));

	(void)r;
}

static void on_signal(int sig)
{
	say_last();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* xorshift64*: the same numbers everywhere. */
static uint64_t next_random(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * 0x2545f4914f6cdd1dull >> 16;
}

static size_t below(size_t n)
{
	return n ? next_random() % n : 0;
}

/* From a copy of exactly that size, so that a read behind it is seen. */
static void run_one(const char *name, unsigned mutation, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	qassert(copy);
	memcpy(copy, bytes, len);
	snprintf(now_running, sizeof(now_running), "replay: died in %s, mutation %u\n", name,
		 mutation);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

/* Overwrites 1, 2, 4 or 8 bytes with a value that programs stumble over. */
static void put_interesting(uint8_t *buf, size_t len)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 7, 15, 16, 17, 127, 128, 255, 256, 511, 512, 4095, 4096, 0x7fff, 0x8000,
		0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX,
		UINT64_MAX - 4095, UINT64_MAX,
	};
	size_t width = (size_t)1 << below(4);
	uint64_t v = values[below(Q_ARRAY_LEN(values))];

	if (width > len)
		return;
	size_t at = below(len - width + 1);
	for (size_t i = 0; i < width; i++)
		buf[at + i] = (uint8_t)(v >> 8 * i);
}

/* Copies a span over another place; @from may be @buf itself. */
static void put_span(uint8_t *buf, size_t len, const uint8_t *from, size_t from_len)
{
	size_t n = 1 + below(64);

	if (n <= len && n <= from_len)
		memmove(buf + below(len - n + 1), from + below(from_len - n + 1), n);
}

/* Makes room for a span of zeroes, or takes one out. Returns the new length. */
static size_t change_length(uint8_t *buf, size_t len)
{
	size_t n = 1 + below(32), at = below(len + 1);

	if (next_random() & 1) {
		n = Q_MIN(n, INPUT_MAX - len);
		memmove(buf + at + n, buf + at, len - at);
		memset(buf + at, 0, n);
		return len + n;
	}
	n = Q_MIN(n, len - at);
	memmove(buf + at, buf + at + n, len - at - n);
	return len - n;
}

static size_t mutate(uint8_t *buf, size_t len, const struct input *other)
{
	for (size_t n = 1 + below(6); n > 0; n--) {
		switch (below(8)) {
		case 0:
		case 1:
			if (len)
				buf[below(len)] ^= (uint8_t)(1u << below(8));
			break;
		case 2:
			if (len)
				buf[below(len)] = (uint8_t)next_random();
			break;
		case 3:
		case 4:
			put_interesting(buf, len);
			break;
		case 5:
			put_span(buf, len, buf, len);
			break;
		case 6:
			put_span(buf, len, other->bytes, other->len);
			break;
		default:
			len = change_length(buf, len);
		}
	}
	return len;
}

static int load(const char *path, const char *name, struct input *ret)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		return -errno;
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->bytes = malloc(INPUT_MAX);
	qassert(ret->bytes);
	ret->len = fread(ret->bytes, 1, INPUT_MAX, f);
	int r = ferror(f) || fgetc(f) != EOF ? -EFBIG : 0;
	fclose(f);
	return r;
}

/* All files of @dir, sorted by name: the order is part of "the same in every run". */
static int load_all(const char *dir, struct input *in, unsigned *ret_n)
{
	struct dirent **e;
	int n = scandir(dir, &e, NULL, alphasort), r = 0;
	unsigned n_in = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		char path[4096];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", dir, e[i]->d_name);
		if (r == 0 && n_in < FILES_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			r = load(path, e[i]->d_name, &in[n_in++]);
		free(e[i]);
	}
	free(e);
	*ret_n = n_in;
	return r;
}

static void generate(struct input *in, unsigned i)
{
	*in = (struct input){ .len = below(i % 2 ? 4096 : 64), .bytes = malloc(INPUT_MAX) };
	qassert(in->bytes);
	snprintf(in->name, sizeof(in->name), "generated %u", i);
	for (size_t k = 0; k < in->len; k++)
		in->bytes[k] = next_random() & 1 ? 0 : (uint8_t)next_random();
}

static void run_mutations(const struct input *in, unsigned n_in, unsigned i, unsigned n)
{
	static uint8_t buf[INPUT_MAX];

	for (unsigned k = 1; k <= n; k++) {
		memcpy(buf, in[i].bytes, in[i].len);
		size_t len = mutate(buf, in[i].len, &in[below(n_in)]);

		run_one(in[i].name, k, buf, len);
	}
}

int main(int argc, char **argv)
{
	static struct input in[FILES_MAX + GENERATED];
	unsigned n_files = 0;
	unsigned n_mutations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : MUTATIONS;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	struct stat st;

	if (argc < 2 || argc > 4) {
		fprintf(stderr, "usage: %s DIR|FILE [MUTATIONS [SEED]]\n", argv[0]);
		return 64;
	}
	bool single = stat(argv[1], &st) == 0 && S_ISREG(st.st_mode);
	int r = single ? load(argv[1], argv[1], &in[n_files++]) : load_all(argv[1], in, &n_files);
	if (r < 0) {
		fprintf(stderr, "replay: %s: %s\n", argv[1], strerror(-r));
		return 66;
	}
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_last);
	signal(SIGABRT, on_signal);
	if (!__sanitizer_set_death_callback)
		signal(SIGSEGV, on_signal);

	rng = seed ? seed : 1;
	unsigned n = single ? 1 : n_files + GENERATED;
	for (unsigned i = n_files; i < n; i++)
		generate(&in[i], i - n_files);
	for (unsigned i = 0; i < n; i++) {
		run_one(in[i].name, 0, in[i].bytes, in[i].len);
		if (!single)
			run_mutations(in, n, i, n_mutations);
	}
	for (unsigned i = 0; i < n; i++)
		free(in[i].bytes);
	printf("%u files, %u generated, %u mutations of each: all survived\n", n_files,
	       n - n_files, single ? 0 : n_mutations);
	return 0;
}
