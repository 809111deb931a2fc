/* SPDX-License-Identifier: Apache-2.0 */
/* qvm/dump_elf.c, the names of dump.c, and dump_pipe.c: a guest as a core, in a file or a pipe. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/qfd.h"
#include "qvm/dump.h"
#include "qvm/dump_elf.h"
#include "qvm/dump_pipe.h"
#include "tests/unit/fixture.h"

#define MIB (1ull << 20)

/* Two pieces of ram and a rom, with some bytes here and there. */
static struct qmem *make_memory(void)
{
	struct qmem *m = qmem_new();

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(qmem_add(m, gpa(0), 8 * MIB, 0, "ram"), 0);
	ck_assert_int_eq(qmem_add(m, gpa(16 * MIB), MIB, QMEM_READONLY, "rom"), 0);
	ck_assert_int_eq(qmem_add(m, gpa(4096 * MIB), 4 * MIB, 0, "ram"), 0);
	ck_assert_int_eq(qmem_fill(m, gpa(0x1000), "first", 6), 0);
	ck_assert_int_eq(qmem_fill(m, gpa(3 * MIB - 2), "across", 7), 0);
	ck_assert_int_eq(qmem_fill(m, gpa(5 * MIB), "\0\0\0", 3), 0); /* touched, and still zero */
	ck_assert_int_eq(qmem_fill(m, gpa(16 * MIB + 0x800), "rom", 4), 0);
	ck_assert_int_eq(qmem_fill(m, gpa(4100 * MIB - 5), "last", 5), 0);
	return m;
}

static void make_cpus(struct dump_cpu *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		memset(&c[i], (int)(0x11 * (i + 1)), sizeof(c[i]));
		snprintf(c[i].system, sizeof(c[i].system), "cpu=%zu", i);
	}
}

/* All that @fd holds, in memory. */
static char *bytes_of(int fd, size_t *ret_len)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	char *buf = malloc((size_t)st.st_size);
	ck_assert_ptr_nonnull(buf);
	ck_assert_int_eq(pread(fd, buf, (size_t)st.st_size, 0), st.st_size);
	*ret_len = (size_t)st.st_size;
	return buf;
}

static const Elf64_Nhdr *note_at(const char *notes, size_t *at)
{
	const Elf64_Nhdr *n = (const Elf64_Nhdr *)(notes + *at);

	*at += sizeof(*n) + Q_ALIGN_UP(n->n_namesz, 4) + Q_ALIGN_UP(n->n_descsz, 4);
	return n;
}

static const char *note_owner(const Elf64_Nhdr *n)
{
	return (const char *)(n + 1);
}

static const void *note_desc(const Elf64_Nhdr *n)
{
	return note_owner(n) + Q_ALIGN_UP(n->n_namesz, 4);
}

static void check_notes(const char *notes, size_t len, const struct dump_cpu *cpus, size_t n_cpus)
{
	const Elf64_Nhdr *n;
	size_t at = 0;

	n = note_at(notes, &at);
	ck_assert_uint_eq(n->n_type, NT_PRPSINFO);
	struct elf_prpsinfo who;
	memcpy(&who, note_desc(n), sizeof(who)); /* notes are aligned to 4 bytes only */
	ck_assert_str_eq(who.pr_psargs, "qvm box");
	n = note_at(notes, &at);
	ck_assert_str_eq(note_owner(n), DUMP_NOTE_OWNER);
	ck_assert_str_eq(note_desc(n), "why=test\n");
	for (size_t i = 0; i < n_cpus; i++) {
		n = note_at(notes, &at);
		ck_assert_str_eq(note_owner(n), "CORE");
		ck_assert_uint_eq(n->n_type, NT_PRSTATUS);
		struct elf_prstatus s;
		memcpy(&s, note_desc(n), sizeof(s));
		ck_assert_int_eq(s.pr_pid, (pid_t)i + 1);
		ck_assert_int_eq(memcmp(&s.pr_reg, &cpus[i].gregs, sizeof(s.pr_reg)), 0);
		n = note_at(notes, &at);
		ck_assert_uint_eq(n->n_type, NT_FPREGSET);
		ck_assert_int_eq(memcmp(note_desc(n), &cpus[i].fpregs, sizeof(cpus[i].fpregs)), 0);
		n = note_at(notes, &at);
		ck_assert_uint_eq(n->n_type, DUMP_NOTE_SYSTEM);
		ck_assert_str_eq(note_desc(n), cpus[i].system);
	}
	ck_assert_uint_eq(at, len);
}

/* Everything in the core is what it was made of. */
static void check_core(const char *core, size_t len, const struct dump_image *img)
{
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)core;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(core + e->e_phoff);

	ck_assert_int_eq(memcmp(e->e_ident, ELFMAG, SELFMAG), 0);
	ck_assert_uint_eq(e->e_type, ET_CORE);
	ck_assert_uint_eq(e->e_phnum, img->mem->n + 1);
	ck_assert_uint_eq(ph[0].p_type, PT_NOTE);
	check_notes(core + ph[0].p_offset, ph[0].p_filesz, img->cpus, img->n_cpus);
	for (unsigned i = 0; i < img->mem->n; i++) {
		const struct qmem_region *r = &img->mem->r[i];
		const Elf64_Phdr *p = &ph[i + 1];
		ck_assert_uint_eq(p->p_type, PT_LOAD);
		ck_assert_uint_eq(p->p_paddr, r->gpa);
		ck_assert_uint_eq(p->p_vaddr, r->gpa);
		ck_assert_uint_eq(p->p_filesz, r->len_bytes);
		ck_assert_uint_eq(p->p_memsz, r->len_bytes);
		ck_assert_int_eq(!(p->p_flags & PF_W), !!(r->flags & QMEM_READONLY));
		ck_assert(p->p_offset <= len && r->len_bytes <= len - p->p_offset);
		ck_assert_int_eq(memcmp(core + p->p_offset, r->host, r->len_bytes), 0);
	}
}

static int write_core(const struct dump_image *img, bool is_stream, uint64_t *ret_bytes)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	const struct dump_to to = { .fd = fd, .is_stream = is_stream, .stall_ns = Q_NSEC_PER_SEC };

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dump_elf_write(&to, img, ret_bytes), 0);
	return fd;
}

START_TEST(file_and_stream)
{
	struct dump_cpu cpus[3];
	struct dump_image img = { make_memory(), cpus, 3, "why=test\n", "box" };
	size_t len[2];
	struct stat st[2];
	uint64_t bytes;
	char *core[2];

	make_cpus(cpus, 3);
	for (int i = 0; i < 2; i++) {
		int fd = write_core(&img, i == 1, &bytes);
		ck_assert_int_eq(fstat(fd, &st[i]), 0);
		core[i] = bytes_of(fd, &len[i]);
		ck_assert_uint_eq(bytes, len[i]);
		qfd_close(&fd);
	}
	check_core(core[0], len[0], &img);
	ck_assert_uint_eq(len[0], len[1]);
	ck_assert_int_eq(memcmp(core[0], core[1], len[0]), 0);
	/* The pages that are not zero, and the head: not the thirteen MiB around them. */
	ck_assert_int_lt(st[0].st_blocks * 512, 64 * 1024);
	ck_assert_int_ge(st[1].st_blocks * 512, (blkcnt_t)(13 * MIB));
	free(core[0]);
	free(core[1]);
	qmem_unref((struct qmem *)img.mem);
}
END_TEST

/* A hole of the guest's memory is left one: looking at it does not make it memory. */
START_TEST(untouched_stays_untouched)
{
	struct dump_cpu cpu;
	struct dump_image img = { make_memory(), &cpu, 1, "", "box" };
	struct stat before, after;
	uint64_t bytes;

	make_cpus(&cpu, 1);
	ck_assert_int_eq(fstat(img.mem->r[0].fd, &before), 0);
	int fd = write_core(&img, false, &bytes);
	ck_assert_int_eq(fstat(img.mem->r[0].fd, &after), 0);
	ck_assert_int_eq(before.st_blocks, after.st_blocks);
	qfd_close(&fd);
	qmem_unref((struct qmem *)img.mem);
}
END_TEST

enum end { CANCELLED, NOBODY_READS, READER_GONE, NO_SPACE, BAD_FD };
static const struct {
	enum end how;
	int want;
} end_rows[] = {
	{ CANCELLED, -ECANCELED },
	{ NOBODY_READS, -ETIMEDOUT },
	{ READER_GONE, -EPIPE },
	{ NO_SPACE, -ENOSPC },
	{ BAD_FD, -EBADF },
};

START_TEST(end_row)
{
	struct dump_cpu cpu;
	struct dump_image img = { make_memory(), &cpu, 1, "", "box" };
	_Atomic bool cancel = end_rows[_i].how == CANCELLED;
	struct dump_to to = { .fd = -1, .is_stream = true, .stall_ns = 20 * Q_NSEC_PER_MSEC,
			      .cancel = &cancel };
	uint64_t bytes = 77;
	int p[2];

	make_cpus(&cpu, 1);
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	QCLEAN(qfd_close) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (end_rows[_i].how == READER_GONE)
		qfd_close(&p[0]);
	if (end_rows[_i].how != BAD_FD)
		to.fd = end_rows[_i].how == NO_SPACE ? full : p[1];
	ck_assert_int_eq(dump_elf_write(&to, &img, &bytes), end_rows[_i].want);
	ck_assert_uint_eq(bytes, 77);
	qfd_close(&p[0]);
	qfd_close(&p[1]);
	qmem_unref((struct qmem *)img.mem);
}
END_TEST

/* ---- names ---- */

#define PATH_BYTES 64

static int make_dir(char *path)
{
	snprintf(path, PATH_BYTES, "/tmp/parley-t_dump.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	int fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void remove_dir(int dir_fd, const char *path)
{
	DIR *d = fdopendir(qfd_dup(dir_fd));

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		unlinkat(dir_fd, e->d_name, 0);
	closedir(d);
	ck_assert_int_eq(rmdir(path), 0);
}

static const struct tm some_day = { .tm_year = 126, .tm_mon = 1, .tm_mday = 3, .tm_hour = 4,
				    .tm_min = 5, .tm_sec = 6 };

START_TEST(names)
{
	char path[PATH_BYTES], name[DUMP_NAME_BYTES], want[DUMP_NAME_BYTES];
	QCLEAN(qfd_close) int dir = make_dir(path);

	for (int i = 0; i < 10; i++) {
		int fd = dump_create(dir, "box", &some_day, name);
		ck_assert_int_ge(fd, 0);
		qfd_close(&fd);
		snprintf(want, sizeof(want), i ? "box-20260203-040506-%d.gcore" :
						"box-20260203-040506.gcore", i);
		ck_assert_str_eq(name, want);
	}
	ck_assert_int_eq(dump_create(dir, "box", &some_day, name), -EEXIST);
	/* A gap is used again. */
	ck_assert_int_eq(unlinkat(dir, "box-20260203-040506-4.gcore", 0), 0);
	int fd = dump_create(dir, "box", &some_day, name);
	ck_assert_int_ge(fd, 0);
	qfd_close(&fd);
	ck_assert_str_eq(name, "box-20260203-040506-4.gcore");
	/* A link is a name that is taken, wherever it leads. */
	ck_assert_int_eq(symlinkat("elsewhere", dir, "link-20260203-040506.gcore"), 0);
	fd = dump_create(dir, "link", &some_day, name);
	ck_assert_str_eq(name, "link-20260203-040506-1.gcore");
	ck_assert_int_lt(faccessat(dir, "elsewhere", F_OK, 0), 0);
	qfd_close(&fd);
	remove_dir(dir, path);
	ck_assert_int_eq(dump_create(-1, "box", &some_day, name), -EBADF);
}
END_TEST

/* ---- the helper ---- */

struct helper {
	int fd;
	const char *command;
	int status;
};

static void *helper_main(void *arg)
{
	struct helper *h = arg;

	h->status = dump_pipe_serve(h->fd, h->command);
	return NULL;
}

/* A command gets what is written; its status comes back; it can be had again. */
START_TEST(command)
{
	struct helper h = { .command = "test \"$(cat)\" = hello && exit 3" };
	pthread_t t;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[1];
	ck_assert_int_eq(pthread_create(&t, NULL, helper_main, &h), 0);
	for (int i = 0; i < 2; i++) {
		int fd = dump_pipe_open(sv[0]);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(dump_pipe_wait(sv[0], Q_NSEC_PER_MSEC), -ETIMEDOUT);
		ck_assert_int_eq(write(fd, i ? "other" : "hello", 5), 5);
		qfd_close(&fd);
		int status = dump_pipe_wait(sv[0], 30 * Q_NSEC_PER_SEC);
		ck_assert_int_ge(status, 0);
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), i ? 1 : 3);
	}
	/* The helper ends with its qvm; and a qvm notices a helper that is gone. */
	shutdown(sv[0], SHUT_WR);
	pthread_join(t, NULL);
	ck_assert_int_eq(h.status, 0);
	qfd_close(&sv[1]);
	ck_assert_int_lt(dump_pipe_open(sv[0]), 0);
	ck_assert_int_eq(dump_pipe_wait(sv[0], Q_NSEC_PER_SEC), -ECHILD);
	qfd_close(&sv[0]);
}
END_TEST

/* A byte without a descriptor is nobody we know: the helper goes. */
START_TEST(no_descriptor)
{
	struct helper h = { .command = "true" };
	pthread_t t;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[1];
	ck_assert_int_eq(pthread_create(&t, NULL, helper_main, &h), 0);
	ck_assert_int_eq(send(sv[0], "x", 1, 0), 1);
	pthread_join(t, NULL);
	ck_assert_int_eq(h.status, 1);
	qfd_close(&sv[0]);
	qfd_close(&sv[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dump");
	TCase *tc = fixture_case(s, "dump");

	tcase_add_test(tc, file_and_stream);
	tcase_add_test(tc, untouched_stays_untouched);
	tcase_add_loop_test(tc, end_row, 0, Q_ARRAY_LEN(end_rows));
	tcase_add_test(tc, names);
	tcase_add_test(tc, command);
	tcase_add_test(tc, no_descriptor);
	return fixture_main(s);
}
