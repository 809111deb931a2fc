/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parley-shm: regions of memory that guests share, from the host's command line. Uses the public
 * library only, so that it is its example too. The file of shm/ that ends the process.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "shm/parley_shm.h"

enum { EXIT_USAGE = 2 };

static const char usage_text[] =
	"usage: parley-shm [OPTION]... COMMAND [ARGUMENT]...\n"
	"\n"
	"  Memory that guests share by vdev shmem, and programs of the host with them.\n"
	"\n"
	"  list                         regions, their size, who is connected\n"
	"  create NAME SIZE             make a region and keep it, until a signal\n"
	"  attach NAME [SIZE]           connect, and tell who rings, comes and goes, until a\n"
	"                               signal; with SIZE the region is made if need be\n"
	"  notify NAME [INDEX]...       connect, ring at those clients (else at all), leave\n"
	"  read NAME [OFFSET [LENGTH]]  data to stdout\n"
	"  write NAME [OFFSET]          data from stdin\n"
	"  dump NAME [OFFSET [LENGTH]]  data as hexadecimal\n"
	"\n"
	"  read, write and dump need no index, and nobody is told of them.\n"
	"  Numbers: decimal, or 0x; k, m, g behind them.\n"
	"\n"
	"  --run-dir DIR     where qvm has its sockets\n"
	"                    (default: $PARLEY_RUN_DIR, else /run/parley)\n"
	"  --json            list as JSON\n"
	"  --version         print the version\n"
	"  --help            this text\n"
	"\n"
	"  Exit status: 0 done; 1 it could not be done; 2 wrong words.\n";

struct options {
	const char *run_dir;	/* NULL: the library finds it */
	bool json;
	int argc;	/* arguments of the command */
	char **argv;
};

static int usage_error(const char *what, const char *which)
{
	fprintf(stderr, "parley-shm: %s%s%s; see parley-shm --help\n", what, *which ? ": " : "",
		which);
	return EXIT_USAGE;
}

static int failed(const char *name, int err)
{
	const char *text = strerrordesc_np(-err);

	if (err == -ENOENT)
		text = "there is no such region";
	else if (err == -EUSERS)
		text = "it has 16 clients, and takes no more";
	else if (err == -ETIMEDOUT)
		text = "those who are connected do not answer";
	else if (err == -EINVAL)
		text = "no name of a region: 1 to 32 printable characters, no space or /, no dot "
		       "first";
	fprintf(stderr, "parley-shm: %s: %s\n", name, text ? text : "unknown error");
	return EXIT_FAILURE;
}

static unsigned unit_shift(char unit)
{
	static const char units[] = "kmg";
	const char *at = unit ? strchr(units, tolower((unsigned char)unit)) : NULL;

	return at ? (unsigned)(at - units + 1) * 10 : 0;
}

static bool parse_size(const char *text, size_t *ret)
{
	char *end;
	errno = 0;
	uintmax_t n = strtoumax(text, &end, strncmp(text, "0x", 2) ? 10 : 16);
	unsigned shift = unit_shift(*end);

	if (!isdigit((unsigned char)*text) || errno || (*end && (!shift || end[1])) ||
	    n > SIZE_MAX >> shift)
		return false;
	*ret = (size_t)n << shift;
	return true;
}

/* ---- list ---- */

static void list_text(void *arg, const struct parley_shm_region *r)
{
	printf("%-32s %12zu ", r->name, r->len_bytes);
	for (unsigned i = 0; i < r->n_clients; i++)
		printf(" %u:%d", r->clients[i].index, (int)r->clients[i].pid);
	for (unsigned i = 0; i < r->n_keepers; i++)
		printf(" keeper:%d", (int)r->keepers[i].pid);
	putchar('\n');
}

static void list_json(void *arg, const struct parley_shm_region *r)
{
	json_t *clients = json_array(), *keepers = json_array();

	for (unsigned i = 0; i < r->n_clients; i++)
		json_array_append_new(clients, json_pack("{s:i, s:i}", "index",
							 (int)r->clients[i].index, "pid",
							 (int)r->clients[i].pid));
	for (unsigned i = 0; i < r->n_keepers; i++)
		json_array_append_new(keepers, json_pack("{s:i}", "pid", (int)r->keepers[i].pid));
	json_array_append_new(arg, json_pack("{s:s, s:I, s:o, s:o}", "name", r->name, "bytes",
					     (json_int_t)r->len_bytes, "clients", clients,
					     "keepers", keepers));
}

static int do_list(const struct options *o)
{
	json_t *all = json_array();
	int r;

	if (!o->json)
		printf("%-32s %12s  %s\n", "REGION", "BYTES", "INDEX:PID");
	r = parley_shm_list(o->run_dir, o->json ? list_json : list_text, all);
	if (r == 0 && o->json && (json_dumpf(all, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
		r = -EIO;
	json_decref(all);
	return r < 0 ? failed("list", r) : EXIT_SUCCESS;
}

/* ---- create and attach: until a signal ---- */

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void put_bits(const char *word, uint32_t bits)
{
	const char *lead = "";

	printf(" %s=", word);
	for (unsigned i = 0; i < PARLEY_SHM_CLIENTS; i++) {
		if (bits >> i & 1) {
			printf("%s%u", lead, i);
			lead = ",";
		}
	}
}

static void put_status(uint32_t status)
{
	printf("status");
	put_bits("rang", status & 0xffff);
	put_bits("connected", status >> 16);
	putchar('\n');
	fflush(stdout);
}

static void watch(struct parley_shm *s, int signal_fd, bool tell)
{
	struct pollfd p[2] = { { .fd = signal_fd, .events = POLLIN },
			       { .fd = tell ? parley_shm_fd(s) : -1, .events = POLLIN } };

	while (!p[0].revents) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			put_status(parley_shm_status(s));
	}
}

static int do_stay(const struct options *o, bool keep)
{
	struct parley_shm *s = NULL;
	const char *name = o->argv[0];
	size_t len = 0;
	int fd = signals_open();

	if (o->argc > 1 && (!parse_size(o->argv[1], &len) || !len))
		return usage_error("no size", o->argv[1]);
	if (fd < 0)
		return failed(name, -errno);
	int r = keep ? parley_shm_keep(o->run_dir, name, len, &s) :
		       parley_shm_open(o->run_dir, name, len, &s);
	if (r < 0)
		return failed(name, r);
	if (keep) {
		printf("ready bytes=%zu\n", parley_shm_len(s));
	} else {
		printf("ready index=%u bytes=%zu\n", parley_shm_index(s), parley_shm_len(s));
		put_status(parley_shm_status(s));
	}
	fflush(stdout);
	watch(s, fd, !keep);
	parley_shm_close(s);
	close(fd);
	return EXIT_SUCCESS;
}

static int do_create(const struct options *o)
{
	return do_stay(o, true);
}

static int do_attach(const struct options *o)
{
	return do_stay(o, false);
}

static int do_notify(const struct options *o)
{
	struct parley_shm *s = NULL;
	uint32_t bits = 0;

	for (int i = 1; i < o->argc; i++) {
		size_t index;
		if (!parse_size(o->argv[i], &index) || index >= PARLEY_SHM_CLIENTS)
			return usage_error("no index", o->argv[i]);
		bits |= 1u << index;
	}
	int r = parley_shm_open(o->run_dir, o->argv[0], 0, &s);
	if (r < 0)
		return failed(o->argv[0], r);
	parley_shm_notify(s, bits ? bits : PARLEY_SHM_ALL);
	parley_shm_close(s);
	return EXIT_SUCCESS;
}

/* ---- the data ---- */

struct piece {
	unsigned char *data;	/* mapped */
	size_t mapped;
	unsigned char *at;
	size_t len;
};

/* What OFFSET and LENGTH name, cut at the region's end. -1, or an exit status. */
static int piece_open(const struct options *o, struct piece *ret)
{
	size_t off = 0, len = SIZE_MAX;
	void *data;

	if (o->argc > 1 && !parse_size(o->argv[1], &off))
		return usage_error("no offset", o->argv[1]);
	if (o->argc > 2 && !parse_size(o->argv[2], &len))
		return usage_error("no length", o->argv[2]);
	int r = parley_shm_map(o->run_dir, o->argv[0], &data, &ret->mapped);
	if (r < 0)
		return failed(o->argv[0], r);
	off = off > ret->mapped ? ret->mapped : off;
	ret->data = data;
	ret->at = ret->data + off;
	ret->len = len > ret->mapped - off ? ret->mapped - off : len;
	return -1;
}

static int do_read(const struct options *o)
{
	struct piece p;
	int code = piece_open(o, &p);

	if (code >= 0)
		return code;
	bool ok = fwrite(p.at, 1, p.len, stdout) == p.len && fflush(stdout) == 0;
	munmap(p.data, p.mapped);
	if (!ok)
		fprintf(stderr, "parley-shm: stdout: %s\n", strerrordesc_np(errno));
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int do_write(const struct options *o)
{
	struct piece p;
	int code = piece_open(o, &p);

	if (code >= 0)
		return code;
	size_t n = fread(p.at, 1, p.len, stdin);
	bool more = n == p.len && getchar() != EOF;
	munmap(p.data, p.mapped);
	if (more)
		fprintf(stderr, "parley-shm: %s: the rest of stdin does not fit: %zu bytes were "
			"written\n", o->argv[0], n);
	return more || ferror(stdin) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void dump_line(const unsigned char *copy, size_t off, size_t n)
{
	printf("%08zx ", off);
	for (size_t i = 0; i < 16; i++)
		if (i < n)
			printf("%s%02x", i == 8 ? "  " : " ", copy[i]);
		else
			printf("%s  ", i == 8 ? "  " : " ");
	printf("  |");
	for (size_t i = 0; i < n; i++)
		putchar(copy[i] >= ' ' && copy[i] <= '~' ? copy[i] : '.');
	printf("|\n");
}

static int do_dump(const struct options *o)
{
	struct piece p;
	int code = piece_open(o, &p);

	if (code >= 0)
		return code;
	for (size_t done = 0; done < p.len; done += 16) {
		unsigned char copy[16];
		size_t n = p.len - done < 16 ? p.len - done : 16;
		memcpy(copy, p.at + done, n);
		dump_line(copy, (size_t)(p.at - p.data) + done, n);
	}
	munmap(p.data, p.mapped);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- words ---- */

static const struct {
	const char *word;
	int min, max;	/* arguments */
	int (*fn)(const struct options *o);
} commands[] = {
	{ "list", 0, 0, do_list },	{ "create", 2, 2, do_create },
	{ "attach", 1, 2, do_attach },	{ "notify", 1, 1 + PARLEY_SHM_CLIENTS, do_notify },
	{ "read", 1, 3, do_read },	{ "write", 1, 2, do_write },
	{ "dump", 1, 3, do_dump },
};

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+h", longs, NULL)) != -1) {
		switch (opt) {
		case 'r':
			o->run_dir = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'v':
			printf("parley-shm (Parley) %s\n", PARLEY_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_SUCCESS;
		default:
			return usage_error("wrong option", "");
		}
	}
	if (optind == argc)
		return usage_error("a command is missing", "");
	o->argc = argc - optind - 1;
	o->argv = argv + optind + 1;
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = { .run_dir = NULL };
	int code = parse_options(argc, argv, &o);

	if (code >= 0)
		return code;
	const char *word = argv[optind];
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].word, word) != 0)
			continue;
		if (o.argc < commands[i].min || o.argc > commands[i].max)
			return usage_error("too few or too many arguments", word);
		if (o.json && commands[i].fn != do_list)
			return usage_error("--json is for list", word);
		return commands[i].fn(&o);
	}
	return usage_error("there is no such command", word);
}
