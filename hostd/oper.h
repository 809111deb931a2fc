/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's side: RUN/hostd.sock, those who are connected, what they asked and have no
 * answer to yet. Main thread. A client that breaks a rule or hangs up ends alone; what it started
 * goes on.
 */
#pragma once

#include <sys/queue.h>

#include "hostd/link.h"
#include "hostd/med.h"
#include "hostd/plans.h"
#include "hostd/vms.h"
#include "lib/qlog.h"

#define HD_CLIENTS_MAX 64u
#define HD_STRANGERS_MAX 8u	/* those among them that may do nothing */
#define HD_JOBS_MAX 16u		/* unanswered requests of one client */

struct hd_client;
struct hd_oper;

/* Something that is answered later. Embedded first in what does it. */
struct hd_job {
	LIST_ENTRY(hd_job) entry;
	struct hd_client *client;
	uint32_t id;			/* of the request */
	void (*cancel)(struct hd_job *job); /* nobody waits any more: free it */
	/* A VM has changed; NULL when the job does not care. May end the job. */
	void (*vm_changed)(struct hd_job *job, struct hd_vm *vm);
};

struct hd_client {
	LIST_ENTRY(hd_client) entry;
	struct hd_oper *oper;
	struct hd_link *link;
	pid_t pid;
	uid_t uid;
	bool allowed;
	bool follows;			/* wants events as they come */
	bool follows_logs, logs_no_console;	/* wants lines, of … */
	char logs_name[HD_NAME_MAX + 1];	/* … that writer, "" = all */
	LIST_HEAD(, hd_job) jobs;
	unsigned n_jobs;
};

struct hd_oper {
	struct hd_env *env;
	struct hd_vms *vms;
	struct hd_med *med;
	struct hd_plans *plans;
	int listen_fd;
	struct event *ev_listen;
	LIST_HEAD(, hd_client) clients;
	unsigned n_clients, n_strangers;
	struct qlog_limit limit;	/* of those who were dropped */
};

/* 0 or -errno: -EADDRINUSE when another hostd listens. @env's events are listened to. */
int hd_oper_init(struct hd_oper *o, struct hd_env *env, struct hd_vms *vms, struct hd_med *med,
		 struct hd_plans *plans);
void hd_oper_fini(struct hd_oper *o);
/* Answers those who waited for it. */
void hd_oper_vm_changed(struct hd_oper *o, struct hd_vm *vm);

/* -EUSERS when the client has too many; then it was told. */
int hd_job_add(struct hd_job *job, struct hd_client *c, uint32_t id);
void hd_job_remove(struct hd_job *job);

/* Every request of an allowed client (hostd/verbs.c). */
void hd_verbs_handle(struct hd_client *c, const Parley__Envelope *e);
/* VmInfo of it. */
void hd_reply_info(struct hd_client *c, uint32_t id, const struct hd_vm *vm);
void hd_client_reply(struct hd_client *c, uint32_t id, Parley__Envelope *e);
/* hostd/gather.c: answered when all have answered, or by a deadline. */
void hd_gather_stats(struct hd_client *c, const Parley__Envelope *e);
/* To the mediator as it is, and its answer back. */
void hd_gather_relay(struct hd_client *c, const Parley__Envelope *e);
/* hostd/guest.c: answered when its qvm has. */
void hd_guest_pause(struct hd_client *c, uint32_t id, struct hd_vm *vm, bool on);
void hd_guest_dump(struct hd_client *c, uint32_t id, struct hd_vm *vm);
/* hostd/recall.c: events of the flight recorder. */
void hd_recall(struct hd_client *c, const Parley__Envelope *e);
/* hostd/showlogs.c: what was written; and a line that came, to those who follow. */
void hd_show_logs(struct hd_client *c, const Parley__Envelope *e);
void hd_tell_log(struct hd_oper *o, const struct hd_book *b, const struct hd_log_line *line);
/* hostd/inject.c */
void hd_inject(struct hd_client *c, const Parley__Envelope *e);
/* hostd/check.c: @name of a VM, or "" = all VMs and the mediator. */
void hd_check(struct hd_client *c, uint32_t id, const char *name);
void hd_plan(struct hd_client *c, uint32_t id, const char *name, bool json);
