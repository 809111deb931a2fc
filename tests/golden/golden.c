/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden DIR [NAME] - reads each configuration of DIR and compares what comes out with the file
 * beside it: NAME.plan (warnings, then the plan), NAME.err (what was wrong), and NAME.json (the
 * plan for programs) where there is one. Comments at the top of a configuration say how to read it:
 *
 *   # arch: arm64		(else x86)
 *   # args: dryrun		arguments after the "@NAME.qvmconf" that every run has
 *   # only: cpu ram 1m		the whole command line, without the file
 *   # env: NAME=value
 *
 * Runs in a folder of its own, made anew, in which the files that configurations load exist. With
 * GOLDEN_UPDATE=1 in the environment, what comes out is written where it would be compared: read
 * the difference before it is committed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qvm/cfg.h"
#include "qvm/cfg_arch.h"
#include "qvm/cfg_host.h"

#define ARGS_MAX 64
#define NAMES_MAX 512

static const char *golden_dir;
static char work_dir[] = "/tmp/golden.XXXXXX";
static bool update;

static const char *const stand_ins[] = {
	"linux", "initrd.gz", "initrd2.gz", "image.bin", "guest.elf", "board.dtb", "tables.aml",
	"fs.img", "vmlinuz", "initrd.img", "Image",
};

static void die(const char *what)
{
	fprintf(stderr, "golden: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) == EOF || fclose(f) == EOF)
		die(path);
}

/* A host with NUMA nodes, two types of CPUs and reserved memory: the same one everywhere. */
static const struct {
	const char *path, *text;
	size_t len;	/* of what is not text */
} host_files[] = {
	{ "proc", NULL, 0 },
	{ "proc/iomem", "00001000-0009ffff : System RAM\n"
	  "00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n"
	  "40000000-4fffffff : Reserved\n  40000000-40ffffff : camera\n"
	  "100000000-11fffffff : Reserved\n00000000-00000000 : secret\n", 0 },
	{ "proc/device-tree", NULL, 0 },
	{ "proc/device-tree/reserved-memory", NULL, 0 },
	{ "proc/device-tree/reserved-memory/#address-cells", "\0\0\0\2", 4 },
	{ "proc/device-tree/reserved-memory/#size-cells", "\0\0\0\2", 4 },
	{ "proc/device-tree/reserved-memory/guestmem1@80000000", NULL, 0 },
	{ "proc/device-tree/reserved-memory/guestmem1@80000000/reg",
	  "\0\0\0\0\x80\0\0\0\0\0\0\0\x10\0\0\0", 16 },
	{ "proc/device-tree/reserved-memory/pool", NULL, 0 },
	{ "sys", NULL, 0 },
	{ "sys/devices", NULL, 0 },
	{ "sys/devices/system", NULL, 0 },
	{ "sys/devices/system/node", NULL, 0 },
	{ "sys/devices/system/node/node0", NULL, 0 },
	{ "sys/devices/system/node/node0/cpulist", "0-3,8\n", 0 },
	{ "sys/devices/system/cpu", NULL, 0 },
	{ "sys/devices/system/cpu/isolated", "2-3\n", 0 },
	{ "sys/devices/system/cpu/cpu5", NULL, 0 },
	{ "sys/devices/system/cpu/cpu5/topology", NULL, 0 },
	{ "sys/devices/system/cpu/cpu5/topology/cluster_id", "1\n", 0 },
};
static char host_dir[sizeof(work_dir) + sizeof(".host")];

static void make_host(void)
{
	char path[256];
	snprintf(host_dir, sizeof(host_dir), "%s.host", work_dir);
	if (mkdir(host_dir, 0700) < 0)
		die(host_dir);
	for (size_t i = 0; i < Q_ARRAY_LEN(host_files); i++) {
		snprintf(path, sizeof(path), "%s/%s", host_dir, host_files[i].path);
		if (!host_files[i].text) {
			if (mkdir(path, 0700) < 0)
				die(path);
			continue;
		}
		size_t len = host_files[i].len ? host_files[i].len : strlen(host_files[i].text);
		FILE *f = fopen(path, "w");
		if (!f || fwrite(host_files[i].text, 1, len, f) != len || fclose(f) == EOF)
			die(path);
	}
	cfg_host_root_set(host_dir);
}

static void remove_host(void)
{
	char path[256];
	for (size_t i = Q_ARRAY_LEN(host_files); i-- > 0;) {
		snprintf(path, sizeof(path), "%s/%s", host_dir, host_files[i].path);
		remove(path);
	}
	rmdir(host_dir);
}

static void make_work_dir(void)
{
	if (!mkdtemp(work_dir) || chdir(work_dir) < 0)
		die(work_dir);
	make_host();
	for (size_t i = 0; i < Q_ARRAY_LEN(stand_ins); i++)
		write_file(stand_ins[i], "a stand-in of the test\n");
	write_file("empty", "");
	if (mkdir("folder", 0700) < 0)
		die("folder");
}

static void remove_work_dir(void)
{
	remove_host();
	DIR *d = opendir(".");
	for (struct dirent *e; d && (e = readdir(d));)
		unlink(e->d_name);
	if (d)
		closedir(d);
	rmdir("folder");
	if (chdir("/") == 0)
		rmdir(work_dir);
}

static char *read_text(const char *path)
{
	char *text = NULL;
	size_t room = 0;
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	if (getdelim(&text, &room, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(f);
	return text;
}

/* Every @what of @text becomes @with. Takes @text. */
static char *replace(char *text, const char *what, const char *with)
{
	for (char *at; (at = strstr(text, what));) {
		char *next = NULL;
		if (asprintf(&next, "%.*s%s%s", (int)(at - text), text, with,
			     at + strlen(what)) < 0)
			die("memory");
		free(text);
		text = next;
	}
	return text;
}

struct run {
	const struct cfg_arch *arch;
	char *argv[ARGS_MAX];
	int argc;
	char *words;		/* argv's own storage */
	char file_arg[300];
};

static void add_words(struct run *r, char *words)
{
	for (char *save, *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
		if (r->argc < ARGS_MAX)
			r->argv[r->argc++] = w;
}

/* Reads the comments at the top of @conf. */
static void run_setup(struct run *r, const char *name, const char *conf)
{
	snprintf(r->file_arg, sizeof(r->file_arg), "@%s.qvmconf", name);
	r->arch = &cfg_arch_x86;
	r->argv[r->argc++] = r->file_arg;
	r->words = strdup(conf);
	for (char *save, *line = strtok_r(r->words, "\n", &save); line && line[0] == '#';
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "# arch: ", 8)) {
			r->arch = cfg_arch_find(line + 8);
			if (!r->arch)
				die(line);
		} else if (!strncmp(line, "# args: ", 8)) {
			add_words(r, line + 8);
		} else if (!strncmp(line, "# only: ", 8)) {
			r->argc = 0;
			add_words(r, line + 8);
		} else if (!strncmp(line, "# env: ", 7)) {
			putenv(line + 7);
		}
	}
}

static void remove_other(const char *name, const char *ending)
{
	char path[1024];
	if (!strcmp(ending, "json"))
		return;
	snprintf(path, sizeof(path), "%s/%s.%s", golden_dir, name,
		 strcmp(ending, "plan") ? "plan" : "err");
	unlink(path);
}

/* Compares @got with the file, or writes it. True when they agree. */
static bool agree(const char *name, const char *ending, const char *got)
{
	char path[1024];
	snprintf(path, sizeof(path), "%s/%s.%s", golden_dir, name, ending);
	if (update) {
		write_file(path, got);
		remove_other(name, ending);
		return true;
	}
	char *want = read_text(path);
	bool same = want && !strcmp(want, got);
	if (!same)
		printf("--- %s.%s, expected:\n%s--- got:\n%s---\n", name, ending,
		       want ? want : "(no such file)\n", got);
	free(want);
	return same;
}

static bool have(const char *name, const char *ending)
{
	char path[1024];
	snprintf(path, sizeof(path), "%s/%s.%s", golden_dir, name, ending);
	return access(path, F_OK) == 0;
}

/* The messages of @errs, then the plan unless @cfg is NULL. */
static char *output(const struct vm_cfg *cfg, const struct cf_errors *errs, bool json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	if (!f)
		die("memory");
	if (!json)
		cf_errors_print(errs, f);
	if (cfg && cfg_plan_print(cfg, f, json) < 0)
		die("plan");
	fclose(f);
	return replace(text, work_dir, "/cwd");
}

/* A checked configuration is checked again: nothing may be said or changed. */
static bool same_again(struct vm_cfg *cfg, const char *name, const char *plan)
{
	struct cf_errors errs = CF_ERRORS_NULL, none = CF_ERRORS_NULL;
	int r = cfg_check(cfg, &errs);
	char *again = output(cfg, &none, false);
	size_t len = strlen(plan), again_len = strlen(again);
	/* The plan stands behind the warnings of the first time. */
	bool same = r == 0 && again_len <= len && !strcmp(plan + len - again_len, again);
	if (!same)
		printf("%s: checked again, it says %d and\n%s", name, r, again);
	free(again);
	cf_errors_fini(&errs);
	return same;
}

static bool run_case(const char *name)
{
	char path[1024];
	struct run r = { 0 };
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vm_cfg *cfg = NULL;
	snprintf(path, sizeof(path), "%s/%s.qvmconf", golden_dir, name);
	char *conf = read_text(path);
	if (!conf)
		die(path);
	run_setup(&r, name, conf);
	int result = cfg_parse_arch(r.arch, r.argc, r.argv, &errs, &cfg);
	char *text = output(cfg, &errs, false);
	bool ok = agree(name, cfg ? "plan" : "err", text) && (result == 0) == (cfg != NULL) &&
		  (result == 0) == (errs.n_errors == 0);
	if (cfg)
		ok &= same_again(cfg, name, text);
	if (cfg && have(name, "json")) {
		char *json = output(cfg, &errs, true);
		ok &= agree(name, "json", json);
		free(json);
	}
	if (!update && have(name, cfg ? "err" : "plan")) {
		printf("%s: has both a .plan and a .err\n", name);
		ok = false;
	}
	free(text);
	free(conf);
	free(r.words);
	cf_errors_fini(&errs);
	cfg_free(cfg);
	return ok;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the configurations of the folder; those that begin with "_" are for @ only. */
static size_t list(char *names[NAMES_MAX])
{
	size_t n = 0;
	DIR *d = opendir(golden_dir);
	if (!d)
		die(golden_dir);
	for (struct dirent *e; n < NAMES_MAX && (e = readdir(d));) {
		char *dot = strstr(e->d_name, ".qvmconf"), path[1024];
		if (!dot || dot[strlen(".qvmconf")])
			continue;
		snprintf(path, sizeof(path), "%s/%s", golden_dir, e->d_name);
		if (symlink(path, e->d_name) < 0)
			die(e->d_name);
		if (e->d_name[0] != '_')
			names[n++] = strndup(e->d_name, (size_t)(dot - e->d_name));
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), by_name);
	return n;
}

int main(int argc, char **argv)
{
	char *names[NAMES_MAX];
	size_t failed = 0, run = 0;
	golden_dir = argc > 1 ? realpath(argv[1], NULL) : NULL;
	update = getenv("GOLDEN_UPDATE") != NULL;
	if (!golden_dir) {
		fprintf(stderr, "usage: golden DIR [NAME]\n");
		return 2;
	}
	make_work_dir();
	size_t n = list(names);
	for (size_t i = 0; i < n; i++) {
		if (argc < 3 || !strcmp(argv[2], names[i])) {
			run++;
			failed += !run_case(names[i]);
		}
		free(names[i]);
	}
	remove_work_dir();
	free((char *)golden_dir);
	printf("%zu configurations, %zu failed\n", run, failed);
	return failed || run == 0 ? 1 : 0;
}
