/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the operator socket and its clients. Main thread. The socket is open to all so that a
 * stranger gets an answer and not a riddle; who may control is decided by the credentials that
 * the kernel vouches for: root, hostd's own user, members of the group of hostd.conf.
 *
 * Invariants: a client is freed only in on_end(), called by its link from the loop; its jobs end
 * before it does; n_strangers counts the clients that are not allowed.
 */
#include "hostd/oper.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define BACKLOG 64
#define GROUPS_MAX 256u

int hd_job_add(struct hd_job *job, struct hd_client *c, uint32_t id)
{
	if (c->n_jobs >= HD_JOBS_MAX) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_BUSY,
				   "%u requests of this connection are under way already",
				   HD_JOBS_MAX);
		return -EUSERS;
	}
	job->client = c;
	job->id = id;
	LIST_INSERT_HEAD(&c->jobs, job, entry);
	c->n_jobs++;
	return 0;
}

void hd_job_remove(struct hd_job *job)
{
	LIST_REMOVE(job, entry);
	job->client->n_jobs--;
	job->client = NULL;
}

void hd_client_reply(struct hd_client *c, uint32_t id, Parley__Envelope *e)
{
	e->id = id;
	int r = hd_link_send(c->link, e, NULL, 0);
	if (r < 0 && r != -EPIPE)
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "no answer: %s",
				   strerror(-r));
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	struct hd_client *c = ctx;

	if (c->allowed) {
		hd_verbs_handle(c, e);
		return;
	}
	hd_link_send_error(c->link, e->id, PARLEY__CODE__E_DENIED,
			   "user %u may not control this host: be root%s%s", (unsigned)c->uid,
			   *c->oper->env->conf.group ? ", or a member of group " : "",
			   c->oper->env->conf.group);
	hd_link_finish(c->link, "denied");
}

static void client_free(struct hd_client *c)
{
	struct hd_oper *o = c->oper;

	while (!LIST_EMPTY(&c->jobs)) {
		struct hd_job *job = LIST_FIRST(&c->jobs);

		hd_job_remove(job);
		job->cancel(job);
	}
	LIST_REMOVE(c, entry);
	o->n_clients--;
	o->n_strangers -= !c->allowed;
	hd_link_free(c->link);
	free(c);
}

static void on_end(void *ctx, const char *why)
{
	struct hd_client *c = ctx;

	uint64_t n;

	/* Anybody can make these: the first is told, then sums. */
	if (strcmp(why, "hung_up") != 0 && qlog_limit_hit(&c->oper->limit, qnow_ns(), &n))
		qlog_info("ev=client_dropped peer_pid=%d uid=%u why=%s n=%llu", (int)c->pid,
			  (unsigned)c->uid, why, (unsigned long long)n);
	client_free(c);
}

static const struct hd_link_ops link_ops = { .msg = on_msg, .end = on_end };

static bool in_group(int sock, gid_t gid, const char *group)
{
	gid_t list[GROUPS_MAX];
	socklen_t len = sizeof(list);
	const struct group *g = *group ? getgrnam(group) : NULL;

	if (!g)
		return false;
	if (gid == g->gr_gid)
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, list, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(list[0]); i++)
		if (list[i] == g->gr_gid)
			return true;
	return false;
}

static void admit(struct hd_oper *o, struct hd_client *c)
{
	gid_t gid;

	if (hd_link_peer(c->link, &c->pid, &c->uid, &gid) < 0)
		return;
	c->allowed = c->uid == 0 || c->uid == geteuid() ||
		     in_group(hd_link_fd(c->link), gid, o->env->conf.group);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct hd_oper *o = arg;
	int sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0)
		return;
	struct hd_client *c = calloc(1, sizeof(*c));
	if (!c) {
		qfd_close(&sock);
		return;
	}
	c->oper = o;
	LIST_INIT(&c->jobs);
	c->link = hd_link_new(o->env->base, sock, &link_ops, c);
	if (!c->link) {
		free(c);
		return;
	}
	admit(o, c);
	LIST_INSERT_HEAD(&o->clients, c, entry);
	o->n_clients++;
	o->n_strangers += !c->allowed;
	if (o->n_clients > HD_CLIENTS_MAX || o->n_strangers > HD_STRANGERS_MAX) {
		hd_link_send_error(c->link, 0, PARLEY__CODE__E_BUSY,
				   "too many connections to hostd: end some");
		hd_link_finish(c->link, "too_many");
	}
}

static void on_event(void *ctx, const struct hd_event *ev)
{
	struct hd_oper *o = ctx;
	struct hd_client *c;
	Parley__Event m;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	hd_event_to_proto(ev, &m);
	e.body_case = PARLEY__ENVELOPE__BODY_EVENT;
	e.event = &m;
	LIST_FOREACH(c, &o->clients, entry)
		if (c->follows)
			hd_link_send(c->link, &e, NULL, 0);	/* who does not read is ended */
}

static void on_log(void *ctx, const struct hd_book *b, const struct hd_log_line *line)
{
	hd_tell_log(ctx, b, line);
}

void hd_oper_vm_changed(struct hd_oper *o, struct hd_vm *vm)
{
	struct hd_client *c;

	LIST_FOREACH(c, &o->clients, entry) {
		struct hd_job *job, *next;

		for (job = LIST_FIRST(&c->jobs); job; job = next) {
			next = LIST_NEXT(job, entry);
			if (job->vm_changed)
				job->vm_changed(job, vm);
		}
	}
}

int hd_oper_init(struct hd_oper *o, struct hd_env *env, struct hd_vms *vms, struct hd_med *med,
		 struct hd_plans *plans)
{
	char path[PATH_MAX];

	*o = (struct hd_oper){
		.env = env, .vms = vms, .med = med, .plans = plans, .listen_fd = -1,
	};
	LIST_INIT(&o->clients);
	snprintf(path, sizeof(path), "%s/hostd.sock", env->run_dir);
	o->listen_fd = qfd_listen_unix(path, BACKLOG);
	if (o->listen_fd < 0)
		return o->listen_fd;
	if (chmod(path, 0666) < 0)
		return -errno;
	o->ev_listen = event_new(env->base, o->listen_fd, EV_READ | EV_PERSIST, on_accept, o);
	if (!o->ev_listen || event_add(o->ev_listen, NULL) < 0)
		return -ENOMEM;
	env->logs.fn = on_log;
	env->logs.ctx = o;
	env->events.fn = on_event;
	env->events.ctx = o;
	return 0;
}

void hd_oper_fini(struct hd_oper *o)
{
	if (!o->env)
		return;
	o->env->events.fn = NULL;
	o->env->logs.fn = NULL;
	while (!LIST_EMPTY(&o->clients))
		client_free(LIST_FIRST(&o->clients));
	if (o->ev_listen)
		event_free(o->ev_listen);
	o->ev_listen = NULL;
	if (o->listen_fd >= 0) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/hostd.sock", o->env->run_dir);
		unlink(path);
	}
	qfd_close(&o->listen_fd);
}
