/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutate_cfg DIR N [SEED] - N changed configurations of DIR (*.qvmconf), each read for both
 * architectures: words left out, doubled, swapped, taken from elsewhere, made extreme; quotes
 * opened; the rest cut off. None may crash, hang, or be taken without being sound (cfg_sound.h).
 * Reading starts no guest: nothing here can. The same changes in every run; when the process dies,
 * its last lines are what it read.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qvm/cfg_host.h"
#include "tests/fuzz/cfg_sound.h"

#define FILES_MAX 512u
#define WORDS_MAX 1024u
#define HANG_S 20u	/* of one configuration, on a machine with other things to do */

struct conf {
	char name[128];
	char *text;		/* owned: words end with NUL */
	const char *words[WORDS_MAX];
	unsigned n;
};

static struct conf confs[FILES_MAX];
static unsigned n_confs;
static uint64_t rng = 1;
static char last[256];
static char *text;	/* what is read now; owned */
static size_t len;
static char folder[] = "/tmp/mutate_cfg.XXXXXX";
static const char *const stand_ins[] = { "linux", "initrd.gz", "image.bin", "guest.elf", "fs.img",
					 "board.dtb", "tables.aml" };

/* What a number, a name or a place may become. */
static const char *const extremes[] = {
	"0", "-1", "0x", "0d", "18446744073709551615", "0xffffffffffffffff", "99999999999999999999",
	"0xffffffffffffffff,0xffffffffffffffff", ",", ",,", ":", "pci:", "pci:0:31.7", "io:0xffff",
	"mem:", "\"", "\"\"", "@", "@linux", "$env{", "$asinfo_start{}", "#", "1k", "16E", "0x1g",
	"4g,1g", "gic:1023", "pic:4294967295", "\\", "\x01", "\xff", "=", "|", "vdev", "cpu",
	"pass",
};

static void on_signal(int sig)
{
	ssize_t r = write(STDERR_FILENO, last, strlen(last));
	if (text)
		r = write(STDERR_FILENO, text, len);
	(void)r;
	signal(sig, SIG_DFL);
	raise(sig);
}

static unsigned below(unsigned n)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return (unsigned)((rng * 0x2545f4914f6cdd1dull >> 33) % n);
}

static void die(const char *what)
{
	fprintf(stderr, "mutate_cfg: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* What a comment says would hide the words that stand behind it on one line. */
static void drop_comments(char *conf)
{
	for (char *at = conf; (at = strchr(at, '#'));)
		while (*at && *at != '\n')
			*at++ = ' ';
}

/* Words as they stand: a quoted string of several words is several here, which changes its quotes
 * too. */
static void conf_read(const char *dir, const char *name)
{
	char path[1024];
	struct conf *c = &confs[n_confs];
	size_t room = 0;
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "r");
	if (!f)
		die(path);
	ssize_t got = getdelim(&c->text, &room, '\0', f);
	fclose(f);
	if (got > 0)
		drop_comments(c->text);
	for (char *save, *w = got > 0 ? strtok_r(c->text, " \t\n", &save) : NULL;
	     w && c->n < WORDS_MAX; w = strtok_r(NULL, " \t\n", &save))
		c->words[c->n++] = w;
	if (c->n) {
		n_confs++;
	} else {
		free(c->text);
		*c = (struct conf){ .text = NULL };
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order of their names, so that every run changes the same. */
static void confs_read(const char *dir)
{
	char *names[FILES_MAX];
	unsigned n = 0;
	DIR *d = opendir(dir);
	if (!d)
		die(dir);
	for (struct dirent *e; n < FILES_MAX && (e = readdir(d));) {
		const char *dot = strrchr(e->d_name, '.');
		if (dot && !strcmp(dot, ".qvmconf"))
			names[n++] = strdup(e->d_name);
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), by_name);
	for (unsigned i = 0; i < n; i++) {
		conf_read(dir, names[i]);
		free(names[i]);
	}
}

static const char *word_of_any(void)
{
	const struct conf *c = &confs[below(n_confs)];
	return c->words[below(c->n)];
}

/* One change of the *n words at @w, which have room for WORDS_MAX. */
static void change(const char **w, unsigned *n)
{
	const unsigned i = below(*n), k = below(*n);
	const char *kept = w[i];
	switch (below(7)) {
	case 0: /* left out */
		memmove(&w[i], &w[i + 1], (*n - i - 1) * sizeof(*w));
		*n -= *n > 1;
		break;
	case 1: /* doubled, or a foreign one put in */
		if (*n == WORDS_MAX)
			break;
		memmove(&w[i + 1], &w[i], (*n - i) * sizeof(*w));
		if (below(2))
			w[i] = word_of_any();
		(*n)++;
		break;
	case 2: /* swapped */
		w[i] = w[k];
		w[k] = kept;
		break;
	case 3:
		w[i] = word_of_any();
		break;
	case 4:
		w[i] = extremes[below(Q_ARRAY_LEN(extremes))];
		break;
	case 5: /* cut off */
		*n = i + 1;
		break;
	default: /* of the whole other configuration, the rest */
		for (const struct conf *c = &confs[below(n_confs)]; *n < WORDS_MAX && *n < i + c->n;
		     (*n)++)
			w[*n] = c->words[*n - i];
		break;
	}
}

/* A byte of the text becomes another one, now and then. */
static void spoil(void)
{
	if (len && below(4) == 0)
		text[below((unsigned)len)] = (char)below(256);
}

/* How many of the two architectures took it. */
static unsigned run_one(unsigned number)
{
	const struct conf *c = &confs[below(n_confs)];
	const char *words[WORDS_MAX];
	unsigned n = c->n, taken = 0;
	memcpy(words, c->words, n * sizeof(*words));
	for (unsigned i = 1 + below(3); i > 0; i--)
		change(words, &n);
	FILE *f = open_memstream(&text, &len);
	if (!f)
		die("memory");
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "%s%c", words[i], below(4) ? ' ' : '\n');
	if (fclose(f) == EOF)
		die("memory");
	spoil();
	snprintf(last, sizeof(last), "mutate_cfg: died in number %u, of %s\n", number, c->name);
	alarm(HANG_S);
	taken += cfg_sound_read(&cfg_arch_x86, text, len);
	taken += cfg_sound_read(&cfg_arch_arm64, text, len);
	alarm(0);
	free(text);
	text = NULL;
	return taken;
}

static void folder_make(void)
{
	if (!mkdtemp(folder) || chdir(folder) < 0)
		die(folder);
	for (unsigned i = 0; i < Q_ARRAY_LEN(stand_ins); i++) {
		FILE *f = fopen(stand_ins[i], "w");
		if (!f || fputs("stand-in\n", f) == EOF || fclose(f) == EOF)
			die(stand_ins[i]);
	}
	/* A host of its own, with nothing to name. */
	cfg_host_root_set(folder);
}

static void folder_remove(void)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(stand_ins); i++)
		unlink(stand_ins[i]);
	if (chdir("/") == 0)
		rmdir(folder);
}

int main(int argc, char **argv)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM };
	unsigned total = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 0, taken = 0;
	char *dir = argc > 1 ? realpath(argv[1], NULL) : NULL;
	if (!dir || !total) {
		fprintf(stderr, "usage: mutate_cfg DIR N [SEED]\n");
		return 2;
	}
	if (argc > 3)
		rng = strtoull(argv[3], NULL, 0) | 1;
	for (unsigned i = 0; i < Q_ARRAY_LEN(fatal); i++)
		signal(fatal[i], on_signal);
	confs_read(dir);
	free(dir);
	folder_make();
	for (unsigned i = 0; i < total; i++)
		taken += run_one(i);
	folder_remove();
	for (unsigned i = 0; i < n_confs; i++)
		free(confs[i].text);
	printf("%u mutations of %u configurations, read twice; %u were sound\n", total, n_confs,
	       taken);
	/* All refused would say that the mutations are too wild to test more than the words. */
	return taken > total / 50 ? 0 : 1;
}
