/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/stream.c: what each form of hostdev becomes, sockets with clients that come and go, what is
 * waited for, what is refused. The I/O thread runs; the test looks under the vdev's lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "qvm/loop.h"
#include "qvm/stream.h"
#include "qvm/vmdev.h"
#include "tests/unit/fixture.h"

#define PATIENCE_NS (20 * Q_NSEC_PER_SEC)

/* A vdev that counts. The streams of a folder of its own. */
struct world {
	char dir[256];
	struct vm vm;
	struct vm_cfg cfg;
	struct cfg_vdev vdev_cfg;
	struct vm_dev d;
	struct vdev v;
	struct vd_arg args[4];
	struct cf_errors errs;
	struct vd_stream *s;
	unsigned n_changed;
};

static void world_init(struct world *w)
{
	signal(SIGPIPE, SIG_IGN);
	*w = (struct world){ .errs = CF_ERRORS_NULL };
	fixture_mkdir(w->dir, sizeof(w->dir));
	ck_assert_int_eq(chdir(w->dir), 0);
	ck_assert_int_eq(loop_new(&w->vm.loop), 0);
	w->vm.cfg = &w->cfg;
	w->cfg.system = "sys";
	w->vdev_cfg.cfg = (struct vd_config){ .type = "t", .name = "dev", .args = w->args,
					      .file = "f" };
	w->d = (struct vm_dev){ .vm = &w->vm, .cfg = &w->vdev_cfg, .v = &w->v };
	pthread_mutex_init(&w->d.lock, NULL);
	ck_assert_int_eq(loop_start(w->vm.loop, "t-stream"), 0);
}

static void world_fini(struct world *w)
{
	pthread_mutex_lock(&w->d.lock);
	stream_ops.close(&w->d.host, w->s);
	pthread_mutex_unlock(&w->d.lock);
	loop_free(w->vm.loop);
	pthread_mutex_destroy(&w->d.lock);
	cf_errors_fini(&w->errs);
	ck_assert_int_eq(chdir("/"), 0);
	fixture_rmdir(w->dir);
}

static void arg(struct world *w, const char *name, const char *text)
{
	static const struct vd_option opts[] = { { "hostdev" }, { "port" }, { "delayed" } };

	for (unsigned i = 0; i < Q_ARRAY_LEN(opts); i++)
		if (!strcmp(opts[i].name, name))
			w->args[w->vdev_cfg.cfg.n_args++] =
				(struct vd_arg){ .opt = &opts[i], .text = text, .file = "f" };
}

static void on_changed(struct vdev *v, void *ctx)
{
	((struct world *)ctx)->n_changed++;
}

static int open_it(struct world *w, const char *port)
{
	const struct vd_stream_cfg cfg = { &w->vdev_cfg.cfg, port, on_changed, w };

	pthread_mutex_lock(&w->d.lock);
	int r = stream_ops.open(&w->d.host, &cfg, &w->errs, &w->s);
	pthread_mutex_unlock(&w->d.lock);
	ck_assert(r == 0 || !cf_errors_ok(&w->errs));
	return r;
}

static int fd_of(struct world *w, bool out)
{
	pthread_mutex_lock(&w->d.lock);
	int fd = stream_ops.fd(&w->d.host, w->s, out);
	pthread_mutex_unlock(&w->d.lock);
	return fd;
}

static void wait_changed(struct world *w, unsigned n)
{
	uint64_t end = qnow_ns() + PATIENCE_NS;

	for (;;) {
		pthread_mutex_lock(&w->d.lock);
		unsigned now = w->n_changed;
		pthread_mutex_unlock(&w->d.lock);
		if (now >= n)
			return;
		ck_assert(qnow_ns() < end);
		usleep(500);
	}
}

static void drop(struct world *w, bool out)
{
	pthread_mutex_lock(&w->d.lock);
	stream_ops.drop(&w->d.host, w->s, out);
	pthread_mutex_unlock(&w->d.lock);
}

static void touch(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	qfd_close(&fd);
}

static void expect_read(int fd, const char *want)
{
	char got[64] = "";

	ck_assert_int_eq(read(fd, got, sizeof(got) - 1), (ssize_t)strlen(want));
	ck_assert_str_eq(got, want);
}

/* ---- files, FIFOs, terminals ---- */

START_TEST(files)
{
	struct world w;

	world_init(&w);
	touch("in", "typed");
	touch("log", "before ");
	arg(&w, "hostdev", ">wrong");	/* the last one counts, for each direction */
	arg(&w, "hostdev", ">log");
	arg(&w, "hostdev", "<in");
	ck_assert_int_eq(open_it(&w, NULL), 0);
	expect_read(fd_of(&w, false), "typed");
	ck_assert_int_eq(write(fd_of(&w, true), "after", 5), 5);
	int log = open("log", O_RDONLY | O_CLOEXEC);
	expect_read(log, "before after");
	qfd_close(&log);
	drop(&w, false);
	ck_assert_int_eq(fd_of(&w, false), -1);
	ck_assert_int_ge(fd_of(&w, true), 0);
	drop(&w, true);
	ck_assert_int_eq(fd_of(&w, true), -1);
	drop(&w, true);			/* again: nothing */
	ck_assert_int_eq(access("wrong", F_OK), -1);
	world_fini(&w);
}
END_TEST

/* A FIFO does not end with its writer. */
START_TEST(fifo)
{
	struct world w;
	char byte;

	world_init(&w);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	arg(&w, "hostdev", "<fifo");
	ck_assert_int_eq(open_it(&w, NULL), 0);
	ck_assert_int_eq(fd_of(&w, true), -1);
	for (unsigned i = 0; i < 2; i++) {
		touch("fifo", "word");
		expect_read(fd_of(&w, false), "word");
		ck_assert_int_eq(read(fd_of(&w, false), &byte, 1), -1);
		ck_assert_int_eq(errno, EAGAIN);
	}
	world_fini(&w);
}
END_TEST

START_TEST(terminal)
{
	struct winsize size = { .ws_col = 80, .ws_row = 24 };
	struct world w;
	uint16_t got[2];
	int ours, theirs;
	char name[64];

	world_init(&w);
	ck_assert_int_eq(openpty(&ours, &theirs, name, NULL, &size), 0);
	arg(&w, "hostdev", name);
	ck_assert_int_eq(open_it(&w, NULL), 0);
	ck_assert_int_eq(fd_of(&w, false), fd_of(&w, true));
	ck_assert(stream_ops.size(&w.d.host, w.s, got));
	ck_assert_uint_eq(got[0], 80);
	ck_assert_uint_eq(got[1], 24);
	ck_assert_int_eq(write(ours, "a\r", 2), 2);	/* raw: as it is */
	expect_read(fd_of(&w, false), "a\r");
	/* Nobody was connected: nothing to hang up on. */
	pthread_mutex_lock(&w.d.lock);
	stream_ops.hang_up(&w.d.host, w.s);
	pthread_mutex_unlock(&w.d.lock);
	ck_assert_int_ge(fd_of(&w, false), 0);
	drop(&w, false);		/* one direction of the two */
	ck_assert_int_ge(fd_of(&w, true), 0);
	qfd_close(&ours);
	qfd_close(&theirs);
	world_fini(&w);
}
END_TEST

/* ---- sockets ---- */

static int client(const char *path)
{
	int fd = qfd_connect_unix_now(path);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Sockets of ours: with a path, of a port, and where nothing is said. */
static const struct { const char *option, *text, *port, *path; } listen_rows[] = {
	{ "hostdev", "socket:sock", NULL, "sock" },
	{ "port", "one,socket:sock", "one", "sock" },
	{ "port", "one", "one", "qvm/sys/dev.one" },
	{ "port", "one", NULL, "qvm/sys/dev" },
};
START_TEST(clients)
{
	const typeof(listen_rows[0]) *row = &listen_rows[_i];
	struct world w;
	int fd, second;
	char byte;

	world_init(&w);
	w.vm.run_dir = w.dir;
	w.cfg.system_given = true;
	ck_assert_int_eq(mkdir("qvm", 0700) | mkdir("qvm/sys", 0700), 0);
	arg(&w, row->option, row->text);
	ck_assert_int_eq(open_it(&w, row->port), 0);
	ck_assert_int_eq(fd_of(&w, false), -1);
	ck_assert_int_eq(fd_of(&w, true), -1);
	fd = client(row->path);
	wait_changed(&w, 1);
	second = client(row->path);	/* waits */
	ck_assert_int_eq(write(fd, "a", 1), 1);
	expect_read(fd_of(&w, false), "a");
	qfd_close(&fd);
	drop(&w, false);
	wait_changed(&w, 2);
	ck_assert_int_eq(write(second, "b", 1), 1);
	expect_read(fd_of(&w, false), "b");
	ck_assert_int_eq(write(fd_of(&w, true), "c", 1), 1);
	expect_read(second, "c");
	pthread_mutex_lock(&w.d.lock);
	stream_ops.hang_up(&w.d.host, w.s);
	pthread_mutex_unlock(&w.d.lock);
	ck_assert_int_eq(read(second, &byte, 1), 0);
	ck_assert_int_eq(fd_of(&w, true), -1);
	qfd_close(&second);
	pthread_mutex_lock(&w.d.lock);
	stream_ops.close(&w.d.host, w.s);
	w.s = NULL;
	pthread_mutex_unlock(&w.d.lock);
	ck_assert_int_eq(access(row->path, F_OK), -1);
	rmdir("qvm/sys");
	rmdir("qvm");
	world_fini(&w);
}
END_TEST

/* Nothing is said, and there is no directory: nobody is there, and that is no error. */
START_TEST(no_endpoint)
{
	struct world w;

	world_init(&w);
	w.vm.run_dir = _i ? "/nonexistent" : NULL;
	w.cfg.system_given = true;
	ck_assert_int_eq(open_it(&w, NULL), 0);
	ck_assert_int_eq(fd_of(&w, true), -1);
	world_fini(&w);
}
END_TEST

/* ---- what is waited for ---- */

START_TEST(comes_later)
{
	struct world w;
	int listener, fd;

	world_init(&w);
	arg(&w, "hostdev", "sock");
	arg(&w, "delayed", "forever");
	ck_assert_int_eq(open_it(&w, NULL), 0);
	for (unsigned i = 1; i <= 2; i++) {	/* and again when it went */
		ck_assert_int_eq(fd_of(&w, true), -EAGAIN);
		listener = qfd_listen_unix("sock", 1);
		ck_assert_int_ge(listener, 0);
		wait_changed(&w, i);
		while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
			usleep(500);
		ck_assert(fcntl(fd_of(&w, true), F_GETFL) & O_NONBLOCK);
		ck_assert_int_eq(write(fd_of(&w, true), "x", 1), 1);
		expect_read(fd, "x");
		qfd_close(&fd);
		qfd_close(&listener);
		unlink("sock");
		drop(&w, false);
	}
	world_fini(&w);
}
END_TEST

START_TEST(never_comes)
{
	struct world w;
	uint64_t end = qnow_ns() + PATIENCE_NS;

	world_init(&w);
	arg(&w, "hostdev", "<absent");
	arg(&w, "delayed", "1");
	ck_assert_int_eq(open_it(&w, NULL), 0);
	while (fd_of(&w, false) == -EAGAIN) {
		ck_assert(qnow_ns() < end);
		usleep(1000);
	}
	ck_assert_int_eq(fd_of(&w, false), -1);
	ck_assert_uint_eq(w.n_changed, 0);
	world_fini(&w);
}
END_TEST

/* ---- refused ---- */

static const struct { const char *text, *delayed; int err; } refused_rows[] = {
	{ "file", NULL, -ENOTSUP }, { "fifo", NULL, -ENOTSUP }, { "file", "5", -ENOTSUP },
	{ "absent", NULL, -ENOENT }, { "<absent", "0", -ENOENT }, { "dead", NULL, -ECONNREFUSED },
	{ ".", "5", -EISDIR }, { ">absent/x", NULL, -ENOENT }, { "socket:file", NULL, -EADDRINUSE },
	{ "socket:absent/x", "5", -ENOENT },
};
START_TEST(refused)
{
	struct world w;
	int dead;

	world_init(&w);
	touch("file", "x");
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	dead = qfd_listen_unix("dead", 1);
	qfd_close(&dead);
	arg(&w, "hostdev", refused_rows[_i].text);
	if (refused_rows[_i].delayed)
		arg(&w, "delayed", refused_rows[_i].delayed);
	ck_assert_int_eq(open_it(&w, NULL), refused_rows[_i].err);
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *tc = fixture_case(s, "stream");

	tcase_add_test(tc, files);
	tcase_add_test(tc, fifo);
	tcase_add_test(tc, terminal);
	tcase_add_loop_test(tc, clients, 0, Q_ARRAY_LEN(listen_rows));
	tcase_add_loop_test(tc, no_endpoint, 0, 2);
	tcase_add_test(tc, comes_later);
	tcase_add_test(tc, never_comes);
	tcase_add_loop_test(tc, refused, 0, Q_ARRAY_LEN(refused_rows));
	return fixture_main(s);
}
