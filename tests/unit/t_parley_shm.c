/* SPDX-License-Identifier: Apache-2.0 */
/* The installed library, by its public header alone and as programs get it: the shared object. */
#include "shm/parley_shm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/unit/fixture.h"

#define WAIT_MS 30000

static char dir[64];

static void dir_open(void)
{
	fixture_mkdir(dir, sizeof(dir));
}

static void dir_close(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/shm", dir);
	ck_assert_msg(rmdir(path) == 0 || errno == ENOENT, "a region is left");
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct parley_shm *opened(const char *name, size_t len)
{
	struct parley_shm *s = NULL;
	int r = parley_shm_open(dir, name, len, &s);

	ck_assert_msg(r == 0, "open %s: %s", name, strerror(-r));
	return s;
}

/* Gathers bells until status is @want. */
static void until(struct parley_shm *s, uint32_t want)
{
	uint32_t bells = 0, status = parley_shm_status(s);

	while (((status & 0xffff0000) | (bells |= status & 0xffff)) != want) {
		ck_assert_int_eq(parley_shm_wait(s, WAIT_MS), 1);
		status = parley_shm_status(s);
	}
}

START_TEST(two_in_a_process)
{
	dir_open();
	struct parley_shm *a = opened("x", 5000), *b = opened("x", 0);
	ck_assert_uint_eq(parley_shm_len(a), 8192);
	ck_assert_uint_eq(parley_shm_len(b), 8192);
	ck_assert_uint_eq(parley_shm_index(a), 0);
	ck_assert_uint_eq(parley_shm_index(b), 1);
	memcpy(parley_shm_data(a), "hello", 6);
	ck_assert_str_eq(parley_shm_data(b), "hello");
	until(a, 3u << 16);
	ck_assert_uint_eq(parley_shm_status(b), 3u << 16);
	ck_assert_int_eq(parley_shm_wait(b, 0), 0);
	ck_assert_int_eq(parley_shm_wait(b, 20), 0);
	struct pollfd p = { .fd = parley_shm_fd(b), .events = POLLIN };
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	parley_shm_notify(a, PARLEY_SHM_ALL);
	ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
	ck_assert_uint_eq(parley_shm_status(b), 3u << 16 | 1);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	parley_shm_close(a);
	until(b, 2u << 16);
	parley_shm_close(b);
	parley_shm_close(NULL);
	dir_close();
}
END_TEST

START_TEST(errors)
{
	struct parley_shm *s = NULL, *all[PARLEY_SHM_CLIENTS];
	void *data;
	size_t len;

	dir_open();
	ck_assert_int_eq(parley_shm_open(dir, "x", 0, &s), -ENOENT);
	ck_assert_int_eq(parley_shm_open(dir, "a/b", 1, &s), -EINVAL);
	ck_assert_int_eq(parley_shm_open(dir, "x", SIZE_MAX, &s), -EFBIG);
	ck_assert_int_eq(parley_shm_keep(dir, "x", 0, &s), -EFBIG);
	ck_assert_int_eq(parley_shm_open("/proc/nowhere", "x", 1, &s), -ENOENT);
	ck_assert_int_eq(parley_shm_map(dir, "x", &data, &len), -ENOENT);
	for (unsigned i = 0; i < PARLEY_SHM_CLIENTS; i++)
		all[i] = opened("x", 1);
	ck_assert_int_eq(parley_shm_open(dir, "x", 1, &s), -EUSERS);
	ck_assert_ptr_null(s);
	for (unsigned i = 0; i < PARLEY_SHM_CLIENTS; i++)
		parley_shm_close(all[i]);
	dir_close();
}
END_TEST

static void note(void *arg, const struct parley_shm_region *r)
{
	struct parley_shm_region *to = arg;

	ck_assert_str_eq(r->name, "x");
	*to = *r;
}

START_TEST(from_outside)
{
	struct parley_shm *k = NULL;
	struct parley_shm_region r = { .len_bytes = 1 };
	void *data;
	size_t len;

	dir_open();
	ck_assert_int_eq(parley_shm_keep(dir, "x", 1, &k), 0);
	struct parley_shm *s = opened("x", 0);
	ck_assert_int_eq(parley_shm_list(dir, note, &r), 0);
	ck_assert_uint_eq(r.len_bytes, 4096);
	ck_assert_uint_eq(r.n_clients, 1);
	ck_assert_uint_eq(r.clients[0].index, 0);
	ck_assert_int_eq(r.clients[0].pid, getpid());
	ck_assert_uint_eq(r.n_keepers, 1);
	ck_assert_int_eq(r.keepers[0].pid, getpid());
	ck_assert_int_eq(parley_shm_map(dir, "x", &data, &len), 0);
	ck_assert_uint_eq(len, 4096);
	*(volatile char *)data = 'o';
	ck_assert_int_eq(*(volatile char *)parley_shm_data(s), 'o');
	ck_assert_int_eq(munmap(data, len), 0);
	ck_assert_int_eq(parley_shm_wait(s, 0), 0);	/* nobody noticed */
	parley_shm_close(s);
	parley_shm_close(k);
	dir_close();
}
END_TEST

/* A counter that two processes move in turn, each woken by the other's bell. */
#define TURNS 500u

static int answer_turns(void)
{
	struct parley_shm *s = NULL;
	volatile uint32_t *n;

	if (parley_shm_open(dir, "x", 4096, &s) < 0)
		return 1;
	n = parley_shm_data(s);
	while (*n < 2 * TURNS) {
		if (parley_shm_wait(s, WAIT_MS) != 1)
			return 2;
		if ((parley_shm_status(s) & 0xffff) && *n % 2 == 1) {
			*n += 1;
			parley_shm_notify(s, PARLEY_SHM_ALL);
		}
	}
	pause();	/* until it is killed: no close() */
	return 3;
}

START_TEST(two_processes)
{
	dir_open();
	pid_t pid = fork();
	if (pid == 0)
		_exit(answer_turns());
	struct parley_shm *s = opened("x", 4096);
	uint32_t me = 1u << parley_shm_index(s);
	until(s, 3u << 16);
	volatile uint32_t *n = parley_shm_data(s);
	for (uint32_t i = 0; i < TURNS; i++) {
		*n += 1;
		parley_shm_notify(s, PARLEY_SHM_ALL);
		while (*n % 2 == 1) {
			ck_assert_int_eq(parley_shm_wait(s, WAIT_MS), 1);
			parley_shm_status(s);
		}
	}
	ck_assert_uint_eq(*n, 2 * TURNS);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	while (parley_shm_status(s) >> 16 != me)
		ck_assert_int_eq(parley_shm_wait(s, WAIT_MS), 1);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	/* The next who comes clears away what the killed one left. */
	struct parley_shm *other = opened("x", 0);
	ck_assert_uint_eq(1u << parley_shm_index(other), 3 & ~me);
	parley_shm_close(other);
	parley_shm_close(s);
	dir_close();
}
END_TEST

static const struct { const char *given, *env, *xdg; bool works; } dir_rows[] = {
	{ "T", NULL, NULL, true },
	{ "T", "/proc/nowhere", NULL, true },
	{ NULL, "T", "/proc/nowhere", true },
	{ "/proc/nowhere", "T", "T", false },
	{ NULL, "/proc/nowhere", "T", false },
};

static const char *dir_of(const char *word)
{
	return word && !strcmp(word, "T") ? dir : word;
}

START_TEST(run_directory)
{
	struct parley_shm *s = NULL;

	dir_open();
	unsetenv("PARLEY_RUN_DIR");
	unsetenv("XDG_RUNTIME_DIR");
	if (dir_rows[_i].env)
		setenv("PARLEY_RUN_DIR", dir_of(dir_rows[_i].env), 1);
	if (dir_rows[_i].xdg)
		setenv("XDG_RUNTIME_DIR", dir_of(dir_rows[_i].xdg), 1);
	int r = parley_shm_open(dir_of(dir_rows[_i].given), "x", 1, &s);
	ck_assert_int_eq(r == 0, dir_rows[_i].works);
	parley_shm_close(s);
	dir_close();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("parley_shm");
	TCase *tc = fixture_case(s, "parley_shm");

	tcase_add_test(tc, two_in_a_process);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, from_outside);
	tcase_add_test(tc, two_processes);
	tcase_add_loop_test(tc, run_directory, 0, Q_ARRAY_LEN(dir_rows));
	return fixture_main(s);
}
